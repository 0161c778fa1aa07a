"""EUPMUOfficialSurgery: EUPMU in the five forms that its authors have released, for comparison."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from expunge.errors import ObjectiveError, SurgeryError
from expunge.pair import Pair
from expunge.surgery.dual import DecayedAdam
from expunge.surgery.eupmu import LOG_EPSILON, check_nonnegative
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery

EUPMUForm = Literal["release", "raw", "log", "ddpm", "stable_diffusion"]
LOG_FORMS = ("log", "ddpm")
DDPM_LOG_EPSILON = 1e-10


class EUPMUOfficialSurgery(Surgery):
    """Descend both losses with a dual that Adam moves, in one of the authors' forms (EUPMU as released).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: the public files hold five forms, with u = max(w, 0):

        release, raw        l_f + u·l_r
        log                 log(l_f + c) + u·log(l_r + c),  c = 1e-8, w cut off at 0 after each of Adam's steps
        ddpm                log(l_f + c) + u·log(l_r + c),  c = 1e-10
        stable_diffusion    (l_f + w·l_r)/(1 + w),  l_r times ``retain_scale``

    In the first three l is a side's mean loss times its share of the batch, in the last two the mean loss. After the
    update Adam with L2 decay γ moves w along log(l_r + c) − log(l_r⁺ + c) − error, in ``stable_diffusion`` along
    l_r − l_r⁺ − error, both on the update's own batch. In ``release`` gradients are never zeroed, as in the authors'
    loop: G_t = clip(G_{t−1}) + ∇loss_t over all updates of a descent. The optimizer is given G_t, and the clip acts
    on what has accumulated before the new gradient comes. In the log forms λ = w·(l_f + c)/(l_r + c).

    Args:
        form: ``release`` (default: the commit that most of the released files are of), ``raw`` (gradients zeroed),
            ``log``, ``ddpm`` or ``stable_diffusion``.
        margin: The *demanded* fall of the signal per update, the opposite sign of our tolerance: about −(η/l_r)·ε in
            logarithms. Default .01 (authors, CIFAR-10).
        dual_rate: Adam's rate for w. Default 1 (authors, CIFAR-10).
        decay: γ. Default .01 (authors). It cannot be dropped: without net progress w settles at about error/γ.
        initial_weight: w_0. Default 0 (authors).
        retain_scale: α > 0, the factor of l_r in ``stable_diffusion`` (authors: .01 for a class, .1 for nudity).
            Default 1, the only value of the other forms.

    Raises:
        SurgeryError: If the form is not known, the rate or the decay is negative, or the scale is not the form's.
        ObjectiveError: If a loss whose logarithm the form takes is negative at the first batch.

    Examples:
        >>> EUPMUOfficialSurgery("log", margin=0.05)  # doctest: +NORMALIZE_WHITESPACE
        EUPMUOfficialSurgery(form='log', margin=0.05, dual_rate=1.0, decay=0.01, initial_weight=0.0,
                 retain_scale=1.0)

    Differences from the authors' code: the norm to clip at is the optimizer's setting (theirs is 1 in ``release``,
    ``ddpm`` and ``stable_diffusion``, and acts on nothing in ``raw`` and ``log``); the logarithms of the dual in
    ``release`` and ``raw`` have the floor 1e-8, so that a loss of 0 leaves no NaN; a batch without forget or without
    retain examples contributes the other side's loss alone and teaches the dual nothing; an update that half precision
    skips leaves what has accumulated as it was. That ``ddpm`` uses max(w, 0) and mean losses is inferred.
    """

    name: ClassVar[str] = "eupmu_official"
    aliases: ClassVar[tuple[str, ...]] = ("eupmu_as_published", "implicit_published")
    paper: ClassVar[str] = "EUPMU as released, arXiv 2510.22124"
    weight: Tensor
    relative: Tensor

    def __init__(
        self,
        form: EUPMUForm = "release",
        margin: float = 0.01,
        dual_rate: float = 1.0,
        decay: float = 0.01,
        initial_weight: float = 0.0,
        retain_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if form not in get_args(EUPMUForm):
            raise SurgeryError(f"a form of {', '.join(get_args(EUPMUForm))}", f"'{form}'", "choose one of them")
        if min(dual_rate, decay) < 0:
            raise SurgeryError("a dual rate and a decay ≥ 0", f"{dual_rate} and {decay}", "change them")
        if not retain_scale > 0 or (form != "stable_diffusion" and retain_scale != 1):
            actual = f"{retain_scale} with form '{form}'"
            raise SurgeryError("retain_scale > 0, and 1 but in stable_diffusion", actual, "change it")
        self.form, self.margin, self.dual_rate, self.decay = form, margin, dual_rate, decay
        self.initial_weight, self.retain_scale = initial_weight, retain_scale
        self.keeps_gradients = form == "release"
        self.takes_log = form in LOG_FORMS
        self.epsilon = DDPM_LOG_EPSILON if form == "ddpm" else LOG_EPSILON
        self.adam = DecayedAdam(dual_rate, decay)
        self.register_buffer("weight", torch.tensor(float(initial_weight)))
        self.relative = torch.tensor(float("nan"))
        self.retain_loss_before: Tensor | None = None

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse negative losses whose logarithm the form takes."""
        if self.takes_log:
            check_nonnegative(losses)
        elif self.form != "stable_diffusion":
            check_retain_nonnegative(losses)

    def forward(self, step: Step) -> None:
        """Backpropagate the form's loss."""
        scales, weight = self.loss_scales(step), self.weight.clamp(min=0)
        if self.takes_log:
            losses = step.backward(lambda forget, retain: self.combine_logs(Pair(forget, retain), scales, step))
            values = Pair(*(scale * loss + self.epsilon for scale, loss in zip(scales, losses, strict=True)))
            weight = weight * values.forget / values.retain
        elif self.form == "stable_diffusion":
            weight = self.weight
            forget_weight = 1 / (1 + weight)
            losses = step.backward(LinearCombination(forget_weight, weight * scales.retain * forget_weight))
        else:
            losses = step.backward(LinearCombination(scales.forget, weight * scales.retain))
        self.retain_loss_before = losses.retain
        self.relative = weight * scales.retain / scales.forget

    def after_step(self, step: Step) -> None:
        """Evaluate the same batch again and let Adam move w."""
        scale, before = self.loss_scales(step).retain, self.retain_loss_before
        after = step.loss("retain")
        before = after if before is None else before
        if self.form == "stable_diffusion":
            gain = scale * (before - after)
        else:
            gain = (scale * before + self.epsilon).log() - (scale * after + self.epsilon).log()
        weight: Tensor = self.adam(self.weight, gain - self.margin, step.sizes.retain > 0)
        self.weight = weight.clamp(min=0) if self.form == "log" else weight

    def relative_weight(self) -> Tensor | None:
        """Return the weight of g_r relative to g_f, the gradients of the mean losses."""
        return self.relative

    def loss_scales(self, step: Step) -> Pair[Tensor]:
        """Return the factors of both mean losses."""
        if self.form not in ("ddpm", "stable_diffusion"):
            return side_fractions(step)
        one = torch.ones_like(step.sizes.retain)
        return Pair(one, self.retain_scale * one)

    def combine_logs(self, losses: Pair[Tensor], scales: Pair[Tensor], step: Step) -> Tensor:
        """Return the sum of logarithms, without that of an empty side."""
        forget, retain = (
            torch.where(size > 0, (scale * loss + self.epsilon).log(), 0.0)
            for size, scale, loss in zip(step.sizes, scales, losses, strict=True)
        )
        return forget + self.weight.clamp(min=0) * retain


def check_retain_nonnegative(losses: Pair[float]) -> None:
    """Refuse a negative retain loss, whose logarithm the dual needs.

    Raises:
        ObjectiveError: If it is negative.
    """
    if losses.retain < 0:
        actual = f"{losses.retain:.4g} at the first batch"
        raise ObjectiveError("a retain loss ≥ 0", actual, "use cross_entropy as the retain objective")


def side_fractions(step: Step) -> Pair[Tensor]:
    """Return each side's share of the batch."""
    total = step.sizes.forget + step.sizes.retain
    return Pair(step.sizes.forget / total, step.sizes.retain / total)
