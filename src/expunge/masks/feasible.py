"""The base of masks that judge the displacement by running estimates of gradients."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.errors import ConfigError, DataError, ModelError
from expunge.masks.mask import Mask
from expunge.pair import Role
from expunge.surgery import Direction, Moments, Step, make_moments
from expunge.surgery.direction import full_tensor

PAPER = "arXiv 2511.02435; the rule is a reconstruction"


class FeasibleMask(Mask, ABC):
    """Passes coordinates of the displacement by what batches beside the update's say of the gradients there.

    v = (θ − θ⁺)/η is what the optimizer would move; x̄_i and e_i are mean and standard error of one coordinate of the
    gradient over further batches (``Step.further``), independent of the batch that made v. The first update looks at
    several batches, then every K-th at one more; signs and mask are made anew at every update.

    The memory is twice that of the weights for each side that is estimated, or once with ``bf16``.

    Args:
        refresh_every: K, updates from one further batch to the next. Default 10.
        initial_batches: Further batches at the first update, two at least. Default 8.
        decay: β of the exponential average over refreshes; None weighs all alike (Welford), for weights that hardly
            move. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.
        DataError: In the first update, if a side has too few examples for a further batch.

    Attributes:
        sides: Whose gradients are estimated.
        needs_variance: Whether their standard errors are needed.
    """

    paper: ClassVar[str] = PAPER
    sides: ClassVar[tuple[Role, ...]] = ("retain",)
    needs_variance: ClassVar[bool] = True

    def __init__(self, refresh_every: int, initial_batches: int, decay: float | None, bf16: bool) -> None:
        super().__init__()
        if refresh_every < 1 or initial_batches < 2 or not (decay is None or 0 < decay < 1):
            actual = f"refresh_every={refresh_every}, initial_batches={initial_batches}, decay={decay}"
            raise ConfigError(
                "refresh_every ≥ 1, initial_batches ≥ 2 and a decay in (0, 1) or none", actual, "change what is not"
            )
        self.refresh_every, self.initial_batches, self.decay, self.bf16 = refresh_every, initial_batches, decay, bf16
        self.moments = nn.ModuleDict({side: make_moments(decay, bf16, self.needs_variance) for side in self.sides})
        self.last_fraction = torch.tensor(torch.nan)

    def get_moments(self, side: Role) -> Moments:
        """Return the running estimate of one side's gradient."""
        moments = self.moments[side]
        if not isinstance(moments, Moments):
            raise ConfigError("running moments", type(moments).__name__, "leave the mask's parts as they are")
        return moments

    def observe(self, step: Step) -> None:
        """Look at further batches, if it is time to."""
        for side in self.sides:
            moments = self.get_moments(side)
            if moments.count and step.progress.step % self.refresh_every:
                continue
            for gradient in step.extra_gradients(side, 1 if moments.count else self.initial_batches):
                moments.add(gradient)
                del gradient
            if not moments.count:
                hint = f"use a smaller {side} batch, or another mask"
                raise DataError(f"{side} examples for a batch beyond the update's own", "too few", hint)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return the mask of this displacement."""
        for side in self.sides:
            if self.get_moments(side).num_pieces != len(displacement):
                actual = f"estimates of {self.get_moments(side).num_pieces} pieces for {len(displacement)}"
                raise ModelError("a mask that has observed the weights that move", actual, "call observe first")
        chosen = self.compute_from_moments(displacement, step)
        self.last_fraction = compute_kept_fraction(chosen)
        return chosen

    @abstractmethod
    def compute_from_moments(self, displacement: Direction, step: Step) -> Direction:
        """Return weights in [0, 1] from the displacement and the estimates."""

    def stats(self) -> Mapping[str, Tensor]:
        """Return the share of coordinates that passed."""
        return {"mask_density": self.last_fraction}

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask; settings at their defaults are left out."""
        settings = inspect.signature(type(self)).parameters.items()
        changed = [(n, as_number(getattr(self, n))) for n, p in settings if as_number(getattr(self, n)) != p.default]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed)})"


def as_number(setting: object) -> object:
    return setting.item() if isinstance(setting, Tensor) else setting


def compute_kept_fraction(weights: Direction) -> Tensor:
    """Return the mean weight over all coordinates.

    Examples:
        >>> float(compute_kept_fraction(Direction([torch.tensor([True, False]), torch.tensor([1.0, 0.5])])))
        0.625
    """
    parts = [p.count_nonzero().float() if p.dtype == torch.bool else p.sum(dtype=torch.float32) for p in weights]
    return torch.stack([full_tensor(part) for part in parts]).sum() / sum(piece.numel() for piece in weights)


def validate_level(delta: float) -> float:
    """Return an error level."""
    if not 0 < delta < 0.5:
        raise ConfigError("an error level in (0, .5)", f"delta={delta}", "use for example .1")
    return delta
