"""Memory: how much an unlearning run needs at its peak, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from expunge.batch import Split
from expunge.data.device_examples import free_memory as free_on_accelerator
from expunge.engine import MethodRecipe, RunOptions, Stage, TrainStage
from expunge.errors import ConfigError
from expunge.masks import Mask, SequentialTest
from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery, EUPMUSurgery, Surgery, WeightedSum
from expunge.tasks.diffusion.objectives import ElasticNoise
from expunge.tasks.stable_diffusion.memory_tracker import activation_peak
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

OPTIMIZER_STATE_BYTES = {"adamw": 8, "adamw8bit": 2, "sgd": 4}
"""Bytes of an optimizer's memory for each trained weight."""
COMBINED_LOSS_SURGERIES = (WeightedSum, EUPMUSurgery, EUPMUFastSurgery, EUPMUOfficialSurgery)
"""Surgeries that backpropagate one combined loss."""
MAX_PASS_BATCH_SIZE = 4
"""Examples in one pass where gradients of whole data sets are computed: saliency, Fisher information."""
EDIT_MEMORY_FACTOR = 4
"""Things of the size of a gradient that a change in closed form holds beside one: information about both sides."""
GIB = 2**30


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak of a run, by what needs them; all on the device of the U-Net.

    Args:
        weights: The U-Net that is handed in.
        copies: Its copy that is unlearned, and the frozen ones that objectives ask.
        activations: Activations and gradients of one forward and backward pass.
        gradients: Further gradients that the surgery holds, and what a mask remembers.
        optimizer: The optimizer's memory, and the averaged weights if there are any.
        frozen_components: Text encoder and autoencoder, where they are on the same device.
    """

    weights: int
    copies: int
    activations: int
    gradients: int
    optimizer: int
    frozen_components: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def additional(self) -> int:
        """What is not there yet before the run starts."""
        return self.total - self.weights - self.frozen_components

    def __str__(self) -> str:
        """Return the parts in GiB."""
        parts = ", ".join(f"{field.name} {getattr(self, field.name) / GIB:.1f}" for field in fields(self))
        return f"{self.total / GIB:.1f} GiB ({parts})"


def estimate_memory(
    model: TextToImage, recipe: MethodRecipe, conditions: RunOptions, inplace: bool, split: Split | None = None
) -> MemoryEstimate:
    """Return the estimate for a recipe, of the stage that needs most; batches are no larger than the split's sides."""
    descents = [stage for stage in recipe.stages if isinstance(stage, TrainStage)]
    prompt_shape = (int(model.prompt_embeddings.shape[1]), int(model.prompt_embeddings.shape[2]))
    batch_size = max(stage_batch_size(stage, conditions, split) for stage in recipe.stages)
    activations = activation_peak(model.unet, model.sample_shape, prompt_shape, batch_size, conditions.precision)
    trained = module_bytes(model.unet, trained=True)
    gradient_copies = max(
        count_gradient_copies(stage) if isinstance(stage, TrainStage) else EDIT_MEMORY_FACTOR for stage in recipe.stages
    )
    state = max(
        (OPTIMIZER_STATE_BYTES.get(stage.optimizer.name, 8) for stage in descents), default=0
    ) * count_trainable(model.unet)
    frozen = sum(count_teachers(stage) for stage in descents)
    return MemoryEstimate(
        weights=module_bytes(model.unet),
        copies=module_bytes(model.unet) * (frozen + (not inplace)),
        activations=activations,
        gradients=trained * gradient_copies,
        optimizer=state + trained * (conditions.ema_decay is not None),
        frozen_components=frozen_bytes(model),
    )


def stage_batch_size(stage: Stage, conditions: RunOptions, split: Split | None) -> int:
    """Return how many examples a stage passes through the U-Net at a time."""
    if not isinstance(stage, TrainStage):
        return MAX_PASS_BATCH_SIZE
    sizes = (
        stage.batch_size
        if split is None
        else (min(stage.batch_size.forget, len(split.forget)), min(stage.batch_size.retain, len(split.retain)))
    )
    # In a mixed batch a side may be nearly all of it.
    total = sum(sizes) if stage.pairing == "mixed" else max(sizes)
    return max(
        -(-total // conditions.gradient_accumulation_steps), MAX_PASS_BATCH_SIZE if stage.mask is not None else 1
    )


def count_teachers(stage: TrainStage) -> int:
    """Return how many frozen copies of the model the objectives of a descent keep."""
    return sum(hasattr(one, "teacher") and getattr(one, "frozen", True) for one in stage.objectives)


def count_gradient_copies(stage: TrainStage) -> int:
    """Return how many things of the size of a gradient a descent holds beside the gradient itself.

    The other side's gradient: explicit surgeries need it, of implicit ones it is recorded from time to time. The rule
    of a lookahead, and what surgeries remember, count as one more. A mask remembers the weights before the optimizer's
    step and weighs their displacement, and those that estimate noise keep two moments of each side's gradient. Elastic
    weights are remembered with their information, and the penalty has a gradient of its own.
    """
    elastic = 3 * sum(isinstance(one, ElasticNoise) for one in stage.objectives)
    return surgery_gradient_copies(stage.surgery) + mask_gradient_copies(stage.mask) + elastic


def surgery_gradient_copies(surgery: Surgery) -> int:
    """Return the gradients that a surgery holds beside the first."""
    return (1 if isinstance(surgery, COMBINED_LOSS_SURGERIES) else 2) + surgery.keeps_gradients


def mask_gradient_copies(mask: Mask | None) -> int:
    if mask is None:
        return 0
    inner = mask.mask if isinstance(mask, SequentialTest) else mask
    return 2 + 2 * (inner.__class__.__module__.rpartition(".")[2] not in ("saliency", "fisher_ratio", "soft_threshold"))


def count_trainable(unet: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weight.numel() for weight in unet.parameters() if weight.requires_grad)


def module_bytes(module: nn.Module, *, trained: bool = False) -> int:
    chosen = (weight for weight in module.parameters() if weight.requires_grad or not trained)
    return sum(weight.numel() * weight.element_size() for weight in chosen)


def frozen_bytes(model: TextToImage) -> int:
    """Return the bytes of the frozen parts that lie on the device of the U-Net."""
    device = next(model.unet.parameters()).device
    parts = [part for part in model.frozen_components.parts.values() if isinstance(part, nn.Module)]
    return sum(module_bytes(part) for part in parts if next(part.parameters()).device == device)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a device; None where that cannot be known."""
    if device.type != "cpu":
        return free_on_accelerator(device)
    limits = (available_memory(Path("/proc/meminfo")), cgroup_available(Path("/sys/fs/cgroup")))
    return min((free for free in limits if free is not None), default=None)


def available_memory(meminfo: Path) -> int | None:
    """Return what Linux can lend without swapping."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kibibytes[0] * 1024 if kibibytes else None


def cgroup_available(folder: Path) -> int | None:
    """Return what the limit of a container leaves."""
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def check_fits(estimate: MemoryEstimate, free: int | None) -> None:
    """Refuse a run that needs more memory than is free."""
    if free is not None and estimate.additional > free:
        hint = (
            "lower batch, raise micro_batches, call model.set_checkpointing() or model.set_trainable('lora'), "
            "or use precision='bf16' or optimizer='adamw8bit'"
        )
        raise ConfigError(f"{estimate.additional / GIB:.1f} GiB of free memory", f"{free / GIB:.1f} GiB", hint)


def check_memory(model: TextToImage, recipe: MethodRecipe, split: Split, conditions: RunOptions, inplace: bool) -> None:
    """Refuse a run for which there is too little memory; where there is plenty, without a closer look."""
    free = free_memory(next(model.unet.parameters()).device)
    batch = max(stage_batch_size(stage, conditions, split) for stage in recipe.stages)
    upper_bound = module_bytes(model.unet) * (20 + 20 * batch)
    if free is None or upper_bound < free / 4:
        return
    check_fits(estimate_memory(model, recipe, conditions, inplace, split), free)
