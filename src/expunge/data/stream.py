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

Mode = Literal["paired", "mixed", "forget", "retain", "blocks", "interleaved", "leading"]

ENOUGH = 16
"""Further batches that a retain set should give: by their defaults eight to choose a mask on, eight to test it on."""

_NONE = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Draw:
    """The examples of one update.

    Args:
        epoch: Epoch, from 0.
        step: Step within the epoch, from 0.
        forget: Positions in the forget set, ``(b,)`` int64; perhaps none.
        retain: Positions in the retain set, ``(b,)`` int64; perhaps none.
        following: Gives the retain positions of the next update.
    """

    epoch: int
    step: int
    forget: Tensor
    retain: Tensor
    following: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def probe(self) -> Tensor:
        """First half, rounded up, of the next update's retain positions: not among this update's within an epoch.

        It is found when it is first asked for, and costs nothing otherwise.
        """
        upcoming = self.following()
        return upcoming[: (len(upcoming) + 1) // 2]


class PairStream:
    """Batches of positions in the forget set and the retain set.

    Every permutation comes from a generator of its own, seeded by ``seed``, its purpose and its number. So any update
    can be asked for by itself, and a run that resumes meets what a straight run meets.

    Args:
        sizes: Number of examples of each set.
        batch: Batch size of each side. A side with fewer examples than its batch size gives all of them.
        mode: ``paired``: an epoch is one pass over the retain set, and the forget set is cycled by reshuffled passes,
            batches running over the border of two passes without repeating an example within a batch. ``mixed``: an
            epoch is one pass over the shuffled union, ``batch.forget + batch.retain`` at a time, and either half of a
            batch may be empty. ``forget`` and ``retain``: an epoch is one pass over that set, the other half is empty.
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
        >>> stream = PairStream(Pair(3, 10), Pair(2, 4), "paired", seed=0)
        >>> len(stream), stream.at(0, 2).retain.shape, stream.at(0, 2).forget.shape
        (3, torch.Size([2]), torch.Size([2]))
    """

    def __init__(
        self, sizes: Pair[int], batch: Pair[int], mode: Mode = "paired", seed: int = 0, ratio: int = 1
    ) -> None:
        _check(sizes, batch, mode, ratio)
        self.sizes, self.batch, self.mode, self.seed, self.ratio = sizes, batch, mode, seed, ratio
        self._kept: dict[tuple[str, int], Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Number of updates in an epoch; the last may be smaller."""
        if self.mode == "mixed":
            return _parts(sum(self.sizes), sum(self.batch))
        if self.mode == "forget":
            return self._passes("forget")
        retain = self._passes("retain")
        if self.mode == "blocks":
            return self._passes("forget") + retain
        return retain + _parts(retain, self.ratio) if self.mode == "interleaved" else retain

    def _passes(self, side: Literal["forget", "retain"]) -> int:
        return _parts(self.sizes.of(side), self.batch.of(side))

    def __len__(self) -> int:
        """Return the number of updates in an epoch."""
        return self.steps_per_epoch

    def at(self, epoch: int, step: int) -> Draw:
        """Return what one update uses.

        Args:
            epoch: Epoch, from 0.
            step: Step within the epoch, from 0 up to ``len(stream) - 1``.

        Raises:
            ConfigError: If there is no such update.
        """
        if epoch < 0 or not 0 <= step < len(self):
            found = f"epoch {epoch}, step {step}"
            raise ConfigError(f"an epoch from 0 and a step from 0 to {len(self) - 1}", found, "resume within the run")
        return Draw(epoch, step, *self._sides(epoch, step), lambda: self._retain(*self._after(epoch, step)))

    def further(self, epoch: int, step: int, of: Role, number: int) -> Tensor:
        """Return the positions of a batch beyond those of an update, drawn for it alone.

        Retain batches share no example with one another, the update's own batch or its probe, and are all of one size:
        the side's, or a smaller one where a small retain set would not give sixteen. Forget batches are drawn from the
        whole set, each by itself, because a forget set is often not larger than a batch.

        Args:
            epoch: Epoch of the update, from 0.
            step: Its step within the epoch, from 0.
            of: The side.
            number: Which further batch, from 0.

        Returns:
            Positions ``(b,)`` int64; none where the side has no further batch.
        """
        update = epoch * len(self) + step
        if of == "forget":
            return self._shuffled(f"further forget {update}", number, self.sizes.forget)[: self.batch.forget]
        order = self._remembered("further", update, lambda: self._beyond(epoch, step))
        width = min(self.batch.retain, max(1, len(order) // ENOUGH))
        batch = order[number * width : (number + 1) * width]
        return batch if len(batch) == width else _NONE

    def _beyond(self, epoch: int, step: int) -> Tensor:
        """Return the retain set in an order of its own, without what an update and its probe use."""
        draw, free = self.at(epoch, step), torch.ones(self.sizes.retain, dtype=torch.bool)
        free[torch.cat([draw.retain, draw.probe])] = False
        order = self._shuffled("further retain", epoch * len(self) + step, self.sizes.retain)
        return order[free[order]]

    def _sides(self, epoch: int, step: int) -> Pair[Tensor]:
        match self.mode:
            case "mixed":
                return self._mixed(epoch, step)
            case "leading":
                return Pair(self._slice("forget", epoch, step), self._slice("retain", epoch, step))
            case "paired":
                return Pair(self._cycled(epoch * len(self) + step), self._slice("retain", epoch, step))
            case "forget":
                return Pair(self._slice("forget", epoch, step), _NONE)
            case "retain":
                return Pair(_NONE, self._slice("retain", epoch, step))
            case "blocks":
                border = self._passes("forget")
                return self._one("forget", epoch, step) if step < border else self._one("retain", epoch, step - border)
            case "interleaved":
                return self._interleaved(epoch, step)

    def _one(self, side: Literal["forget", "retain"], epoch: int, step: int) -> Pair[Tensor]:
        part = self._slice(side, epoch, step)
        return Pair(part, _NONE) if side == "forget" else Pair(_NONE, part)

    def _interleaved(self, epoch: int, step: int) -> Pair[Tensor]:
        group, place = divmod(step, self.ratio + 1)
        if place:
            return self._one("retain", epoch, group * self.ratio + place - 1)
        groups = _parts(self._passes("retain"), self.ratio)
        return Pair(self._cycled(epoch * groups + group), _NONE)

    def _retain(self, epoch: int, step: int) -> Tensor:
        if self.mode == "forget":
            return _NONE
        found = self._sides(epoch, step).retain
        while self.mode in ("blocks", "interleaved") and not len(found):
            epoch, step = self._after(epoch, step)
            found = self._sides(epoch, step).retain
        return found

    def _after(self, epoch: int, step: int) -> tuple[int, int]:
        return (epoch, step + 1) if step + 1 < len(self) else (epoch + 1, 0)

    def _slice(self, side: Literal["forget", "retain"], epoch: int, step: int) -> Tensor:
        order = self._remembered(side, epoch, lambda: self._shuffled(side, epoch, self.sizes.of(side)))
        return order[step * self.batch.of(side) :][: self.batch.of(side)]

    def _mixed(self, epoch: int, step: int) -> Pair[Tensor]:
        order = self._remembered("mixed", epoch, lambda: self._shuffled("mixed", epoch, sum(self.sizes)))
        part = order[step * sum(self.batch) :][: sum(self.batch)]
        forgets = part < self.sizes.forget
        return Pair(part[forgets], part[~forgets] - self.sizes.forget)

    def _cycled(self, update: int) -> Tensor:
        """Return the forget batch of an update, counted from the start of the run."""
        size, width = self.sizes.forget, min(self.batch.forget, self.sizes.forget)
        number, start = divmod(update * width, size)
        batch = self._pass(number)[start : start + width]
        missing = width - len(batch)
        return torch.cat([batch, self._pass(number + 1)[:missing]]) if missing else batch

    def _pass(self, number: int) -> Tensor:
        return self._remembered("pass", number, lambda: self._ordered_pass(number))

    def _ordered_pass(self, number: int) -> Tensor:
        """Return the order of one pass over the forget set.

        The batch that runs over the border takes the last examples of the pass before, so this pass must not start with
        them; its order therefore depends on that pass, and so on back to the last one whose border falls between
        batches.
        """
        size, width = self.sizes.forget, min(self.batch.forget, self.sizes.forget)
        first = number
        while (first * size) % width and ("pass", first) not in self._kept:
            first -= 1
        order = self._kept.get(("pass", first), self._shuffled("pass", first, size))
        for following in range(first + 1, number + 1):
            left_over = (following * size) % width
            order = _after(
                order[size - left_over :], self._shuffled("pass", following, size), (width - left_over) % width
            )
        return order

    def _shuffled(self, purpose: str, number: int, size: int) -> Tensor:
        named = hashlib.sha256(f"{self.seed}/{purpose}/{number}".encode()).digest()
        return torch.randperm(size, generator=torch.Generator().manual_seed(int.from_bytes(named[:7], "little")))

    def _remembered(self, purpose: str, number: int, make: Callable[[], Tensor]) -> Tensor:
        """Return a permutation, keeping those of two epochs (or passes) at most."""
        key = (purpose, number)
        if key not in self._kept:
            made = make()
            same = [known for known in self._kept if known[0] == purpose]
            for stale in same[:-1]:
                del self._kept[stale]
            self._kept[key] = made
        return self._kept[key]


def _after(tail: Tensor, order: Tensor, head: int) -> Tensor:
    """Return ``order`` with its first ``head`` examples chosen, in their order, from those that are not in ``tail``."""
    if not len(tail):
        return order
    free = (~torch.isin(order, tail)).nonzero().flatten()[:head]
    rest = torch.ones(len(order), dtype=torch.bool).index_fill_(0, free, False)
    return torch.cat([order[free], order[rest]])


def _parts(size: int, batch: int) -> int:
    return -(-size // batch)


def _check(sizes: Pair[int], batch: Pair[int], mode: str, ratio: int) -> None:
    if mode not in get_args(Mode):
        raise ConfigError(f"a stream's mode ({', '.join(get_args(Mode))})", f"'{mode}'", "choose one of them")
    if ratio < 1:
        raise ConfigError("one retain update or more for each forget update", f"ratio={ratio}", "change it")
    for side in ("forget", "retain"):
        width = sum(batch) if mode == "mixed" else batch.of(side)
        if (mode == side or mode not in ("forget", "retain")) and (sizes.of(side) < 1 or width < 1):
            found = f"{sizes.of(side)} examples and batch size {width}"
            raise ConfigError(
                f"at least one example to {side} and a batch size of 1 or more", found, "correct the request"
            )
