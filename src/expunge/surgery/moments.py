"""Running moments: what several gradients of one loss say about their mean, coordinate by coordinate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from expunge.surgery.direction import Direction, to_float32, to_local


class Moments(nn.Module, ABC):
    """Weighted mean and variance of gradients of independent batches, in parameter-shaped pieces.

    Formula: with weights w_k ≥ 0 that sum to 1, x̄ = Σ w_k x_k and s̃² = Σ w_k (x_k − x̄)². The t-th gradient enters with
    its weight α: δ = x_t − x̄, x̄ ← x̄ + αδ, s̃² ← (1 − α)(s̃² + αδ²). The mean's standard error is e = √(s̃²/(n − 1))
    with the effective sample size n = 1/Σw_k². The variance estimate has the degrees of freedom that match its first
    two moments (Satterthwaite), ν = (1 − q₂)²/(q₂ − 2q₃ + q₂²), q_j = Σ w_k^j; for equal weights ν = t − 1.

    The memory is twice that of the weights, or once with ``bf16``; a gradient is taken in in place of its own memory.

    Args:
        bf16: Store in bfloat16, rounded at random so that small changes are kept on average. Default false.
        track_variance: Keep the variance; without it there is a mean only, in half the memory. Default true.
    """

    def __init__(self, bf16: bool = False, track_variance: bool = True) -> None:
        super().__init__()
        self.bf16, self.track_variance = bf16, track_variance
        self.count, self.num_pieces = 0, 0

    @abstractmethod
    def last_weight(self) -> float:
        """Return α, the weight of the last gradient among ``count``."""

    @abstractmethod
    def weight_power_sum(self, exponent: int) -> float:
        """Return Σ w_k^exponent over ``count`` gradients."""

    @property
    def effective_sample_size(self) -> float:
        """Effective sample size n = 1/Σw_k²; 0 before the first gradient."""
        return 1 / self.weight_power_sum(2) if self.count else 0.0

    @property
    def degrees_of_freedom(self) -> int:
        """Degrees of freedom of the variance, rounded down; 0 where there is none, below two gradients."""
        if self.count < 2:
            return 0
        second, third = self.weight_power_sum(2), self.weight_power_sum(3)
        return math.floor((1 - second) ** 2 / (second - 2 * third + second**2) + 1e-6)

    @torch.no_grad()
    def add(self, gradient: Direction) -> None:
        """Take in the gradient of one more batch; its memory is used and its values are lost."""
        if not self.num_pieces:
            kind = torch.bfloat16 if self.bf16 else None
            self._set_pieces(*([torch.zeros_like(p, dtype=kind) for p in gradient] for _ in self._names()))
        self.count += 1
        moments = [self._get_pieces(name) for name in self._names()]
        if not self.bf16:
            update_moments(gradient.pieces, *moments, weight=self.last_weight())
            return
        generator = torch.Generator(gradient.pieces[0].device).manual_seed(self.count)
        # Where ranks have parts, each rounds its own: what is drawn is other than on one process, its mean is not.
        for piece, *stored in zip(
            map(to_local, gradient.pieces), *(map(to_local, pieces) for pieces in moments), strict=True
        ):
            wide = [one.to(piece.dtype) for one in stored]
            update_moments([piece], *([one] for one in wide), weight=self.last_weight())
            for one, new in zip(stored, wide, strict=True):
                one.copy_(stochastic_round(new, generator))

    def means(self) -> Iterator[Tensor]:
        """Yield x̄ piece by piece, in float32 at least."""
        yield from (to_float32(piece) for piece in self._get_pieces("mean"))

    def estimates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x̄, e) piece by piece, in float32 at least; e is 0 below two gradients, where it is unknown."""
        for mean, variance in self.raw_moments():
            yield to_float32(mean), self.standard_error(variance)

    def raw_moments(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (x̄, s̃²) piece by piece as they are held: not copied, and not to be changed."""
        yield from zip(self._get_pieces("mean"), self._get_pieces("spread"), strict=True)

    def standard_error(self, variance: Tensor) -> Tensor:
        """Return e for any part of s̃², in float32 at least and in memory of its own."""
        scale = 1 / (self.effective_sample_size - 1) if self.count > 1 else 0.0
        return (to_float32(variance) * scale).sqrt_()

    def _names(self) -> tuple[str, ...]:
        return ("mean", "spread") if self.track_variance else ("mean",)

    def _get_pieces(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}_{index}") for index in range(self.num_pieces)]

    def _set_pieces(self, *lists: Sequence[Tensor]) -> None:
        for name in list(self._buffers):
            delattr(self, name)
        self.num_pieces = len(lists[0])
        for name, pieces in zip(self._names(), lists, strict=True):
            for index, piece in enumerate(pieces):
                self.register_buffer(f"{name}_{index}", piece)

    def get_extra_state(self) -> Tensor:
        """Return how many gradients there were; on the host, because weights and quantiles depend on it."""
        return torch.tensor(self.count)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over how many gradients there were."""
        self.count = int(state)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Make room for the pieces before they are loaded: new moments do not know how many there are."""
        stored = [[v.clone() for k, v in state_dict.items() if k.startswith(f"{prefix}{n}_")] for n in self._names()]
        self._set_pieces(*stored)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class WelfordMoments(Moments):
    """Equal weights: the mean and variance of all gradients so far (Welford, 1962).

    Formula: w_k = 1/t, so n = t, s̃² = M₂/t, e² = M₂/(t(t − 1)) and ν = t − 1.

    Args:
        bf16: Store in bfloat16. Default false.
        track_variance: Keep the variance. Default true.

    Examples:
        >>> moments = WelfordMoments()
        >>> for value in (1.0, 2.0, 6.0):
        ...     moments.add(Direction([torch.tensor([value])]))
        >>> [(float(mean), round(float(error), 4)) for mean, error in moments.estimates()]
        [(3.0, 1.5275)]
    """

    def last_weight(self) -> float:
        """Return 1/t."""
        return 1 / self.count

    def weight_power_sum(self, exponent: int) -> float:
        """Return t^(1 − exponent)."""
        return float(self.count) ** (1 - exponent)


class EMAMoments(Moments):
    """Weights that decay with age, so that gradients of weights long left behind fade; exact from the first on.

    Formula: w_k = (1 − β) β^(t−k)/(1 − βᵗ), the bias-corrected exponential average, with effective sample size
    n = (1 + β)(1 − βᵗ)/((1 − β)(1 + βᵗ)).

    Args:
        decay: β in (0, 1). Default .9: n approaches 19, ν 18.
        bf16: Store in bfloat16. Default false.
        track_variance: Keep the variance. Default true.

    Examples:
        >>> moments = EMAMoments(0.5)
        >>> for value in (0.0, 3.0):
        ...     moments.add(Direction([torch.tensor([value])]))
        >>> float(next(moments.means())), round(moments.effective_sample_size, 4)
        (2.0, 1.8)
    """

    def __init__(self, decay: float = 0.9, bf16: bool = False, track_variance: bool = True) -> None:
        super().__init__(bf16, track_variance)
        self.decay = decay

    def last_weight(self) -> float:
        """Return (1 − β)/(1 − βᵗ)."""
        return (1 - self.decay) / (1 - self.decay**self.count)

    def weight_power_sum(self, exponent: int) -> float:
        """Return (1 − β)^j (1 − β^{jt})/((1 − β^j)(1 − βᵗ)^j), j the exponent."""
        faded = self.decay**exponent
        return float(self.last_weight() ** exponent * (1 - faded**self.count) / (1 - faded))


def make_moments(decay: float | None, bf16: bool = False, track_variance: bool = True) -> Moments:
    """Return ``EMAMoments`` of that decay, or ``WelfordMoments`` where it is None."""
    return WelfordMoments(bf16, track_variance) if decay is None else EMAMoments(decay, bf16, track_variance)


def update_moments(
    gradient: list[Tensor], mean: list[Tensor], variance: list[Tensor] | None = None, *, weight: float
) -> None:
    """Let a gradient enter mean and spread with its weight, all in place; the gradient ends as its deviation."""
    torch._foreach_sub_(gradient, mean)
    torch._foreach_add_(mean, gradient, alpha=weight)
    if variance is not None:
        torch._foreach_addcmul_(variance, gradient, gradient, value=weight)
        torch._foreach_mul_(variance, 1 - weight)


def stochastic_round(value: Tensor, generator: torch.Generator) -> Tensor:
    """Return bfloat16 neighbors of a tensor, drawn so that their expectation is its value.

    Rounding to nearest would lose every change below one part in 256: a mean over many gradients would stand still, and
    its variance with it. The lower half of a float32 is the probability of the upper neighbor.
    """
    bits = value.float().view(torch.int32)
    noise = torch.randint(0, 2**16, bits.shape, dtype=torch.int32, device=bits.device, generator=generator)
    return (bits + noise).bitwise_and_(-(2**16)).view(torch.float32).to(torch.bfloat16)
