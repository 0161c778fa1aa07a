"""Stepper: one unlearning update for users who have a training loop of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from expunge.batch import Batch, Predictor
from expunge.engine.finite import refuse_not_finite
from expunge.engine.further import Further
from expunge.engine.guard import guarded
from expunge.engine.half import Setting
from expunge.engine.normalisation import checked_policy, prepare_modes
from expunge.engine.precision import Format, precision_for
from expunge.engine.randomness import mixed_seed
from expunge.engine.shareable import refuse_undistributed
from expunge.engine.step import EngineStep, Probe
from expunge.engine.stepper_checks import check_optimizer, check_parts
from expunge.engine.telemetry import Observation
from expunge.engine.wrapped import ranks_of
from expunge.errors import ConfigError, DataError, ModelError
from expunge.forward import check_gradients_on
from expunge.kinds import kinds_checked
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import Progress, Surgery


class Move(NamedTuple):
    """What one update did.

    Args:
        losses: Both mean losses before the move, NaN where a side's weight is 0; tensors, not yet read.
        moved: Whether the optimiser moved; false where a half-precision gradient overflowed.
        row: The telemetry of the update (``FIELDS``, NaN where unknown), then 1 if its losses are finite.
        verdicts: What the mask has to say of it, by column of the history; empty for most masks.
    """

    losses: Pair[Tensor]
    moved: bool
    row: Tensor
    verdicts: Mapping[str, Tensor]


class Stepper:
    """Wraps a model and its optimiser; each call makes one update from a forget batch and a retain batch.

    Loop body: surgery → clip → optimiser's step under the mask's guard → if it moved, the surgery's follow-up. Each
    call puts the model into training mode, with batch normalisation as ``normalisation`` says; leave it to
    ``model.eval()`` in between as you like. The first call reads both losses and refuses what the surgery cannot use
    before anything moves; later ones do not wait for the device (fp16 does, for its skip test).

    A model in ``DistributedDataParallel`` or under ``fully_shard`` is shared: each rank passes its own examples, as
    many as it has, and all make the update of one process that has all of them. They wait for one another's counts.

    Args:
        model: The model to be changed, in place.
        optimizer: Over the weights that may move; others are left alone, their gradients too. The rate of its first
            group is the one that surgeries see.
        surgery: The rule that turns both losses into one update.
        objectives: What is minimised on the forget side and on the retain side.
        mask: Which coordinates may move; prepare it beforehand. Default: all.
        scaler: For fp16; made if ``precision="fp16"`` and none is given.
        logits: Takes what the model returns and gives logits, where it does not return them itself.
        normalisation: ``frozen`` (default), ``joint`` or ``separate``: whose statistics batch-norm layers use.
        micro_batches: Parts in which each half is processed; the update is the same. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        clip: Largest norm of the update given to the optimiser. Default: no clipping.
        seed: Of what objectives draw and of dropout. Default 0.

    Raises:
        ModelError: If the optimiser holds no trainable weight, or none of the model's.
        ConfigError: If a setting is not understood, or the optimiser needs a closure or sparse gradients.
        NotFiniteError: In the first call, if a loss is NaN or infinite.
        ObjectiveError: In the first call, if the surgery cannot use the losses.

    Examples:
        >>> from expunge.objectives import CrossEntropy, RandomLabel
        >>> from expunge.surgery import Unilateral
        >>> model = nn.Linear(4, 3)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> step = Stepper(model, sgd, Unilateral(), Pair(RandomLabel(), CrossEntropy()))
        >>> batch = (torch.randn(8, 4), torch.randint(0, 3, (8,)))
        >>> step(batch, batch).moved
        True
    """

    @kinds_checked
    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        surgery: Surgery,
        objectives: Pair[Objective],
        mask: Mask | None = None,
        scaler: GradScaler | None = None,
        *,
        logits: Callable[[Any], Tensor] | None = None,
        normalisation: str = "frozen",
        micro_batches: int = 1,
        precision: Format = "fp32",
        clip: float | None = None,
        seed: int = 0,
    ) -> None:
        check_gradients_on()
        check_parts(model, optimizer, surgery, objectives, mask)
        check_optimizer(optimizer)
        parameters = in_order_of(model, trainable(optimizer))
        if micro_batches < 1:
            raise ConfigError("micro_batches ≥ 1", f"{micro_batches}", "use 1 to process a batch whole")
        if clip is not None and not clip > 0:
            raise ConfigError("clip > 0", f"{clip}", "leave it out for no limit")
        device = parameters[0].device
        self.setting = Setting(
            Predictor(model, logits),
            parameters,
            Pair(*objectives),
            precision_for(precision, device, scaler),
            checked_policy(normalisation),
            micro_batches,
            ranks_of(model, device),
        )
        self.model, self.optimizer, self.clip, self.seed = model, optimizer, clip, seed
        self.surgery = surgery.to(device)
        self.mask = mask.to(device) if mask is not None else None
        refuse_undistributed(self.setting, surgery, mask)
        self.updates = 0

    @kinds_checked
    @torch.enable_grad()
    def __call__(
        self,
        forget: Any,
        retain: Any,
        probe: Callable[[], Any] | None = None,
        *,
        further: Callable[[Role, int], Any] | None = None,
        progress: Progress | None = None,
        observe: bool = False,
    ) -> Move:
        """Make one update.

        Args:
            forget: A ``Batch``, or ``(inputs, labels)``; None for an empty side.
            retain: The same for the retain side.
            probe: Gives retain examples independent of ``retain`` to surgeries that measure on fresh ones; without
                it they measure on ``retain`` itself, which flatters the measurement.
            further: Gives more batches to masks that estimate the noise of gradients: called with a side and a number
                counted from 0 in each update, returns a batch that no earlier call returned, drawn independently of
                all others, or None where there are no more. Such masks refuse to work without it.
            progress: Which update of how many. Default: counted from 0.
            observe: Record the gradients' inner products too.
        """
        step = self.lend(forget, retain, probe, progress, observe, further)
        if self.updates == 0:
            self._admit(step)
        if self.mask is not None:
            self.mask.observe(step)
        if observe and (unseen := self.surgery.unseen()) is not None:
            step.look(unseen)
        self.surgery(step)
        step.settle()
        multiplier = self.surgery.applied()
        moved = self._move(step)
        if moved:
            if self.mask is not None:
                with torch.no_grad():
                    self.mask.settle([p.detach() for p in self.setting.parameters], step)
            step.moved = True
            self.surgery.follow_up(step)
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        row = step.observation.row(multiplier, moved)
        return Move(Pair(row[0], row[1]), moved, row, self.mask.verdicts() if self.mask is not None else {})

    def state_dict(self) -> dict[str, Any]:
        """Return what the updates so far have left beside the model's own state: optimiser, surgery, mask, scale."""
        scaler = self.setting.precision.scaler
        return {
            "updates": self.updates,
            "optimizer": self.optimizer.state_dict(),
            "surgery": self.surgery.state_dict(),
            "mask": {} if self.mask is None else self.mask.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with a model that has the weights of then; a mask need not be prepared anew."""
        device, scaler = self.setting.device, self.setting.precision.scaler
        self.updates = int(state["updates"])
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        # assign keeps types and shapes that a surgery has changed; what is loaded comes from the CPU.
        self.surgery.load_state_dict(state["surgery"], assign=True)
        self.surgery.to(device)
        if self.mask is not None:
            self.mask.load_state_dict(state["mask"], assign=True)
            self.mask.to(device)
        if scaler is not None:
            scaler.load_state_dict(dict(state["scaler"]))

    def lend(
        self,
        forget: Any,
        retain: Any,
        probe: Callable[[], Any] | None,
        progress: Progress | None,
        observe: bool,
        further: Callable[[Role, int], Any] | None = None,
    ) -> EngineStep:
        """Return the step of one update, its batches drawn, the old gradients cleared."""
        progress = progress or Progress(self.updates, self.updates + 1)
        batches = self._batches(forget, retain)
        drawn = Pair(*(self._drawn(batches, index, progress) for index in range(2)))
        prepare_modes(self.model, self.setting.policy)
        self.optimizer.zero_grad(set_to_none=True)
        return EngineStep(
            self.setting,
            drawn,
            torch.as_tensor(self.optimizer.param_groups[0]["lr"]).detach().clone(),
            progress,
            # Each rank has other examples, and so other units that dropout takes out.
            mixed_seed(self.seed, progress.step) + 2**40 * self.setting.ranks.rank,
            self._probe(probe, progress),
            Observation(gradients=observe),
            self._supply(further, progress),
        )

    def _admit(self, step: EngineStep) -> None:
        losses = Pair(float(step.loss("forget")), float(step.loss("retain")))
        refuse_not_finite(losses, "at the first batch, before anything was changed")
        self.surgery.admit(losses)

    def _batches(self, forget: Any, retain: Any) -> Pair[Batch]:
        first, second = self._placed(forget, retain)
        if not first and not second:
            raise DataError("a forget batch, a retain batch or both", "no example", "pass at least one")
        return Pair(first or _empty(second), second or _empty(first))

    def _placed(self, *raw: Any) -> list[Batch | None]:
        """Return batches on the device, with their places among those of all ranks."""
        known = [None if one is None else as_batch(one).to(self.setting.device) for one in raw]
        placed = self.setting.ranks.placed(known)
        return [renumbered(one) if not isinstance(own, Batch) else one for own, one in zip(raw, placed, strict=True)]

    def _drawn(self, batches: Pair[Batch], index: int, progress: Progress) -> Batch:
        objective, batch = self.setting.objectives[index], batches[index]
        return objective.draw(batch, progress.epoch, self._generator(progress, index)) if len(batch) else batch

    def _probe(self, probe: Callable[[], Any] | None, progress: Progress) -> Probe | None:
        if probe is None:
            return None

        def fetch() -> Batch:
            [batch] = self._placed(probe())
            batch = batch or _empty(None)
            return self.setting.objectives.retain.draw(batch, progress.epoch, self._generator(progress, 2))

        return fetch

    def _supply(self, further: Callable[[Role, int], Any] | None, progress: Progress) -> Further | None:
        if further is None:
            return None

        def fetch(of: Role, number: int) -> Batch | None:
            [batch] = self._placed(further(of, number))
            if not batch:
                return None
            generator = self._generator(progress, 2**16 + 2 * number + ROLES.index(of))
            return self.setting.objectives.of(of).draw(batch, progress.epoch, generator)

        return fetch

    def _generator(self, progress: Progress, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(mixed_seed(self.seed, progress.step, stream))

    def _move(self, step: EngineStep) -> bool:
        scaler, mask = self.setting.precision.scaler, self.mask
        if mask is not None:
            mask.screen(self.setting.parameters, step)
        if self.clip is not None:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.setting.parameters, self.clip)
        with guarded(self.setting.parameters, None if mask is None else lambda d: mask.choose(d, step)):
            if scaler is None:
                self.optimizer.step()
                return True
            before = scaler.get_scale()
            scaler.step(self.optimizer)
            scaler.update()
            return scaler.get_scale() >= before


def trainable(optimizer: Optimizer) -> list[Tensor]:
    """Return the weights that an optimiser may move.

    Raises:
        ModelError: If there are none.
    """
    found = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not found:
        raise ModelError("at least one trainable weight", "none that requires a gradient", "unfreeze what may change")
    return found


def in_order_of(model: nn.Module, parameters: list[Tensor]) -> list[Tensor]:
    """Return parameters in the model's order, which masks use, and not in that of the optimiser's groups."""
    position = {id(parameter): index for index, parameter in enumerate(model.parameters())}
    return sorted(parameters, key=lambda parameter: position.get(id(parameter), len(position)))


def as_batch(raw: Any) -> Batch:
    """Return a batch from ``(inputs, labels)``, numbered from 0; a batch stays as it is.

    Raises:
        DataError: If it is neither.
    """
    if isinstance(raw, Batch):
        return raw
    if isinstance(raw, (tuple, list)) and len(raw) == 2 and isinstance(raw[1], Tensor):
        return Batch(raw[0], raw[1], torch.arange(len(raw[1]), device=raw[1].device))
    raise DataError("a Batch or a pair (inputs, labels)", f"{type(raw).__name__}", "pass what your loader yields so")


def renumbered(batch: Batch | None) -> Batch | None:
    """Return a batch that was numbered from 0 on each rank with the numbers that it has among all ranks' examples."""
    if batch is None or batch.place is None:
        return batch
    return replace(batch, indices=batch.indices + batch.place.first)


def _empty(like: Batch | None) -> Batch:
    if like is None:
        return Batch(torch.empty(0), torch.empty(0), torch.empty(0))
    return replace(like.part(0, 0), place=None)
