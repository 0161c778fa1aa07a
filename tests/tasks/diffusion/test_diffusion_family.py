"""Families: which objectives and settings are whose, and what is refused."""

import subprocess
import sys

import pytest
import torch
from flat_calls import flat_unlearn
from small_diffusion import CLASSES, image_split, small_model
from torch import nn

import expunge
from expunge import registry
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ExpungeError
from expunge.methods import EUPMU, build_method
from expunge.surgery import EUPMUOfficialSurgery
from expunge.tasks.builtin_tasks import Classification, Diffusion
from expunge.tasks.diffusion.objectives import NoiseMatching, OtherClass

METHODS = registry.list_entries("methods")
LOGITS = {
    "bad_teacher": "RandomTeacher",
    "boundary_expand": "ShadowClass",
    "boundary_shrink": "NearestWrongLabel",
    "neighbor_labels": "NeighborLabel",
    "l1_sparse": "L1Penalty",
    "scrub": "NegativeKL",
    "scrub_r": "NegativeKL",
    "sfr_on": "AdaptiveAscent",
}
"""Methods whose objectives need logits."""


def asked(**changes):
    split = image_split()
    settings = {"method": "rl", "epochs": 1, "batch_size": 16, **changes}
    return {"forget": split.forget, "retain": split.retain, "task": "diffusion", **settings}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_or_says_why_not(method):
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    needs, own = LOGITS.get(method), METHODS[method].target.task
    if own not in (None, "diffusion"):
        with pytest.raises(ConfigError, match=f"a method for diffusion, but found .*, which is for {own}"):
            flat_unlearn(model, **asked(method=method))
        return
    if needs is not None:
        with pytest.raises(ConfigError, match=f"an objective for diffusion, but found {needs}") as caught:
            flat_unlearn(model, **asked(method=method))
        assert "\n" not in str(caught.value)
        return
    result = flat_unlearn(model, **asked(method=method))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in result.model.state_dict().items())
    assert result.task == "diffusion"


def test_named_methods_take_the_objectives_of_the_family():
    (stage,) = Diffusion().translate_recipe(EUPMU().recipe()).stages
    assert isinstance(stage.objectives.forget, OtherClass)
    assert isinstance(stage.objectives.retain, NoiseMatching)
    assert repr(stage.surgery) == repr(EUPMU().recipe().stages[0].surgery)


@pytest.mark.parametrize(
    "entry", registry.list_entries("objectives", "diffusion").values(), ids=lambda entry: entry.name
)
def test_an_objective_of_one_family_is_refused_by_the_other(entry):
    with pytest.raises(ConfigError, match=f"an objective for classification, but found {entry.target.__name__}"):
        Classification().translate_objective(entry.target())
    own = entry.target()
    assert Diffusion().translate_objective(own) is own


def test_every_own_objective_stands_for_one_of_a_classifier():
    for replaced, own in Diffusion.objectives.items():
        assert replaced.task == "classification"
        assert own.task == "diffusion"
        assert type(Diffusion().translate_objective(replaced())) is own


def test_the_registry_tells_families_apart():
    every = set(registry.list_entries("objectives"))
    tasks = ("classification", "diffusion", "stable_diffusion", "regression")
    first, second, third, fourth = (set(registry.list_entries("objectives", task)) for task in tasks)
    assert first | second | third | fourth == every
    assert not (first | second | third) & fourth
    assert not first & second
    assert not (first | second) & third
    own = {"esd", "selective_amnesia", "spm", "uce"}
    assert own == set(METHODS) - set(registry.list_entries("methods", "classification"))


def test_settings_come_from_the_text_then_the_preset_then_the_method_then_the_family():
    family = Diffusion()
    assert family.resolve_settings("rl", {"lr": 0.5}) == {**Diffusion.defaults, "lr": 0.5}
    assert "lr" not in family.resolve_settings("ga", {}), "the method has a rate of its own"
    assert family.resolve_settings("eupmu", {"preset": "ddpm"}) == {"preset": "ddpm"}
    words = family.resolve_settings("rl(lr=0.5) + saliency(fraction=0.3)", {"epochs": 2})
    assert words == {"optimizer": "adamw", "weight_decay": 0.0, "batch_size": 64, "epochs": 2}
    assert build_method("rl(lr=0.5) + saliency(fraction=0.3)", **words).optimizer == "adamw"
    assert family.resolve_settings("eupmu(preset=ddpm)", {}) == {}
    assert family.resolve_settings("neggrad+", {}) == Diffusion.defaults
    assert Classification().resolve_settings("rl", {"epochs": 3}) == {"epochs": 3}


def test_the_preset_of_the_authors():
    method = build_method("eupmu", preset="ddpm")
    (stage,) = Diffusion().translate_recipe(method.recipe()).stages
    surgery = stage.surgery
    assert isinstance(surgery, EUPMUOfficialSurgery)
    assert (surgery.dual_rate, surgery.margin) == (0.025, 0.0)
    assert (stage.optimizer.max_grad_norm, stage.pairing) == (1.0, "mixed")
    result = flat_unlearn(small_model(), **asked(method="eupmu", preset="ddpm", batch_size=16))
    assert result.method.preset == "ddpm"


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, second, third = (flat_unlearn(small_model(), **asked(seed=seed)).model for seed in (1, 1, 2))
    pairs = zip(first.parameters(), second.parameters(), third.parameters(), strict=True)
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs)


def scaled(factor=1.0, shift=0.0, size=4):
    images = torch.linspace(0.0, 1.0, 8 * size * size).view(8, 1, size, size)
    return TensorExamples(images * factor + shift, torch.arange(8) % CLASSES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "difusion"}, "'difusion': did you mean 'diffusion'"),
        ({"model": nn.Linear(2, 2)}, "a DDPM, a network with its noise schedule, but found Linear"),
        ({"retain": scaled(255.0)}, r"scaled to \[-1, 1\], but found values from 0 to 255"),
        ({"retain": scaled()}, r"scaled to \[-1, 1\]"),
        ({"retain": scaled(2.0, -1.0, 8)}, r"images \(1, 4, 4\), channels first, but found \(1, 8, 8\)"),
        ({"retain": scaled(float("nan"))}, "finite"),
        ({"forget": TensorExamples(2 * torch.rand(4, 1, 4, 4) - 1, torch.full((4,), 9))}, "9"),
        ({"logits": lambda output: output}, "no logits="),
        ({"ema_decay": 1.0}, r"a decay in \[0, 1\)"),
        ({"method": "custom", "objective": "distil"}, "Distillation, which is for classification"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(changes, reason):
    model = changes.get("model", small_model())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ExpungeError, match=reason) as caught:
        flat_unlearn(model, **asked(**{name: value for name, value in changes.items() if name != "model"}))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_classifiers_refuse_objectives_of_diffusion_models():
    examples = TensorExamples(torch.randn(20, 3), torch.arange(20) % 2)
    sides = {"forget": TensorExamples(torch.randn(5, 3), torch.arange(5) % 2), "retain": examples}
    with pytest.raises(ConfigError, match="NoiseMatching, which is for diffusion"):
        flat_unlearn(nn.Linear(3, 2), **sides, method="custom(retain=noise_matching)")


def test_nothing_of_it_needs_the_library_before_it_is_used():
    code = (
        "import sys, expunge; from expunge.registry import list_entries\n"
        "for kind in ('objectives', 'methods', 'tasks'): list_entries(kind)\n"
        "print('diffusers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_missing_library_is_one_sentence_with_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    from expunge.tasks.diffusion.small_unet import small_ddpm

    with pytest.raises(expunge.errors.MissingExtraError, match=r"pip install 'expunge\[diffusion\]'"):
        small_ddpm(8)
