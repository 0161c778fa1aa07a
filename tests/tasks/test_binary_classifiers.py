"""Classifiers with one logit for the labels 0 and 1."""

import pytest
import torch
from torch import nn

from expunge import evaluate, unlearn
from expunge.batch import Predictor
from expunge.budget import Budget
from expunge.errors import ExpungeError

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(800, 6, generator=GENERATOR)
Y = (X[:, 0] + 0.5 * X[:, 1] + 0.3 * torch.randn(800, generator=GENERATOR) > 0).long()
FORGET, RETAIN, HOLDOUT, TEST = slice(0, 30), slice(30, 300), slice(300, 600), slice(600, 800)


class TwoLogits(nn.Module):
    """The same classifier with the two logits (0, z)."""

    def __init__(self, single):
        super().__init__()
        self.single = single

    def forward(self, inputs):
        logit = self.single(inputs).flatten()
        return torch.stack([torch.zeros_like(logit), logit], 1)


def train_single_logit(flat=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), *([nn.Flatten(0)] if flat else []))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(X[:300]).flatten(), Y[:300].float()).backward()
        optimizer.step()
    return model.eval()


def part(side, targets=Y):
    return X[side], targets[side]


def forget_rows(model, targets=Y, **settings):
    sides = {"forget": part(FORGET, targets), "retain": part(RETAIN, targets), "holdout": part(HOLDOUT, targets)}
    return unlearn(model, **sides, **settings)


@pytest.mark.parametrize("method", ["ft", "neggrad_plus", "rl", "eupmu", "lur", "salun"])
def test_unlearn_single_logit_decides_as_two_logits_do_bit_for_bit(method):
    model = train_single_logit()
    single = forget_rows(model, method=method, epochs=1)
    double = forget_rows(TwoLogits(model), method=method, epochs=1)
    assert torch.equal(single.model(X).flatten(), double.model(X)[:, 1])
    assert not torch.equal(single.model(X), model(X))


@pytest.mark.parametrize("targets", [Y.float(), Y.bool(), Y.float()[:, None]])
def test_unlearn_single_logit_takes_the_labels_of_its_loss(targets):
    model = train_single_logit(flat=True)
    result, other = (forget_rows(model, labels, method="ft", epochs=1) for labels in (targets, Y))
    assert torch.equal(result.model(X), other.model(X))


def test_unlearn_single_logit_keeps_points_and_reports(tmp_path):
    model = train_single_logit()
    result = forget_rows(model, budget=Budget(accuracy_points=4.0), time_limit=5)
    assert result.budget.within_budget
    evaluation = evaluate(result, test=part(TEST), retrained=train_single_logit(), class_names=["no", "yes"])
    decisions = (result.model(X[TEST]).flatten() > 0).long()
    assert evaluation.scores["ta"] == pytest.approx(100 * float((decisions == Y[TEST]).double().mean()))
    assert "yes" in evaluation.report(tmp_path / "report.html").read_text()
    result.save(tmp_path / "run")


def test_unlearn_label_2_of_single_logit_is_refused():
    with pytest.raises(ExpungeError, match="labels from 0 to 1"):
        forget_rows(train_single_logit(), 2 * Y, method="ft")


def test_unlearn_sigmoid_at_the_end_is_refused():
    with pytest.raises(ExpungeError, match="sigmoid"):
        forget_rows(nn.Sequential(train_single_logit(), nn.Sigmoid()), method="ft")


def test_predictor_reads_a_single_logit_as_two():
    assert Predictor(nn.Flatten(0))(torch.tensor([[3.0], [-2.0]])).tolist() == [[0.0, 3.0], [0.0, -2.0]]
