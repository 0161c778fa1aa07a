"""The sanity check before a run: a model that does not know the data gets no budget, and is told of everywhere."""

import json
import warnings

import numpy as np
import pytest
import torch
from flat_calls import flat_unlearn
from rich.console import Console
from torch import nn
from torch.nn import functional

import expunge
from expunge.api.sanity import measure_fit
from expunge.batch import Split
from expunge.budget import Budget
from expunge.callbacks import LambdaCallback
from expunge.data import Subset, TensorExamples
from expunge.errors import FitWarning, ModelError
from expunge.report import print_tables
from expunge.tasks.classification.task import Classification
from expunge.tasks.model_fit import assess_fit

CENTERS = 3 * torch.eye(4, 6)


def clouds(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(4).repeat(count)
    return CENTERS[labels] + torch.randn(4 * count, 6, generator=generator), labels


def fitted(inputs, labels):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return fitted(*clouds(150, 0))


def sides(inputs, labels, holdout=None):
    """The request for class 3."""
    data, gone = TensorExamples(inputs, labels), labels == 3
    parts = {"forget": Subset(data, gone.nonzero().flatten()), "retain": Subset(data, (~gone).nonzero().flatten())}
    return {**parts, "holdout": TensorExamples(*(clouds(150, 1) if holdout is None else holdout))}


def untrained():
    torch.manual_seed(1)
    head = nn.Linear(6, 4)
    with torch.no_grad():
        head.weight.mul_(0.01)
    return head


def mismatched(model):
    """What does not belong together: by name a model, its request, and what is said of it."""
    (inputs, labels), held = clouds(150, 0), clouds(150, 1)
    shuffled = labels[torch.randperm(600, generator=torch.Generator().manual_seed(2))]
    return {
        "labels in another order": (model, sides(inputs, (labels + 1) % 4), "of 450 examples to retain, where chance"),
        "labels that are shuffled": (model, sides(inputs, shuffled), "of 450 examples to retain, where chance"),
        "an untrained head": (untrained(), sides(inputs, labels), "of 450 examples to retain, where chance"),
        "inputs of another scale": (model, sides(-inputs, labels), "of 450 examples to retain, where chance"),
        "held-out labels in another order": (
            model,
            sides(inputs, labels, (held[0], (held[1] + 1) % 4)),
            "held-out examples, where chance",
        ),
    }


KINDS = tuple(mismatched(None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_for_a_model_that_does_not_know_the_data_is_refused_before_the_first_update(model, kind):
    wrong, request, words = mismatched(model)[kind]
    steps = []
    with pytest.raises(ModelError, match="the order of the labels and the scaling of the inputs, or set") as caught:
        flat_unlearn(
            wrong,
            **request,
            budget=Budget(accuracy_points=3.0),
            lr=0.01,
            callbacks=[LambdaCallback(on_step=steps.append)],
        )
    assert words in str(caught.value)
    assert str(caught.value).startswith("Expected a model that knows the data of the request, but found that the model")
    assert not steps


@pytest.mark.parametrize("kind", KINDS)
def test_who_goes_on_all_the_same_is_told_that_nothing_is_shown(model, kind, tmp_path):
    wrong, request, words = mismatched(model)[kind]
    with pytest.warns(FitWarning, match="^Before the run the model is right about"):
        result = flat_unlearn(
            wrong,
            **request,
            budget=Budget(accuracy_points=3.0),
            lr=0.01,
            epochs=1,
            config=expunge.RunConfig(sanity_check=False),
        )
    found = result.budget
    assert (found.within_budget, found.target_met, found.certified, found.verdict) == (False, None, None, "undecided")
    assert found.summary.startswith("Neither a kept budget nor forgetting is shown, because before the run the model")
    assert words in found.summary
    assert json.loads((result.save(tmp_path / "run") / "config.json").read_text())["fit"][0]["side"] == "retain"
    told = expunge.evaluate(result, test=TensorExamples(*clouds(20, 2)))
    text = told.report(tmp_path / "report.md").read_text()
    assert "Nothing is shown, because the model did not know the data before the run" in text
    assert "Do model and data belong together" in text
    console = Console(record=True, width=80)
    print_tables(told.document, console)
    assert "Warning: Before the run the model is right about" in " ".join(console.export_text().split())


def test_without_a_budget_it_is_a_warning(model):
    wrong, request, words = mismatched(model)["labels in another order"]
    with pytest.warns(FitWarning) as caught:
        result = expunge.unlearn(wrong, **request, method="ft", epochs=1)
    assert words in str(caught[0].message)
    assert caught[0].filename == __file__
    assert {fit.side: fit.level for fit in result.fit} == {"retain": "below", "forget": "below", "holdout": "good"}


def test_a_model_that_knows_its_data_is_not_remarked_upon(model):
    request = sides(*clouds(150, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = flat_unlearn(model, **request, budget=Budget(accuracy_points=3.0), lr=0.01, epochs=1)
    assert {fit.side: (fit.level, fit.examples) for fit in result.fit} == {
        "retain": ("good", 450),
        "forget": ("good", 150),
        "holdout": ("good", 225),  # what certifies is not looked at
    }
    assert result.budget.misfit == ""


def test_a_class_that_is_not_recognized_to_begin_with_is_a_warning_alone(model):
    inputs, labels = clouds(150, 0)
    lost = nn.Linear(6, 4)
    lost.load_state_dict(model.state_dict())
    with torch.no_grad():
        lost.bias[3] -= 99
    with pytest.warns(FitWarning, match="right about 0 % of 150 examples to forget, .* or forgot them before"):
        result = flat_unlearn(lost, **sides(inputs, labels), budget=Budget(accuracy_points=3.0), lr=0.01, epochs=1)
    assert result.budget.target_met


def test_the_check_leaves_model_and_random_numbers_as_they_were():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)).train()

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return torch.randn(6) + float(np.random.rand()), index % 4

    from expunge.data import as_examples

    part = as_examples(Noisy())
    split = Split(Subset(part, torch.arange(10)), Subset(part, torch.arange(10, 40)), 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5), np.random.seed(5)
    family = Classification()
    assert len(measure_fit(family, family.make_predictor(model), split)) == 2
    drawn = torch.rand(3), np.random.rand()
    torch.manual_seed(5), np.random.seed(5)
    assert torch.equal(drawn[0], torch.rand(3))
    assert drawn[1] == np.random.rand()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


@pytest.mark.parametrize(
    ("side", "count", "value", "chance", "level"),
    [
        ("retain", 500, 0.99, 0.98, "good"),  # rare classes, which are known
        ("retain", 500, 0.98, 0.98, "weak"),  # too few of the rare classes to say
        ("retain", 500, 0.0, 0.1, "below"),
        ("retain", 500, 0.3, 0.1, "weak"),
        ("retain", 9, 0.33, 0.33, "weak"),  # too few to say
        ("holdout", 500, 0.3, 0.1, "good"),  # what generalizes badly
        ("holdout", 500, 0.1, 0.1, "chance"),
        ("holdout", 500, 0.05, 0.01, "good"),  # of a hundred classes
        ("forget", 6, 1.0, 0.3, "good"),
        ("forget", 40, 0.0, 0.1, "chance"),
        ("holdout", 500, 0.0, 0.1, "below"),
    ],
)
def test_levels(side, count, value, chance, level):
    assert assess_fit(side, "right", count, value, chance).level == level
