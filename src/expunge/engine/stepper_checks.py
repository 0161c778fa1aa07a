"""What a stepper is made of, checked: each argument of the right kind, and an optimizer that a single update fits."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from expunge.errors import ConfigError, ModelError
from expunge.masks import Mask
from expunge.objectives import Objective
from expunge.surgery import Surgery


def check_components(model: Any, optimizer: Any, surgery: Any, objectives: Any, mask: Any) -> None:
    """Refuse arguments of another kind than a stepper needs."""
    expected: Mapping[str, tuple[Any, Any, str]] = {
        "a model, an nn.Module,": (model, nn.Module, "pass the model itself"),
        "an optimizer of torch": (
            optimizer,
            Optimizer,
            "pass for example torch.optim.SGD(model.parameters(), lr=0.01)",
        ),
        "a surgery": (surgery, Surgery, "pass for example expunge.surgery.Projection()"),
        "a mask, or None,": (mask, Mask | None, "pass for example expunge.masks.Saliency()"),
    }
    for what, (value, kind, hint) in expected.items():
        if not isinstance(value, kind):
            raise ConfigError(what.rstrip(","), describe_type_of(value), hint)
    check_objectives(objectives)
    model_weights = set(map(id, model.parameters()))
    if not any(id(weight) in model_weights for group in optimizer.param_groups for weight in group["params"]):
        hint = "make the optimizer of model.parameters(), after the model is moved and wrapped"
        raise ModelError("an optimizer over the weights of the model", "one that has none of them", hint)


def check_objectives(objectives: Any) -> None:
    """Refuse what is no pair of objectives."""
    hint = "pass for example Pair(RandomLabel(), CrossEntropy()) of expunge.objectives"
    if not isinstance(objectives, tuple | list) or len(objectives) != 2:
        raise ConfigError("a pair of objectives, of the forget and the retain side", describe_type_of(objectives), hint)
    for side, objective in zip(("forget", "retain"), objectives, strict=True):
        if isinstance(objective, Objective):
            continue
        if isinstance(objective, nn.CrossEntropyLoss):
            hint = "use CrossEntropy() of expunge.objectives"
        raise ConfigError(f"an objective of expunge on the {side} side", describe_type_of(objective), hint)


def check_optimizer(optimizer: Optimizer) -> None:
    """Refuse an optimizer that calls the loss itself, or that reads sparse gradients alone."""
    name, hint = type(optimizer).__name__, "use for example torch.optim.SGD or torch.optim.AdamW"
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ConfigError("an optimizer whose step needs no closure", name, hint)
    if isinstance(optimizer, torch.optim.SparseAdam):
        raise ConfigError("an optimizer for dense gradients", name, hint)


def describe_type_of(value: Any) -> str:
    """Return what a value is, in words."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__}"
