"""The order in which an unlearning run meets its examples, a pure function of seed, epoch and step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from expunge.errors import ConfigError
from expunge.pair import Pair, Role

Pairing = Literal["paired", "mixed", "forget", "retain", "blocks", "interleaved", "leading"]

MIN_EXTRA_BATCHES = 16
"""Further batches that a retain set should give: by their defaults eight to choose a mask on, eight to test it on."""

_NO_INDICES = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class SampledIndices:
    """The examples of one update.

    Args:
        epoch: Epoch, from 0.
        step: Step within the epoch, from 0.
        forget: Positions in the forget set, ``(b,)`` int64; perhaps none.
        retain: Positions in the retain set, ``(b,)`` int64; perhaps none.
        draw_next_retain: Gives the retain positions of the next update.
    """

    epoch: int
    step: int
    forget: Tensor
    retain: Tensor
    draw_next_retain: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def next_retain_half(self) -> Tensor:
        """First half, rounded up, of the next update's retain positions: not among this update's within an epoch.

        It is found when it is first asked for, and costs nothing otherwise.
        """
        upcoming = self.draw_next_retain()
        return upcoming[: (len(upcoming) + 1) // 2]


class PairSampler:
    """Batches of positions in the forget set and the retain set.

    Every permutation comes from a generator of its own, seeded by ``seed``, its purpose and its number. So any update
    can be asked for by itself, and a run that resumes meets what a straight run meets.

    Args:
        sizes: Number of examples of each set.
        batch_sizes: Batch size of each side. A side with fewer examples than its batch size gives all of them.
        pairing: ``paired``: an epoch is one pass over the retain set, and the forget set is cycled by reshuffled
            passes, batches running over the border of two passes without repeating an example within a batch.
            ``mixed``: an epoch is one pass over the shuffled union, ``batch.forget + batch.retain`` at a time, and
            either half of a batch may be empty. ``forget`` and ``retain``: an epoch is one pass over that set, the
            other half is empty.
            ``blocks``: an epoch is one pass over the forget set, then one over the retain set, the other half empty
            each time. ``interleaved``: an epoch is one pass over the retain set, with an update on a batch of the
            cycled forget set alone before every ``ratio`` updates. ``leading``: an epoch is one pass over the retain
            set whose first updates have the batches of one pass over the forget set beside theirs; the other updates
            are of the retain set alone, and forget batches beyond the last update are left out.
        seed: Seed of all permutations.
        ratio: Retain updates for each forget update in mode ``interleaved``. Default 1.

    Raises:
        ConfigError: If the mode is unknown, or a side that it uses has no examples or no batch size.

    Examples:
        >>> stream = PairSampler(Pair(3, 10), Pair(2, 4), "paired", seed=0)
        >>> len(stream), stream.sample(0, 2).retain.shape, stream.sample(0, 2).forget.shape
        (3, torch.Size([2]), torch.Size([2]))
    """

    def __init__(
        self, sizes: Pair[int], batch_sizes: Pair[int], pairing: Pairing = "paired", seed: int = 0, ratio: int = 1
    ) -> None:
        _check_settings(sizes, batch_sizes, pairing, ratio)
        self.sizes, self.batch_sizes, self.pairing, self.seed, self.ratio = sizes, batch_sizes, pairing, seed, ratio
        self._permutations: dict[tuple[str, int], Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Number of updates in an epoch; the last may be smaller."""
        if self.pairing == "mixed":
            return _ceil_div(sum(self.sizes), sum(self.batch_sizes))
        if self.pairing == "forget":
            return self._count_batches("forget")
        retain = self._count_batches("retain")
        if self.pairing == "blocks":
            return self._count_batches("forget") + retain
        return retain + _ceil_div(retain, self.ratio) if self.pairing == "interleaved" else retain

    def _count_batches(self, side: Literal["forget", "retain"]) -> int:
        return _ceil_div(self.sizes.of(side), self.batch_sizes.of(side))

    def __len__(self) -> int:
        """Return the number of updates in an epoch."""
        return self.steps_per_epoch

    def sample(self, epoch: int, step: int) -> SampledIndices:
        """Return what one update uses.

        Args:
            epoch: Epoch, from 0.
            step: Step within the epoch, from 0 up to ``len(stream) - 1``.

        Raises:
            ConfigError: If there is no such update.
        """
        if epoch < 0 or not 0 <= step < len(self):
            actual = f"epoch {epoch}, step {step}"
            raise ConfigError(f"an epoch from 0 and a step from 0 to {len(self) - 1}", actual, "resume within the run")
        return SampledIndices(
            epoch, step, *self._pair_at(epoch, step), lambda: self._first_retain_from(*self._next_step(epoch, step))
        )

    def extra_indices(self, epoch: int, step: int, side: Role, batch_index: int) -> Tensor:
        """Return the positions of a batch beyond those of an update, drawn for it alone.

        Retain batches share no example with one another, the update's own batch or its probe, and are all of one size:
        the side's, or a smaller one where a small retain set would not give sixteen. Forget batches are drawn from the
        whole set, each by itself, because a forget set is often not larger than a batch.

        Args:
            epoch: Epoch of the update, from 0.
            step: Its step within the epoch, from 0.
            side: The side.
            batch_index: Which further batch, from 0.

        Returns:
            Positions ``(b,)`` int64; none where the side has no further batch.
        """
        update = epoch * len(self) + step
        if side == "forget":
            return self._permute(f"further forget {update}", batch_index, self.sizes.forget)[: self.batch_sizes.forget]
        order = self._cache_permutation("further", update, lambda: self._permute_unused(epoch, step))
        width = min(self.batch_sizes.retain, max(1, len(order) // MIN_EXTRA_BATCHES))
        batch = order[batch_index * width : (batch_index + 1) * width]
        return batch if len(batch) == width else _NO_INDICES

    def _permute_unused(self, epoch: int, step: int) -> Tensor:
        """Return the retain set in an order of its own, without what an update and its probe use."""
        draw, free = self.sample(epoch, step), torch.ones(self.sizes.retain, dtype=torch.bool)
        free[torch.cat([draw.retain, draw.next_retain_half])] = False
        order = self._permute("further retain", epoch * len(self) + step, self.sizes.retain)
        return order[free[order]]

    def _pair_at(self, epoch: int, step: int) -> Pair[Tensor]:
        match self.pairing:
            case "mixed":
                return self._mix(epoch, step)
            case "leading":
                return Pair(self._slice("forget", epoch, step), self._slice("retain", epoch, step))
            case "paired":
                return Pair(self._cycle_forget(epoch * len(self) + step), self._slice("retain", epoch, step))
            case "forget":
                return Pair(self._slice("forget", epoch, step), _NO_INDICES)
            case "retain":
                return Pair(_NO_INDICES, self._slice("retain", epoch, step))
            case "blocks":
                border = self._count_batches("forget")
                return (
                    self._one_sided_pair("forget", epoch, step)
                    if step < border
                    else self._one_sided_pair("retain", epoch, step - border)
                )
            case "interleaved":
                return self._interleave(epoch, step)

    def _one_sided_pair(self, side: Literal["forget", "retain"], epoch: int, step: int) -> Pair[Tensor]:
        part = self._slice(side, epoch, step)
        return Pair(part, _NO_INDICES) if side == "forget" else Pair(_NO_INDICES, part)

    def _interleave(self, epoch: int, step: int) -> Pair[Tensor]:
        group, position = divmod(step, self.ratio + 1)
        if position:
            return self._one_sided_pair("retain", epoch, group * self.ratio + position - 1)
        groups = _ceil_div(self._count_batches("retain"), self.ratio)
        return Pair(self._cycle_forget(epoch * groups + group), _NO_INDICES)

    def _first_retain_from(self, epoch: int, step: int) -> Tensor:
        if self.pairing == "forget":
            return _NO_INDICES
        indices = self._pair_at(epoch, step).retain
        while self.pairing in ("blocks", "interleaved") and not len(indices):
            epoch, step = self._next_step(epoch, step)
            indices = self._pair_at(epoch, step).retain
        return indices

    def _next_step(self, epoch: int, step: int) -> tuple[int, int]:
        return (epoch, step + 1) if step + 1 < len(self) else (epoch + 1, 0)

    def _slice(self, side: Literal["forget", "retain"], epoch: int, step: int) -> Tensor:
        order = self._cache_permutation(side, epoch, lambda: self._permute(side, epoch, self.sizes.of(side)))
        return order[step * self.batch_sizes.of(side) :][: self.batch_sizes.of(side)]

    def _mix(self, epoch: int, step: int) -> Pair[Tensor]:
        order = self._cache_permutation("mixed", epoch, lambda: self._permute("mixed", epoch, sum(self.sizes)))
        part = order[step * sum(self.batch_sizes) :][: sum(self.batch_sizes)]
        from_forget = part < self.sizes.forget
        return Pair(part[from_forget], part[~from_forget] - self.sizes.forget)

    def _cycle_forget(self, update: int) -> Tensor:
        """Return the forget batch of an update, counted from the start of the run."""
        size, width = self.sizes.forget, min(self.batch_sizes.forget, self.sizes.forget)
        number, start = divmod(update * width, size)
        batch = self._pass_order(number)[start : start + width]
        missing = width - len(batch)
        return torch.cat([batch, self._pass_order(number + 1)[:missing]]) if missing else batch

    def _pass_order(self, number: int) -> Tensor:
        return self._cache_permutation("pass", number, lambda: self._compute_pass_order(number))

    def _compute_pass_order(self, number: int) -> Tensor:
        """Return the order of one pass over the forget set.

        The batch that runs over the border takes the last examples of the pass before, so this pass must not start with
        them; its order therefore depends on that pass, and so on back to the last one whose border falls between
        batches.
        """
        size, width = self.sizes.forget, min(self.batch_sizes.forget, self.sizes.forget)
        first = number
        while (first * size) % width and ("pass", first) not in self._permutations:
            first -= 1
        order = self._permutations.get(("pass", first), self._permute("pass", first, size))
        for following in range(first + 1, number + 1):
            left_over = (following * size) % width
            order = _move_overlap_back(
                order[size - left_over :], self._permute("pass", following, size), (width - left_over) % width
            )
        return order

    def _permute(self, purpose: str, number: int, size: int) -> Tensor:
        digest = hashlib.sha256(f"{self.seed}/{purpose}/{number}".encode()).digest()
        return torch.randperm(size, generator=torch.Generator().manual_seed(int.from_bytes(digest[:7], "little")))

    def _cache_permutation(self, purpose: str, number: int, make: Callable[[], Tensor]) -> Tensor:
        """Return a permutation, keeping those of two epochs (or passes) at most."""
        key = (purpose, number)
        if key not in self._permutations:
            permutation = make()
            same = [cached for cached in self._permutations if cached[0] == purpose]
            for stale in same[:-1]:
                del self._permutations[stale]
            self._permutations[key] = permutation
        return self._permutations[key]


def _move_overlap_back(tail: Tensor, order: Tensor, head: int) -> Tensor:
    """Return ``order`` with its first ``head`` examples chosen, in their order, from those that are not in ``tail``."""
    if not len(tail):
        return order
    free = (~torch.isin(order, tail)).nonzero().flatten()[:head]
    rest = torch.ones(len(order), dtype=torch.bool).index_fill_(0, free, False)
    return torch.cat([order[free], order[rest]])


def _ceil_div(size: int, batch: int) -> int:
    return -(-size // batch)


def _check_settings(sizes: Pair[int], batch_sizes: Pair[int], pairing: str, ratio: int) -> None:
    if pairing not in get_args(Pairing):
        raise ConfigError(f"a stream's mode ({', '.join(get_args(Pairing))})", f"'{pairing}'", "choose one of them")
    if ratio < 1:
        raise ConfigError("one retain update or more for each forget update", f"ratio={ratio}", "change it")
    for side in ("forget", "retain"):
        width = sum(batch_sizes) if pairing == "mixed" else batch_sizes.of(side)
        if (pairing == side or pairing not in ("forget", "retain")) and (sizes.of(side) < 1 or width < 1):
            actual = f"{sizes.of(side)} examples and batch size {width}"
            raise ConfigError(
                f"at least one example to {side} and a batch size of 1 or more", actual, "correct the request"
            )
