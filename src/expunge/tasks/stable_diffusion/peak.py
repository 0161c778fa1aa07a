"""``peak_memory``: what a run that is asked for by name would need, before anything is started."""

from __future__ import annotations

from typing import Any

from expunge.engine import Conditions, Format
from expunge.methods import Method, build_method
from expunge.tasks.stable_diffusion.family import StableDiffusion
from expunge.tasks.stable_diffusion.memory import MemoryEstimate, estimated
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


def peak_memory(
    model: TextToImage,
    method: str | Method = "eupmu",
    *,
    precision: Format = "fp32",
    micro_batches: int = 1,
    average: bool = False,
    inplace: bool = False,
    **settings: Any,
) -> MemoryEstimate:
    """Return what unlearning would need at its peak, estimated from sizes; nothing is computed.

    Args:
        model: With the weights that are to be trained, see ``TextToImage.trainable``, and checkpointing as it will be.
        method: As for ``expunge.unlearn``.
        precision: As there. Default ``fp32``.
        micro_batches: As there. Default 1.
        average: Whether averaged weights are asked for. Default false.
        inplace: As there. Default false.
        **settings: Settings of the method, such as ``batch`` and ``optimiser``. Default: those of the family.

    Raises:
        ConfigError: If the method or a setting is not understood.
    """
    family = StableDiffusion()
    chosen = build_method(method, **family.settings(method, settings)) if isinstance(method, str) else method
    conditions = Conditions(precision=precision, micro_batches=micro_batches, average=0.5 if average else None)
    return estimated(model, family.recipe(chosen.recipe()), conditions, inplace)
