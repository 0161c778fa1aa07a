"""EUPMU: implicit gradient surgery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from expunge.engine import MethodRecipe, Pairing
from expunge.errors import ConfigError
from expunge.methods.eupmu_presets import PRESETS
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import EUPMUForm, EUPMUOfficialSurgery, EUPMUSurgery, Surgery


@dataclass(frozen=True, kw_only=True)
class EUPMU(Method):
    """Train on random labels for D_f; a learnt multiplier on the retain loss holds it where it is (EUPMU).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: θ ← θ − η (∇L_f + λ ∇L_r), λ ← max(0, λ − β δ), δ = (L_r(θ) − L_r(θ⁺))/η + ε; see
    ``expunge.surgery.EUPMUSurgery``, and ``EUPMUOfficialSurgery`` for the released form.

    Presets: the authors' settings, in a released form, by data set and share of it that is forgotten —
    ``cifar10-class``, ``cifar10-10``, ``cifar10-30``, ``cifar10-50``, ``cifar100-10``, ``cifar100-30``,
    ``cifar100-50``, ``tiny-imagenet-10`` — and ``ddpm`` for a class of a diffusion model.
    ``method: {name: eupmu, preset: cifar10-10}`` in a request, ``unlearn(…, method="eupmu", preset="cifar10-10")``, or
    in words ``eupmu(preset="cifar10-10")``; numbers written beside a preset win. The README of the released code has
    ``lr=5e-3, margin=0.05`` for a class of CIFAR-10. Each preset names its form. Those for classifiers have
    ``release``, which their shell scripts come with; which form the values were chosen with is not known. Beside
    ``form="raw"`` or ``"log"`` write ``max_grad_norm=None``: their clip acts on nothing there. Presets are refused
    with ``as_published=False``: error, w₀ and the rates belong to Adam with decay, and mean nothing in the stabilised
    form. The policy for normalization layers is the run's and in no preset.

    Args:
        as_published: A released form: Adam on the dual, D_f and D_r in one shuffle. Default false.
        form: Which released form: ``release`` (default), ``raw``, ``log``, ``ddpm`` or ``stable_diffusion``.
        retain_scale: α, the factor of the retain loss in the form ``stable_diffusion``. Default 1.
        tolerance: ε ≥ 0 of the stabilised form. Default 0.
        dual_rate: β. Default 1 (both forms; the authors' for CIFAR-10).
        dual: How λ moves in the stabilised form: ``descent`` (default) or ``adam``. The released form has Adam.
        initial_multiplier: λ_0 ≥ 0, in the released form w_0. Default 1, in the released form 0 (authors).
        margin: Demanded fall of log L_r, released form only. Default .01 (authors, CIFAR-10).
        decay: γ of the dual's Adam, released form only. Default .01 (authors).
        log_loss: Log losses in the stabilised form. Default false.
        exclude_true: Never draw the true label. Default false (authors).

    Raises:
        ConfigError: If a setting of one form is changed in the other.
        SurgeryError: If a setting of the surgery is out of its range.

    Examples:
        >>> EUPMU().recipe().stages[0].surgery  # doctest: +NORMALIZE_WHITESPACE
        EUPMUSurgery(tolerance=0.0, dual_rate=1.0, initial_multiplier=1.0, max_multiplier=50.0, log_loss=False,
                 dual='descent')
        >>> EUPMU(as_published=True, form="log").recipe().stages[0].surgery  # doctest: +NORMALIZE_WHITESPACE
        EUPMUOfficialSurgery(form='log', margin=0.01, dual_rate=1.0, decay=0.01, initial_weight=0.0,
                 retain_scale=1.0)

    Differences from the authors' code: the stabilised form throughout, with λ_0 = 1 where theirs has w_0 = 0;
    the released ones as their surgery says, with the run's normalization policy in place of each batch's own
    statistics.
    """

    aliases: ClassVar[tuple[str, ...]] = ("implicit",)
    paper: ClassVar[str] = "arXiv 2510.22124"
    label: ClassVar[str] = "EUPMU"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    as_published: bool = False
    form: EUPMUForm = "release"
    retain_scale: float = 1.0
    tolerance: float = 0.0
    dual_rate: float = 1.0
    dual: Literal["descent", "adam"] = "descent"
    initial_multiplier: float | None = None
    margin: float = 0.01
    decay: float = 0.01
    log_loss: bool = False
    exclude_true: bool = False

    def __post_init__(self) -> None:
        """Refuse settings of one form in the other."""
        super().__post_init__()
        foreign = (
            ("tolerance", "dual", "log_loss") if self.as_published else ("margin", "decay", "form", "retain_scale")
        )
        changed = [name for name in foreign if getattr(self, name) != getattr(type(self), name)]
        if changed:
            actual = ", ".join(f"{name}={getattr(self, name)}" for name in changed)
            actual += " with as_published" if self.as_published else " without as_published"
            steer = "margin= to steer the released form" if self.as_published else "tolerance= to steer this form"
            raise ConfigError(steer, actual, f"remove {' and '.join(changed)}")
        self.make_surgery()

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent under the dual's control."""
        mode: Pairing = "mixed" if self.as_published else "paired"
        return self.make_recipe(RandomLabel(self.exclude_true, seed), CrossEntropy(), self.make_surgery(), mode)

    def make_surgery(self) -> Surgery:
        """Return the surgery of the chosen form."""
        if self.as_published:
            start = 0.0 if self.initial_multiplier is None else self.initial_multiplier
            return EUPMUOfficialSurgery(self.form, self.margin, self.dual_rate, self.decay, start, self.retain_scale)
        start = 1.0 if self.initial_multiplier is None else self.initial_multiplier
        return EUPMUSurgery(self.tolerance, self.dual_rate, start, log_loss=self.log_loss, dual=self.dual)
