"""EngineStep: the engine's side of ``Step``. Precision, micro-batches, ranks and normalisation end here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.engine.derivatives import hessian_product, refuse_curvature, skips, slopes, weighted
from expunge.engine.further import Further, gradient_aside
from expunge.engine.guard import put_back
from expunge.engine.half import Half, Setting
from expunge.engine.joint import joint_parts
from expunge.engine.normalisation import untouched_buffers
from expunge.engine.telemetry import Observation
from expunge.errors import ConfigError, SurgeryError
from expunge.pair import ROLES, Pair, Role
from expunge.surgery import Combine, Direction, Linear, Progress
from expunge.surgery.direction import Scale

Probe = Callable[[], Batch]


class EngineStep:
    """One update as the engine lends it; see ``expunge.surgery.Step`` for what each verb promises.

    Args:
        setting: What stays the same from update to update.
        batches: The examples of both sides; one side may be empty.
        rate: The learning rate, a tensor of one element.
        progress: Which update of how many.
        seed: Of the randomness inside the model.
        probe: Fetches retain examples that are independent of ``batches``, when a surgery asks for them.
        observation: Collects the diagnostics of this update.
        supply: Fetches further batches, when a mask or a surgery asks for them.
    """

    def __init__(
        self,
        setting: Setting,
        batches: Pair[Batch],
        rate: Tensor,
        progress: Progress,
        seed: int,
        probe: Probe | None,
        observation: Observation,
        supply: Further | None = None,
    ) -> None:
        self.setting, self.rate, self.progress, self.observation = setting, rate, progress, observation
        objectives = setting.objectives
        self.halves = Pair(
            Half(setting, objectives.forget, batches.forget, seed),
            Half(setting, objectives.retain, batches.retain, seed + 2**20),
        )
        # full fills on the device; tensor(…, device=…) would copy from the host and wait for it.
        self.sizes = self.halves.map(lambda half: torch.full((), float(half.total), device=setting.device))
        self.probe, self.supply, self.seed = probe, supply, seed
        self.lent: dict[Role, int] = dict.fromkeys(ROLES, 0)
        self.fresh: Half | None = None
        self.decisions, self.moved = 0, False
        self.shift, self.shifts = 0, 0
        self.counted: set[Role] = set()
        self.known: dict[tuple[Role, bool, int, bool], Tensor] = {}

    # --- the verbs -----------------------------------------------------------------------------------------------

    def backward(self, combine: Combine) -> Pair[Tensor]:
        """Backpropagate the combination, exactly, whatever the number of micro-batches and ranks."""
        self._decide()
        if isinstance(combine, Linear):
            return self._descend(Pair(combine.forget, combine.retain))
        # Two graphs at a time need statistics that stand still: the second forward pass would spoil the first graph.
        # With several parts, on one rank or on many, the slopes are those at the mean losses: they come first.
        if self.setting.policy != "frozen" or max(map(len, self.halves)) > 1 or self.setting.ranks.size > 1:
            losses = Pair(self.loss("forget"), self.loss("retain"))
            self._descend(slopes(combine, losses))
            return losses
        with self._statistics("forget", "retain"):
            graphs = self.halves.map(lambda half: half.part(0) if len(half) else self._nothing())
        self._descend(slopes(combine, graphs), graphs)
        return graphs.map(Tensor.detach)

    def gradient(self, of: Role) -> Direction:
        """Return one side's gradient."""
        if self.setting.policy == "joint":
            self._joint_backward(Pair(1.0, 0.0) if of == "forget" else Pair(0.0, 1.0))
        else:
            own = self._side_backward(of, 1.0, None)
            self._reduced({of: own} if len(self.halves.of(of)) else {})
        gradient = self._take()
        if self.shift == 0:
            self.observation.saw_gradient(of, gradient)
        return gradient

    def further(self, of: Role, count: int) -> Iterator[Direction]:
        """Yield gradients on batches that are lent once."""
        if self.supply is None:
            found = "an update that has none"
            cure = "pass further= to the stepper, a function that gives more batches of either side"
            raise ConfigError("further batches for a rule that estimates the noise of gradients", found, cure)
        for _ in range(count):
            number = self.lent[of]
            batch = self.supply(of, number)
            if not batch:
                return
            self.lent[of] += 1
            seed = self.seed + 2**22 + 2**10 * (2 * number + ROLES.index(of))
            half = Half(self.setting, self.setting.objectives.of(of), batch, seed)
            gradient, loss = gradient_aside(self.setting, half)
            self.observation.saw_further(loss)
            yield gradient
            # Whoever asked for it has used it up: the next one's backward pass needs no memory beside it.
            del gradient

    def loss(self, of: Role, *, fresh: bool = False) -> Tensor:
        """Return one side's mean loss at the present weights."""
        fresh = fresh and of == "retain" and self.probe is not None
        key = (of, fresh, self.shift, self.moved)
        if key not in self.known:
            with untouched_buffers(self.setting.predict.model), torch.no_grad():
                if self.setting.policy == "joint" and not fresh:
                    self._measure_jointly()
                else:
                    half = self._fresh_half() if fresh else self.halves.of(of)
                    self.known[key] = half.mean() if len(half) else self._nothing()
        return self.known[key]

    def curvature(self, of: Role, along: Direction) -> Direction:
        """Return H·along by differentiating twice."""
        refuse_curvature(self.setting)
        half, total = self.halves.of(of), Direction(torch.zeros_like(p) for p in self.setting.parameters)
        with untouched_buffers(self.setting.predict.model):
            for index in range(len(half)):
                total.add_(hessian_product(half.part(index), self.setting.parameters, along))
        return total

    @contextmanager
    def shifted(self, by: Direction, *, times: float = 1.0) -> Iterator[None]:
        """Move the weights inside the context."""
        parameters, before = self.setting.parameters, self.shift
        saved = [parameter.detach().clone() for parameter in parameters]
        self.shifts += 1
        self.shift = self.shifts
        try:
            with torch.no_grad():
                torch._foreach_add_(parameters, by.pieces, alpha=times)
            yield
        finally:
            self.shift = before
            put_back(parameters, saved)

    def propose(self, direction: Direction) -> None:
        """Give the optimiser a direction."""
        self._decide()
        factor = self.setting.precision.factor()
        if factor is not None:
            direction = direction.mul_(factor)
        for parameter, piece in zip(self.setting.parameters, direction, strict=True):
            parameter.grad = piece.to(parameter.dtype)

    # --- what the verbs share ------------------------------------------------------------------------------------

    def look(self, of: Role) -> None:
        """Note a side's loss and gradient for the record, but under ``joint``, where no side has its own."""
        half = self.halves.of(of)
        if len(half) and self.setting.policy != "joint":
            gradient, loss = gradient_aside(self.setting, half)
            self.observation.saw_gradient(of, gradient)
            self.observation.saw_loss(of, loss)

    def settle(self) -> None:
        """Check that the surgery decided once.

        Raises:
            SurgeryError: If it did not.
        """
        if self.decisions != 1:
            found = f"{self.decisions} decisions in one call"
            raise SurgeryError("exactly one backward or propose", found, "mend the surgery's forward")

    def _decide(self) -> None:
        self.decisions += 1
        if self.decisions > 1:
            self.settle()

    def _nothing(self) -> Tensor:
        return torch.zeros((), device=self.setting.device)

    def _fresh_half(self) -> Half:
        if self.fresh is None:
            objective = self.setting.objectives.retain
            drawn = Half(self.setting, objective, self.probe(), self.seed + 2**21) if self.probe else None
            self.fresh = drawn or self.halves.retain
        return self.fresh

    def _measure_jointly(self) -> None:
        parts = [joint_parts(self.setting, self.halves, index) for index in range(max(map(len, self.halves)))]
        for role in ROLES:
            own = [part.of(role) for part in parts]
            total = torch.stack([self._nothing() if part is None else part for part in own]).sum()
            self.known[role, False, self.shift, self.moved] = total

    def _statistics(self, *roles: Role) -> AbstractContextManager[None]:
        """Let a batch move the normalisation statistics once: at its first evaluation at the unshifted weights."""
        if self.shift == 0 and self.counted.isdisjoint(roles):
            self.counted.update(roles)
            return nullcontext()
        return untouched_buffers(self.setting.predict.model)

    def _descend(self, weights: Pair[Scale], graphs: Pair[Tensor] | None = None) -> Pair[Tensor]:
        if self.setting.policy == "joint":
            return self._joint_backward(weights)
        losses = {}
        needed = [role for role in ROLES if len(self.halves.of(role)) and not skips(weights.of(role))]
        for role in ROLES:
            now = self.observation.gradients or [role] == needed[-1:]
            losses[role] = self._side_backward(role, weights.of(role), graphs.of(role) if graphs else None, now)
            if self.shift == 0:
                self.observation.saw_sum(role, weights.of(role), self.setting.parameters)
        return Pair(**losses | self._reduced({role: losses[role] for role in needed}))

    def _reduced(self, losses: dict[Role, Tensor]) -> dict[Role, Tensor]:
        """Return losses over the examples of all ranks, by one collective, and keep them."""
        if not losses:
            return losses
        total = self.setting.ranks.total(torch.stack(list(losses.values())))
        return {role: self._remember(role, loss) for role, loss in zip(losses, total, strict=True)}

    def _side_backward(self, role: Role, weight: Scale, graph: Tensor | None, now: bool = True) -> Tensor:
        """Backpropagate one side's loss.

        Args:
            role: The side.
            weight: Of its loss.
            graph: The loss, where it has been computed.
            now: Whether the ranks' gradients are reduced with this side's, or with the next one's.

        Returns:
            What this rank's examples contribute to the mean loss; NaN where it is not computed.
        """
        half = self.halves.of(role)
        if not len(half):
            return self._nothing()
        if skips(weight):
            return torch.full((), torch.nan, device=self.setting.device)
        if graph is not None:
            self._accumulate(weighted(graph, weight))
            return graph.detach()
        parts = []
        with self._statistics(role):
            for index in range(len(half)):
                with self.setting.ranks.reducing(now and index == len(half) - 1):
                    part = half.part(index)
                    self._accumulate(weighted(part, weight))
                parts.append(part.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _accumulate(self, loss: Tensor) -> None:
        """Add a loss's gradient to that of the weights that may move, and of no others."""
        if loss.requires_grad:
            self.setting.ranks.backward(self.setting.precision.scaled(loss), self.setting.parameters)

    def _joint_backward(self, weights: Pair[Scale]) -> Pair[Tensor]:
        losses: dict[Role, Tensor] = {role: self._nothing() for role in ROLES}
        with self._statistics("forget", "retain"):
            for index in range(max(map(len, self.halves))):
                parts = joint_parts(self.setting, self.halves, index)
                total = self._nothing()
                for role in ROLES:
                    part, weight = parts.of(role), weights.of(role)
                    if part is not None:
                        losses[role] = losses[role] + part.detach()
                        total = total if skips(weight) else total + weight * part
                self._accumulate(total)
        return Pair(*(self._remember(role, losses[role]) for role in ROLES))

    def _remember(self, role: Role, loss: Tensor) -> Tensor:
        self.known[role, False, self.shift, self.moved] = loss
        if self.shift == 0:
            self.observation.saw_loss(role, loss)
        return loss

    def _take(self) -> Direction:
        pieces = []
        for parameter in self.setting.parameters:
            own = parameter.grad
            pieces.append(torch.zeros_like(parameter) if own is None else self.setting.ranks.taken(own))
            parameter.grad = None
        factor = self.setting.precision.factor()
        return Direction(pieces) if factor is None else Direction(pieces).mul_(1 / factor)
