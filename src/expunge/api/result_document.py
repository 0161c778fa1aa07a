"""The result document of a call of ``unlearn``: what was done and what became of the budget, nothing being measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expunge.api.budgeting import build_budget_section
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import ORIGINAL_ELSEWHERE, build_document
from expunge.api.model_comparison import serialize_method
from expunge.api.relapse import build_relapse_section, make_correctness_finder
from expunge.api.sanity import build_fit_section
from expunge.api.steering.budget_validation import make_holdout_split
from expunge.formatting import format_examples
from expunge.metrics import ModelScores, aggregate
from expunge.metrics.table import PEAK_MEMORY, SECONDS

if TYPE_CHECKING:
    from expunge.api.result import Result

STILL_CONTAINS_DATA = ("The training data themselves, and any cache of them.", ORIGINAL_ELSEWHERE)
UNMEASURED_CAVEAT = "No metric was computed for this report; `expunge.evaluate` measures the model."
_MEBIBYTE = 2**20


def build_result_document(result: Result) -> dict[str, Any]:
    """Return the document that ``Result.save`` writes as ``result.json``."""
    split, seed, label = result.split, result.run_config.get("seed", 0), result.method_label
    scores = {SECONDS.key: result.seconds}
    scores |= {} if result.peak_memory is None else {PEAK_MEMORY.key: result.peak_memory / _MEBIBYTE}
    details: dict[str, Any] = {"history": result.history, "settings": serialize_method(result.method)}
    original = ModelScores("original", "Original", "original", seed, {})
    trials = [original, ModelScores("method", label, "method", seed, scores, **details)]
    sizes = {"forget": len(split.forget), "retain": len(split.retain)}
    part = {
        "id": "request",
        "description": f"Forget {format_examples(sizes['forget'])}",
        "kind": "indices",
        "sizes": {"train": sum(sizes.values()), "test": None, **sizes},
        "classes": [],
        "seeds": [seed],
        "retrained": False,
        **aggregate(trials, metrics=[]),
        "examples": [],
    }
    part |= build_fit_section(result.fit) | build_relapse_section(
        result.left_out, {}, make_correctness_finder(result.logits)
    )
    if result.budget is not None:
        part["budget"] = build_budget_section(
            result.budget, make_holdout_split(result.budget.budget, split, seed), result.search_history
        )
    device = next((str(weight.device) for weight in result.model.parameters()), "cpu")
    content = build_document(
        "run", part["description"], "expunge.unlearn", _describe_settings(result), [part], STILL_CONTAINS_DATA, device
    )
    more = [split.caveat] if split.caveat else []
    return {**content, "limitations": [*content["limitations"], *more, UNMEASURED_CAVEAT]}


def _describe_settings(result: Result) -> str:
    return describe_request_settings(result.search_history is not None, result)
