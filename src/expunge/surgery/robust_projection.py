"""RobustProjection: the projection that allows for what is not known of the retain gradient."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.cone_problem import project_on_cone
from expunge.surgery.direction import Direction, gramian
from expunge.surgery.moments import make_moments
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery


class RobustProjection(Surgery):
    """Project the forget gradient on the directions that are safe for the retain gradient within its standard errors.

    The rule is ours [ours], a second-order cone form of unilateral surgery for the model of mini-batch noise in
    "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435).

    Formula: min ½‖u − g_f‖² subject to ⟨u, x̄⟩ − κ‖e ⊙ u‖ ≥ −ε, κ = Φ⁻¹(1 − δ), solved by

        u_i = (g_f,i + λ x̄_i)/(1 + λ κ e_i²/ρ),   ρ = ‖e ⊙ u‖

    with g_f the batch's forget gradient, x̄ and e mean and standard error of the retain gradients of the batches
    *before* this one, λ ≥ 0 the least that satisfies the bound, ρ the root of Σ e²c²/(ρ + λκe²)² = 1 at c = g_f + λx̄.
    If ‖c/e‖ ≤ λκ there is none, and u_i = 0 wherever e_i > 0. κ = 0 is explicit unilateral surgery on x̄. In the first
    two updates nothing is known of the noise: they are unilateral surgery on the batch's own retain gradient.

    κ is a degree of shrinkage: 1 − δ is *no* coverage (measured violations were .25 to .39 at a nominal .05), because u
    is chosen on the estimate. A guarantee takes fresh batches: put ``SequentialTest`` around a mask beside it.

    It costs no further gradient, but some 1,700 passes over the weights to find λ and ρ without waiting for the device
    (an update of a ResNet-20 on one CPU thread takes three times as long), and seven copies of the weights meanwhile.

    Args:
        delta: δ in (0, .5]; .5 gives κ = 0. Default .1: κ = 1.28.
        tolerance: ε ≥ 0 permits the retain loss to rise by η·ε in this update; see ``Projection``. Default 0.
        decay: β of the exponential average over updates; None weighs all updates alike. Default .9.
        bf16: Store mean and variance in bfloat16. Default false.

    Raises:
        SurgeryError: If a setting is out of its range.

    Examples:
        >>> RobustProjection(delta=0.05)
        RobustProjection(delta=0.05, tolerance=0.0, decay=0.9, bf16=False)
    """

    aliases: ClassVar[tuple[str, ...]] = ("cone", "noise_aware")
    paper: ClassVar[str] = "ours, for arXiv 2511.02435"
    tolerance: Tensor

    def __init__(
        self, delta: float = 0.1, tolerance: float = 0.0, decay: float | None = 0.9, bf16: bool = False
    ) -> None:
        super().__init__()
        if not 0 < delta <= 0.5 or tolerance < 0 or not (decay is None or 0 < decay < 1):
            actual = f"delta={delta}, tolerance={tolerance}, decay={decay}"
            raise SurgeryError("delta in (0, .5], a tolerance ≥ 0 and a decay in (0, 1)", actual, "change what is not")
        self.delta, self.decay, self.bf16 = delta, decay, bf16
        self.kappa = float(torch.special.ndtri(torch.tensor(1 - delta, dtype=torch.float64)))
        self.moments = make_moments(decay, bf16)
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        self.retain_gradient: Direction | None = None
        self.last_multiplier: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Propose u, from what the batches before this one say of the retain gradient."""
        forget, self.retain_gradient = step.gradient("forget"), step.gradient("retain")
        if self.moments.degrees_of_freedom < 1:
            direction, self.last_multiplier = project_gradient(forget, self.retain_gradient, self.tolerance)
        elif self.kappa == 0:
            direction, self.last_multiplier = project_gradient(forget, Direction(self.moments.means()), self.tolerance)
        else:
            mean, error = (list(pieces) for pieces in zip(*self.moments.estimates(), strict=True))
            direction, self.last_multiplier = project_on_cone(
                forget, [m.clone() for m in mean], error, self.kappa, self.tolerance
            )
        step.set_direction(direction)

    def after_step(self, step: Step) -> None:
        """Let the batch's retain gradient enter the estimate."""
        if self.retain_gradient is not None:
            self.moments.add(self.retain_gradient)
            self.retain_gradient = None

    def relative_weight(self) -> Tensor | None:
        """Return λ of the last decision."""
        return self.last_multiplier


def project_gradient(forget: Direction, retain: Direction, tolerance: Tensor) -> tuple[Direction, Tensor]:
    """Return g_f + λx̄ with the least λ ≥ 0 for which ⟨u, x̄⟩ ≥ −ε, and λ; g_f's memory is used."""
    gram = gramian(forget, retain)
    excess = (-gram[0, 1] - tolerance.to(gram)).clamp(min=0)
    multiplier = torch.where(gram[1, 1] == 0, 0.0, excess / gram[1, 1])
    return forget.add_(retain * multiplier), multiplier
