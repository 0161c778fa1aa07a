"""Contracts that every surgery keeps, as functions that raise ``ContractError`` with what was broken.

``check_surgery(make)`` runs them all on surgeries that ``make`` builds. Third parties run it on their own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

import expunge.surgery
from expunge.batch import Batch
from expunge.engine import Stepper
from expunge.errors import ExpungeError
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.pair import Pair
from expunge.surgery import Direction, GramianSurgery, Step, Surgery
from expunge.testing.toy import ToyStep, linear
from expunge.testing.toy_problem import CLASSIFIER, ToyProblem

MakeSurgery = Callable[[], Surgery]


class ContractError(ExpungeError):
    """A surgery does not keep a contract."""


def contract_error(expected: str, found: str) -> ContractError:
    """Return the error of a broken contract."""
    return ContractError(expected, found, "see the contracts in expunge.surgery.Surgery and Step")


class FirstHalfMask(Mask):
    """Lets the first half of each piece move, keeps the rest still."""

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return the same mask at each step."""
        return Direction(make_half_mask(piece) for piece in displacement)


def make_half_mask(piece: Tensor) -> Tensor:
    """Return True at the first half of the positions of a piece."""
    return (torch.arange(piece.numel()) < piece.numel() // 2).view(piece.shape)


MakeOptimizer = Callable[[list[Tensor]], torch.optim.Optimizer]


def run_updates(
    surgery: Surgery,
    *,
    steps: int = 3,
    gradient_accumulation_steps: int = 1,
    scaler: torch.amp.GradScaler | None = None,
    mask: Mask | None = None,
    make_optimizer: MakeOptimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    dtype: torch.dtype = torch.float32,
    problem: ToyProblem = CLASSIFIER,
) -> nn.Module:
    """Return the bench's network after some updates of a surgery."""
    model = problem.network(dtype)
    objectives = problem.prepare_objectives(model)
    if mask is not None:
        mask.prepare(problem.predict(model), problem.split(dtype))
    stepper = Stepper(
        model,
        make_optimizer(list(model.parameters())),
        surgery,
        objectives,
        mask,
        scaler,
        gradient_accumulation_steps=gradient_accumulation_steps,
    )
    for index in range(steps):
        more = lambda of, k: problem.batch(1000 * index + 2 * k + (of == "retain") + 100, dtype, 16)  # noqa: B023, E731
        stepper(problem.batch(2 * index, dtype, 16), problem.batch(2 * index + 1, dtype, 20), extra_batches=more)
    return model


def check_same_weights(first: nn.Module, second: nn.Module, tolerance: float) -> float:
    """Return the largest difference of weights; nothing within ``tolerance`` counts.

    Raises:
        ContractError: If the difference exceeds the tolerance or is not finite.
    """
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    worst = max(float((a - b).detach().abs().max()) for a, b in pairs)
    if not worst <= tolerance:
        raise contract_error(f"equal weights (within {tolerance})", f"a difference of {worst:.3g}")
    return worst


def check_one_decision(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Exactly one ``backward`` or ``propose`` in a call, none in ``follow_up``."""
    step, surgery = ToyStep([torch.zeros(4)], Pair(linear(torch.ones(4)), linear(torch.arange(4.0)))), make()
    surgery(step)
    step.descend()
    surgery.after_step(step)
    if len(step.decisions) != 1:
        raise contract_error("exactly one decision", f"{len(step.decisions)}")


def check_micro_batches(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Four micro-batches give the update of one batch, in float64 up to rounding."""
    full, parts = (
        run_updates(make(), gradient_accumulation_steps=count, dtype=torch.float64, problem=problem) for count in (1, 4)
    )
    check_same_weights(full, parts, 1e-12)


def check_scaler(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Gradient scaling changes nothing beyond rounding."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    check_same_weights(run_updates(make(), problem=problem), run_updates(make(), scaler=scaler, problem=problem), 1e-6)


def check_skipped_step(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """A step that the optimizer skips changes neither weights nor state."""
    surgery, scaler = make(), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    model = problem.network(torch.float32)
    objectives: Pair[Objective] = problem.prepare_objectives(model).map(OverflowingObjective)
    stepper = Stepper(model, torch.optim.SGD(model.parameters(), lr=0.05), surgery, objectives, None, scaler)
    state = copy.deepcopy(surgery.state_dict())
    if stepper(problem.batch(0, torch.float32, 16), problem.batch(1, torch.float32, 16)).stepped:
        raise contract_error("a skipped step where a gradient overflows", "a move")
    check_same_weights(problem.network(torch.float32), model, 0.0)
    check_same_state(state, surgery.state_dict())


class OverflowingObjective(Objective):
    """A loss whose gradient is too large for the type once it is scaled."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Draw as the ordinary objective does."""
        return self.objective.sample(batch, epoch, generator)

    def __call__(self, model: Callable[[object], Tensor], batch: Batch) -> Tensor:
        """Return an ordinary loss with a slope of 10³⁸."""
        loss = self.objective(model, batch)
        return loss + (loss - loss.detach()) * 1e38


def check_same_state(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Compare two states to the bit, NaN equal to NaN.

    Raises:
        ContractError: If they differ.
    """
    for name, value in first.items():
        if not torch.equal(value.nan_to_num(nan=-7.0), second[name].nan_to_num(nan=-7.0)):
            raise contract_error(f"an unchanged '{name}'", f"{second[name]} in place of {value}")


def check_frozen_coordinates(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Masked coordinates stay bit-identical under momentum, weight decay and adaptive moments; others move."""
    optimizer_factories: tuple[MakeOptimizer, ...] = (
        lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4),
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1),
    )
    for make_optimizer in optimizer_factories:
        model = run_updates(make(), mask=FirstHalfMask(), make_optimizer=make_optimizer, problem=problem)
        moved = [a != b for a, b in zip(model.parameters(), problem.network(torch.float32).parameters(), strict=True)]
        if any(bool((m & ~make_half_mask(m)).any()) for m in moved):
            raise contract_error("masked weights that stay as they are", "weights that moved")
        if not any(bool(m.any()) for m in moved):
            raise contract_error("free weights that move", "none that moved")


def check_state(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """All memory is in ``state_dict``: a copy that loads it goes on exactly as the first does."""
    first, second = make(), make()
    run_updates(first, problem=problem)
    second.load_state_dict(first.state_dict())
    check_same_weights(run_updates(first, problem=problem), run_updates(second, problem=problem), 0.0)
    check_same_state(first.state_dict(), second.state_dict())


def check_extreme_scales(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Decisions and state are finite at gradients of scale 0, 1e-10 and 1e10, aligned, opposed or absent."""
    generator = torch.Generator().manual_seed(5)
    for scale in (0.0, 1e-10, 1.0, 1e10):
        f, r = (scale * torch.randn(50, generator=generator) for _ in range(2))
        for forget, retain in ((f, r), (f, 0 * r), (0 * f, r), (f, -f), (f, f)):
            check_finite(make(), forget, retain)


def check_finite(surgery: Surgery, forget: Tensor, retain: Tensor) -> None:
    """Decide twice for two given gradients and look for values that are not finite.

    Raises:
        ContractError: If there are any.
    """
    losses = Pair(linear(forget), linear(retain))
    for _ in range(2):
        step = ToyStep([torch.zeros_like(forget)], losses)
        surgery(step)
        surgery.after_step(step)
        if not all(bool(piece.isfinite().all()) for piece in step.decision):
            raise contract_error(
                "a finite decision", f"NaN or Inf at ‖g_f‖ = {forget.norm():.3g}, ‖g_r‖ = {retain.norm():.3g}"
            )
    for name, value in surgery.state_dict().items():
        if not bool(value.isfinite().all()):
            raise contract_error(f"a finite '{name}'", f"{value}")


def check_repr(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """``repr`` is the call that builds an equal surgery."""
    surgery = make()
    names = {**vars(expunge.surgery), type(surgery).__name__: type(surgery)}
    rebuilt = eval(repr(surgery), names)
    if repr(rebuilt) != repr(surgery):
        raise contract_error(repr(surgery), repr(rebuilt))
    check_same_state(surgery.state_dict(), rebuilt.state_dict())


def check_half_space(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Explicit surgeries with a tolerance keep ⟨g_r, d⟩ ≥ −ε, up to 1e-5·‖g_f‖‖g_r‖, at every scale."""
    surgery = make()
    if not isinstance(surgery, GramianSurgery) or not hasattr(surgery, "tolerance"):
        return
    generator = torch.Generator().manual_seed(11)
    for trial in range(60):
        f, r = (10.0 ** (trial % 7 - 3) * torch.randn(200, generator=generator) for _ in range(2))
        step = ToyStep([torch.zeros(200)], Pair(linear(f - 0.3 * r), linear(r)))
        surgery(step)
        slope, bound = float(step.decision @ Direction([r])), -float(torch.as_tensor(surgery.tolerance))
        if slope < bound - 1e-5 * float((f - 0.3 * r).norm() * r.norm()):
            raise contract_error(f"⟨g_r, d⟩ ≥ {bound:.3g}", f"{slope:.6g}")


CHECKS: tuple[Callable[[MakeSurgery, ToyProblem], None], ...] = (
    check_one_decision,
    check_micro_batches,
    check_scaler,
    check_skipped_step,
    check_frozen_coordinates,
    check_state,
    check_extreme_scales,
    check_repr,
    check_half_space,
)


def check_surgery(make: MakeSurgery, problem: ToyProblem = CLASSIFIER) -> None:
    """Run every contract on the surgeries that ``make`` builds.

    Args:
        make: Builds a new surgery at each call.
        problem: What they are tried on. Default: a small classifier.

    Raises:
        ContractError: At the first contract that is broken.

    Examples:
        >>> from expunge.surgery import Projection
        >>> check_surgery(Projection)
    """
    for check in CHECKS:
        check(make, problem)
