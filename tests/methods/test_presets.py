"""Presets: the authors' numbers, what wins over them, and what a result says of them."""

import dataclasses

import pytest
import torch
from torch import nn

import expunge
from expunge.data import PairSampler, TensorExamples
from expunge.errors import ConfigError
from expunge.methods import EUPMU, FineTune, Method, build_method
from expunge.pair import Pair
from expunge.surgery import EUPMUOfficialSurgery

PUBLISHED = """
    cifar10-class     1e-3    1  .01  0
    cifar10-10        3e-3    1  .01  0
    cifar10-30        1e-2    1  .01  0
    cifar10-50        3e-2    1  .05  .3
    cifar100-10       3e-3    5  .25  0
    cifar100-30       5e-3    3  .5   0
    cifar100-50       5e-3    3  .5   0
    tiny-imagenet-10  7.5e-3  8  .12  0
"""
"""Data set and share; rate, dual rate, error, w₀: the settings of the authors' runs."""
ROWS = [(name, *map(float, numbers)) for name, *numbers in map(str.split, PUBLISHED.strip().splitlines())]


@pytest.mark.parametrize(("name", "rate", "dual_rate", "error", "start"), ROWS, ids=lambda value: str(value))
def test_a_preset_runs_with_the_authors_numbers(name, rate, dual_rate, error, start):
    (stage,) = build_method("eupmu", preset=name).recipe(4).stages
    surgery, optimizer = stage.surgery, stage.optimizer
    assert isinstance(surgery, EUPMUOfficialSurgery)
    assert (surgery.margin, surgery.dual_rate, surgery.decay, surgery.initial_weight) == (error, dual_rate, 0.01, start)
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (rate, 0.9, 5e-4)
    assert (optimizer.name, optimizer.schedule, optimizer.max_grad_norm) == ("sgd", "constant", 1.0)
    assert (stage.epochs, stage.pairing, stage.objectives.forget.exclude_true) == (5, "mixed", False)
    draw = PairSampler(Pair(30, 970), stage.batch_size, stage.pairing, 0).sample(0, 0)
    assert len(draw.forget) + len(draw.retain) == 256


def test_these_are_all():
    assert list(EUPMU.presets) == [*(name for name, *_ in ROWS), "ddpm", "stable-diffusion"]


@pytest.mark.parametrize(
    "written", [{"lr": 0.01}, {"max_grad_norm": None}, {"initial_multiplier": 1.0}, {"epochs": 2, "margin": 0.01}]
)
def test_what_is_written_wins_even_where_it_is_the_methods_default(written):
    method = build_method("eupmu", preset="cifar10-50", **written)
    numbers = dict(EUPMU.presets["cifar10-50"])
    assert {name: getattr(method, name) for name in numbers} == {**numbers, **written}


def test_words_and_spelling():
    expected = build_method("eupmu", preset="tiny-imagenet-10", epochs=2)
    for text in (
        "eupmu(preset='tiny-imagenet-10', epochs=2)",
        "implicit(preset=tiny_imagenet_10, epochs=2)",
        "eupmu(preset='Tiny-ImageNet-10', epochs=2)",
    ):
        assert build_method(text).settings() == expected.settings()
    assert build_method("eupmu(preset='tiny-imagenet-10')", epochs=2) == expected


def test_a_mask_keeps_the_preset():
    masked = build_method("eupmu(preset='cifar100-10') + saliency(fraction=0.3)")
    assert masked.settings()["preset"] == "cifar100-10"
    assert repr(masked.recipe().stages[0].surgery) == repr(EUPMU(**EUPMU.presets["cifar100-10"]).make_surgery())


def test_settings_are_the_numbers_and_rebuild_the_method():
    method = build_method("eupmu", preset="cifar10_10", lr=0.002)
    settings = method.settings()
    assert (settings["preset"], settings["lr"], settings["margin"]) == ("cifar10-10", 0.002, 0.01)
    assert settings["as_published"] is True
    assert (settings["form"], settings["max_grad_norm"]) == ("release", 1.0)
    assert build_method("eupmu", **settings).settings() == settings


def test_without_a_preset_nothing_is_said_of_one():
    assert "preset" not in EUPMU().settings()
    assert build_method("eupmu", preset=None) == EUPMU()
    changed = dataclasses.replace(build_method("eupmu", preset="cifar10-10"), lr=0.5)
    assert "preset" not in changed.settings()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("eupmu(preset='cifar10-1')", r"cifar10-class, cifar10-10.*'cifar10-1': did you mean 'cifar10-10'"),
        ("eupmu(preset='mnist')", "found 'mnist': choose one of them"),
        ("eupmu(preset=[1])", "choose one of them"),
        ("eupmu(preset='cifar10-10', as_published=false)", "the form that the numbers of 'cifar10-10'"),
        ("eupmu(preset='cifar10-10', tolerance=0.1)", "margin= to steer the released form"),
        ("eupmu(preset='cifar10-10', dual=adam)", "margin= to steer the released form"),
        ("eupmu(presets='cifar10-10')", "did you mean 'preset'"),
        ("eupmu(margin=0.05)", "tolerance= to steer this form.*margin=0.05 without as_published"),
        ("eupmu(decay=0.1)", "remove decay"),
        ("eupmu(dual=newton)", "usable value for 'dual'"),
        ("ft(preset='cifar10-10')", "a setting of 'ft'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(text, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        build_method(text)
    assert "\n" not in str(caught.value)


def test_any_method_may_have_presets(monkeypatch):
    monkeypatch.setattr(FineTune, "presets", {"slow-start": {"lr": 1e-3, "epochs": 7}})
    method = build_method("ft", preset="slow_start", epochs=2)
    assert (method.lr, method.epochs, method.settings()["preset"]) == (1e-3, 2, "slow-start")
    assert not Method.presets


def test_unlearning_takes_a_preset():
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(40, 3, generator=generator), torch.arange(40) % 2
    sides = [TensorExamples(inputs[part], targets[part]) for part in (slice(0, 8), slice(8, 40))]
    torch.manual_seed(0)
    result = expunge.unlearn(
        nn.Linear(3, 2),
        forget=sides[0],
        retain=sides[1],
        task="classification",
        method="eupmu",
        preset="cifar10-class",
        epochs=2,
    )
    assert len(result.history) == 2, "two epochs of one batch of the union"
    assert result.method.settings()["preset"] == "cifar10-class"
