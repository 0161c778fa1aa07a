"""Held-out examples for a budget: how many are needed, that each counts once, and a budget without a certificate."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import data as torch_data

import expunge
from expunge.api.budgeting import add_budget_section, build_split_manifest
from expunge.api.steering.budget_validation import make_holdout_split
from expunge.batch import Split
from expunge.budget import (
    Budget,
    BudgetResult,
    ControlEvaluation,
    count_needed_examples,
    min_accuracy_drop,
    min_mean_drop,
    utility_certificate,
)
from expunge.data import Subset, TensorExamples, as_examples, get_root_indices
from expunge.errors import DataError, RequestError
from expunge.metrics import HeldOutTest
from expunge.report.budget_text import budget_statements
from expunge.report.document import read_request

DELTA = 0.05


def rows(count, seed=0):
    """Rows of three classes, which a linear model can tell."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 3, generator=generator)
    return inputs, inputs.argmax(1)


def split(holdout):
    inputs, labels = rows(60)
    return Split(TensorExamples(inputs[:6], labels[:6]), TensorExamples(inputs[6:], labels[6:]), 3, holdout)


@pytest.mark.parametrize("points", [0.1, 0.5, 1.0, 2.0, 10.0, 50.0, 100.0])
def test_the_number_that_is_named_is_the_least_that_can_certify(points):
    needed = count_needed_examples(Budget(accuracy_points=points), DELTA)
    assert min_accuracy_drop(needed) <= points / 100
    assert needed == 1 or min_accuracy_drop(needed - 1) > points / 100


@pytest.mark.parametrize("drop", [0.5, 0.05, 0.005])
def test_the_number_for_a_metric_of_known_range_is_nearly_the_least(drop):
    def rightness(predict, examples):
        raise AssertionError("only its range counts")

    needed = count_needed_examples(Budget(metric=rightness, max_drop=drop, bounds=(0, 1)), DELTA)
    assert min_mean_drop(needed) == pytest.approx(drop, rel=0.3)


@pytest.mark.parametrize("budget", [Budget(loss_increase=0.1), Budget(metric=lambda *_: 0.5, max_drop=0.1)])
def test_a_budget_with_an_approximate_bound_is_refused_before_training_where_the_bound_would_say_nothing(budget):
    assert count_needed_examples(budget, DELTA) == 30
    assert len(make_holdout_split(budget, split(TensorExamples(*rows(60, 1))), 0).certify) == 30
    with pytest.raises(
        DataError,
        match=r"at least 60 held-out examples of the classes that stay to certify a budget of .* but found 40, of "
        r"which half steer and the other 20 are too few for an approximate bound: hold out 20 more, or set certify to",
    ):
        make_holdout_split(budget, split(TensorExamples(*rows(40, 1))), 0)
    assert len(make_holdout_split(replace(budget, certify=False), split(TensorExamples(*rows(40, 1))), 0).control) == 40


def test_a_relative_budget_with_too_few_rows_trains_nothing():
    model, (inputs, labels) = nn.Linear(3, 3), rows(60)
    before = [weight.clone() for weight in model.parameters()]
    sides = {"forget": TensorExamples(inputs[:6], labels[:6]), "retain": TensorExamples(inputs[6:], labels[6:])}

    def train(*_):
        raise AssertionError("nothing is trained")

    model.register_full_backward_hook(train)
    with pytest.raises(DataError, match="at least 60 held-out examples"):
        expunge.unlearn(model, **sides, holdout=TensorExamples(*rows(50, 1)), budget=Budget(loss_increase=0.1))
    assert all(torch.equal(weight, one) for weight, one in zip(model.parameters(), before, strict=True))


def test_a_refusal_says_how_many_are_needed_and_given_and_what_else_can_be_done():
    sentence = (
        "Expected at least 736 held-out examples of the classes that stay to certify a budget of 1 point, but found "
        "136, of which half steer and the other 68 can certify a drop of 5.29 points at the least: hold out 600 more, "
        "allow 5.29 points, or set certify to false to steer and measure without a certificate."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        make_holdout_split(Budget(accuracy_points=1.0), split(TensorExamples(*rows(136, 1))), 0)
    for enough in (Budget(accuracy_points=5.29), Budget(accuracy_points=1.0, certify=False)):
        assert sum(map(len, make_holdout_split(enough, split(TensorExamples(*rows(136, 1))), 0))) == 136
    assert len(make_holdout_split(Budget(accuracy_points=1.0), split(TensorExamples(*rows(736, 1))), 0).certify) == 368
    for count, more in ((0, 736), (1, 735)):
        one = TensorExamples(*rows(2, 1))
        with pytest.raises(DataError, match=f"at least 736 held-out .*but found {count}: hold out {more} more, or"):
            make_holdout_split(Budget(accuracy_points=1.0), split(Subset(one, range(count))), 0)
    with pytest.raises(DataError, match=r"at least 60 held-out .* but found 1: hold out 59 more"):
        make_holdout_split(Budget(loss_increase=0.1), split(Subset(one, [0])), 0)
    with pytest.raises(DataError, match=r"0 points, which no number of examples can certify: allow 5\.29 points, or"):
        make_holdout_split(Budget(accuracy_points=0.0), split(TensorExamples(*rows(136, 1))), 0)


class Rows(torch_data.Dataset):
    """Rows that are read one by one."""

    def __init__(self, count):
        self.inputs, self.labels = rows(count, 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.inputs[index], int(self.labels[index])


def repeated_indices():
    return Subset(TensorExamples(*rows(20, 1)), torch.arange(20).repeat(40))


def repeated_values():
    inputs, labels = rows(20, 1)
    return TensorExamples(inputs.repeat(40, 1), labels.repeat(40))


def one_example():
    return Subset(TensorExamples(*rows(800, 1)), torch.zeros(800, dtype=torch.int64))


def repeated_items():
    return as_examples(torch_data.Subset(Rows(20), [*range(20)] * 40))


def joined_items():
    return as_examples(torch_data.ConcatDataset([Rows(20)] * 40))


COPIES = (repeated_indices, repeated_values, one_example, repeated_items, joined_items)


@pytest.mark.parametrize("copies", COPIES)
@pytest.mark.parametrize("budget", [Budget(accuracy_points=1.0), Budget(loss_increase=0.1)], ids=["points", "loss"])
def test_held_out_examples_that_repeat_are_refused_with_their_number(copies, budget):
    many = 799 if copies is one_example else 780
    with pytest.raises(RequestError, match=f"found {many} of 800 that hold the same as another one: pass distinct"):
        make_holdout_split(budget, split(copies()), 0)


def test_equal_rows_of_different_individuals_are_admitted_by_their_ids():
    examples = repeated_values()
    examples.ids = list(range(800))
    control, certify = make_holdout_split(Budget(accuracy_points=1.0), split(examples), 0)
    assert not set(get_root_indices(control).tolist()) & set(get_root_indices(certify).tolist())
    assert len(control) + len(certify) == 800


def test_examples_of_one_id_are_in_one_half_and_one_of_them_certifies():
    examples = TensorExamples(*rows(1600, 1))
    examples.ids = [f"patient {number // 2}" for number in range(1600)]
    control, certify = make_holdout_split(Budget(accuracy_points=1.0), split(examples), 0)
    assert (len(control), len(certify), len(set(certify.ids))) == (800, 400, 400)
    assert not {*control.ids} & {*certify.ids}
    examples.ids = [f"patient {number % 20}" for number in range(1600)]
    with pytest.raises(DataError, match=r"at least 736 held-out examples .* but found 20 ids in 1,600, of which half"):
        make_holdout_split(Budget(accuracy_points=1.0), split(examples), 0)
    control, certify = make_holdout_split(Budget(accuracy_points=1.0, certify=False), split(examples), 0)
    assert (len(control), len(certify)) == (1600, 0)


def test_an_audit_certifies_by_one_example_of_each_id_and_none_twice():
    inputs, labels = rows(60)
    sides = TensorExamples(inputs[:6], labels[:6]), TensorExamples(inputs[6:], labels[6:])
    test, fresh = TensorExamples(*rows(120, 1)), TensorExamples(*rows(90, 2))
    model = torch.nn.Linear(3, 3)

    def certified(**parts):
        return expunge.audit(model, model, forget=sides[0], retain=sides[1], **parts).certificate.examples

    with pytest.raises(
        RequestError, match="found 840 of 870 that hold the same as another one: pass distinct\\(certify"
    ):
        certified(test=test, certify=Subset(fresh, [*range(30)] * 29))
    fresh.ids, test.ids = [number // 3 for number in range(90)], [number // 4 for number in range(120)]
    assert certified(test=test, certify=fresh) == 30
    assert certified(test=test) == 15


def test_the_certificate_of_a_certify_half_covers_as_it_says_and_that_of_copies_would_not():
    """A model that loses 4 % of what it knew, on 200 held-out sets; 20 examples, each 40 times, would mislead."""
    generator, missed, misled = np.random.default_rng(0), 0, 0
    inputs = torch.arange(800.0)[:, None]
    for seed in range(200):
        lost = generator.random(800) < 0.04
        halves = make_holdout_split(
            Budget(accuracy_points=3.0), split(TensorExamples(inputs, torch.arange(800) % 3)), seed
        )
        certified = lost[get_root_indices(halves.certify).numpy()]
        missed += utility_certificate(np.ones(len(certified), bool), ~certified).bound < 0.04
        copied = np.repeat(lost[:20], 20)
        misled += utility_certificate(np.ones(400, bool), ~copied).bound < 0.04
    assert missed <= 200 * DELTA
    assert misled > 200 * 0.3


@pytest.fixture(scope="module")
def easy():
    torch.manual_seed(0)
    model, (inputs, labels) = nn.Linear(3, 3), rows(120)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    gone = labels == 2
    part = {name: TensorExamples(inputs[side], labels[side]) for name, side in (("forget", gone), ("retain", ~gone))}
    return model, part


def test_without_a_certificate_all_held_out_examples_steer(easy, tmp_path):
    model, sides = easy
    holdout = TensorExamples(*rows(90, 1))
    staying = int((holdout.targets != 2).sum())
    budget = Budget(accuracy_points=1.0, certify=False)
    ledger = tmp_path / "ledger.sqlite"
    result = expunge.unlearn(
        model, **sides, holdout=holdout, budget=budget, lr=0.05, epochs=5, batch_size=16, ledger=ledger
    )
    found, handed = result.budget, result.budget.evaluations[result.budget.chosen]
    assert (found.within_budget, found.certificate, found.certified, found.bound_within_budget) == (
        True,
        None,
        None,
        None,
    )
    assert "No certificate was asked for: all held-out examples steered." in found.summary
    # A reading is of every held-out example of the classes that stay.
    assert handed.accuracy * staying / 100 == pytest.approx(round(handed.accuracy * staying / 100))
    spent = result.ledger_entry.header.spent
    assert (spent.bound, spent.examples, spent.drop) == (None, staying, pytest.approx(handed.spent))
    part = expunge.evaluate(result, test=TensorExamples(*rows(90, 2))).document["requests"][0]
    assert part["budget"]["examples"] == {"control": staying, "certify": 0}
    assert (part["budget"]["smallest"], part["budget"]["limit"]["certify"]) == (None, False)
    words = {fact.name: fact.text for fact in budget_statements(read_request(json.loads(json.dumps(part))).budget)}
    assert words["Certificate"] == "None was asked for: all held-out examples steered, and none was put aside."
    assert words["Spent"].endswith(f"on the {staying} control examples, which also steered and chose.")


@pytest.mark.parametrize(("verdict", "needed"), [("undecided", 2000), ("still distinguishable", None)])
def test_the_part_about_a_budget_fits_what_the_test_data_show(verdict, needed):
    figures = {
        "auc": 0.5,
        "auc_low": 0.3,
        "auc_high": 0.7,
        "gap": 0.2,
        "gap_low": 0.1,
        "gap_high": 0.3,
        "left_out": (2,),
    }
    few = HeldOutTest("undecided", 20, 150, **figures, reasons=("auc",), needed=530)
    shown = HeldOutTest(verdict, 20, 150, **figures, reasons=("accuracy",), needed=needed)
    start, end = (ControlEvaluation(step, 0.3, 90.0, None, 0.0, 0.1, 0.1, test=few) for step in (0, 20))
    budget = Budget(accuracy_points=1.0, certify=False)
    spent = BudgetResult(
        budget, "budget", (start, end), chosen=1, within_budget=True, target_met=None, pareto_indices=(1,)
    )
    part = {
        "rows": [{"role": "method", "evidence": [{"held_out": shown.as_dict()}]}],
        "classes": ["cat", "dog", "frog"],
    }
    halves = make_holdout_split(budget, split(TensorExamples(*rows(9, 1))), 0)
    made = add_budget_section(part, spent, halves)["budget"]
    assert made["evaluations"][1]["test"]["needed"] == needed
    assert ("about 2,000 would be needed" in made["summary"]) == (needed == 2000)
    assert ("The test data decide it: the forgotten examples are still" in made["summary"]) == (needed is None)
    assert "class frog has no held-out examples" in made["summary"]


def test_the_manifest_of_a_budget_without_a_certificate_has_an_empty_half():
    record = build_split_manifest(
        make_holdout_split(Budget(accuracy_points=1.0, certify=False), split(TensorExamples(*rows(9, 1))), 0), bytes(32)
    )
    assert record["sizes"] == {"control": 9, "certify": 0}
