"""Unlearning of models that say of each of several labels whether an example carries it."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import average_precision_score
from torch import nn

from expunge import Budget, RunConfig, evaluate, unlearn
from expunge.data import ByClass, TargetExamples, TensorExamples
from expunge.errors import DataError, ModelError, RequestError
from expunge.tasks.multilabel import BinaryCrossEntropy, Multilabel, mean_average_precision
from expunge.tasks.multilabel.metrics import average_precisions

EXAMPLE = Path(__file__).parents[2] / "examples" / "multilabel.py"
COUNTS, LABELS = make_multilabel_classification(900, n_features=20, n_classes=4, n_labels=2, random_state=1)
X = torch.tensor(COUNTS, dtype=torch.float32)
X = (X - X.mean(0)) / X.std(0)
Y = torch.tensor(LABELS, dtype=torch.float32)
TRAIN, HOLDOUT, TEST = slice(0, 400), slice(400, 650), slice(650, 900)
FORGET, RETAIN = slice(0, 40), slice(40, 400)
CARRIES = Y[TRAIN, 2] > 0


def part(side):
    return X[side], Y[side]


def label_sides():
    """A request to forget label 2: all examples that carry it."""
    x, y = part(TRAIN)
    return {"forget": (x[CARRIES], y[CARRIES]), "retain": (x[~CARRIES], y[~CARRIES]), "holdout": part(HOLDOUT)}


def row_sides():
    return {"forget": part(FORGET), "retain": part(RETAIN), "holdout": part(HOLDOUT)}


def train(inputs, labels, seed=0, steps=150):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(inputs), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def original():
    return train(*part(TRAIN))


def answers(model, side):
    with torch.no_grad():
        return model(X[side])


# --- the loss, and average precision --------------------------------------------------------------------------------


def test_average_precisions_are_those_of_scikit_learn_with_ties():
    generator = torch.Generator().manual_seed(0)
    scores = (5 * torch.rand(200, 3, generator=generator)).round()
    labels = (torch.rand(200, 3, generator=generator) < 0.3).float()
    expected = [average_precision_score(labels[:, j].numpy(), scores[:, j].numpy()) for j in range(3)]
    assert average_precisions(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_average_precision_of_a_label_that_all_carry_or_none_is_left_out():
    labels = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert average_precisions(torch.zeros(2, 3), labels) == [None, None, 0.5]


def test_loss_is_the_mean_binary_cross_entropy_of_the_labels(original):
    losses = Multilabel().make_predictor(original).losses(TargetExamples(X[:9], Y[:9]).batch(torch.arange(9)))
    expected = nn.functional.binary_cross_entropy_with_logits(original(X[:9]), Y[:9], reduction="none").mean(1)
    torch.testing.assert_close(losses, expected)


def test_one_label_that_is_forgotten_leaves_the_other_targets_of_its_carriers():
    loss = BinaryCrossEntropy(torch.tensor([False, True]))
    mixed = loss.mix(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
    assert mixed.tolist() == [[1.0, 0.0], [0.0, 0.0]]


# --- what a request is ----------------------------------------------------------------------------------------------


def test_label_that_nothing_retained_carries_is_forgotten_as_a_whole():
    task = Multilabel()
    sides = label_sides()
    forget, retain, holdout = task.prepare_examples(*(task.read_examples(sides[name]) for name in sides))
    assert task.forgotten.tolist() == [False, False, True, False]
    assert forget.targets.unique().tolist() == [2]
    assert retain.targets.unique().tolist() == [4]
    assert torch.equal(holdout.targets == 2, Y[HOLDOUT, 2] > 0)


def test_rows_whose_labels_stay_are_single_examples():
    task = Multilabel()
    forget, retain, _ = task.prepare_examples(*(task.read_examples(part(side)) for side in (FORGET, RETAIN)), None)
    assert not task.forgotten.any()
    assert {*forget.targets.tolist(), *retain.targets.tolist()} == {4}


def test_request_by_class_selects_all_that_carry_the_label():
    positions = ByClass("b").select(Multilabel().read_examples(part(TRAIN)), ["a", "x", "b", "y"])
    assert positions.tolist() == CARRIES.nonzero().flatten().tolist()


# --- unlearning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ft", "ga", "neggrad_plus", "rl", "eupmu", "lur", "salun", "neighbor_labels"])
@pytest.mark.parametrize("sides", [row_sides, label_sides], ids=["rows", "label"])
def test_unlearn_by(original, method, sides):
    result = unlearn(original, **sides(), task="multilabel", method=method, epochs=1)
    assert torch.isfinite(answers(result.model, TEST)).all()
    assert not torch.equal(answers(result.model, TEST), answers(original, TEST))


def test_unlearn_a_label_within_a_budget_forgets_it_and_keeps_the_others(original, tmp_path):
    budget = Budget(metric=mean_average_precision, max_drop=0.1)
    call = {"task": "multilabel", "budget": budget, "time_limit": 30, "ledger": tmp_path / "ledger.sqlite"}
    result = unlearn(original, **label_sides(), **call)
    assert result.budget.within_budget
    before, after = (
        float((answers(model, TRAIN)[CARRIES, 2] > 0).double().mean()) for model in (original, result.model)
    )
    assert before > 0.9
    assert after <= 0.05
    retrained = train(*label_sides()["retain"], seed=1)
    names = ["a", "b", "gone", "d"]
    evaluation = evaluate(result, test=part(TEST), retrained=retrained, class_names=names)
    assert evaluation.scores["recognized"] == pytest.approx(100 * after, abs=0.01)
    kept = Y[TEST, 2] == 0
    expected = [
        100 * average_precision_score(Y[TEST][kept, j].numpy(), answers(result.model, TEST)[kept, j].numpy())
        for j in (0, 1, 3)
    ]
    assert [evaluation.scores[f"ap{j}_test"] for j in (0, 1, 3)] == pytest.approx(expected, abs=1e-4)
    assert evaluation.scores["map_test"] == pytest.approx(np.mean(expected), abs=1e-4)
    assert "ap2_test" not in evaluation.scores
    text = evaluation.report(tmp_path / "report.html").read_text()
    assert "AP d" in text
    assert "mAP test:" in re.sub("<[^>]*>", "", text)
    assert (result.save(tmp_path / "run") / "unlearned.safetensors").exists()
    # A later request refuses rows that carry the label, also such as were not there before.
    forget, retain = (X[40:60], Y[40:60] * torch.tensor([1, 1, 0, 1])), (X[60:300], Y[60:300])
    with pytest.raises(RequestError, match="of retain"):
        unlearn(result.model, forget=forget, retain=retain, task="multilabel", method="ft", ledger=call["ledger"])
    second = unlearn(
        result.model,
        forget=forget,
        retain=retain,
        task="multilabel",
        method="ft",
        epochs=1,
        ledger=call["ledger"],
        config=RunConfig(exclude="ledger"),
    )
    assert len(second.split.retain) == int((Y[60:300, 2] == 0).sum())


def test_unlearn_rows_within_a_budget_of_the_loss(original):
    result = unlearn(
        original, **row_sides(), task="multilabel", budget=Budget(loss_increase=0.2, certify=False), time_limit=20
    )
    assert result.budget.within_budget
    losses = [
        float(nn.functional.binary_cross_entropy_with_logits(answers(model, FORGET), Y[FORGET]))
        for model in (original, result.model)
    ]
    assert losses[1] > 1.5 * losses[0]
    assert evaluate(result, test=part(TEST)).verdict in ("undecided", "not distinguishable")


# --- refusals -------------------------------------------------------------------------------------------------------


def test_labels_that_are_neither_0_nor_1_are_refused():
    with pytest.raises(DataError, match=r"0 or 1, but found 0\.5"):
        Multilabel().read_examples((X[:2], torch.tensor([[0.5, 1.0], [1.0, 0.0]])))


def test_model_with_another_number_of_logits_is_refused():
    with pytest.raises(ModelError, match="as many numbers"):
        unlearn(nn.Linear(20, 3), **row_sides(), task="multilabel", method="ft")


def test_class_labels_are_no_rows_of_labels(original):
    with pytest.raises(DataError, match="0 or 1"):
        Multilabel().read_examples(TensorExamples(X[:3], [0, 2, 1]))


def test_the_example_forgets_the_label_within_its_budget():
    result, evaluation = runpy.run_path(str(EXAMPLE))["main"]()
    assert result.budget.within_budget
    assert evaluation.scores["recognized"] < 5
