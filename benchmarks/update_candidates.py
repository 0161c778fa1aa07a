"""What is compared: one update of plain fine-tuning, written without Expunge, of every surgery, and under every mask.

A candidate has a name: a way of plain fine-tuning (``joint``, ``split``), a surgery (``weighted_sum``), a surgery
under a mask (``weighted_sum + saliency``), or that with its memory in bfloat16 (``weighted_sum + saliency, bf16``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import nn
from torch.nn import functional
from update_workload import CLASSES, Workload

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import Stepper
from expunge.errors import MissingExtraError
from expunge.masks import Mask
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.registry import find_component, list_entries
from expunge.surgery import Progress, Surgery

Update = Callable[[], object]

TOTAL = 10_000
"""Updates of the descent that the measured ones are the first of: what fades over a run has hardly begun to."""
WAYS = {"frozen": ("joint", "split"), "joint": ("joint",), "separate": ("split",)}
"""Policy → the ways to write plain fine-tuning whose normalisation layers see the same statistics."""
BF16 = ", bf16"
REFRESH = 10
"""K, updates from one further batch of a feasible mask to the next: what an update costs is a mean over so many."""
BASES = {"keep_unless_harmful": ("weighted_sum", "eupmu")}
"""Mask → the surgeries that are measured under it; the others are measured on ``weighted_sum``."""


def joint_way(work: Workload) -> Update:
    """Return plain fine-tuning with one forward and one backward pass over the union, which is in memory as one."""
    model, optimiser = plain(work), work.optimiser()
    images, labels = work.union

    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return update


def split_way(work: Workload) -> Update:
    """Return plain fine-tuning with one forward and one backward pass on each half, gradients accumulated."""
    model, optimiser = plain(work), work.optimiser()

    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        for images, labels in (work.forget, work.retain):
            functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return update


def plain(work: Workload) -> nn.Module:
    """Return the model in training mode, its batch-norm layers in evaluation mode under the policy ``frozen``."""
    work.model.train()
    if work.policy == "frozen":
        for module in work.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return work.model


class Repeated:
    """Updates through Stepper, one a call.

    Args:
        work: The workload; half-size retain batches and further batches are at hand for those that ask for them.
        surgery: The rule.
        mask: Prepared here, on the forget batch and the retain batch.

    Attributes:
        number: Of the next update.
    """

    def __init__(self, work: Workload, surgery: Surgery, mask: Mask | None = None) -> None:
        if mask is not None:
            forget, retain = TensorExamples(*work.forget), TensorExamples(*work.retain)
            mask.prepare(Predictor(work.model.eval()), Split(forget, retain, CLASSES))
        objectives = Pair(CrossEntropy(), CrossEntropy())
        self.step = Stepper(work.model, work.optimiser(), surgery, objectives, mask, batch_norm=work.policy)
        self.work, self.number = work, 0

    def __call__(self) -> None:
        """Make one update."""
        work, progress = self.work, Progress(self.number, TOTAL)
        self.step(work.forget, work.retain, lambda: work.fresh, extra_batches=work.further, progress=progress)
        self.number += 1


def missing(kind: str, name: str) -> str | None:
    """Return what to do to have something that is registered but not installed; None where it is there."""
    try:
        find_component(kind, name)()
    except MissingExtraError as error:
        return error.hint
    return None


def surgeries() -> list[str]:
    """Return every registered surgery that can be built here."""
    return [name for name in list_entries("surgeries") if missing("surgeries", name) is None]


def masked() -> list[str]:
    """Return every registered mask that can be built here, over its base."""
    found = [name for name in list_entries("masks") if missing("masks", name) is None]
    return [f"{base} + {name}" for name in found for base in BASES.get(name, ("weighted_sum",))]


def absent() -> dict[str, str]:
    """Return what is registered and not installed, with what to do about it."""
    found = {name: missing(kind, name) for kind in ("surgeries", "masks") for name in list_entries(kind)}
    return {name: cure for name, cure in found.items() if cure is not None}


def base_of(name: str) -> str:
    """Return the surgery of a masked candidate.

    Examples:
        >>> base_of("weighted_sum + keep_unless_harmful"), mask_of("weighted_sum + keep_unless_harmful, bf16")
        ('weighted_sum', 'keep_unless_harmful')
    """
    return name.split(" + ")[0]


def mask_of(name: str) -> str:
    """Return the mask of a masked candidate."""
    return name.split(" + ")[1].removesuffix(BF16)


def in_bf16(name: str) -> str | None:
    """Return the candidate that keeps its mask's memory in bfloat16; None where the mask has no such setting."""
    settings = inspect.signature(find_component("masks", mask_of(name))).parameters
    return f"{name}{BF16}" if "bf16" in settings else None


def build(name: str, work: Workload) -> Update:
    """Return one candidate's update."""
    if name in ("joint", "split"):
        return joint_way(work) if name == "joint" else split_way(work)
    surgery = find_component("surgeries", base_of(name))()
    if " + " not in name:
        return Repeated(work, surgery)
    mask = find_component("masks", mask_of(name))
    return Repeated(work, surgery, mask(bf16=True) if name.endswith(BF16) else mask())
