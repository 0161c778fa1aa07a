"""``peak_memory``: what a run that is asked for by name would need, before anything is started."""

from __future__ import annotations

from typing import Any

from expunge.engine import PrecisionName, RunOptions
from expunge.methods import Method, build_method
from expunge.tasks.stable_diffusion.memory import MemoryEstimate, estimate_memory
from expunge.tasks.stable_diffusion.task import StableDiffusion
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


def peak_memory(
    model: TextToImage,
    method: str | Method = "eupmu",
    *,
    precision: PrecisionName = "fp32",
    gradient_accumulation_steps: int = 1,
    use_ema: bool = False,
    inplace: bool = False,
    **settings: Any,
) -> MemoryEstimate:
    """Return what unlearning would need at its peak, estimated from sizes; nothing is computed.

    Args:
        model: With the weights that are to be trained, see ``TextToImage.set_trainable``, and checkpointing as it will
            be.
        method: As for ``expunge.unlearn``.
        precision: As there. Default ``fp32``.
        gradient_accumulation_steps: As there. Default 1.
        use_ema: Whether averaged weights are asked for. Default false.
        inplace: As there. Default false.
        **settings: Settings of the method, such as ``batch_size`` and ``optimizer``. Default: those of the family.

    Raises:
        ConfigError: If the method or a setting is not understood.
    """
    task = StableDiffusion()
    chosen = build_method(method, **task.resolve_settings(method, settings)) if isinstance(method, str) else method
    conditions = RunOptions(
        precision=precision, gradient_accumulation_steps=gradient_accumulation_steps, ema_decay=0.5 if use_ema else None
    )
    return estimate_memory(model, task.translate_recipe(chosen.recipe()), conditions, inplace)
