"""How a trial of tuning is judged, the same for every method: on control images, without a retrained model.

Not a script: ``tune_demo.py`` and ``fashion_methods.py`` use it.
"""

from __future__ import annotations

import torch
from torch import nn

from expunge.batch import Examples, Predictor, Split
from expunge.evaluation import collect_outputs
from expunge.metrics import accuracy


def accuracies(model: nn.Module, split: Split, control: Examples, forgotten_class: int) -> dict[str, float]:
    """Return the accuracies in percent that the criterion reads."""
    predict, forgotten = Predictor(model), torch.tensor([forgotten_class])
    held = collect_outputs(predict, control)
    parts = {
        "forget": collect_outputs(predict, split.forget),
        "retain": collect_outputs(predict, split.retain),
        "control": held,
        "control_class": held.only(forgotten),
        "control_others": held.without(forgotten),
    }
    return {name: float(accuracy(part.logits, part.targets) or 0.0) for name, part in parts.items()}


def badness(kind: str, now: dict[str, float], before: dict[str, float]) -> tuple[float, float]:
    """Return what tuning minimises, the same for every method.

    Class request: recognition of the class on control images beyond .5 %, then minus the accuracy on the others.
    Random request: |Δ train accuracy| + |Δ control accuracy| + |accuracy on D_f − the original's control accuracy|.
    """
    if kind == "class":
        return max(0.0, now["control_class"] - 0.5), -now["control_others"]
    moved = abs(now["retain"] - before["retain"]) + abs(now["control"] - before["control"])
    return moved + abs(now["forget"] - before["control"]), 0.0
