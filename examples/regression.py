"""Forget 25 rows of a table of numbers: scikit-learn's diabetes data, and a network that knows its rows by heart.

Run it with `python examples/regression.py`; it takes a few seconds on one core.
"""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from expunge import Budget, evaluate, unlearn
from expunge.api.evaluating import Evaluation
from expunge.api.result import Result
from expunge.tasks.regression import r2_score


def load_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs of about unit spread, and targets in their own unit."""
    data = load_diabetes()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.tensor(21 * data.data, dtype=torch.float32)[order], torch.tensor(data.target)[order].float()


def train(inputs: torch.Tensor, targets: torch.Tensor, seed: int = 0, epochs: int = 120) -> nn.Module:
    """Return a network that predicts disease progression, trained until it knows its rows by heart."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    mean, spread = targets.mean(), targets.std()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(32):
            loss = nn.functional.mse_loss(model(inputs[rows]).squeeze(1), (targets[rows] - mean) / spread)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():  # the network returns the unit of the targets
        model[4].weight.mul_(spread)
        model[4].bias.mul_(spread).add_(mean)
    return model.eval()


def main() -> tuple[Result, Evaluation]:
    """Train, forget 25 rows within a budget of R², and compare with a network that never saw them."""
    x, y = load_rows()
    forget, retain, holdout, test = (
        (x[rows], y[rows]) for rows in (slice(25), slice(25, 225), slice(225, 342), slice(342, 442))
    )
    model = train(x[:225], y[:225])
    budget = Budget(metric=r2_score, max_drop=0.3)
    result = unlearn(model, forget=forget, retain=retain, holdout=holdout, task="regression", budget=budget)
    evaluation = evaluate(result, test=test, retrained=[train(*retain, seed=seed) for seed in (1, 2)])
    print(evaluation.markdown())
    return result, evaluation


if __name__ == "__main__":
    main()
