"""How weights start."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def he_initialize(model: M) -> M:
    """Draw convolutions from N(0, 2 / fan_out) and give back the model.

    He et al., 2015, "Delving Deep into Rectifiers" (arXiv:1502.01852), in the form of torchvision's networks; batch
    normalization starts at scale 1 and shift 0, linear layers as PyTorch draws them. The global generator is used.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
