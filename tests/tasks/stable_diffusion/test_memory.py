"""The estimate of memory against what the profiler sees, its parts, and the refusal."""

import gc
import sys

import pytest
import torch
from flat_calls import flat_unlearn
from tiny_pipeline import libraries, tiny_model
from torch.profiler import ProfilerActivity, profile

from expunge.errors import ConfigError, MissingExtraError
from expunge.tasks.stable_diffusion import memory
from expunge.tasks.stable_diffusion.concept import Concept
from expunge.tasks.stable_diffusion.concept_split import concept_split
from expunge.tasks.stable_diffusion.memory import module_bytes
from expunge.tasks.stable_diffusion.memory_tracker import activation_peak
from expunge.tasks.stable_diffusion.peak_memory import peak_memory

SD1 = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": 8,
}
"""The configuration of Stable Diffusion 1.x."""


def prepared(part="full"):
    split = concept_split(tiny_model(), Concept("cat", ["a cat"], "a dog"), ["a car"], per_prompt=24, steps=1)
    split.model.set_trainable(part)
    return split


def measured(run):
    """The most bytes that were allocated at a time during a run and not before it, as the profiler of torch sees."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


CASES = [
    ("full", {"method": "ft"}),
    ("full", {"method": "eupmu"}),
    ("full", {"method": "eupmu", "batch_size": 24}),
    ("full", {"method": "lur", "optimizer": "sgd"}),
    ("full", {"method": "rl + feasible(lenient)"}),
    ("full", {"method": "esd", "ema_decay": 0.9}),
    ("full", {"method": "ssd"}),
    ("cross_attention", {"method": "salun"}),
    ("cross_attention", {"method": "eupmu", "batch_size": 24, "precision": "bf16"}),
    ("lora", {"method": "spm"}),
    ("lora", {"method": "eupmu", "batch_size": 24, "gradient_accumulation_steps": 4}),
]


@pytest.mark.parametrize(("part", "asked"), CASES)
def test_the_estimate_is_what_the_profiler_measures(part, asked):
    split = prepared(part)
    wanted = {**asked, "use_ema": bool(asked.get("ema_decay"))}
    wanted.pop("ema_decay", None)
    estimate = peak_memory(split.model, **wanted).additional
    sides = {"forget": split.forget, "retain": split.retain, "task": "sd", "epochs": 1}
    found = measured(lambda: flat_unlearn(split.model, **sides, **asked))
    assert 0.8 * found < estimate < 1.3 * found


def test_a_pass_is_what_the_profiler_measures():
    model = prepared("cross_attention").model.train()
    noisy, times, told = torch.randn(6, 4, 4, 4), torch.arange(6), torch.zeros(6).long()
    found = measured(lambda: model(noisy, times, told).square().mean().backward())
    assert activation_peak(
        model.unet, model.sample_shape, tuple(model.prompt_embeddings.shape[1:]), 6
    ) == pytest.approx(found, rel=0.1)


def test_the_estimate_computes_nothing_and_leaves_the_model_as_it_was():
    model = prepared("lora").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    free, state = [weight.requires_grad for weight in model.parameters()], torch.get_rng_state()
    peak_memory(model, "eupmu")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [weight.requires_grad for weight in model.parameters()] == free
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_parts_are_known_sizes():
    model = prepared().model
    size = module_bytes(model.unet)
    assert size == sum(weight.numel() * 4 for weight in model.parameters())
    plain = peak_memory(model, "eupmu")
    assert (plain.weights, plain.copies, plain.optimizer) == (size, size, 2 * size)
    assert plain.total == plain.additional + plain.weights + plain.frozen_components
    assert peak_memory(model, "eupmu", inplace=True).copies == 0
    assert peak_memory(model, "esd").copies == 2 * size, "a frozen copy guides it"
    assert peak_memory(model, "eupmu", optimizer="sgd").optimizer == size
    assert peak_memory(model, "eupmu", use_ema=True).optimizer == 3 * size
    frozen = [model.pipeline.vae, model.pipeline.text_encoder]
    assert plain.frozen_components == sum(module_bytes(part) for part in frozen)
    assert "GiB (weights 0.0" in str(plain)


def test_each_switch_saves_memory():
    model = prepared().model
    plain = peak_memory(model, "eupmu", batch_size=24).additional
    assert peak_memory(model, "eupmu", batch_size=24, precision="bf16").additional < plain
    assert peak_memory(model, "eupmu", batch_size=24, gradient_accumulation_steps=4).additional < plain
    assert peak_memory(model.set_checkpointing(), "eupmu", batch_size=24).additional < plain
    model.set_checkpointing(False).set_trainable("cross_attention")
    assert peak_memory(model, "eupmu", batch_size=24).additional < plain


def sd1():
    """The U-Net of Stable Diffusion 1.x, its weights without memory."""
    diffusers, _ = libraries()
    with torch.device("meta"):
        return diffusers.UNet2DConditionModel(**SD1)


def test_stable_diffusion_1_is_known_without_its_weights():
    """Its U-Net has 859,520,964 weights; in single precision one example needs 3.2 GiB of gradients at least."""
    unet = sd1()
    assert sum(weight.numel() for weight in unet.parameters()) == 859_520_964
    gib = activation_peak(unet, (4, 64, 64), (77, 768), 1) / 2**30
    assert 3.2 < gib < 6


def test_a_run_that_does_not_fit_is_refused_before_it_starts(monkeypatch):
    split = prepared()
    sides = {"forget": split.forget, "retain": split.retain, "task": "sd", "epochs": 1}
    monkeypatch.setattr(memory, "free_memory", lambda device: 300_000)
    monkeypatch.setattr("expunge.api.unlearning.clone_model", None)
    with pytest.raises(ConfigError, match=r"of free memory, but found 0.0 GiB: lower batch, raise") as caught:
        flat_unlearn(split.model, **sides)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert len(flat_unlearn(split.model, **sides).history) == 3


def test_free_memory_is_the_smaller_of_machine_and_container(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:  5 kB\n")
    assert memory.available_memory(tmp_path / "meminfo") == 5 * 1024
    assert memory.available_memory(tmp_path / "none") is None
    assert memory.cgroup_available(tmp_path) is None
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.cgroup_available(tmp_path) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.cgroup_available(tmp_path) is None
    for found, expected in (((5, 3), 3), ((5, None), 5), ((None, None), None)):
        monkeypatch.setattr(memory, "available_memory", lambda path, found=found: found[0])
        monkeypatch.setattr(memory, "cgroup_available", lambda path, found=found: found[1])
        assert memory.free_memory(torch.device("cpu")) == expected
    assert memory.free_memory(torch.device("meta")) is None


def test_an_optimizer_of_8_bits_needs_its_library(monkeypatch):

    split = prepared("lora")
    sides = {"forget": split.forget, "retain": split.retain, "task": "sd", "epochs": 1}
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expunge\[eight-bit\]'"):
        flat_unlearn(split.model, **sides, optimizer="adamw8bit")
    with pytest.raises(ConfigError, match="optimizer"):
        flat_unlearn(split.model, **sides, optimizer="adam")
