"""SFR-on: fast steps of salient forgetting among slow steps of retention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from expunge.engine import MethodRecipe, Schedule, TrainStage
from expunge.errors import ConfigError
from expunge.masks import FisherRatio
from expunge.methods.method import Method
from expunge.objectives import AdaptiveAscent, CrossEntropy
from expunge.surgery import CosineForgetWeight


@dataclass(frozen=True, kw_only=True)
class SFROn(Method):
    """Ascend on D_f with a mask and adaptive weights before every few descents on D_r (SFR-on).

    Paper: "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement" (Huang et al., NeurIPS 2024,
    arXiv 2409.19732).

    Formula: forget step θ ← θ + η α_t m ⊙ Σ_i c_i ∇ℓ_i, then k retain steps θ ← θ − η ∇CE_r; c_i ∝ ℓ_i^−λ
    (``AdaptiveAscent``), α_t falls along half a cosine (``CosineForgetWeight``), m where the Fisher information on D_f
    is at least γ times that on D_r (``FisherRatio``). The k retain steps after a forget step approximate the forgetting
    direction modulated by the inverse Hessian of the retain loss.

    Args:
        weight: α > 0. Default 25 (this and the following: the authors' CIFAR-10 run).
        power: λ ≥ 0. Default .5.
        threshold: γ ≥ 0. Default 1.
        retain_per_forget: k. Default 5.
        group: Of the Fisher information. Default 128.
        schedule: Default cosine.
        max_grad_norm: Default 7.

    Raises:
        ConfigError: If ``retain_per_forget`` is smaller than 1; when carried out with micro-batches.

    Examples:
        >>> stage = SFROn().recipe().stages[0]
        >>> stage.pairing, stage.retain_per_forget, stage.mask
        ('interleaved', 5, FisherRatio(threshold=1.0, group=128))

    Differences from the authors' code: it masks the gradient, so that momentum and weight decay move masked weights in
    a forget step; it clips forget steps alone; the learning rate and α_t are updated at retain steps alone; the running
    mean of weights, which the authors' CIFAR-10 setting (decay 1) turns into a no-operation, is left out. 1,500 retain
    steps there, 5 epochs here.
    """

    name: ClassVar[str] = "sfr_on"
    aliases: ClassVar[tuple[str, ...]] = ("sfron",)
    paper: ClassVar[str] = "Huang et al., NeurIPS 2024"
    label: ClassVar[str] = "SFR-on"

    weight: float = 25.0
    power: float = 0.5
    threshold: float = 1.0
    retain_per_forget: int = 5
    group: int = 128
    schedule: Schedule = "cosine"
    max_grad_norm: float | None = 7.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        if self.retain_per_forget < 1:
            raise ConfigError("every ≥ 1", f"{self.retain_per_forget}", "change it")

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one interleaved descent."""
        return MethodRecipe((self.make_interleaved_stage(),))

    def make_interleaved_stage(self) -> TrainStage:
        """Return the stage."""
        mask = FisherRatio(self.threshold, self.group)
        stage = self.make_stage(
            AdaptiveAscent(self.power), CrossEntropy(), CosineForgetWeight(self.weight), "interleaved", mask
        )
        return replace(stage, retain_per_forget=self.retain_per_forget)
