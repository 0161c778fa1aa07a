"""Lookahead: forget from where a step of retention would lead, so that both gradients align."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.pair import Role
from expunge.surgery.direction import Direction
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery

Mode = Literal["lookahead", "exact", "first_order"]


class Lookahead(Surgery):
    """Take a virtual step on the inner task and judge the outer task after it (LUR).

    Paper: "Learning to Unlearn while Retaining" (arXiv 2503.06339, ICCV 2025). That retention is the inner task agrees
    in two independent summaries and a public implementation; the mode ``lookahead`` is a reconstruction, chosen
    because it needs no second-order differentiation and so runs under micro-batches, mixed precision and ranks.

    Formula: with inner task retain,

        J(θ) = L_r(θ) + λ L_f(θ′),   θ′ = θ − α ∇L_r(θ),   ∇J = g_r + λ (I − α H_r) v,   v = ∇L_f(θ′)

    where g_r, H_r are gradient and Hessian of L_r at θ. ``exact`` computes it by a Hessian-vector product.
    ``lookahead`` takes three plain gradients, λ v + ∇L_r(θ − α λ v), with a relative error of O((αλ‖v‖)²).
    ``first_order`` drops H_r, g_r + λ v. With inner task forget, L_f and L_r change places and λ stays with L_f:
    J(θ) = λ L_f(θ) + L_r(θ − α ∇L_f(θ)). The virtual step gives L_f(θ′) = L_f − α⟨g_f, g_r⟩ + O(α²): minimising it
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
        >>> Lookahead(alpha=0.5)
        Lookahead(alpha=0.5, weight=1.0, mode='lookahead', inner='retain')
    """

    aliases: ClassVar[tuple[str, ...]] = ("lur",)
    paper: ClassVar[str] = "LUR, arXiv 2503.06339"
    distributed: ClassVar[bool] = True

    def __init__(
        self, alpha: float = 0.01, weight: float = 1.0, mode: Mode = "lookahead", inner: Role = "retain"
    ) -> None:
        super().__init__()
        if not (alpha > 0 and weight > 0):
            raise SurgeryError("alpha > 0 and weight > 0", f"{alpha} and {weight}", "change the one that is not")
        if mode not in get_args(Mode) or inner not in get_args(Role):
            cure = f"choose a mode of {', '.join(get_args(Mode))} and an inner task of {', '.join(get_args(Role))}"
            raise SurgeryError("a mode and an inner task that are known", f"'{mode}' and '{inner}'", cure)
        self.alpha, self.weight, self.mode, self.inner = alpha, weight, mode, inner

    def forward(self, step: Step) -> None:
        """Propose ∇J."""
        inner: Role = self.inner
        outer: Role = "forget" if inner == "retain" else "retain"
        own, other = (1.0, self.weight) if inner == "retain" else (self.weight, 1.0)
        here = step.gradient(inner)
        with step.shifted(by=here * -self.alpha):
            ahead = step.gradient(outer)
        step.propose(self.total(step, here, ahead, own, other))

    def total(self, step: Step, here: Direction, ahead: Direction, own: float, other: float) -> Direction:
        """Return own·L_inner's gradient plus other·(I − αH)·ahead, as the mode computes it.

        Args:
            step: The update.
            here: Gradient of the inner loss at the weights.
            ahead: Gradient of the outer loss after the virtual step.
            own: Weight of the inner loss.
            other: Weight of the outer loss.
        """
        if self.mode == "exact":
            bend = step.curvature(self.inner, ahead).mul_(-self.alpha * other)
            return here.mul_(own).add_(ahead.mul_(other)).add_(bend)
        if self.mode == "first_order":
            return here.mul_(own).add_(ahead.mul_(other))
        # own·g − αHu ≈ own·∇L(θ − (α/own)·u) for u = other·ahead: a third plain gradient instead of a Hessian.
        pull = ahead.mul_(other)
        with step.shifted(by=pull * (-self.alpha / own)):
            bent = step.gradient(self.inner)
        return bent.mul_(own).add_(pull)

    def applied(self) -> Tensor | None:
        """Return the weight of the retain loss relative to the forget loss, 1/λ."""
        return torch.tensor(1.0 / self.weight)
