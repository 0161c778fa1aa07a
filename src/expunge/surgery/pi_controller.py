"""PIController: a controller that holds the retain loss within one budget for the whole run."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.loss_estimate import LossIncreaseEstimate
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery


class PIController(Surgery):
    """Keep L_r(θ) ≤ L_r(θ₀) + τ by a proportional–integral controller of the multiplier.

    The rule is ours [ours]. Per-step rules do not add up: curvature, gradient noise and normalization statistics eat
    every first-order bound. Implicit surgery already integrates, λ_t − λ₀ = (β/η)(ΔL_r − ηεt), with a gain that depends
    on the rate; here the gains do not, a proportional term damps, and what is bounded is the sum.

    Formula: the update descends (L_f + λL_r)/(1 + λ), one backward pass; after it, with r the estimated rise of L_r
    (``LossIncreaseEstimate``: the loss of the update's own batch, which costs nothing, and held-out anchors),

        e = (r − τ)/s,   s = max(L_r(θ₀) + τ, floor),   I ← I + K_i e,   λ = min(λ_max, max(λ_min, K_p e + I))

    I starts at λ₀ + K_p τ/s, so that λ begins at λ₀ and answers the *first* rise. From I = 0 it would stay 0 until
    the budget is spent, and the lag of the average then overruns it. Anti-wind-up: I stands still while λ
    is at a bound and e pushes it further out, so that what it has learnt of λ is kept while there is room.

    Gains, in closed form. Near its rest, where λ = λ*, let g_r be an eigenvector of the Hessian of the combined
    loss. With a its eigenvalue times η, κ = η‖g_r‖²/((1 + λ*) s), k_p = K_p κ, k_i = K_i κ and β the decay
    of the average, deviations follow the characteristic polynomial

        (z − 1 + a)(z − β)(z − 1) + (1 − β)(k_p (z − 1) + k_i z)

    and by Jury's conditions it is stable where, for 0 ≤ a < 2 and k_i > 0,

        w = (1 − a)β + (1 − β)k_p < 1   and   k_i < (1 − w)(a + k_p).

    Where both losses have curvature h and L_r has its minimum 0, a = ηh and κ = 2ηh·ρ/(1 + λ*), ρ = (L_r(θ₀) + τ)/s:
    because e is relative to s, ρ ≤ 1 and the gains have no unit. Both conditions are linear in the rate once divided by
    it, so where K_i < (1 − β)K_p every smaller rate is stable too; it is only slower. Heavy-ball momentum μ multiplies
    the rate by 1/(1 − μ) and lags by another μ/(1 − μ) updates. Beyond the limit the bounds on λ leave a limit cycle:
    near λ_max the update is one of retention.

    Args:
        tolerance: τ ≥ 0 for the whole run, in the unit of L_r (nats); a buffer that may be set later. Default .05.
        kp: K_p ≥ 0. Default 10: a rise of s costs ten times the forget gradient.
        ki: K_i ≥ 0. Default .2: an integral time K_p/K_i of 50 updates, several lags of average and momentum.
        initial_multiplier: λ₀ ≥ 0. Default 1: the weight of plain fine-tuning on both sides.
        decay: β of the average, in [0, 1). Default .9.
        min_scale: Least s > 0, so that a model with a loss of 0 is no special case. Default .05.
        max_multiplier: λ_max. Default 50.
        min_multiplier: λ_min ≥ 0, the weight that the retain loss keeps while there is room. Default 0.

    Raises:
        SurgeryError: If a setting is out of its range.

    Examples:
        >>> PIController(tolerance=0.125).tolerance
        tensor(0.1250)
    """

    name: ClassVar[str] = "pi_controller"
    aliases: ClassVar[tuple[str, ...]] = ("controller", "pi", "cumulative")
    paper: ClassVar[str] = "ours"
    multiplier: Tensor
    tolerance: Tensor
    memory: Tensor

    def __init__(
        self,
        tolerance: float = 0.05,
        kp: float = 10.0,
        ki: float = 0.2,
        initial_multiplier: float = 1.0,
        decay: float = 0.9,
        min_scale: float = 0.05,
        max_multiplier: float = 50.0,
        min_multiplier: float = 0.0,
    ) -> None:
        super().__init__()
        smallest = min(
            tolerance, kp, ki, min_multiplier, initial_multiplier - min_multiplier, max_multiplier - initial_multiplier
        )
        if smallest < 0 or not (0 <= decay < 1 and min_scale > 0):
            actual = f"tolerance {tolerance}, kp {kp}, ki {ki}, initial_multiplier {initial_multiplier}, "
            actual += f"decay {decay}, min_scale {min_scale}, "
            actual += f"max_multiplier {max_multiplier}, min_multiplier {min_multiplier}"
            expected = (
                "settings ≥ 0 with min_multiplier ≤ initial_multiplier ≤ max_multiplier, decay < 1 and min_scale > 0"
            )
            raise SurgeryError(expected, actual, "change the one that breaks this")
        self.kp, self.ki, self.initial_multiplier = kp, ki, initial_multiplier
        self.decay, self.min_scale, self.max_multiplier, self.min_multiplier = (
            decay,
            min_scale,
            max_multiplier,
            min_multiplier,
        )
        self.increase_estimate = LossIncreaseEstimate(decay)
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        self.register_buffer("multiplier", torch.tensor(float(initial_multiplier)))
        self.register_buffer("memory", torch.zeros(()))
        self.retain_loss: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted mean."""
        forget_weight = 1 / (1 + self.multiplier)
        self.retain_loss = step.backward(LinearCombination(forget_weight, self.multiplier * forget_weight)).retain

    def after_step(self, step: Step) -> None:
        """Let the batch's loss before the move enter the estimate and control λ by it."""
        if self.retain_loss is None:
            return
        active, first = step.sizes.retain > 0, self.increase_estimate.weight == 0
        self.increase_estimate.update(self.retain_loss, active)
        scale = (self.increase_estimate.reference + self.tolerance).clamp(min=self.min_scale)
        memory_before = torch.where(first, self.initial_multiplier + self.kp * self.tolerance / scale, self.memory)
        memory, multiplier = self.update_controller(
            memory_before, (self.increase_estimate.value() - self.tolerance) / scale
        )
        self.memory = torch.where(active, memory, self.memory)
        self.multiplier = torch.where(active, multiplier, self.multiplier)
        self.retain_loss = None

    def update_controller(self, memory: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next I and λ."""
        next_memory = memory + self.ki * error
        unclamped = self.kp * error + next_memory
        saturated = ((unclamped <= self.min_multiplier) & (error < 0)) | (
            (unclamped >= self.max_multiplier) & (error > 0)
        )
        memory = torch.where(saturated, memory, next_memory.clamp(min=0.0))
        return memory, (self.kp * error + memory).clamp(self.min_multiplier, self.max_multiplier)

    def set_measured_increase(self, increase: float | Tensor) -> None:
        """Take over L_r(θ) − L_r(θ₀) as measured on held-out examples at the present weights, model as handed over."""
        self.increase_estimate.set_measured_increase(increase)

    def estimate_increase(self) -> Tensor:
        """Return the estimate of L_r(θ) − L_r(θ₀)."""
        return self.increase_estimate.value()
