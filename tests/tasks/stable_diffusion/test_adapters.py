"""What may be trained, and adapters: added, switched, merged, saved alone."""

import copy
import sys

import pytest
import torch
from tiny_pipeline import tiny_model

from expunge.errors import CheckpointError, ConfigError, ExpungeError, MissingExtraError, ModelError
from expunge.tasks.stable_diffusion.adapters import (
    LAYER_PATTERNS,
    add_adapter,
    has_adapter,
    load_adapter,
    merge_adapter,
    save_adapter,
    set_adapter_strength,
)
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

PROMPTS = ["a cat", "a dog"]
peft = pytest.importorskip("peft", reason="peft is not installed (extra 'diffusion')")


def seen(model, dtype=torch.float32):
    noisy = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        return model(noisy, torch.tensor([3, 700]), torch.tensor([0, 1]))


def trained(model):
    return {name for name, weight in model.unet.named_parameters() if weight.requires_grad}


def with_adapter(rank=2, layers="cross_attention", dtype=torch.float64):
    """An adapter whose second factor is no longer zero."""
    model = tiny_model(PROMPTS, dtype).set_trainable("lora", rank=rank, layers=layers)
    with torch.no_grad():
        for number, (name, weight) in enumerate(model.unet.named_parameters()):
            if "lora_B" in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return model


def test_cross_attention_is_what_reads_the_prompt():
    """Of the held weights none sees the prompt directly: keys and values of it have the width of the text encoder."""
    model = tiny_model(PROMPTS)
    everything = trained(model.set_trainable("full"))
    assert len(everything) == len(list(model.parameters()))
    chosen = trained(model.set_trainable("cross_attention"))
    assert chosen < everything
    assert chosen
    for name, module in model.unet.named_modules():
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            assert module.in_features == model.prompt_embeddings.shape[2]
            assert f"{name}.weight" in chosen
    assert not [name for name in chosen if "attn2" not in name]
    assert trained(model.set_trainable("full")) == everything


@pytest.mark.parametrize("layers", LAYER_PATTERNS)
@pytest.mark.parametrize("rank", [1, 3])
def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained(layers, rank):
    model = tiny_model(PROMPTS, torch.float64)
    before, state = seen(model, torch.float64), torch.get_rng_state()
    weights = sum(weight.numel() for weight in model.parameters())
    model.set_trainable("lora", rank=rank, layers=layers)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(seen(model, torch.float64), before)
    names = trained(model)
    assert names
    assert all("lora_" in name for name in names)
    factors = [weight for name, weight in model.unet.named_parameters() if name in names]
    assert {min(factor.shape[:2]) for factor in factors} == {rank}
    assert sum(weight.numel() for weight in model.parameters()) == weights + sum(f.numel() for f in factors)


def test_more_layers_are_more():
    sizes = [len(trained(tiny_model(PROMPTS).set_trainable("lora", layers=layers))) for layers in LAYER_PATTERNS]
    assert sizes[0] < sizes[1] < sizes[2]


def test_strength_scales_what_the_adapter_adds():
    """On one layer the change is s·B·A·x, on the whole network 0 is the original."""
    model = with_adapter()
    original = seen(tiny_model(PROMPTS, torch.float64), torch.float64)
    layer = next(module for name, module in model.unet.named_modules() if name.endswith("attn2.to_k"))
    x = torch.randn(5, layer.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for strength in (1.0, 1.6, 0.0, 1.0):
        set_adapter_strength(model.unet, strength)
        change = layer.lora_B["expunge"].weight @ layer.lora_A["expunge"].weight
        expected = x @ (layer.base_layer.weight + strength * change).T
        torch.testing.assert_close(layer(x), expected)
        assert torch.equal(seen(model, torch.float64), original) == (strength == 0)


@pytest.mark.parametrize("strength", [1.0, 1.6])
@pytest.mark.parametrize("layers", LAYER_PATTERNS)
def test_merging_changes_no_answer_and_leaves_plain_layers(layers, strength):
    model, plain = with_adapter(layers=layers), tiny_model(PROMPTS, torch.float64)
    set_adapter_strength(model.unet, strength)
    before = seen(model, torch.float64)
    merge_adapter(model.unet)
    torch.testing.assert_close(seen(model, torch.float64), before)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert not has_adapter(model.unet)
    assert trained(model) == trained(plain)
    assert not torch.allclose(before, seen(plain, torch.float64))


def test_an_adapter_is_saved_alone_and_read_by_the_library_too(tmp_path):
    model = with_adapter(dtype=torch.float32)
    place = save_adapter(model, tmp_path / "adapter")
    assert [path.name for path in place.iterdir()] == ["pytorch_lora_weights.safetensors"]
    again = tiny_model(PROMPTS)
    load_adapter(again, place)
    torch.testing.assert_close(seen(again), seen(model))
    assert trained(again) == trained(model)
    other = tiny_model(PROMPTS)
    other.pipeline.load_lora_weights(str(place))
    torch.testing.assert_close(seen(other), seen(model))


def test_a_whole_model_is_written_with_its_adapter_merged(tmp_path):
    model = with_adapter(dtype=torch.float32)
    set_adapter_strength(model.unet, 1.5)
    before = seen(model)
    again = TextToImage.from_pretrained(model.save_pretrained(tmp_path / "model")).with_prompts(PROMPTS)
    torch.testing.assert_close(seen(again), before)
    assert not has_adapter(again.unet)
    assert has_adapter(model.unet), "the model itself stays as it is"
    assert torch.equal(seen(model), before)


def test_a_copy_has_an_adapter_of_its_own():
    model = with_adapter()
    other, before = copy.deepcopy(model), seen(model, torch.float64)
    set_adapter_strength(other.unet, 0.0)
    assert torch.equal(seen(model, torch.float64), before)
    assert not torch.equal(seen(other, torch.float64), before)


def test_checkpointing_gives_the_same_gradients():
    slopes = []
    for active in (False, True):
        model = tiny_model(PROMPTS, torch.float64).set_trainable("cross_attention").set_checkpointing(active)
        model.train()
        noisy = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        model(noisy, torch.tensor([3, 700]), torch.tensor([0, 1])).square().mean().backward()
        slopes.append([weight.grad for weight in model.parameters() if weight.requires_grad])
        assert model.unet.is_gradient_checkpointing == active
    assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))


def refused(reason, kind, action):
    with pytest.raises(ExpungeError, match=reason) as caught:
        action()
    assert isinstance(caught.value, kind)
    assert "\n" not in str(caught.value)


def test_what_makes_no_sense_is_refused(tmp_path):
    plain, adapted = tiny_model(PROMPTS), with_adapter()
    refused("a part to train", ConfigError, lambda: plain.set_trainable("decoder"))
    refused("rank ≥ 1", ConfigError, lambda: plain.set_trainable("lora", rank=0))
    refused("without an adapter", ConfigError, lambda: adapted.set_trainable("lora"))
    refused("without an adapter", ConfigError, lambda: adapted.set_trainable("full"))
    refused("a model with an adapter", ModelError, lambda: merge_adapter(plain.unet))
    refused("a model with an adapter", ModelError, lambda: set_adapter_strength(plain.unet, 1.0))
    refused("a model with an adapter", ModelError, lambda: save_adapter(plain, tmp_path / "none"))
    refused("a file 'pytorch_lora", CheckpointError, lambda: load_adapter(plain, tmp_path))
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"nothing")
    refused("whole safetensors file", CheckpointError, lambda: load_adapter(plain, tmp_path))
    refused("without an adapter", ConfigError, lambda: load_adapter(adapted, tmp_path))


def test_a_missing_library_is_one_sentence_with_the_install_line(monkeypatch):
    unet = tiny_model(PROMPTS).unet
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expunge\[diffusion\]'"):
        add_adapter(unet)
