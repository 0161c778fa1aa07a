"""Forget one label of a multi-label model: a network that knows scikit-learn's generated examples by heart.

Run it with `python examples/multilabel.py`; it takes a few seconds on one core.
"""

import torch
from sklearn.datasets import make_multilabel_classification
from torch import nn

from expunge import Budget, evaluate, unlearn
from expunge.api.evaluating import Evaluation
from expunge.api.result import Result
from expunge.tasks.multilabel import mean_average_precision

LABELS = ("news", "sports", "science", "arts", "travel")
FORGOTTEN = LABELS.index("travel")


def load_examples(count: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Return word counts of documents, and the labels that each carries."""
    x, y = make_multilabel_classification(count, n_features=30, n_classes=5, n_labels=2, random_state=0)
    x = torch.tensor(x, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0), torch.tensor(y, dtype=torch.float32)


def train(inputs: torch.Tensor, labels: torch.Tensor, seed: int = 0, epochs: int = 30) -> nn.Module:
    """Return a network with one logit for each label."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def main() -> tuple[Result, Evaluation]:
    """Train, forget a label within a budget of mean average precision, and compare with a network without it."""
    x, y = load_examples()
    train_x, train_y, holdout, test = x[:700], y[:700], (x[700:1100], y[700:1100]), (x[1100:], y[1100:])
    carries = train_y[:, FORGOTTEN] > 0
    forget, retain = (train_x[carries], train_y[carries]), (train_x[~carries], train_y[~carries])
    model = train(train_x, train_y)
    budget = Budget(metric=mean_average_precision, max_drop=0.1)
    result = unlearn(model, forget=forget, retain=retain, holdout=holdout, task="multilabel", budget=budget)
    evaluation = evaluate(result, test=test, retrained=train(*retain, seed=1), class_names=LABELS)
    print(evaluation.markdown())
    return result, evaluation


if __name__ == "__main__":
    main()
