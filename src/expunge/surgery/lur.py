"""LURSurgery: forget from where a step of retention would lead, so that both gradients align."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Role
from expunge.surgery.direction import Direction
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery

LookaheadMode = Literal["lookahead", "exact", "first_order"]


class LURSurgery(Surgery):
    """Take a virtual step on the inner task and judge the outer task after it (LUR).

    Paper: "Learning to Unlearn while Retaining" (arXiv 2503.06339, ICCV 2025). That retention is the inner task agrees
    in two independent summaries and a public implementation; the mode ``lookahead`` is a reconstruction, chosen
    because it needs no second-order differentiation and so runs under micro-batches, mixed precision and ranks.

    Formula: with inner task retain,

        J(θ) = L_r(θ) + λ L_f(θ′),   θ′ = θ − α ∇L_r(θ),   ∇J = g_r + λ (I − α H_r) v,   v = ∇L_f(θ′)

    where g_r, H_r are gradient and Hessian of L_r at θ. ``exact`` computes it by a Hessian-vector product.
    ``lookahead`` takes three plain gradients, λ v + ∇L_r(θ − α λ v), with a relative error of O((αλ‖v‖)²).
    ``first_order`` drops H_r, g_r + λ v. With inner task forget, L_f and L_r change places and λ stays with L_f:
    J(θ) = λ L_f(θ) + L_r(θ − α ∇L_f(θ)). The virtual step gives L_f(θ′) = L_f − α⟨g_f, g_r⟩ + O(α²): minimizing it
    aligns both gradients.

    Args:
        alpha: α > 0, length of the virtual step as a learning rate. Default .01; the paper's was out of reach.
        weight: λ > 0, of the forget loss, as the paper writes it. Default 1.
        mode: ``lookahead`` (default), ``exact`` or ``first_order``. On a model that interpolates its data g_r is about
            0, and ``first_order`` loses the alignment altogether.
        inner: ``retain`` (default) or ``forget``.

    Raises:
        SurgeryError: If a setting is out of its range; with ``exact``, where second derivatives cannot be had.

    Examples:
        >>> LURSurgery(alpha=0.5)
        LURSurgery(alpha=0.5, weight=1.0, mode='lookahead', inner='retain')
    """

    name: ClassVar[str] = "lur"
    aliases: ClassVar[tuple[str, ...]] = ("lookahead",)
    paper: ClassVar[str] = "LUR, arXiv 2503.06339"

    def __init__(
        self, alpha: float = 0.01, weight: float = 1.0, mode: LookaheadMode = "lookahead", inner: Role = "retain"
    ) -> None:
        super().__init__()
        if not (alpha > 0 and weight > 0):
            raise SurgeryError("alpha > 0 and weight > 0", f"{alpha} and {weight}", "change the one that is not")
        if mode not in get_args(LookaheadMode) or inner not in get_args(Role):
            modes, roles = ", ".join(get_args(LookaheadMode)), ", ".join(get_args(Role))
            hint = f"choose a mode of {modes} and an inner task of {roles}"
            raise SurgeryError("a mode and an inner task that are known", f"'{mode}' and '{inner}'", hint)
        self.alpha, self.weight, self.mode, self.inner = alpha, weight, mode, inner
        # What is differentiated twice is reduced by no wrapper.
        self.distributed = mode != "exact"

    def forward(self, step: Step) -> None:
        """Propose ∇J."""
        inner_weight, outer_weight = (1.0, self.weight) if self.inner == "retain" else (self.weight, 1.0)
        step.set_direction(
            (self._finite_difference_gradient if self.mode == "lookahead" else self._hvp_gradient)(
                step, inner_weight, outer_weight
            )
        )

    def _outer_gradient(self, step: Step, inner_gradient: Direction) -> Direction:
        """Return the gradient of the outer loss after the virtual step along the inner loss's gradient."""
        with step.perturbed(inner_gradient, alpha=-self.alpha):
            return step.gradient("forget" if self.inner == "retain" else "retain")

    def _finite_difference_gradient(self, step: Step, inner_weight: float, outer_weight: float) -> Direction:
        """Return ∇J by three plain gradients: own·g − αHu ≈ own·∇L(θ − (α/own)·u) for u = other·ahead.

        Args:
            step: The update.
            inner_weight: Weight of the inner loss.
            outer_weight: Weight of the outer loss.
        """
        # The gradient at the weights has no name here: only the virtual step needs it, and its memory is free after it.
        pull = scale_direction(self._outer_gradient(step, step.gradient(self.inner)), outer_weight)
        with step.perturbed(pull, alpha=-self.alpha / inner_weight):
            gradient = step.gradient(self.inner)
        return scale_direction(gradient, inner_weight).add_(pull)

    def _hvp_gradient(self, step: Step, inner_weight: float, outer_weight: float) -> Direction:
        """Return ∇J, own·here + other·(I − αH)·ahead, with H or without it as the mode says."""
        inner_gradient = step.gradient(self.inner)
        outer_gradient = self._outer_gradient(step, inner_gradient)
        correction = (
            step.hessian_vector_product(self.inner, outer_gradient).mul_(-self.alpha * outer_weight)
            if self.mode == "exact"
            else None
        )
        total = scale_direction(inner_gradient, inner_weight).add_(scale_direction(outer_gradient, outer_weight))
        return total if correction is None else total.add_(correction)

    def get_unevaluated_side(self) -> Role | None:
        """Return the outer task: it is judged after the virtual step alone."""
        return "forget" if self.inner == "retain" else "retain"

    def relative_weight(self) -> Tensor | None:
        """Return the weight of the retain loss relative to the forget loss, 1/λ."""
        return torch.tensor(1.0 / self.weight)


def scale_direction(direction: Direction, factor: float) -> Direction:
    """Return a direction multiplied in place; the factor 1 spares a pass over memory of the weights' size."""
    return direction if factor == 1.0 else direction.mul_(factor)
