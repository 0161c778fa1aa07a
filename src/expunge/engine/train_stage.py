"""Descend: carry out one descent stage over a stream of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Predictor, Split, map_tensors
from expunge.data import PairSampler, SampledIndices
from expunge.data.augment import none
from expunge.engine.actions import LoopAction
from expunge.engine.batch_norm import preserve_buffers
from expunge.engine.checkpoints import check_optimizer_state, check_same_types, read_count
from expunge.engine.diagnostics import HISTORY_FIELDS
from expunge.engine.ema import ModelEMA
from expunge.engine.nan_guard import (
    LastFiniteWeights,
    check_losses_finite,
    check_progress,
    check_weights_finite,
    is_finite,
)
from expunge.engine.optimizers import build_optimizer, build_schedule
from expunge.engine.randomness import combine_seeds, get_rng_states, set_rng_states
from expunge.engine.run_options import HistoryRow, RunOptions, noop
from expunge.engine.stages import TrainStage
from expunge.engine.stepper import Stepper, UpdateResult
from expunge.engine.wrappers import wrap_ddp
from expunge.errors import ModelError, NotFiniteError
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import Progress


class StageRunner:
    """One descent stage on one model.

    Args:
        predict: The model to be changed, in place.
        stage: What to do.
        split: The examples.
        options: Under which.
        on_epoch: Called with the number of epochs done, after each.
        previous: Updates and epochs of the stages before this one, and the updates of all; the history counts on from
            there. Default: this is the only stage.

    Raises:
        ModelError: If nothing can be trained.
    """

    def __init__(
        self,
        predict: Predictor,
        stage: TrainStage,
        split: Split,
        options: RunOptions,
        on_epoch: Callable[[int], None] = noop,
        previous: Progress | None = None,
    ) -> None:
        self.stage, self.split, self.options, self.on_epoch = stage, split, options, on_epoch
        parameters = [p for p in predict.model.parameters() if p.requires_grad]
        if not parameters:
            raise ModelError("at least one trainable weight", "none", "set requires_grad on what may change")
        optimizer = build_optimizer(parameters, stage.optimizer, has_scaler=options.precision == "fp16")
        self.model = predict.model
        self.stepper = Stepper(
            predict.with_model(wrap_ddp(predict.model)) if options.distributed else predict,
            optimizer,
            stage.surgery,
            stage.objectives,
            stage.mask,
            batch_norm=stage.batch_norm or options.batch_norm,
            gradient_accumulation_steps=options.gradient_accumulation_steps,
            precision=options.precision,
            max_grad_norm=stage.optimizer.max_grad_norm,
            seed=options.seed,
        )
        self.sampler = make_sampler(stage, split, options.seed)
        self.total_updates = stage.epochs * len(self.sampler)
        self.scheduler = build_schedule(optimizer, stage.optimizer, self.total_updates)
        self.ema = None if options.ema_decay is None else ModelEMA(parameters, options.ema_decay)
        self.previous = previous or Progress(0, self.total_updates, 0)
        self.pending_rows: list[tuple[Progress, Tensor]] = []
        self.columns: tuple[str, ...] = HISTORY_FIELDS
        self.last_finite = LastFiniteWeights(self.model, self.previous.step)
        self.updates_done = 0
        self.successive_skips = 0
        self.stopped = False

    def run(self) -> None:
        """Make every update of the stage.

        Raises:
            NotFiniteError: If a loss is NaN or infinite, before the first update or at the next reading after it; if
                half precision overflows time after time; if weights are not finite in the end.
            ObjectiveError: If the surgery cannot use the losses of the first batch.
        """
        checkpoints = self.options.checkpoints
        while self.updates_done < self.total_updates and not self.stopped:
            with nullcontext() if checkpoints is None else checkpoints.protect_update():
                self._advance(self.sampler.sample(*divmod(self.updates_done, len(self.sampler))))
            if checkpoints is not None and checkpoints.is_due():
                self._flush_rows()
                self._check_weights()
                checkpoints.save()
        self._flush_rows()
        if self.ema is not None:
            self.ema.copy_to(self.stepper.config.parameters)
        self._check_weights()
        self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return what the updates so far have left beside the model's own state; every row has been read."""
        return {
            "done": self.updates_done,
            "skipped": self.successive_skips,
            "stopped": self.stopped,
            "stepper": self.stepper.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "average": None if self.ema is None else self.ema.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with a model that has the weights of then."""
        if self.options.distributed:
            self._warm_up_ddp()
        self.updates_done, self.successive_skips = (
            read_count(state, "done", self.total_updates),
            read_count(state, "skipped", self.total_updates),
        )
        self.stopped = bool(state["stopped"])
        self.last_finite = LastFiniteWeights(self.model, self.previous.step + self.updates_done)
        self.stepper.load_state_dict(state["stepper"])
        check_optimizer_state(self.stepper.optimizer.state_dict())
        if self.scheduler is not None:
            check_same_types(state["scheduler"], self.scheduler.state_dict())
            self.scheduler.load_state_dict(state["scheduler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["average"])

    def _warm_up_ddp(self) -> None:
        """Let the new wrapper meet a backward pass, as the one before had met when the state was saved.

        It lays out the buckets of gradients in the order of the first pass, and how three ranks and more sum depends on
        the place in a bucket.
        """
        draw, device = self.sampler.sample(0, 0), self.stepper.config.device
        rng_state = get_rng_states(device)
        step = self.stepper.make_step(*self._batches(draw), None, self._progress(draw), log_gradients=False)
        with preserve_buffers(self.model):
            step.gradient("retain" if len(draw.retain) else "forget")
        self.stepper.optimizer.zero_grad(set_to_none=True)
        set_rng_states(rng_state, device)

    def _eval_weights(self) -> AbstractContextManager[None]:
        """Show the weights that are judged and handed over."""
        return nullcontext() if self.ema is None else self.ema.swapped_in(self.stepper.config.parameters)

    def _advance(self, draw: SampledIndices) -> None:
        self._update(draw)
        self.updates_done += 1
        if not self.stopped and draw.step == len(self.sampler) - 1:
            with self._eval_weights():
                self.on_epoch(draw.epoch + 1)

    def _update(self, draw: SampledIndices) -> None:
        options, progress = self.options, self._progress(draw)
        forget, retain = self._batches(draw)
        log_gradients = options.log_gradients_every > 0 and progress.step % options.log_gradients_every == 0
        validation_batch = lambda: self._fetch(self.split.retain, draw.next_retain_half, self._generator(progress, 5))  # noqa: E731
        extra_batches = lambda of, number: self._extra_batch(draw, progress, of, number)  # noqa: E731
        result = self.stepper(
            forget,
            retain,
            validation_batch if self._is_valid_batch(draw.next_retain_half) else None,
            extra_batches=extra_batches,
            progress=progress,
            log_gradients=log_gradients,
        )
        if self.ema is not None and result.stepped:
            self.ema.update(self.stepper.config.parameters)
        if self.scheduler is not None and result.stepped:
            self.scheduler.step()
        self.columns = (*HISTORY_FIELDS, *result.mask_stats)
        overall = Progress(
            self.previous.step + progress.step, self.previous.total, self.previous.epoch + progress.epoch
        )
        self.pending_rows.append((overall, append_mask_stats(result)))
        self.successive_skips = 0 if result.stepped else self.successive_skips + 1
        check_progress(self.successive_skips, self.total_updates)
        if len(self.pending_rows) >= options.log_every:
            self._flush_rows()
        asked = options.on_step(overall)
        action = options.on_update(overall, self._eval_weights)
        self._apply_action(action.merge(asked) if isinstance(asked, LoopAction) else action)

    def _apply_action(self, action: LoopAction) -> None:
        """Do what the run's driver asks."""
        action.apply(self.stepper.optimizer)
        if action.weights is not None:
            self.model.load_state_dict(action.weights)
            if self.ema is not None:
                self.ema = ModelEMA(self.stepper.config.parameters, self.ema.decay)
        self.stopped = action.stop

    def _flush_rows(self) -> None:
        """Read the new rows from the device, hand them on and stop at losses that are not finite."""
        if not self.pending_rows:
            return
        values = torch.stack([row for _, row in self.pending_rows]).cpu().tolist()
        rows = [
            make_row(progress, row, self.columns) for (progress, _), row in zip(self.pending_rows, values, strict=True)
        ]
        self.pending_rows.clear()
        self.options.on_log(rows)
        for index, (row, (forget, retain, *_, finite)) in enumerate(zip(rows, values, strict=True)):
            if not finite:
                self._restore_and_raise(Pair(forget, retain), row["step"])
            if index == 0:
                self.last_finite.commit()
        self.last_finite.stage(rows[-1]["step"] + 1)

    def _check_weights(self) -> None:
        """Refuse weights that are not finite, and go back to the last good ones."""
        try:
            check_weights_finite(self.stepper.config.parameters)
        except NotFiniteError:
            self.last_finite.restore()
            raise

    def _restore_and_raise(self, losses: Pair[float], step: int) -> None:
        """Go back to the last good weights, and say at which batch it went wrong.

        Raises:
            NotFiniteError: With both.
        """
        updates = self.last_finite.restore()
        epoch, batch = divmod(step - self.previous.step, len(self.sampler))
        position = f"at update {step} (batch {batch} of epoch {self.previous.epoch + epoch})"
        check_losses_finite(losses, f"{position}; the weights are back at those after {updates} updates")

    def _progress(self, draw: SampledIndices) -> Progress:
        return Progress(draw.epoch * len(self.sampler) + draw.step, self.total_updates, draw.epoch)

    def _batches(self, draw: SampledIndices) -> tuple[Batch | None, Batch | None]:
        progress = self._progress(draw)
        sides = ((self.split.forget, draw.forget, 3), (self.split.retain, draw.retain, 4))
        forget, retain = (
            self._fetch(examples, positions, self._generator(progress, stream)) if len(positions) else None
            for examples, positions, stream in sides
        )
        return forget, retain

    def _extra_batch(self, draw: SampledIndices, progress: Progress, role: Role, number: int) -> Batch | None:
        positions = self.sampler.extra_indices(draw.epoch, draw.step, role, number)
        generator = self._generator(progress, 2**16 + 2 * number + ROLES.index(role))
        examples = self.split.forget if role == "forget" else self.split.retain
        return self._fetch(examples, positions, generator) if self._is_valid_batch(positions) else None

    def _fetch(self, examples: Examples, positions: Tensor, generator: torch.Generator) -> Batch:
        """Return this rank's part of the examples at the positions."""
        local_positions, shard = self.stepper.config.ranks.shard(positions)
        return augment_batch(replace(examples.batch(local_positions), shard=shard), examples, generator)

    def _is_valid_batch(self, positions: Tensor) -> bool:
        """Return whether there are examples; a layer that uses the batch's own statistics cannot take a single one."""
        return len(positions) > (self.stepper.config.batch_norm != "frozen")

    def _generator(self, progress: Progress, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(combine_seeds(self.options.seed, progress.step, stream))


def make_sampler(stage: TrainStage, split: Split, seed: int) -> PairSampler:
    """Return the batches of a stage."""
    return PairSampler(
        Pair(len(split.forget), len(split.retain)), stage.batch_size, stage.pairing, seed, stage.retain_per_forget
    )


def augment_batch(batch: Batch, examples: Examples, generator: torch.Generator) -> Batch:
    """Return a batch augmented where its data set says so.

    On several ranks the batch of all of them is augmented, zeros in the place of the others' examples: each meets the
    draws that it meets on one.
    """
    augment = getattr(examples, "augment", none)
    if augment is none:
        return batch
    if batch.shard is None:
        return replace(batch, inputs=augment(batch.inputs, generator))
    low, high, total = batch.shard.offset, batch.shard.offset + len(batch), batch.shard.total

    def pad(own: Tensor) -> Tensor:
        return torch.cat([own.new_zeros(low, *own.shape[1:]), own, own.new_zeros(total - high, *own.shape[1:])])

    padded_inputs = augment(map_tensors(batch.inputs, pad), generator)
    return replace(batch, inputs=map_tensors(padded_inputs, lambda tensor: tensor[low:high]))


def append_mask_stats(result: UpdateResult) -> Tensor:
    """Return an update's telemetry with what its mask has to say before the last value, finite or not."""
    stats = [value.detach().to(result.row) for value in result.mask_stats.values()]
    return torch.cat([result.row[:-1], torch.stack(stats), result.row[-1:]]) if stats else result.row


def make_row(progress: Progress, values: list[float], columns: Sequence[str] = HISTORY_FIELDS) -> HistoryRow:
    """Return one row of the history; what is unknown or infinite is None, as JSON has no NaN."""
    finite_values = {name: value if is_finite(value) else None for name, value in zip(columns, values, strict=False)}
    return {"step": progress.step, "epoch": progress.epoch, **finite_values}
