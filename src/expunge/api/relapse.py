"""Whether what earlier requests of a chain forgot comes back: accuracy on it before a request and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.api.earlier_requests import EarlierRequest, Exclusions
from expunge.batch import Examples, Predictor
from expunge.metrics.inference import collect_outputs

FindCorrect = Callable[[Any, EarlierRequest, str], Tensor | None]
"""Takes a model, an earlier request and the name of a part; returns which of its examples the model gets right."""
SIGNIFICANCE_LEVEL = 0.01
"""At most this probability of calling a model worse that is as good on an earlier request as before."""
RELAPSE_PARTS = ("train", "held_out")
"""The examples that were forgotten, and held-out ones of classes that were forgotten as a whole."""
DRAWN_PARTS = ("drawn",)
"""Images that a generative model draws of the classes that were forgotten as a whole."""


def build_relapse_section(
    left_out: Exclusions, models: Mapping[str, Any], find_correct: FindCorrect, parts: Sequence[str] = RELAPSE_PARTS
) -> dict[str, Any]:
    """Return a request's part of the result document about earlier requests; nothing without one."""
    if not left_out:
        return {}
    sizes = {**left_out.sizes, "unknown": list(left_out.unknown)}
    entries = {"elsewhere": left_out.foreign_entries, "without_ids": left_out.without_ids, "beside": left_out.beside}
    others = {name: list(numbers) for name, numbers in entries.items() if numbers}
    earlier = [_build_earlier_section(one, models, find_correct, parts) for one in left_out.earlier]
    return {"earlier": earlier, "left_out": {**sizes, **others}}


def _build_earlier_section(
    one: EarlierRequest, models: Mapping[str, Any], find_correct: FindCorrect, parts: Sequence[str]
) -> dict[str, Any]:
    """Return what models show of one earlier request: accuracy in percent by role, and whether it rose."""
    figures: dict[str, Any] = {}
    rose = False
    for part in parts:
        answers = {role: find_correct(model, one, part) for role, model in models.items()}
        correct = {role: mask for role, mask in answers.items() if mask is not None}
        figures[part] = {
            "examples": max(map(len, correct.values()), default=0),
            "accuracy": {role: 100 * float(mask.double().mean()) for role, mask in correct.items() if len(mask)},
        }
        if {"original", "method"} <= correct.keys():
            rose = rose or sign_test(correct["original"], correct["method"]) < SIGNIFICANCE_LEVEL / len(parts)
    return {"entry": one.entry, "classes": len(one.classes), "labels": list(one.classes), **figures, "rose": rose}


def make_correctness_finder(logits: Callable[[Any], Tensor] | None = None, batch_size: int = 256) -> FindCorrect:
    """Return how a classifier is asked which examples it gets right."""

    def find_correct(model: Any, one: EarlierRequest, part: str) -> Tensor | None:
        examples: Sequence[Examples] = one.held_out if part == "held_out" else [] if one.train is None else [one.train]
        asked = [collect_outputs(Predictor(model, logits), some, batch_size) for some in examples]
        return torch.cat([out.logits.argmax(1) == out.targets for out in asked]) if asked else None

    return find_correct


def sign_test(before: Tensor, after: Tensor) -> float:
    """Return the one-sided p-value of "no more examples right than before", from those that changed alone.

    Of n examples that changed, g became right; under the hypothesis g is at most Binomial(n, ½).

    Examples:
        >>> sign_test(torch.zeros(50, dtype=torch.bool), torch.ones(50, dtype=torch.bool)) < 1e-6
        True
        >>> sign_test(torch.tensor([True, False]), torch.tensor([False, True]))
        0.75
    """
    from scipy.stats import binomtest

    gained, changed = int((after & ~before).sum()), int((after != before).sum())
    return float(binomtest(gained, changed, alternative="greater").pvalue) if changed else 1.0
