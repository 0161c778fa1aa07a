"""FAMO: both losses fall at one rate, without a second gradient."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.errors import MissingExtraError, ObjectiveError
from expunge.pair import Pair
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery
from expunge.surgery.weighted import build_torchjd


class FAMO(Surgery):
    """Weigh logarithms of both losses so that neither lags behind, learning from what each move did.

    Paper: "FAMO: Fast Adaptive Multitask Optimization" (Liu et al., NeurIPS 2023, arXiv 2306.03792).

    Formula: d = c Σ_i z_i ∇log(L_i + ε), z = softmax(w), c = (Σ_i z_i/(L_i + ε))⁻¹, ε = 1e-8; after the move
    w ← Adam(w; Σ_i δ_i ∂z_i/∂w + γ w), δ_i = log(L_i + ε) before the move minus after it, on the same batch.

    Args:
        lr: Adam's rate for w. Default .025 (authors).
        decay: γ ≥ 0. Default 1e-3 (paper; the authors' code has 1e-5).

    Raises:
        MissingExtraError: If TorchJD is not installed.
        SurgeryError: If a setting is negative.
        ObjectiveError: If a loss of the first batch is negative: there is no logarithm of it.

    Examples:
        >>> FAMO(lr=0.1)
        FAMO(lr=0.1, decay=0.001)

    Differences from the authors' code: Adam's memory is kept in buffers, and a step that the optimizer skips leaves it
    as it was; a batch without examples on one side teaches nothing.
    """

    paper: ClassVar[str] = "arXiv 2306.03792"
    requires_sync: ClassVar[bool] = True
    logits: Tensor
    first: Tensor
    second: Tensor
    count: Tensor

    def __init__(self, lr: float = 0.025, decay: float = 1e-3) -> None:
        super().__init__()
        self.lr, self.decay = lr, decay
        for name in ("logits", "first", "second"):
            self.register_buffer(name, torch.zeros(2))
        self.register_buffer("count", torch.zeros(()))
        self.rule: Any = self.make_rule(torch.device("cpu"))
        self.relative: Tensor | None = None

    def make_rule(self, device: torch.device) -> Any:
        """Return TorchJD's rule with the memory of the buffers, which it has no public way to."""
        try:
            from torchjd.scalarization import FAMO as Rule  # noqa: N811
        except ImportError as error:
            raise MissingExtraError("TorchJD's FAMO", "torchjd", "torchjd") from error
        rule = build_torchjd(Rule, "FAMO", {"shape": 2, "lr": self.lr, "weight_decay": self.decay}).to(device)
        with torch.no_grad():
            rule._w.copy_(self.logits)
        rule._optimizer = torch.optim.Adam([rule._w], lr=self.lr, weight_decay=self.decay)
        if bool(self.count > 0):
            moments = {"exp_avg": self.first, "exp_avg_sq": self.second}
            state = {name: value.to(device, copy=True) for name, value in moments.items()}
            rule._optimizer.state[rule._w] = {"step": self.count.to("cpu", copy=True), **state}
        return rule

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse negative losses."""
        if min(losses) < 0:
            hint = "use an objective that is never negative, such as random_label or uniform"
            raise ObjectiveError("losses ≥ 0 for a logarithm", f"{losses.forget:.4g} and {losses.retain:.4g}", hint)

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted logarithms; a batch with one empty side is descended as it is."""
        if not has_both_sides(step):
            step.backward(LinearCombination(1.0, 1.0))
            return
        self.rule = self.make_rule(step.sizes.forget.device)
        losses = step.backward(self.combine_losses)
        weights = self.rule._w.detach().softmax(0) / (clamp_rounding(torch.stack(list(losses))) + 1e-8)
        self.relative = weights[1] / weights[0]

    def combine_losses(self, forget: Tensor, retain: Tensor) -> Tensor:
        """Return TorchJD's combination of both losses."""
        combined: Tensor = self.rule(clamp_rounding(torch.stack([forget, retain])))
        return combined

    def after_step(self, step: Step) -> None:
        """Measure both losses again and learn from the change."""
        if not has_both_sides(step):
            return
        self.rule.update(clamp_rounding(torch.stack([step.loss("forget"), step.loss("retain")])))
        memory = self.rule._optimizer.state[self.rule._w]
        self.logits.copy_(self.rule._w.detach())
        for buffer, name in ((self.first, "exp_avg"), (self.second, "exp_avg_sq"), (self.count, "step")):
            buffer.copy_(memory[name])

    def relative_weight(self) -> Tensor | None:
        """Return the weight of g_r relative to g_f in the last decision."""
        return self.relative


def has_both_sides(step: Step) -> bool:
    """Return whether the batch has examples on both sides."""
    return bool((step.sizes.forget > 0) & (step.sizes.retain > 0))


def clamp_rounding(losses: Tensor) -> Tensor:
    """Return losses with 0 for what is negative by rounding; truly negative ones stay, to end as NaN.

    Examples:
        >>> clamp_rounding(torch.tensor([-3e-8, -2.0, 1.0])).tolist()
        [0.0, -2.0, 1.0]
    """
    return torch.where(losses > -1e-4, losses.clamp(min=0), losses)
