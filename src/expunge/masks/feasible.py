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
from expunge.surgery import Direction, Moments, Step, moments_of
from expunge.surgery.direction import whole

PAPER = "arXiv 2511.02435; the rule is a reconstruction"


class FeasibleMask(Mask, ABC):
    """Passes coordinates of the displacement by what batches beside the update's say of the gradients there.

    v = (θ − θ⁺)/η is what the optimiser would move; x̄_i and e_i are mean and standard error of one coordinate of the
    gradient over further batches (``Step.further``), independent of the batch that made v. The first update looks at
    several batches, then every K-th at one more; signs and mask are made anew at every update.

    The memory is twice that of the weights for each side that is estimated, or once with ``bf16``.

    Args:
        every: K, updates from one further batch to the next. Default 10.
        batches: Further batches at the first update, two at least. Default 8.
        decay: β of the exponential average over refreshes; None weighs all alike (Welford), for weights that hardly
            move. Default .9.
        bf16: Store the estimates in bfloat16. Default false.

    Raises:
        ConfigError: If a setting is out of its range; in the first update, if the step has no further batches.
        DataError: In the first update, if a side has too few examples for a further batch.

    Attributes:
        sides: Whose gradients are estimated.
        spread: Whether their standard errors are needed.
    """

    paper: ClassVar[str] = PAPER
    sides: ClassVar[tuple[Role, ...]] = ("retain",)
    spread: ClassVar[bool] = True

    def __init__(self, every: int, batches: int, decay: float | None, bf16: bool) -> None:
        super().__init__()
        if every < 1 or batches < 2 or not (decay is None or 0 < decay < 1):
            found = f"every={every}, batches={batches}, decay={decay}"
            raise ConfigError("every ≥ 1, batches ≥ 2 and a decay in (0, 1) or none", found, "change what is not")
        self.every, self.batches, self.decay, self.bf16 = every, batches, decay, bf16
        self.moments = nn.ModuleDict({side: moments_of(decay, bf16, self.spread) for side in self.sides})
        self.kept = torch.tensor(torch.nan)

    def of(self, side: Role) -> Moments:
        """Return the running estimate of one side's gradient."""
        found = self.moments[side]
        if not isinstance(found, Moments):
            raise ConfigError("running moments", type(found).__name__, "leave the mask's parts as they are")
        return found

    def observe(self, step: Step) -> None:
        """Look at further batches, if it is time to."""
        for side in self.sides:
            moments = self.of(side)
            if moments.count and step.progress.step % self.every:
                continue
            for gradient in step.further(side, 1 if moments.count else self.batches):
                moments.add(gradient)
                del gradient
            if not moments.count:
                cure = f"use a smaller {side} batch, or another mask"
                raise DataError(f"{side} examples for a batch beyond the update's own", "too few", cure)

    def choose(self, displacement: Direction, step: Step) -> Direction:
        """Return the mask of this displacement."""
        for side in self.sides:
            if self.of(side).pieces != len(displacement):
                found = f"estimates of {self.of(side).pieces} pieces for {len(displacement)}"
                raise ModelError("a mask that has observed the weights that move", found, "call observe first")
        chosen = self.weigh(displacement, step)
        self.kept = share(chosen)
        return chosen

    @abstractmethod
    def weigh(self, displacement: Direction, step: Step) -> Direction:
        """Return weights in [0, 1] from the displacement and the estimates."""

    def verdicts(self) -> Mapping[str, Tensor]:
        """Return the share of coordinates that passed."""
        return {"kept": self.kept}

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask; settings at their defaults are left out."""
        settings = inspect.signature(type(self)).parameters.items()
        changed = [(n, plain(getattr(self, n))) for n, p in settings if plain(getattr(self, n)) != p.default]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed)})"


def plain(setting: object) -> object:
    """Return a setting as the number it was given as."""
    return setting.item() if isinstance(setting, Tensor) else setting


def share(weights: Direction) -> Tensor:
    """Return the mean weight over all coordinates.

    Examples:
        >>> float(share(Direction([torch.tensor([True, False]), torch.tensor([1.0, 0.5])])))
        0.625
    """
    parts = [p.count_nonzero().float() if p.dtype == torch.bool else p.sum(dtype=torch.float32) for p in weights]
    return torch.stack([whole(part) for part in parts]).sum() / sum(piece.numel() for piece in weights)


def checked_level(delta: float) -> float:
    """Return an error level.

    Raises:
        ConfigError: If it is not in (0, ½).
    """
    if not 0 < delta < 0.5:
        raise ConfigError("an error level in (0, .5)", f"delta={delta}", "use for example .1")
    return delta
