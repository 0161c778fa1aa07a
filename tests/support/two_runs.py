"""Whole runs on two ranks and on one."""

from __future__ import annotations

from typing import Any

import torch
from flat_calls import flat_unlearn
from torch import nn

from expunge import Budget, RunConfig
from expunge.data import TensorExamples
from expunge.data.augment import crop_flip
from expunge.errors import ExpungeError


def problem(augment: Any = None) -> tuple[nn.Module, dict[str, Any]]:
    """Return a small network with frozen statistics and the sides of a request, the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        body = (nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
        model = nn.Sequential(*body)
        images, labels = torch.rand(150, 1, 8, 8), torch.arange(150) % 3
    images[:, 0, 0, :] += labels[:, None].float()
    parts = {"forget": slice(0, 23), "retain": slice(23, 110), "holdout": slice(110, 150)}
    return model, {name: TensorExamples(images[part], labels[part], augment=augment) for name, part in parts.items()}


def ran(shared: bool, augment: Any = None, **settings: Any) -> dict[str, Any]:
    """Unlearn and return what came of it as plain values, or the sentence of a refusal."""
    model, sides = problem(augment)
    try:
        found = flat_unlearn(model, **sides, config=RunConfig(distributed=shared), seed=3, **settings)
    except ExpungeError as error:
        return {"refused": str(error)}
    weights = torch.cat([weight.detach().flatten() for weight in found.model.parameters()]).tolist()
    losses = [row["retain_loss"] or 0.0 for row in found.history]
    spent = [] if found.budget is None else [look.spent for look in found.budget.evaluations]
    return {"weights": weights, "losses": losses, "spent": spent, "buffers": float(found.model[1].running_mean.sum())}


PLAIN = {"lr": 0.05, "batch_size": 8}
RUNS: dict[str, dict[str, Any]] = {
    "random labels, augmented": {"method": "rl", "epochs": 2, "augment": crop_flip, **PLAIN},
    "a mask and micro-batches": {"method": "salun", "epochs": 1, "gradient_accumulation_steps": 2, **PLAIN},
    "rewound": {"method": "scrub_rewind", "epochs": 2, **PLAIN},
    "inside a budget": {"method": "auto", "lr": 0.02, "epochs": 2, "budget": Budget(accuracy_points=20.0)},
}
REFUSED: dict[str, dict[str, Any]] = {
    "nothing to search for on several ranks": {"budget": Budget(accuracy_points=20.0)},
    "batch_norm 'frozen' on several ranks": {"method": "retrain", "epochs": 1},
}


def runs() -> dict[str, Any]:
    """Return what every run gives on several ranks, and on this one alone."""
    scenes = RUNS | REFUSED
    return {name: [ran(True, **given), ran(False, **given) if name in RUNS else {}] for name, given in scenes.items()}
