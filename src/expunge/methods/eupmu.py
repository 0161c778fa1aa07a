"""EUPMU: implicit gradient surgery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import Mode, Recipe
from expunge.errors import ConfigError
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import Implicit, ImplicitPublished, Surgery


@dataclass(frozen=True, kw_only=True)
class EUPMU(Method):
    """Train on random labels for D_f; a learnt multiplier on the retain loss holds it where it is (EUPMU).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: θ ← θ − η (∇L_f + λ ∇L_r), λ ← max(0, λ − β δ), δ = (L_r(θ) − L_r(θ⁺))/η + ε; see
    ``expunge.surgery.Implicit``, and ``ImplicitPublished`` for the released form.

    Args:
        as_published: The released form: log losses, Adam on the dual, D_f and D_r in one shuffle. Default false.
        tolerance: ε ≥ 0 of the stabilised form. Default 0.
        dual_rate: β. Default 1 (both forms; the authors' for CIFAR-10).
        error: Demanded fall of log L_r, released form only. Default .01 (authors, CIFAR-10).
        log: Log losses in the stabilised form. Default false.
        exclude_true: Never draw the true label. Default false (authors).

    Raises:
        ConfigError: If ``tolerance`` or ``log`` is set together with ``as_published``.

    Examples:
        >>> EUPMU().recipe().stages[0].surgery
        Implicit(tolerance=0.0, dual_rate=1.0, start=1.0, highest=50.0, log=False)
        >>> EUPMU(as_published=True).recipe().stages[0].mode
        'mixed'
    """

    aliases: ClassVar[tuple[str, ...]] = ("implicit",)
    paper: ClassVar[str] = "arXiv 2510.22124"
    label: ClassVar[str] = "EUPMU"

    as_published: bool = False
    tolerance: float = 0.0
    dual_rate: float = 1.0
    error: float = 0.01
    log: bool = False
    exclude_true: bool = False

    def __post_init__(self) -> None:
        """Refuse settings of one form in the other."""
        super().__post_init__()
        if self.as_published and (self.tolerance != 0 or self.log):
            found = f"tolerance={self.tolerance}, log={self.log} with as_published"
            raise ConfigError("error= to steer the released form", found, "remove tolerance and log")

    def recipe(self, seed: int = 0) -> Recipe:
        """Return one descent under the dual's control."""
        mode: Mode = "mixed" if self.as_published else "paired"
        return self.descend(RandomLabel(self.exclude_true, seed), CrossEntropy(), self.surgery(), mode)

    def surgery(self) -> Surgery:
        """Return the surgery of the chosen form."""
        if self.as_published:
            return ImplicitPublished(self.error, self.dual_rate)
        return Implicit(self.tolerance, self.dual_rate, log=self.log)
