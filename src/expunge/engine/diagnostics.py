"""Telemetry: what one update showed, recorded for every surgery alike and read from the device rarely."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.pair import Role
from expunge.surgery import Direction, gramian
from expunge.surgery.direction import Scalar

HISTORY_FIELDS = ("forget_loss", "retain_loss", "cosine", "multiplier", "projected_fraction")


class UpdateDiagnostics:
    """The diagnostics of one update, kept as tensors on the device.

    ``cosine`` is cos(g_f, g_r); ``removed`` = −λ⟨g_f, g_r⟩/‖g_f‖² is the share of the forget gradient that the retain
    gradient cancels along it, λ the weight of g_r relative to g_f: 0 where that helps, 1 where it cancels all of it or
    turns it round. What a surgery's own work does not show is NaN: nothing is computed for the record alone but inner
    products.

    Args:
        log_gradients: Whether to look at gradients too, which costs inner products and, for a surgery that has no
            separate gradients, one copy of the weights' size.
    """

    def __init__(self, log_gradients: bool = True) -> None:
        self.log_gradients = log_gradients
        self.losses: dict[Role, Tensor] = {}
        self.extra_losses: list[Tensor] = []
        self.first_gradient: tuple[Role, Direction] | None = None
        self.forget_weight: Scalar = 1.0
        self.gram: Tensor | None = None

    def record_loss(self, role: Role, loss: Tensor) -> None:
        """Note a side's loss at the weights before the move."""
        self.losses.setdefault(role, loss.detach())

    def record_extra_loss(self, loss: Tensor) -> None:
        """Note the loss of a further batch, which must be finite too."""
        self.extra_losses.append(loss.detach())

    def record_gradient(self, role: Role, gradient: Direction) -> None:
        """Note a side's own gradient; a surgery must have asked for both before it changes the first in place."""
        if not self.log_gradients:
            return
        if self.first_gradient is None:
            self.first_gradient = (role, gradient)
        elif self.first_gradient[0] != role and self.gram is None:
            pair = (self.first_gradient[1], gradient) if role == "retain" else (gradient, self.first_gradient[1])
            self.gram = gramian(*pair).detach()

    def record_accumulated(self, role: Role, weight: Scalar, parameters: list[Tensor]) -> None:
        """Note the accumulated gradient after one side's backward pass: w_f·g_f, then w_f·g_f + w_r·g_r."""
        if not self.log_gradients:
            return
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        if role == "forget":
            self.first_gradient, self.forget_weight = (role, Direction(grads).clone()), weight
        elif self.first_gradient is not None:
            retain = Direction(grads) - self.first_gradient[1]
            gram = gramian(self.first_gradient[1], retain).detach()
            scales = torch.stack([scalar_like(gram, scale) for scale in (self.forget_weight, weight)])
            self.gram = gram / torch.outer(scales, scales)

    def make_row(self, multiplier: Tensor | None, stepped: bool = True) -> Tensor:
        """Return the values of ``HISTORY_FIELDS`` in order, NaN where unknown, then 1 if all losses seen are finite.

        Args:
            multiplier: λ of the decision, if the surgery knows it.
            stepped: Whether the optimizer moved; the losses of a skipped update (fp16 overflow) count as finite.
        """
        device = next((loss.device for loss in self.losses.values()), torch.device("cpu"))
        unknown = torch.full((), torch.nan, device=device)
        cosine, removed = unknown, unknown
        if self.gram is not None:
            (ff, fr), (_, rr) = self.gram
            cosine = fr / (ff * rr).sqrt()
            removed = unknown if multiplier is None else (-multiplier.to(fr.dtype) * fr / ff).clamp(0.0, 1.0)
        losses = [*self.losses.values(), *self.extra_losses] if stepped else []
        finite = torch.stack(losses).isfinite().all() if losses else torch.ones((), device=device)
        values = (self.losses.get("forget"), self.losses.get("retain"), cosine, multiplier, removed, finite)
        return torch.stack(
            [(unknown if v is None else v.detach()).float().to(device, non_blocking=True) for v in values]
        )


def scalar_like(like: Tensor, scale: Scalar) -> Tensor:
    """Return a scale as a tensor beside another; a number is filled in, because a copy would wait for the device."""
    return scale.to(like) if isinstance(scale, Tensor) else like.new_full((), scale)
