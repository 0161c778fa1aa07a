"""Compositions in words: read without being evaluated, built or refused with the reason."""

import copy
import itertools

import pytest
import torch
from torch import nn

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import RunOptions, run_recipe
from expunge.errors import ConfigError, ExpungeError, MissingExtraError
from expunge.masks import KeepIfHarmless, KeepUnlessHarmful, Saliency, SequentialTest
from expunge.methods import CustomMethod, build_method
from expunge.methods.component_spec import ComponentSpec, parse_components
from expunge.surgery import EUPMUSurgery, Projection


def split():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(58, 4, generator=generator), torch.arange(58) % 3
    parts = [TensorExamples(x[part], y[part]) for part in (slice(0, 6), slice(6, 46), slice(46, 58))]
    return Split(parts[0], parts[1], 3, parts[2])


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_parts_are_read():
    assert parse_components("eupmu") == [ComponentSpec("eupmu")]
    first, second = parse_components(" eupmu(epochs=2, log_loss=true) + feasible(lenient, delta=0.1, name=word) ")
    assert first == ComponentSpec("eupmu", (), {"epochs": 2, "log_loss": True})
    assert second == ComponentSpec("feasible", ("lenient",), {"delta": 0.1, "name": "word"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "a +",
        "a - b",
        "a * b",
        "a.b",
        "a[0]",
        "f(x())",
        "f(*a)",
        "f(**a)",
        "f(a=__import__('os'))",
        "(" * 500,
        "a; b",
    ],
)
def test_what_is_no_sum_of_parts_is_refused_and_never_evaluated(text):
    with pytest.raises(ConfigError, match="parts like"):
        parse_components(text)


def test_a_mask_is_put_on_every_descent_and_the_rest_stays():
    plain, masked = build_method("eupmu", tolerance=0.2), build_method("eupmu + saliency(fraction=0.3)", tolerance=0.2)
    stage = masked.recipe(3).stages[0]
    assert isinstance(stage.mask, Saliency)
    assert stage.mask.fraction == 0.3
    assert repr(stage.surgery) == repr(plain.recipe(3).stages[0].surgery)
    assert repr(stage.objectives) == repr(plain.recipe(3).stages[0].objectives)
    assert masked.settings()["mask"] == {"name": "saliency", "fraction": 0.3}
    assert masked.label == "EUPMU + saliency"


def test_rl_under_the_saliency_mask_is_salun():
    weights = []
    for text in ("salun(epochs=2, mask_fraction=0.3)", "rl(epochs=2) + saliency(fraction=0.3)"):
        model = network()
        run_recipe(Predictor(model), build_method(text).recipe(1), split(), RunOptions(seed=1))
        weights.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_feasible_masks_by_name_and_under_a_certificate():
    mask = build_method("eupmu + feasible(lenient, delta=0.1)").recipe().stages[0].mask
    assert (type(mask), mask.delta) == (KeepUnlessHarmful, 0.1)
    assert isinstance(build_method("rl + feasible").recipe().stages[0].mask, KeepUnlessHarmful)
    certified = (
        build_method("rl + feasible(keep_if_harmless, delta=0.2, certify=true, test_batches=5)").recipe().stages[0].mask
    )
    assert (type(certified), certified.delta, certified.test_batches) == (SequentialTest, 0.2, 5)
    assert isinstance(certified.list_masks()[-1], KeepIfHarmless)


def test_three_parts_spelled_out():
    method = build_method(
        "custom", objective="uniform", surgery="unilateral(tolerance=0.5)", mask="saliency(fraction=0.2)"
    )
    stage = method.recipe().stages[0]
    assert isinstance(stage.surgery, Projection)
    assert float(stage.surgery.tolerance) == 0.5
    assert isinstance(build_method("custom").recipe().stages[0].surgery, EUPMUSurgery)


def test_the_runs_seed_reaches_objectives_that_draw():
    stage = CustomMethod(objective="random_label(exclude_true=true)").recipe(7).stages[0]
    assert stage.objectives.forget.seed == 7
    assert CustomMethod(objective="random_label(seed=2)").recipe(7).stages[0].objectives.forget.seed == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("salun + saliency", "mask of its own"),
        ("retrain + saliency", "only descends"),
        ("eupmu + saliency + saliency", "one mask"),
        ("eupmu + nothing", "'nothing'"),
        ("eupmu + saliency(kepp=0.3)", "'kepp'"),
        ("eupmu + saliency(fraction=3)", "share of weights"),
        ("eupmu + saliency(dense)", "by name"),
        ("eupmu + feasible(keep_unless_harmful, test_batches=5)", "certify=true"),
        ("eupmu + feasible(loose)", "'loose'"),
        ("eupmuu + saliency", "'eupmu'"),
        ("eupmu(epochs=2, epoch=3)", "'epoch'"),
        ("custom(objective='ascent', surgery='eupmu(log_loss=true)')", "logarithm"),
        ("custom(objective='ascent', surgery='eupmu_official(form=log)')", "logarithm"),
        ("custom(objective='nothing')", "'nothing'"),
        ("custom(mode='retain')", "paired or mixed"),
        ("custom(surgery='unilateral + fixed')", "one part"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(text, reason):
    with pytest.raises(ExpungeError, match=reason) as caught:
        build_method(text)
    assert "\n" not in str(caught.value)


def test_a_setting_cannot_be_given_twice():
    with pytest.raises(ConfigError, match="each setting once"):
        build_method("eupmu(epochs=2)", epochs=3)


SURGERIES = sorted(registry.list_entries("surgeries"))
OBJECTIVES = sorted(registry.list_entries("objectives", "classification"))
MASKS = [None, *sorted(registry.list_entries("masks"))]
NEGATIVE = {name for name, entry in registry.list_entries("objectives").items() if entry.target.can_be_negative}
REFUSED = set(itertools.product(("famo",), NEGATIVE))
ABSTAINING = {"probabilistic_agreement", "sequential_test", "keep_if_harmless"}
"""Masks that pass only what a few noisy batches show to be harmless: here perhaps nothing."""


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("surgery", SURGERIES)
def test_every_combination_runs_an_epoch_or_is_refused(surgery, mask):
    try:
        registry.find_component("surgeries", surgery)()
    except MissingExtraError as error:
        pytest.skip(str(error))
    for objective in OBJECTIVES:
        combined(surgery, objective, mask)


def combined(surgery, objective, mask):
    model, before = network(), network().state_dict()
    parts = {
        "surgery": surgery,
        "objective": objective,
        "mask": mask,
        "epochs": 1,
        "batch_size": 15,
        "forget_batch_size": 6,
    }
    if (surgery, objective) in REFUSED:
        with pytest.raises(ConfigError, match="logarithm"):
            CustomMethod(**parts)
        return
    run_recipe(Predictor(model), CustomMethod(**parts).recipe(), split(), RunOptions())
    state = model.state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values()), objective
    moved = any(not torch.equal(value, before[name]) for name, value in state.items())
    assert moved or mask in ABSTAINING, objective
