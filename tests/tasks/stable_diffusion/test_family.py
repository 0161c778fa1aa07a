"""Unlearning from end to end: every method on a text-to-image model, its run folder, and what is refused."""

import json

import pytest
import torch
from flat_calls import flat_unlearn
from tiny_pipeline import tiny_model
from torch import nn

from expunge import registry
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ExpungeError
from expunge.methods import EUPMU
from expunge.tasks.builtin_tasks import Classification, Diffusion, StableDiffusion
from expunge.tasks.diffusion.objectives import NoiseAscent, NoiseMatching
from expunge.tasks.stable_diffusion.adapters import load_adapter, set_adapter_strength
from expunge.tasks.stable_diffusion.concept import Concept
from expunge.tasks.stable_diffusion.concept_split import concept_split
from expunge.tasks.stable_diffusion.objectives import OtherPrompt
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

LOGITS = {
    "bad_teacher",
    "boundary_expand",
    "boundary_shrink",
    "neighbor_labels",
    "l1_sparse",
    "scrub",
    "scrub_r",
    "sfr_on",
}
"""Methods whose objectives need logits."""
METHODS = sorted(registry.list_entries("methods"))


@pytest.fixture(scope="module")
def split():
    concept = Concept("cat", ["a cat", "a photo of a cat"], "a dog")
    return concept_split(tiny_model(), concept, ["a dog", "a car", "red"], per_prompt=4, steps=1)


def asked(split, **changes):
    settings = {"method": "rl", "epochs": 1, "batch_size": 4, "lr": 1e-3, **changes}
    return {"forget": split.forget, "retain": split.retain, "task": "stable_diffusion", **settings}


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("method", [*METHODS, "eupmu + feasible(lenient)", "lur + saliency(fraction=0.5)"])
def test_every_method_serves_or_says_why_not(split, method):
    before = weights(split.model)
    if method in LOGITS:
        with pytest.raises(ConfigError, match="an objective for stable_diffusion, but found"):
            flat_unlearn(split.model, **asked(split, method=method))
        return
    result = flat_unlearn(split.model, **asked(split, method=method))
    assert not moved(split.model, before)
    assert moved(result.model, before)
    assert result.task == "stable_diffusion"


@pytest.mark.parametrize("part", ["cross_attention", "lora"])
@pytest.mark.parametrize("method", ["eupmu", "lur", "salun", "rl + feasible(lenient)", "msg", "ssd"])
def test_only_the_chosen_part_changes(split, method, part):
    model = tiny_model()
    told = concept_split(model, Concept("cat", ["a cat"], "a dog"), ["a car"], per_prompt=8, steps=1)
    told.model.set_trainable(part)
    before, free = weights(told.model), {n for n, w in told.model.named_parameters() if w.requires_grad}
    result = flat_unlearn(told.model, **asked(told, method=method, lr=1e-2))
    changed = moved(result.model, before)
    assert changed
    assert changed <= free


def test_an_epoch_of_forgetting_lowers_the_loss_to_the_anchor(split):
    """What the cat's prompt predicts comes nearer to what the dog's does, and the kept prompts stay where they are."""
    original = split.model
    result = flat_unlearn(original, **asked(split, method="eupmu", epochs=4, lr=5e-3))
    noisy = torch.randn(16, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    times = torch.arange(16) * 60

    def gap(model, first, second, other=None):
        with torch.no_grad():
            one, two = (
                m(noisy, times, torch.full((16,), int(original.prompt_indices([text]))))
                for m, text in ((model, first), (other or model, second))
            )
        return float((one - two).square().mean())

    assert gap(result.model, "a cat", "a dog") < 0.7 * gap(original, "a cat", "a dog")


def test_a_run_leaves_a_pipeline_that_can_be_read_and_its_settings(split, tmp_path):
    result = flat_unlearn(split.model, **asked(split, method="eupmu", ema_decay=0.5, precision="bf16"))
    run = result.save(tmp_path / "run")
    again = TextToImage.from_pretrained(run / "unlearned")
    assert not moved(again, result.model.state_dict())
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "history.jsonl", "result.json", "unlearned"]
    config = json.loads((run / "config.json").read_text())
    assert (config["method"]["optimizer"], config["run_config"]["precision"]) == ("adamw", "bf16")
    assert len((run / "history.jsonl").read_text().splitlines()) == len(result.history) > 0


def test_an_adapter_is_left_beside_the_merged_pipeline(split, tmp_path):
    model = tiny_model()
    told = concept_split(model, Concept("cat", ["a cat"], "a dog"), ["a car"], per_prompt=8, steps=1)
    told.model.set_trainable("lora", rank=1)
    result = flat_unlearn(told.model, **asked(told, method="eupmu", lr=1e-2))
    run = result.save(tmp_path / "run")
    merged, fresh = TextToImage.from_pretrained(run / "unlearned"), tiny_model()
    load_adapter(fresh, run / "adapter")
    prompts, settings = ["a cat", "a car"], {"steps": 2, "guidance": 2.0}
    images = result.model.images(prompts, **settings)
    torch.testing.assert_close(merged.images(prompts, **settings), images, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fresh.images(prompts, **settings), images, rtol=1e-4, atol=1e-5)
    set_adapter_strength(fresh.unet, 0.0)
    torch.testing.assert_close(fresh.images(prompts, **settings), tiny_model().images(prompts, **settings))


def test_methods_for_classifiers_take_the_objectives_of_the_family():
    family = StableDiffusion()
    (stage,) = family.translate_recipe(EUPMU().recipe()).stages
    assert isinstance(stage.objectives.forget, OtherPrompt)
    assert isinstance(stage.objectives.retain, NoiseMatching)
    own = NoiseAscent()
    assert family.translate_objective(own) is own
    for other in (Diffusion(), Classification()):
        with pytest.raises(ConfigError, match=f"an objective for {other.name}, but found OtherPrompt"):
            other.translate_objective(OtherPrompt())


def test_the_task_has_its_short_names():
    assert (
        registry.find_component("tasks", "sd")
        is registry.find_component("tasks", "stable-diffusion")
        is StableDiffusion
    )


def test_the_same_seed_gives_the_same_bits_and_another_does_not(split):
    first, second, third = (weights(flat_unlearn(split.model, **asked(split, seed=s)).model) for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def broken(examples, factor):
    return TensorExamples(examples.inputs * factor, examples.targets)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            lambda split: {"model": nn.Linear(2, 2)},
            "a TextToImage, a pipeline .*, but found Linear",
        ),
        (lambda split: {"model": tiny_model()}, "one that knows the empty prompt alone"),
        (lambda split: {"retain": broken(split.retain, float("nan"))}, "latents of finite real numbers"),
        (
            lambda split: {"forget": TensorExamples(torch.zeros(4, 3, 8, 8), torch.zeros(4).long())},
            r"latents \(4, 4, 4\), but found \(3, 8, 8\)",
        ),
        (lambda split: {"logits": lambda output: output}, "no logits="),
        (lambda split: {"forget": TensorExamples(split.forget.inputs, torch.full((8,), 9))}, "labels from 0 to"),
        (lambda split: {"forget": split.retain, "retain": split.forget}, "an anchor for each forgotten prompt"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(split, changes, reason):
    changed = {**asked(split), "model": split.model, **changes(split)}
    before = weights(split.model)
    with pytest.raises(ExpungeError, match=reason) as caught:
        flat_unlearn(changed.pop("model"), **changed)
    assert "\n" not in str(caught.value)
    assert not moved(split.model, before)


def test_the_preset_of_the_authors(split):
    sides = {"forget": split.forget, "retain": split.retain, "task": "sd"}
    result = flat_unlearn(split.model, **sides, method="eupmu", preset="stable-diffusion")
    (stage,) = StableDiffusion().translate_recipe(result.method.recipe()).stages
    assert (stage.surgery.dual_rate, stage.surgery.margin) == (3.0, 0.5)
    assert (stage.pairing, sum(stage.batch_size), stage.optimizer.lr, stage.epochs) == ("mixed", 8, 1e-5, 5)
    assert isinstance(stage.objectives.forget, OtherPrompt)
