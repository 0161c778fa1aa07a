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
from expunge.engine.batch_norm import set_training_modes, validate_batch_norm_mode
from expunge.engine.diagnostics import UpdateDiagnostics
from expunge.engine.distributed_checks import check_distributed
from expunge.engine.extra_batches import ExtraBatchFn
from expunge.engine.guard import masked_step
from expunge.engine.nan_guard import check_losses_finite
from expunge.engine.precision import PrecisionName, make_precision
from expunge.engine.randomness import combine_seeds
from expunge.engine.side_batch import StepConfig
from expunge.engine.step import EngineStep, ValidationBatchFn
from expunge.engine.stepper_checks import check_components, check_optimizer
from expunge.engine.wrappers import make_parallel_context
from expunge.errors import ConfigError, DataError, ModelError
from expunge.forward import check_grad_enabled
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import Progress, Surgery
from expunge.type_checks import check_argument_types

KEPT_GRADIENT = "kept_gradient"
"""Key of an accumulated gradient in the optimizer's state of its weight: checkpoints and ranks treat it as a moment."""


class UpdateResult(NamedTuple):
    """What one update did.

    Args:
        losses: Both mean losses before the move, NaN where a side's weight is 0; tensors, not yet read.
        stepped: Whether the optimizer moved; false where a half-precision gradient overflowed.
        row: The telemetry of the update (``HISTORY_FIELDS``, NaN where unknown), then 1 if its losses are finite.
        mask_stats: What the mask has to say of it, by column of the history; empty for most masks.
    """

    losses: Pair[Tensor]
    stepped: bool
    row: Tensor
    mask_stats: Mapping[str, Tensor]


class Stepper:
    """Wraps a model and its optimizer; each call makes one update from a forget batch and a retain batch.

    Loop body: surgery → clip → optimizer's step under the mask's guard → if it moved, the surgery's follow-up. Each
    call puts the model into training mode, with batch normalization as ``batch_norm`` says; leave it to
    ``model.eval()`` in between as you like. The first call reads both losses and refuses what the surgery cannot use
    before anything moves; later ones do not wait for the device (fp16 does, for its skip test).

    A model in ``DistributedDataParallel`` or under ``fully_shard`` is shared: each rank passes its own examples, as
    many as it has, and all make the update of one process that has all of them. They wait for one another's counts.

    Args:
        model: The model to be changed, in place; or a ``Predictor``, which says how it is read and what its loss is.
        optimizer: Over the weights that may move; others are left alone, their gradients too. The rate of its first
            group is the one that surgeries see.
        surgery: The rule that turns both losses into one update.
        objectives: What is minimized on the forget side and on the retain side.
        mask: Which coordinates may move; prepare it beforehand. Default: all.
        scaler: For fp16; made if ``precision="fp16"`` and none is given.
        logits: Takes what the model returns and gives logits, where it does not return them itself.
        batch_norm: ``frozen`` (default), ``joint`` or ``separate``: whose statistics batch-norm layers use.
        gradient_accumulation_steps: Parts in which each half is processed; the update is the same. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        max_grad_norm: Largest norm of the update given to the optimizer; where the surgery keeps gradients, of what has
            accumulated before. Default: no clipping.
        seed: Of what objectives draw and of dropout. Default 0.

    Raises:
        ModelError: If the optimizer holds no trainable weight, or none of the model's.
        ConfigError: If a setting is not understood, or the optimizer needs a closure or sparse gradients.
        NotFiniteError: In the first call, if a loss is NaN or infinite.
        ObjectiveError: In the first call, if the surgery cannot use the losses.

    Examples:
        >>> from expunge.objectives import CrossEntropy, RandomLabel
        >>> from expunge.surgery import Projection
        >>> model = nn.Linear(4, 3)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> step = Stepper(model, sgd, Projection(), Pair(RandomLabel(), CrossEntropy()))
        >>> batch = (torch.randn(8, 4), torch.randint(0, 3, (8,)))
        >>> step(batch, batch).stepped
        True
    """

    @check_argument_types
    def __init__(
        self,
        model: nn.Module | Predictor,
        optimizer: Optimizer,
        surgery: Surgery,
        objectives: Pair[Objective],
        mask: Mask | None = None,
        scaler: GradScaler | None = None,
        *,
        logits: Callable[[Any], Tensor] | None = None,
        batch_norm: str = "frozen",
        gradient_accumulation_steps: int = 1,
        precision: PrecisionName = "fp32",
        max_grad_norm: float | None = None,
        seed: int = 0,
    ) -> None:
        check_grad_enabled()
        predict = model if isinstance(model, Predictor) else Predictor(model, logits)
        model = predict.model
        check_components(model, optimizer, surgery, objectives, mask)
        check_optimizer(optimizer)
        parameters = sort_by_model(model, trainable_parameters(optimizer))
        if gradient_accumulation_steps < 1:
            raise ConfigError(
                "gradient_accumulation_steps ≥ 1", f"{gradient_accumulation_steps}", "use 1 to process a batch whole"
            )
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ConfigError("clip > 0", f"{max_grad_norm}", "leave it out for no limit")
        device = parameters[0].device
        self.config = StepConfig(
            predict,
            parameters,
            Pair(*objectives),
            make_precision(precision, device, scaler),
            validate_batch_norm_mode(batch_norm),
            gradient_accumulation_steps,
            make_parallel_context(model, device),
        )
        self.model, self.optimizer, self.max_grad_norm, self.seed = model, optimizer, max_grad_norm, seed
        self.surgery = surgery.to(device)
        self.mask = mask.to(device) if mask is not None else None
        check_distributed(self.config, surgery, mask)
        self.updates = 0

    @check_argument_types
    @torch.enable_grad()
    def __call__(
        self,
        forget: Any,
        retain: Any,
        validation_batch: Callable[[], Any] | None = None,
        *,
        extra_batches: Callable[[Role, int], Any] | None = None,
        progress: Progress | None = None,
        log_gradients: bool = False,
    ) -> UpdateResult:
        """Make one update.

        Args:
            forget: A ``Batch``, or ``(inputs, labels)``; None for an empty side.
            retain: The same for the retain side.
            validation_batch: Gives retain examples independent of ``retain`` to surgeries that measure on fresh ones;
                without it they measure on ``retain`` itself, which flatters the measurement.
            extra_batches: Gives more batches to masks that estimate the noise of gradients: called with a side and a
                number counted from 0 in each update, returns a batch that no earlier call returned, drawn
                independently of all others, or None where there are no more. Such masks refuse to work without it.
            progress: Which update of how many. Default: counted from 0.
            log_gradients: Record the gradients' inner products too.
        """
        step = self.make_step(forget, retain, validation_batch, progress, log_gradients, extra_batches)
        if self.updates == 0:
            self._check_losses(step)
        if self.mask is not None:
            self.mask.observe(step)
        if log_gradients and (unevaluated := self.surgery.get_unevaluated_side()) is not None:
            step.record_gradient(unevaluated)
        self.surgery(step)
        step.check_decided()
        multiplier = self.surgery.relative_weight()
        stepped = self._step_optimizer(step)
        if stepped:
            if self.mask is not None:
                with torch.no_grad():
                    self.mask.after_step([p.detach() for p in self.config.parameters], step)
            step.stepped = True
            self.surgery.after_step(step)
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        row = step.diagnostics.make_row(multiplier, stepped)
        return UpdateResult(Pair(row[0], row[1]), stepped, row, self.mask.stats() if self.mask is not None else {})

    def state_dict(self) -> dict[str, Any]:
        """Return what the updates so far have left beside the model's own state: optimizer, surgery, mask, scale."""
        scaler = self.config.precision.scaler
        return {
            "updates": self.updates,
            "optimizer": self.optimizer.state_dict(),
            "surgery": self.surgery.state_dict(),
            "mask": {} if self.mask is None else self.mask.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with a model that has the weights of then; a mask need not be prepared anew."""
        device, scaler = self.config.device, self.config.precision.scaler
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

    def make_step(
        self,
        forget: Any,
        retain: Any,
        validation_batch: Callable[[], Any] | None,
        progress: Progress | None,
        log_gradients: bool,
        extra_batches: Callable[[Role, int], Any] | None = None,
    ) -> EngineStep:
        """Return the step of one update, its batches drawn, the old gradients cleared."""
        progress = progress or Progress(self.updates, self.updates + 1)
        batches = self._make_batches(forget, retain)
        sampled = Pair(*(self._sample(batches, index, progress) for index in range(2)))
        set_training_modes(self.model, self.config.batch_norm)
        self.optimizer.zero_grad(set_to_none=True)
        return EngineStep(
            self.config,
            sampled,
            torch.as_tensor(self.optimizer.param_groups[0]["lr"]).detach().clone(),
            progress,
            # Each rank has other examples, and so other units that dropout takes out.
            combine_seeds(self.seed, progress.step) + 2**40 * self.config.ranks.rank,
            self._validation_batch_fn(validation_batch, progress),
            UpdateDiagnostics(log_gradients=log_gradients),
            self._extra_batch_fn(extra_batches, progress),
        )

    def _check_losses(self, step: EngineStep) -> None:
        losses = Pair(float(step.loss("forget")), float(step.loss("retain")))
        check_losses_finite(losses, "at the first batch, before anything was changed")
        self.surgery.check_losses(losses)

    def _make_batches(self, forget: Any, retain: Any) -> Pair[Batch]:
        first, second = self._prepare_batches(forget, retain)
        if not first and not second:
            raise DataError("a forget batch, a retain batch or both", "no example", "pass at least one")
        return Pair(first or _empty_like(second), second or _empty_like(first))

    def _prepare_batches(self, *raw: Any) -> list[Batch | None]:
        """Return batches on the device, with their places among those of all ranks."""
        batches = [None if batch is None else as_batch(batch).to(self.config.device) for batch in raw]
        assigned = self.config.ranks.assign_shards(batches)
        return [
            renumber(batch) if not isinstance(original, Batch) else batch
            for original, batch in zip(raw, assigned, strict=True)
        ]

    def _sample(self, batches: Pair[Batch], index: int, progress: Progress) -> Batch:
        objective, batch = self.config.objectives[index], batches[index]
        return objective.sample(batch, progress.epoch, self._generator(progress, index)) if len(batch) else batch

    def _validation_batch_fn(
        self, validation_batch: Callable[[], Any] | None, progress: Progress
    ) -> ValidationBatchFn | None:
        if validation_batch is None:
            return None

        def fetch() -> Batch:
            [batch] = self._prepare_batches(validation_batch())
            batch = batch or _empty_like(None)
            return self.config.objectives.retain.sample(batch, progress.epoch, self._generator(progress, 2))

        return fetch

    def _extra_batch_fn(
        self, extra_batches: Callable[[Role, int], Any] | None, progress: Progress
    ) -> ExtraBatchFn | None:
        if extra_batches is None:
            return None

        def fetch(of: Role, number: int) -> Batch | None:
            [batch] = self._prepare_batches(extra_batches(of, number))
            if not batch:
                return None
            generator = self._generator(progress, 2**16 + 2 * number + ROLES.index(of))
            return self.config.objectives.of(of).sample(batch, progress.epoch, generator)

        return fetch

    def _generator(self, progress: Progress, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(combine_seeds(self.seed, progress.step, stream))

    def _step_optimizer(self, step: EngineStep) -> bool:
        scaler, mask, keeps = self.config.precision.scaler, self.mask, self.surgery.keeps_gradients
        if keeps:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            self._add_kept_gradients()
        if mask is not None:
            mask.on_gradients(self.config.parameters, step)
        if self.max_grad_norm is not None and not keeps:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.config.parameters, self.max_grad_norm)
        stepped = self._move(step)
        if keeps and stepped:
            for parameter in self.config.parameters:
                if parameter.grad is not None:
                    self.optimizer.state[parameter][KEPT_GRADIENT] = parameter.grad
        return stepped

    def _add_kept_gradients(self) -> None:
        """Clip what has accumulated and add it to the new gradients."""
        states = {parameter: self.optimizer.state.get(parameter, {}) for parameter in self.config.parameters}
        kept = {parameter: state[KEPT_GRADIENT] for parameter, state in states.items() if KEPT_GRADIENT in state}
        if not kept:
            return
        scale: float | Tensor = 1.0
        if self.max_grad_norm is not None:
            norm = torch.nn.utils.get_total_norm(kept.values())
            scale = (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        for parameter, gradient in kept.items():
            before = gradient * scale
            parameter.grad = before if parameter.grad is None else before + parameter.grad

    def _move(self, step: EngineStep) -> bool:
        scaler, mask = self.config.precision.scaler, self.mask
        with masked_step(self.config.parameters, None if mask is None else lambda d: mask.compute(d, step)):
            if scaler is None:
                self.optimizer.step()
                return True
            scale_before = scaler.get_scale()
            scaler.step(self.optimizer)
            scaler.update()
            return scaler.get_scale() >= scale_before


def trainable_parameters(optimizer: Optimizer) -> list[Tensor]:
    """Return the weights that an optimizer may move.

    Raises:
        ModelError: If there are none.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not parameters:
        raise ModelError("at least one trainable weight", "none that requires a gradient", "unfreeze what may change")
    return parameters


def sort_by_model(model: nn.Module, parameters: list[Tensor]) -> list[Tensor]:
    """Return parameters in the model's order, which masks use, and not in that of the optimizer's groups."""
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


def renumber(batch: Batch | None) -> Batch | None:
    """Return a batch that was numbered from 0 on each rank with the numbers that it has among all ranks' examples."""
    if batch is None or batch.shard is None:
        return batch
    return replace(batch, indices=batch.indices + batch.shard.offset)


def _empty_like(like: Batch | None) -> Batch:
    if like is None:
        return Batch(torch.empty(0), torch.empty(0), torch.empty(0))
    return replace(like.slice(0, 0), shard=None)
