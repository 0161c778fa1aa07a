"""EUPMUSurgery: gradient surgery without a second gradient, by a multiplier that watches the retain loss."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from expunge.errors import ObjectiveError, SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import ProjectedAdam, take_projected_step
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery

LOG_EPSILON = 1e-8

DualUpdate = Literal["descent", "adam"]


class EUPMUSurgery(Surgery):
    """Descend L_f + λ·L_r, λ learnt from what each move did to L_r (EUPMU in stabilised form).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124). The
    rule is the authors'; this stabilised form of it is a reconstruction, because the released one winds up below zero
    and measures on the batch that it has just trained on. ``EUPMUOfficialSurgery`` has the released forms.

    Formula: after the update t,

        δ_t = (L_r(θ_t) − L_r(θ_{t+1})) / η_t + ε        λ_{t+1} = min(λ_max, max(0, λ_t − β·δ_t))

    with L_r the mean retain loss on examples independent of the update's batch (on the batch itself δ_t overstates
    the gain by λ tr Cov(g_r)), η_t the learning rate, ε the tolerance, β the dual rate. In the log form the update
    descends log(L_f + c) + λ·log(L_r + c), c = 1e-8, and δ_t is the change of log(L_r + c). With ``dual="adam"``
    Adam's step along δ_t takes the place of β·δ_t; what the projection cuts off leaves no momentum behind.

    Args:
        tolerance: ε ≥ 0 permits L_r (its logarithm in the log form) to rise by η·ε per update. Default 0.
        dual_rate: β > 0, in units of 1/loss. λ's fixed point is the projection's multiplier, approached by the factor
            1 − β‖g_r‖² per update. Default 1. For Adam in units of λ, whatever the loss: the step of a steady signal.
        initial_multiplier: λ_0 ≥ 0. Default 1: the weight of plain fine-tuning on both sides.
        max_multiplier: λ_max. Default 50.
        log_loss: Use the log form. It cannot take losses that may be negative (ascent). Default false.
        dual: How λ moves: ``descent`` (default) or ``adam``.

    Raises:
        SurgeryError: If a setting is negative, λ_0 lies above λ_max or the dual is not known.
        ObjectiveError: In the log form, if a loss of the first batch is negative.

    Examples:
        >>> EUPMUSurgery(dual_rate=0.5)  # doctest: +NORMALIZE_WHITESPACE
        EUPMUSurgery(tolerance=0.0, dual_rate=0.5, initial_multiplier=1.0, max_multiplier=50.0, log_loss=False,
                 dual='descent')

    Differences from the authors' code: λ is projected on [0, λ_max] instead of being clipped where it is used, so that
    it needs no decay; λ_0 is 1 (theirs 0); δ is measured on independent examples, divided by the learning rate,
    and has the sign convention of this project.
    """

    name: ClassVar[str] = "eupmu"
    aliases: ClassVar[tuple[str, ...]] = ("implicit",)
    paper: ClassVar[str] = "EUPMU, arXiv 2510.22124"
    multiplier: Tensor
    tolerance: Tensor

    def __init__(
        self,
        tolerance: float = 0.0,
        dual_rate: float = 1.0,
        initial_multiplier: float = 1.0,
        max_multiplier: float = 50.0,
        log_loss: bool = False,
        dual: DualUpdate = "descent",
    ) -> None:
        super().__init__()
        if min(tolerance, dual_rate, initial_multiplier, max_multiplier - initial_multiplier) < 0:
            actual = (
                f"tolerance {tolerance}, dual_rate {dual_rate}, "
                f"initial_multiplier {initial_multiplier}, max_multiplier {max_multiplier}"
            )
            raise SurgeryError(
                "settings ≥ 0 with initial_multiplier ≤ max_multiplier", actual, "change the one that breaks this"
            )
        if dual not in get_args(DualUpdate):
            raise SurgeryError(f"a dual of {', '.join(get_args(DualUpdate))}", f"'{dual}'", "choose one of them")
        self.dual_rate, self.initial_multiplier, self.max_multiplier, self.log_loss, self.dual = (
            dual_rate,
            initial_multiplier,
            max_multiplier,
            log_loss,
            dual,
        )
        self.adam = ProjectedAdam(dual_rate, max_multiplier) if dual == "adam" else None
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        self.register_buffer("multiplier", torch.tensor(float(initial_multiplier)))
        self.relative = self.multiplier
        self.loss_before: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse a negative forget loss in the log form."""
        if self.log_loss:
            check_nonnegative(losses)

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted sum, then measure L_r on fresh examples: without any, it is already known."""
        losses = step.backward(self.combine_losses if self.log_loss else LinearCombination(1.0, self.multiplier))
        self.loss_before = self.constraint_value(step.loss("retain", independent=True))
        self.relative = self.multiplier
        if self.log_loss:
            self.relative = self.multiplier * (losses.forget + LOG_EPSILON) / (losses.retain + LOG_EPSILON)

    def after_step(self, step: Step) -> None:
        """Measure again and let the multiplier learn; a batch without retain examples teaches nothing."""
        after = self.constraint_value(step.loss("retain", independent=True))
        before = after if self.loss_before is None else self.loss_before
        slack = (before - after) / step.lr + self.tolerance
        # A rate of 0 (warm-up) moves nothing, and 0/0 would stay in the multiplier for ever.
        active = (step.sizes.retain > 0) & (step.lr > 0)
        self.multiplier = self.next_multiplier(slack, active)

    def next_multiplier(self, slack: Tensor, active: Tensor) -> Tensor:
        """Return the next multiplier."""
        if self.adam is None:
            return take_projected_step(self.multiplier, slack, self.dual_rate, self.max_multiplier, active)
        multiplier: Tensor = self.adam(self.multiplier, slack, active)
        return multiplier

    def relative_weight(self) -> Tensor | None:
        """Return λ, in the log form λ·(L_f + c)/(L_r + c): the weight of g_r relative to g_f."""
        return self.relative

    def combine_losses(self, forget: Tensor, retain: Tensor) -> Tensor:
        """Return log(L_f + c) + λ·log(L_r + c)."""
        return (forget + LOG_EPSILON).log() + self.multiplier * (retain + LOG_EPSILON).log()

    def constraint_value(self, loss: Tensor) -> Tensor:
        """Return the loss on the scale of the constraint."""
        return (loss + LOG_EPSILON).log() if self.log_loss else loss


def check_nonnegative(losses: Pair[float]) -> None:
    """Refuse losses whose logarithm does not exist."""
    if min(losses) < 0:
        raise ObjectiveError(
            "losses ≥ 0, because the log form takes their logarithm",
            f"a forget loss of {losses.forget:.4g} and a retain loss of {losses.retain:.4g} at the first batch",
            "use an objective that is bounded below (random_label instead of ascent), or log=False",
        )
