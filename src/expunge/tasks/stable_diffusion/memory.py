"""Memory: how much an unlearning run needs at its peak, known before it starts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from expunge.batch import Split
from expunge.data.residency import free_memory as free_on_accelerator
from expunge.engine import Conditions, Descend, Recipe, Stage
from expunge.errors import ConfigError
from expunge.masks import Certified, Mask
from expunge.surgery import Fixed, Implicit, ImplicitFast, ImplicitPublished, Surgery
from expunge.tasks.diffusion.objectives import ElasticNoise
from expunge.tasks.stable_diffusion.simulation import pass_peak
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

STATE = {"adamw": 8, "adamw8bit": 2, "sgd": 4}
"""Bytes of an optimiser's memory for each trained weight."""
IMPLICIT = (Fixed, Implicit, ImplicitFast, ImplicitPublished)
"""Surgeries that backpropagate one combined loss."""
AT_ONCE = 4
"""Examples in one pass where gradients of whole data sets are computed: saliency, Fisher information."""
EDIT = 4
"""Things of the size of a gradient that a change in closed form holds beside one: information about both sides."""
GIB = 2**30


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes at the peak of a run, by what needs them; all on the device of the U-Net.

    Args:
        weights: The U-Net that is handed in.
        copies: Its copy that is unlearned, and the frozen ones that objectives ask.
        passes: Activations and gradients of one forward and backward pass.
        gradients: Further gradients that the surgery holds, and what a mask remembers.
        optimiser: The optimiser's memory, and the averaged weights if there are any.
        beside: Text encoder and autoencoder, where they are on the same device.
    """

    weights: int
    copies: int
    passes: int
    gradients: int
    optimiser: int
    beside: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def new(self) -> int:
        """What is not there yet before the run starts."""
        return self.total - self.weights - self.beside

    def __str__(self) -> str:
        """Return the parts in GiB."""
        parts = ", ".join(f"{field.name} {getattr(self, field.name) / GIB:.1f}" for field in fields(self))
        return f"{self.total / GIB:.1f} GiB ({parts})"


def estimated(
    model: TextToImage, recipe: Recipe, conditions: Conditions, inplace: bool, split: Split | None = None
) -> MemoryEstimate:
    """Return the estimate for a recipe, of the stage that needs most; batches are no larger than the split's sides."""
    descents = [stage for stage in recipe.stages if isinstance(stage, Descend)]
    told = (int(model.table.shape[1]), int(model.table.shape[2]))
    largest = max(at_once(stage, conditions, split) for stage in recipe.stages)
    passes = pass_peak(model.unet, model.form, told, largest, conditions.precision)
    trained = byte_size(model.unet, trained=True)
    held = max(held_gradients(stage) if isinstance(stage, Descend) else EDIT for stage in recipe.stages)
    state = max((STATE.get(stage.optimiser.name, 8) for stage in descents), default=0) * count(model.unet)
    frozen = sum(teachers(stage) for stage in descents)
    return MemoryEstimate(
        weights=byte_size(model.unet),
        copies=byte_size(model.unet) * (frozen + (not inplace)),
        passes=passes,
        gradients=trained * held,
        optimiser=state + trained * (conditions.average is not None),
        beside=byte_size_beside(model),
    )


def at_once(stage: Stage, conditions: Conditions, split: Split | None) -> int:
    """Return how many examples a stage passes through the U-Net at a time."""
    if not isinstance(stage, Descend):
        return AT_ONCE
    sizes = (
        stage.batch
        if split is None
        else (min(stage.batch.forget, len(split.forget)), min(stage.batch.retain, len(split.retain)))
    )
    # In a mixed batch a side may be nearly all of it.
    whole = sum(sizes) if stage.mode == "mixed" else max(sizes)
    return max(-(-whole // conditions.micro_batches), AT_ONCE if stage.mask is not None else 1)


def teachers(stage: Descend) -> int:
    """Return how many frozen copies of the model the objectives of a descent keep."""
    return sum(hasattr(one, "teacher") and getattr(one, "frozen", True) for one in stage.objectives)


def held_gradients(stage: Descend) -> int:
    """Return how many things of the size of a gradient a descent holds beside the gradient itself.

    The other side's gradient: explicit surgeries need it, of implicit ones it is recorded from time to time. The rule
    of a lookahead, and what surgeries remember, count as one more. A mask remembers the weights before the optimiser's
    step and weighs their displacement, and those that estimate noise keep two moments of each side's gradient. Elastic
    weights are remembered with their information, and the penalty has a gradient of its own.
    """
    elastic = 3 * sum(isinstance(one, ElasticNoise) for one in stage.objectives)
    return held_by(stage.surgery) + held_by_mask(stage.mask) + elastic


def held_by(surgery: Surgery) -> int:
    """Return the gradients that a surgery holds beside the first."""
    return 1 if isinstance(surgery, IMPLICIT) else 2


def held_by_mask(mask: Mask | None) -> int:
    """Return what a mask holds, in gradients."""
    if mask is None:
        return 0
    inner = mask.mask if isinstance(mask, Certified) else mask
    return 2 + 2 * (inner.__class__.__module__.rpartition(".")[2] not in ("saliency", "fisher_ratio", "proximal"))


def count(unet: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weight.numel() for weight in unet.parameters() if weight.requires_grad)


def byte_size(module: nn.Module, *, trained: bool = False) -> int:
    """Return the bytes of a module's weights, of all or of those that are trained."""
    chosen = (weight for weight in module.parameters() if weight.requires_grad or not trained)
    return sum(weight.numel() * weight.element_size() for weight in chosen)


def byte_size_beside(model: TextToImage) -> int:
    """Return the bytes of the frozen parts that lie on the device of the U-Net."""
    home = next(model.unet.parameters()).device
    parts = [part for part in model.frozen.parts.values() if isinstance(part, nn.Module)]
    return sum(byte_size(part) for part in parts if next(part.parameters()).device == home)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a device; None where that cannot be known."""
    if device.type != "cpu":
        return free_on_accelerator(device)
    known = (available(Path("/proc/meminfo")), in_group(Path("/sys/fs/cgroup")))
    return min((found for found in known if found is not None), default=None)


def available(meminfo: Path) -> int | None:
    """Return what Linux can lend without swapping."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return found[0] * 1024 if found else None


def in_group(folder: Path) -> int | None:
    """Return what the limit of a container leaves."""
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used))


def refuse_too_little(estimate: MemoryEstimate, free: int | None) -> None:
    """Refuse a run that needs more memory than is free.

    Raises:
        ConfigError: If it does.
    """
    if free is not None and estimate.new > free:
        cure = (
            "lower batch, raise micro_batches, call model.checkpointing() or model.trainable('lora'), "
            "or use precision='bf16' or optimiser='adamw8bit'"
        )
        raise ConfigError(f"{estimate.new / GIB:.1f} GiB of free memory", f"{free / GIB:.1f} GiB", cure)


def afford(model: TextToImage, recipe: Recipe, split: Split, conditions: Conditions, inplace: bool) -> None:
    """Refuse a run for which there is too little memory; where there is plenty, without a closer look.

    Raises:
        ConfigError: If the estimate exceeds what is free.
    """
    free = free_memory(next(model.unet.parameters()).device)
    batch = max(at_once(stage, conditions, split) for stage in recipe.stages)
    generous = byte_size(model.unet) * (20 + 20 * batch)
    if free is None or generous < free / 4:
        return
    refuse_too_little(estimated(model, recipe, conditions, inplace, split), free)
