"""EngineStep: the engine's side of ``Step``. Precision, micro-batches, ranks and normalization end here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.engine.batch_norm import preserve_buffers
from expunge.engine.derivatives import (
    apply_weight,
    check_second_derivatives,
    hessian_vector_product,
    is_skipped,
    partial_derivatives,
)
from expunge.engine.diagnostics import UpdateDiagnostics
from expunge.engine.extra_batches import ExtraBatchFn, compute_isolated_gradient
from expunge.engine.guard import restore_weights
from expunge.engine.joint import joint_losses
from expunge.engine.side_batch import SideBatch, StepConfig
from expunge.errors import ConfigError, SurgeryError
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import CombineFn, Direction, LinearCombination, Progress
from expunge.surgery.direction import Scalar

ValidationBatchFn = Callable[[], Batch]


class EngineStep:
    """One update as the engine lends it; see ``expunge.surgery.Step`` for what each verb promises.

    Args:
        config: What stays the same from update to update.
        batches: The examples of both sides; one side may be empty.
        lr: The learning rate, a tensor of one element.
        progress: Which update of how many.
        seed: Of the randomness inside the model.
        validation_batch: Fetches retain examples that are independent of ``batches``, when a surgery asks for them.
        diagnostics: Collects the diagnostics of this update.
        extra_batches: Fetches further batches, when a mask or a surgery asks for them.
    """

    def __init__(
        self,
        config: StepConfig,
        batches: Pair[Batch],
        lr: Tensor,
        progress: Progress,
        seed: int,
        validation_batch: ValidationBatchFn | None,
        diagnostics: UpdateDiagnostics,
        extra_batches: ExtraBatchFn | None = None,
    ) -> None:
        self.config, self.lr, self.progress, self.diagnostics = config, lr, progress, diagnostics
        objectives = config.objectives
        self.sides = Pair(
            SideBatch(config, objectives.forget, batches.forget, seed),
            SideBatch(config, objectives.retain, batches.retain, seed + 2**20),
        )
        # full fills on the device; tensor(…, device=…) would copy from the host and wait for it.
        self.sizes = self.sides.map(lambda half: torch.full((), float(half.total), device=config.device))
        self.validation_batch, self.extra_batches, self.seed = validation_batch, extra_batches, seed
        self.extra_batches_used: dict[Role, int] = dict.fromkeys(ROLES, 0)
        self.independent_side: SideBatch | None = None
        self.decisions, self.stepped = 0, False
        self.shift_id, self.num_shifts = 0, 0
        self.counted_roles: set[Role] = set()
        self.cached_losses: dict[tuple[Role, bool, int, bool], Tensor] = {}

    # --- the verbs -----------------------------------------------------------------------------------------------

    def backward(self, combine: CombineFn) -> Pair[Tensor]:
        """Backpropagate the combination, exactly, whatever the number of micro-batches and ranks."""
        self._count_decision()
        if isinstance(combine, LinearCombination):
            return self._backward_weighted(Pair(combine.forget_weight, combine.retain_weight))
        # Two graphs at a time need statistics that stand still: the second forward pass would spoil the first graph.
        # With several parts, on one rank or on many, the slopes are those at the mean losses: they come first.
        if self.config.batch_norm != "frozen" or max(map(len, self.sides)) > 1 or self.config.ranks.size > 1:
            losses = Pair(self.loss("forget"), self.loss("retain"))
            self._backward_weighted(partial_derivatives(combine, losses))
            return losses
        with self._statistics_context("forget", "retain"):
            graphs = self.sides.map(lambda half: half.micro_batch_loss(0) if len(half) else self._zero())
        self._backward_weighted(partial_derivatives(combine, graphs), graphs)
        return graphs.map(Tensor.detach)

    def gradient(self, role: Role) -> Direction:
        """Return one side's gradient."""
        if self.config.batch_norm == "joint":
            self._joint_backward(Pair(1.0, 0.0) if role == "forget" else Pair(0.0, 1.0))
        else:
            loss = self._backward_side(role, 1.0, None)
            self._reduce({role: loss} if len(self.sides.of(role)) else {})
        gradient = self._take_gradient()
        if self.shift_id == 0:
            self.diagnostics.record_gradient(role, gradient)
        return gradient

    def extra_gradients(self, role: Role, count: int) -> Iterator[Direction]:
        """Yield gradients on batches that are lent once."""
        if self.extra_batches is None:
            actual = "an update that has none"
            hint = "pass extra_batches= to the stepper, a function that gives more batches of either side"
            raise ConfigError("further batches for a rule that estimates the noise of gradients", actual, hint)
        for _ in range(count):
            number = self.extra_batches_used[role]
            batch = self.extra_batches(role, number)
            if not batch:
                return
            self.extra_batches_used[role] += 1
            seed = self.seed + 2**22 + 2**10 * (2 * number + ROLES.index(role))
            side = SideBatch(self.config, self.config.objectives.of(role), batch, seed)
            gradient, loss = compute_isolated_gradient(self.config, side)
            self.diagnostics.record_extra_loss(loss)
            yield gradient
            # Whoever asked for it has used it up: the next one's backward pass needs no memory beside it.
            del gradient

    def loss(self, role: Role, *, independent: bool = False) -> Tensor:
        """Return one side's mean loss at the present weights."""
        independent = independent and role == "retain" and self.validation_batch is not None
        key = (role, independent, self.shift_id, self.stepped)
        if key not in self.cached_losses:
            with preserve_buffers(self.config.predict.model), torch.no_grad():
                if self.config.batch_norm == "joint" and not independent:
                    self._evaluate_jointly()
                else:
                    side = self._make_independent_side() if independent else self.sides.of(role)
                    self.cached_losses[key] = side.forward_loss() if len(side) else self._zero()
        return self.cached_losses[key]

    def hessian_vector_product(self, role: Role, direction: Direction) -> Direction:
        """Return H·along by differentiating twice."""
        check_second_derivatives(self.config)
        side, total = self.sides.of(role), Direction(torch.zeros_like(p) for p in self.config.parameters)
        with preserve_buffers(self.config.predict.model):
            for index in range(len(side)):
                total.add_(hessian_vector_product(side.micro_batch_loss(index), self.config.parameters, direction))
        return total

    @contextmanager
    def perturbed(self, direction: Direction, *, alpha: float = 1.0) -> Iterator[None]:
        """Move the weights inside the context."""
        parameters, outer_shift = self.config.parameters, self.shift_id
        saved = [parameter.detach().clone() for parameter in parameters]
        self.num_shifts += 1
        self.shift_id = self.num_shifts
        try:
            with torch.no_grad():
                torch._foreach_add_(parameters, direction.pieces, alpha=alpha)
            yield
        finally:
            self.shift_id = outer_shift
            restore_weights(parameters, saved)

    def set_direction(self, direction: Direction) -> None:
        """Give the optimizer a direction."""
        self._count_decision()
        loss_scale = self.config.precision.current_loss_scale()
        if loss_scale is not None:
            direction = direction.mul_(loss_scale)
        for parameter, piece in zip(self.config.parameters, direction, strict=True):
            parameter.grad = piece.to(parameter.dtype)

    # --- what the verbs share ------------------------------------------------------------------------------------

    def record_gradient(self, role: Role) -> None:
        """Note a side's loss and gradient for the record, but under ``joint``, where no side has its own."""
        side = self.sides.of(role)
        if len(side) and self.config.batch_norm != "joint":
            gradient, loss = compute_isolated_gradient(self.config, side)
            self.diagnostics.record_gradient(role, gradient)
            self.diagnostics.record_loss(role, loss)

    def check_decided(self) -> None:
        """Check that the surgery decided once.

        Raises:
            SurgeryError: If it did not.
        """
        if self.decisions != 1:
            actual = f"{self.decisions} decisions in one call"
            raise SurgeryError("exactly one backward or propose", actual, "mend the surgery's forward")

    def _count_decision(self) -> None:
        self.decisions += 1
        if self.decisions > 1:
            self.check_decided()

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.config.device)

    def _make_independent_side(self) -> SideBatch:
        if self.independent_side is None:
            objective = self.config.objectives.retain
            side = (
                SideBatch(self.config, objective, self.validation_batch(), self.seed + 2**21)
                if self.validation_batch
                else None
            )
            self.independent_side = side or self.sides.retain
        return self.independent_side

    def _evaluate_jointly(self) -> None:
        parts = [joint_losses(self.config, self.sides, index) for index in range(max(map(len, self.sides)))]
        for role in ROLES:
            losses = [part.of(role) for part in parts]
            total = torch.stack([self._zero() if part is None else part for part in losses]).sum()
            self.cached_losses[role, False, self.shift_id, self.stepped] = total

    def _statistics_context(self, *roles: Role) -> AbstractContextManager[None]:
        """Let a batch move the normalization statistics once: at its first evaluation at the unshifted weights."""
        if self.shift_id == 0 and self.counted_roles.isdisjoint(roles):
            self.counted_roles.update(roles)
            return nullcontext()
        return preserve_buffers(self.config.predict.model)

    def _backward_weighted(self, weights: Pair[Scalar], graphs: Pair[Tensor] | None = None) -> Pair[Tensor]:
        if self.config.batch_norm == "joint":
            return self._joint_backward(weights)
        losses = {}
        needed = [role for role in ROLES if len(self.sides.of(role)) and not is_skipped(weights.of(role))]
        for role in ROLES:
            now = self.diagnostics.log_gradients or [role] == needed[-1:]
            losses[role] = self._backward_side(role, weights.of(role), graphs.of(role) if graphs else None, now)
            if self.shift_id == 0:
                self.diagnostics.record_accumulated(role, weights.of(role), self.config.parameters)
        return Pair(**losses | self._reduce({role: losses[role] for role in needed}))

    def _reduce(self, losses: dict[Role, Tensor]) -> dict[Role, Tensor]:
        """Return losses over the examples of all ranks, by one collective, and keep them."""
        if not losses:
            return losses
        total = self.config.ranks.all_reduce(torch.stack(list(losses.values())))
        return {role: self._cache_loss(role, loss) for role, loss in zip(losses, total, strict=True)}

    def _backward_side(self, role: Role, weight: Scalar, graph: Tensor | None, now: bool = True) -> Tensor:
        """Backpropagate one side's loss.

        Args:
            role: The side.
            weight: Of its loss.
            graph: The loss, where it has been computed.
            now: Whether the ranks' gradients are reduced with this side's, or with the next one's.

        Returns:
            What this rank's examples contribute to the mean loss; NaN where it is not computed.
        """
        side = self.sides.of(role)
        if not len(side):
            return self._zero()
        if is_skipped(weight):
            return torch.full((), torch.nan, device=self.config.device)
        if graph is not None:
            self._accumulate(apply_weight(graph, weight))
            return graph.detach()
        parts = []
        with self._statistics_context(role):
            for index in range(len(side)):
                with self.config.ranks.sync_context(now and index == len(side) - 1):
                    part = side.micro_batch_loss(index)
                    self._accumulate(apply_weight(part, weight))
                parts.append(part.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _accumulate(self, loss: Tensor) -> None:
        """Add a loss's gradient to that of the weights that may move, and of no others."""
        if loss.requires_grad:
            self.config.ranks.backward(self.config.precision.scale_loss(loss), self.config.parameters)

    def _joint_backward(self, weights: Pair[Scalar]) -> Pair[Tensor]:
        losses: dict[Role, Tensor] = {role: self._zero() for role in ROLES}
        with self._statistics_context("forget", "retain"):
            for index in range(max(map(len, self.sides))):
                parts = joint_losses(self.config, self.sides, index)
                total = self._zero()
                for role in ROLES:
                    part, weight = parts.of(role), weights.of(role)
                    if part is not None:
                        losses[role] = losses[role] + part.detach()
                        total = total if is_skipped(weight) else total + weight * part
                self._accumulate(total)
        return Pair(*(self._cache_loss(role, losses[role]) for role in ROLES))

    def _cache_loss(self, role: Role, loss: Tensor) -> Tensor:
        self.cached_losses[role, False, self.shift_id, self.stepped] = loss
        if self.shift_id == 0:
            self.diagnostics.record_loss(role, loss)
        return loss

    def _take_gradient(self) -> Direction:
        pieces = []
        for parameter in self.config.parameters:
            gradient = parameter.grad
            pieces.append(torch.zeros_like(parameter) if gradient is None else self.config.ranks.take_grad(gradient))
            parameter.grad = None
        loss_scale = self.config.precision.current_loss_scale()
        return Direction(pieces) if loss_scale is None else Direction(pieces).mul_(1 / loss_scale)
