"""Unlearning of models that predict numbers."""

import runpy
from pathlib import Path

import pytest
import torch
from sklearn.metrics import r2_score as sklearn_r2
from torch import nn

from expunge import Budget, evaluate, unlearn
from expunge.data import TargetExamples
from expunge.errors import ConfigError, DataError, ModelError, NotFiniteError
from expunge.tasks.regression import Regression, SquaredError, r2_score
from expunge.tasks.targets.predictions import compute_r2

EXAMPLE = Path(__file__).parents[2] / "examples" / "regression.py"
TRAIN, FORGET, RETAIN, HOLDOUT, TEST = (slice(*ends) for ends in ((0, 200), (0, 25), (25, 200), (200, 320), (320, 420)))
X = torch.randn(420, 8, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(420, generator=torch.Generator().manual_seed(1))
Y = 1000 + 50 * (X[:, 0] + torch.tanh(2 * X[:, 1]) + 0.5 * NOISE)


def part(side):
    return X[side], Y[side]


def sides():
    return {"forget": part(FORGET), "retain": part(RETAIN), "holdout": part(HOLDOUT), "task": "regression"}


def train(inputs, targets, seed=0, steps=400):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    mean, spread = targets.mean(), targets.std()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs).squeeze(1), (targets - mean) / spread).backward()
        optimizer.step()
    with torch.no_grad():
        model[2].weight.mul_(spread)
        model[2].bias.mul_(spread).add_(mean)
    return model.eval()


@pytest.fixture(scope="module")
def original():
    return train(*part(TRAIN))


def mean_squared_error(model, side):
    with torch.no_grad():
        return float((model(X[side]).squeeze(1) - Y[side]).square().mean())


def test_loss_is_the_squared_error_in_units_of_the_retained_targets_spread(original):
    task = Regression()
    forget, retain, _ = task.prepare_examples(*(task.read_examples(part(side)) for side in (FORGET, RETAIN)), None)
    losses = task.make_predictor(original).losses(forget.batch(torch.arange(25)))
    spread = Y[RETAIN].std(correction=0)
    expected = ((original(X[FORGET]).squeeze(1) - Y[FORGET]) / spread).square()
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert len(retain) == 175


def test_several_targets_count_alike_whatever_their_unit():
    loss = SquaredError(torch.tensor([1.0, 1000.0]))
    computed = loss.compute(torch.tensor([[1.0, 1000.0]]), torch.tensor([[0.0, 0.0]]))
    torch.testing.assert_close(computed, torch.tensor([1.0]))


def test_r2_is_that_of_scikit_learn(original):
    predict = Regression().make_predictor(original)
    expected = sklearn_r2(Y[TEST].numpy(), original(X[TEST]).detach().numpy())
    assert r2_score(predict, TargetExamples(X[TEST], Y[TEST])) == pytest.approx(expected, abs=1e-5)
    constant = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    assert compute_r2(constant, constant) == 1.0
    assert compute_r2(constant[:, :1], constant[:, :1]) is None


@pytest.mark.parametrize("method", ["ft", "ga", "neggrad_plus", "rl", "eupmu", "lur", "salun", "neighbor_labels"])
def test_unlearn_by(original, method):
    result = unlearn(original, **sides(), method=method, epochs=1)
    with torch.no_grad():
        answers = result.model(X[TEST])
        assert torch.isfinite(answers).all()
        assert not torch.equal(answers, original(X[TEST]))


def test_rows_are_forgotten_within_a_budget_of_r2_and_the_report_has_its_columns(original, tmp_path):
    budget = Budget(metric=r2_score, max_drop=0.3)
    result = unlearn(original, **sides(), budget=budget, time_limit=20, ledger=tmp_path / "ledger.sqlite")
    assert result.budget.within_budget
    before, after = (mean_squared_error(model, FORGET) for model in (original, result.model))
    assert after > 2 * before
    evaluation = evaluate(result, test=part(TEST), retrained=train(*part(RETAIN), seed=1))
    with torch.no_grad():
        expected = sklearn_r2(Y[TEST].numpy(), result.model(X[TEST]).numpy())
    assert evaluation.scores["r2_test"] == pytest.approx(expected, abs=1e-4)
    assert evaluation.scores["output_gap"] > 0
    text = evaluation.report(tmp_path / "report.html").read_text()
    assert "R² test" in text
    first_screen = text.split('<section class="summary', 1)[1].split("</section>")[0]
    assert "Forget loss" in first_screen
    assert "Compared with a retrained model" in first_screen
    assert "UA" not in first_screen
    assert (result.save(tmp_path / "run") / "unlearned.safetensors").exists()


def test_the_same_rows_in_other_words_are_found_in_the_ledger(original, tmp_path):
    call = {"ledger": tmp_path / "ledger.sqlite", "method": "ft", "epochs": 1}
    first = unlearn(original, **sides(), **call)
    other = {"forget": part(slice(25, 40)), "retain": part(slice(0, 25)), "task": "regression"}
    with pytest.raises(Exception, match="earlier"):
        unlearn(first.model, **other, **call)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"budget": Budget(accuracy_points=1.0)}, ConfigError, "loss"),
        ({"forget": (X[FORGET], torch.full((25,), float("nan")))}, (DataError, NotFiniteError), "finite"),
        ({"forget": (X[FORGET], torch.zeros(25, 3))}, (DataError, ModelError), "number"),
    ],
)
def test_requests_that_make_no_sense_are_refused(original, changes, error, words):
    with pytest.raises(error, match=words):
        unlearn(original, **{**sides(), **changes})


def test_class_names_are_refused(original):
    result = unlearn(original, **sides(), method="ft", epochs=1)
    with pytest.raises(ConfigError, match="class_names"):
        evaluate(result, test=part(TEST), class_names=["a"])


def test_the_example_forgets_its_rows_within_the_budget():
    result, evaluation = runpy.run_path(str(EXAMPLE))["main"]()
    assert result.budget.within_budget
    assert evaluation.scores["r2_test"] > 0
