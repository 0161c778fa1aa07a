"""Descend: carry out one descent stage over a stream of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Predictor, Split, on_tensors
from expunge.data import Draw, PairStream
from expunge.data.augment import none
from expunge.engine.average import Average
from expunge.engine.conditions import Conditions, Row, ignore
from expunge.engine.finite import LastGood, is_finite, refuse_broken_weights, refuse_not_finite, refuse_standstill
from expunge.engine.guidance import Guidance
from expunge.engine.normalisation import untouched_buffers
from expunge.engine.optimisers import build_optimizer, build_schedule
from expunge.engine.randomness import generators_now, mixed_seed, put_generators
from expunge.engine.savepoints import check_kinds, check_moments, count_in
from expunge.engine.stages import Descend
from expunge.engine.stepper import Move, Stepper
from expunge.engine.telemetry import FIELDS
from expunge.engine.wrapped import replicated
from expunge.errors import ModelError, NotFiniteError
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import Progress


class Descent:
    """One descent stage on one model.

    Args:
        predict: The model to be changed, in place.
        stage: What to do.
        split: The examples.
        conditions: Under which.
        on_epoch: Called with the number of epochs done, after each.
        before: Updates and epochs of the stages before this one, and the updates of all; the history counts on from
            there. Default: this is the only stage.

    Raises:
        ModelError: If nothing can be trained.
    """

    def __init__(
        self,
        predict: Predictor,
        stage: Descend,
        split: Split,
        conditions: Conditions,
        on_epoch: Callable[[int], None] = ignore,
        before: Progress | None = None,
    ) -> None:
        self.stage, self.split, self.conditions, self.on_epoch = stage, split, conditions, on_epoch
        parameters = [p for p in predict.model.parameters() if p.requires_grad]
        if not parameters:
            raise ModelError("at least one trainable weight", "none", "set requires_grad on what may change")
        optimizer = build_optimizer(parameters, stage.optimiser, scaled=conditions.precision == "fp16")
        self.model = predict.model
        self.stepper = Stepper(
            replicated(predict.model) if conditions.shared else predict.model,
            optimizer,
            stage.surgery,
            stage.objectives,
            stage.mask,
            logits=predict.logits,
            normalisation=stage.normalisation or conditions.normalisation,
            micro_batches=conditions.micro_batches,
            precision=conditions.precision,
            clip=stage.optimiser.clip,
            seed=conditions.seed,
        )
        self.stream = stream_of(stage, split, conditions.seed)
        self.total = stage.epochs * len(self.stream)
        self.scheduler = build_schedule(optimizer, stage.optimiser, self.total)
        self.average = None if conditions.average is None else Average(parameters, conditions.average)
        self.before = before or Progress(0, self.total, 0)
        self.unread: list[tuple[Progress, Tensor]] = []
        self.columns: tuple[str, ...] = FIELDS
        self.good = LastGood(self.model, self.before.step)
        self.done = 0
        self.skipped = 0
        self.stopped = False

    def run(self) -> None:
        """Make every update of the stage.

        Raises:
            NotFiniteError: If a loss is NaN or infinite, before the first update or at the next reading after it; if
                half precision overflows time after time; if weights are not finite in the end.
            ObjectiveError: If the surgery cannot use the losses of the first batch.
        """
        savepoints = self.conditions.savepoints
        while self.done < self.total and not self.stopped:
            with nullcontext() if savepoints is None else savepoints.update():
                self._advance(self.stream.at(*divmod(self.done, len(self.stream))))
            if savepoints is not None and savepoints.due():
                self._read()
                self._refuse_broken()
                savepoints.save()
        self._read()
        if self.average is not None:
            self.average.hand_over(self.stepper.setting.parameters)
        self._refuse_broken()
        self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return what the updates so far have left beside the model's own state; every row has been read."""
        return {
            "done": self.done,
            "skipped": self.skipped,
            "stopped": self.stopped,
            "stepper": self.stepper.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with a model that has the weights of then."""
        if self.conditions.shared:
            self._rehearse()
        self.done, self.skipped = count_in(state, "done", self.total), count_in(state, "skipped", self.total)
        self.stopped = bool(state["stopped"])
        self.good = LastGood(self.model, self.before.step + self.done)
        self.stepper.load_state_dict(state["stepper"])
        check_moments(self.stepper.optimizer.state_dict())
        if self.scheduler is not None:
            check_kinds(state["scheduler"], self.scheduler.state_dict())
            self.scheduler.load_state_dict(state["scheduler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _rehearse(self) -> None:
        """Let the new wrapper meet a backward pass, as the one before had met when the state was saved.

        It lays out the buckets of gradients in the order of the first pass, and how three ranks and more sum depends on
        the place in a bucket.
        """
        draw, device = self.stream.at(0, 0), self.stepper.setting.device
        before = generators_now(device)
        step = self.stepper.lend(*self._batches(draw), None, self._progress(draw), observe=False)
        with untouched_buffers(self.model):
            step.gradient("retain" if len(draw.retain) else "forget")
        self.stepper.optimizer.zero_grad(set_to_none=True)
        put_generators(before, device)

    def _judged(self) -> AbstractContextManager[None]:
        """Show the weights that are judged and handed over."""
        return nullcontext() if self.average is None else self.average.shown(self.stepper.setting.parameters)

    def _advance(self, draw: Draw) -> None:
        self._update(draw)
        self.done += 1
        if not self.stopped and draw.step == len(self.stream) - 1:
            with self._judged():
                self.on_epoch(draw.epoch + 1)

    def _update(self, draw: Draw) -> None:
        conditions, progress = self.conditions, self._progress(draw)
        forget, retain = self._batches(draw)
        observe = conditions.observe_every > 0 and progress.step % conditions.observe_every == 0
        probe = lambda: self._fetched(self.split.retain, draw.probe, self._generator(progress, 5))  # noqa: E731
        further = lambda of, number: self._further(draw, progress, of, number)  # noqa: E731
        move = self.stepper(
            forget,
            retain,
            probe if self._enough(draw.probe) else None,
            further=further,
            progress=progress,
            observe=observe,
        )
        if self.average is not None and move.moved:
            self.average.update(self.stepper.setting.parameters)
        if self.scheduler is not None and move.moved:
            self.scheduler.step()
        self.columns = (*FIELDS, *move.verdicts)
        overall = Progress(self.before.step + progress.step, self.before.total, self.before.epoch + progress.epoch)
        self.unread.append((overall, with_verdicts(move)))
        self.skipped = 0 if move.moved else self.skipped + 1
        refuse_standstill(self.skipped, self.total)
        if len(self.unread) >= conditions.read_every:
            self._read()
        conditions.on_step(overall)
        self._obey(conditions.guide(overall, self._judged))

    def _obey(self, guidance: Guidance) -> None:
        """Do what the run's driver asks."""
        guidance.applied(self.stepper.optimizer)
        if guidance.weights is not None:
            self.model.load_state_dict(guidance.weights)
            if self.average is not None:
                self.average = Average(self.stepper.setting.parameters, self.average.decay)
        self.stopped = guidance.stop

    def _read(self) -> None:
        """Read the new rows from the device, hand them on and stop at losses that are not finite."""
        if not self.unread:
            return
        values = torch.stack([row for _, row in self.unread]).cpu().tolist()
        rows = [as_row(progress, row, self.columns) for (progress, _), row in zip(self.unread, values, strict=True)]
        self.unread.clear()
        self.conditions.on_rows(rows)
        for place, (row, (forget, retain, *_, finite)) in enumerate(zip(rows, values, strict=True)):
            if not finite:
                self._give_up(Pair(forget, retain), row["step"])
            if place == 0:
                self.good.confirm()
        self.good.note(rows[-1]["step"] + 1)

    def _refuse_broken(self) -> None:
        """Refuse weights that are not finite, and go back to the last good ones."""
        try:
            refuse_broken_weights(self.stepper.setting.parameters)
        except NotFiniteError:
            self.good.restore()
            raise

    def _give_up(self, losses: Pair[float], step: int) -> None:
        """Go back to the last good weights, and say at which batch it went wrong.

        Raises:
            NotFiniteError: With both.
        """
        back = self.good.restore()
        epoch, batch = divmod(step - self.before.step, len(self.stream))
        where = f"at update {step} (batch {batch} of epoch {self.before.epoch + epoch})"
        refuse_not_finite(losses, f"{where}; the weights are back at those after {back} updates")

    def _progress(self, draw: Draw) -> Progress:
        return Progress(draw.epoch * len(self.stream) + draw.step, self.total, draw.epoch)

    def _batches(self, draw: Draw) -> tuple[Batch | None, Batch | None]:
        progress = self._progress(draw)
        sides = ((self.split.forget, draw.forget, 3), (self.split.retain, draw.retain, 4))
        forget, retain = (
            self._fetched(examples, positions, self._generator(progress, stream)) if len(positions) else None
            for examples, positions, stream in sides
        )
        return forget, retain

    def _further(self, draw: Draw, progress: Progress, of: Role, number: int) -> Batch | None:
        positions = self.stream.further(draw.epoch, draw.step, of, number)
        generator = self._generator(progress, 2**16 + 2 * number + ROLES.index(of))
        examples = self.split.forget if of == "forget" else self.split.retain
        return self._fetched(examples, positions, generator) if self._enough(positions) else None

    def _fetched(self, examples: Examples, positions: Tensor, generator: torch.Generator) -> Batch:
        """Return this rank's part of the examples at the positions."""
        own, place = self.stepper.setting.ranks.share(positions)
        return augmented(replace(examples.batch(own), place=place), examples, generator)

    def _enough(self, positions: Tensor) -> bool:
        """Return whether there are examples; a layer that uses the batch's own statistics cannot take a single one."""
        return len(positions) > (self.stepper.setting.policy != "frozen")

    def _generator(self, progress: Progress, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(mixed_seed(self.conditions.seed, progress.step, stream))


def stream_of(stage: Descend, split: Split, seed: int) -> PairStream:
    """Return the batches of a stage."""
    return PairStream(Pair(len(split.forget), len(split.retain)), stage.batch, stage.mode, seed, stage.ratio)


def augmented(batch: Batch, examples: Examples, generator: torch.Generator) -> Batch:
    """Return a batch augmented where its data set says so.

    On several ranks the batch of all of them is augmented, zeros in the place of the others' examples: each meets the
    draws that it meets on one.
    """
    augment = getattr(examples, "augment", none)
    if augment is none:
        return batch
    if batch.place is None:
        return replace(batch, inputs=augment(batch.inputs, generator))
    low, high, total = batch.place.first, batch.place.first + len(batch), batch.place.total

    def padded(own: Tensor) -> Tensor:
        return torch.cat([own.new_zeros(low, *own.shape[1:]), own, own.new_zeros(total - high, *own.shape[1:])])

    found = augment(on_tensors(batch.inputs, padded), generator)
    return replace(batch, inputs=on_tensors(found, lambda tensor: tensor[low:high]))


def with_verdicts(move: Move) -> Tensor:
    """Return an update's telemetry with what its mask has to say before the last value, finite or not."""
    said = [value.detach().to(move.row) for value in move.verdicts.values()]
    return torch.cat([move.row[:-1], torch.stack(said), move.row[-1:]]) if said else move.row


def as_row(progress: Progress, values: list[float], columns: Sequence[str] = FIELDS) -> Row:
    """Return one row of the history; what is unknown or infinite is None, as JSON has no NaN."""
    known = {name: value if is_finite(value) else None for name, value in zip(columns, values, strict=False)}
    return {"step": progress.step, "epoch": progress.epoch, **known}
