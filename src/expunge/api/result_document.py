"""The result document of a call of ``unlearn``: what was done and what became of the budget, nothing being measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expunge.api.budgeting import budget_part
from expunge.api.disclosing import request_disclosure
from expunge.api.documents import HELD_ELSEWHERE, document
from expunge.api.relapse import find_correct_predictions, relapse_part
from expunge.api.rows import settings_of
from expunge.api.sanity import fit_part
from expunge.api.steering.wish import halves_of
from expunge.evaluation import Trial, tabulate
from expunge.evaluation.table import PEAK, SECONDS
from expunge.formatting import format_examples

if TYPE_CHECKING:
    from expunge.api.result import Result

HOLDS = ("The training data themselves, and any cache of them.", HELD_ELSEWHERE)
UNMEASURED = "No metric was computed for this report; `expunge.evaluate` measures the model."
_MEBIBYTE = 2**20


def result_document(result: Result) -> dict[str, Any]:
    """Return the document that ``Result.save`` writes as ``result.json``."""
    split, seed, label = result.split, result.conditions.get("seed", 0), result.method.label
    label = label or type(result.method).__name__
    scores = {SECONDS.key: result.seconds}
    scores |= {} if result.peak is None else {PEAK.key: result.peak / _MEBIBYTE}
    made: dict[str, Any] = {"history": result.history, "settings": settings_of(result.method)}
    original = Trial("original", "Original", "original", seed, {})
    trials = [original, Trial("method", label, "method", seed, scores, **made)]
    sizes = {"forget": len(split.forget), "retain": len(split.retain)}
    part = {
        "id": "request",
        "question": f"Forget {format_examples(sizes['forget'])}",
        "kind": "indices",
        "sizes": {"train": sum(sizes.values()), "test": None, **sizes},
        "classes": [],
        "seeds": [seed],
        "reference": False,
        **tabulate(trials, metrics=[]),
        "examples": [],
    }
    part |= fit_part(result.fit) | relapse_part(result.left_out, {}, find_correct_predictions(result.logits))
    if result.budget is not None:
        part["budget"] = budget_part(result.budget, halves_of(result.budget.asked, split, seed), result.search)
    device = next((str(weight.device) for weight in result.model.parameters()), "cpu")
    told = document("run", part["question"], "expunge.unlearn", _disclosure(result), [part], HOLDS, device)
    more = [split.caveat] if split.caveat else []
    return {**told, "caveats": [*told["caveats"], *more, UNMEASURED]}


def _disclosure(result: Result) -> str:
    return request_disclosure(result.search is not None, result)
