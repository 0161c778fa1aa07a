"""One request's part of the result document: what was asked, the table, and pictures where they are allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from expunge.api.png import to_data_url
from expunge.batch import Examples, Split
from expunge.metrics import HeldOutTest, Metric, ModelOutputs, ModelScores, Summary, aggregate


@dataclass(frozen=True)
class RequestInfo:
    """A request in the words of the report.

    Args:
        id: Short name, for links and file names.
        description: What was asked, for people.
        kind: ``class``, ``fraction``, ``indices`` or ``predicate``.
        class_names: Name of each class.
    """

    id: str
    description: str
    kind: str
    class_names: Sequence[str]


def build_request_section(
    info: RequestInfo,
    split: Split,
    test: Examples,
    trials: Sequence[ModelScores],
    floor: Summary | None = None,
    examples: Sequence[dict[str, Any]] = (),
    *,
    metrics: Sequence[Metric] | None = None,
    floors: Mapping[str, Summary] | None = None,
) -> dict[str, Any]:
    """Return the part of a result document that belongs to one request."""
    table = aggregate(trials, floor, metrics, floors)
    for test_values in find_held_out_tests(table["rows"]):
        test_values.update(HeldOutTest.from_dict(test_values).with_class_names(info.class_names).as_dict())
    return {
        "id": info.id,
        "description": info.description,
        "kind": info.kind,
        "sizes": {
            "train": len(split.forget) + len(split.retain),
            "forget": len(split.forget),
            "retain": len(split.retain),
            "test": len(test),
        },
        "classes": list(info.class_names),
        "seeds": sorted({trial.seed for trial in trials}),
        "retrained": any(trial.role == "retrained" for trial in trials),
        **table,
        **extract_verdict(table["rows"]),
        "examples": list(examples),
    }


def extract_verdict(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return whether the forgotten examples can be told from held-out data, of one unlearned model of one seed.

    ``verdict`` is ``not distinguishable``, ``still distinguishable`` or ``undecided``. Of several models it is in the
    evidence of their rows alone.
    """
    tests = find_held_out_tests(rows)
    return {"verdict": tests[0]["verdict"]} if len(tests) == 1 else {}


def find_held_out_tests(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what tests of forgotten against held-out examples show of each unlearned model at each seed."""
    methods = [row for row in rows if row["role"] == "method"]
    return [one["held_out"] for row in methods for one in row.get("evidence", ()) if "held_out" in one]


def build_contact_sheet(
    forget: Examples, outputs: Mapping[str, ModelOutputs], class_names: Sequence[str], count: int = 16
) -> list[dict[str, Any]]:
    """Return pictures of forgotten examples with what each model says they are; none where inputs are no images."""
    positions = torch.arange(min(count, len(forget)))
    batch = forget.batch(positions)
    if not is_image(batch.inputs):
        return []
    predictions = {key: output.forget.logits[: len(positions)].argmax(1).tolist() for key, output in outputs.items()}
    methods = [key for key in predictions if key not in ("original", "retrain")]
    name = [str(one) for one in class_names].__getitem__
    return [
        {
            "image": to_data_url(batch.inputs[i]),
            "label": name(int(batch.targets[i])),
            "original": name(predictions["original"][i]) if "original" in predictions else None,
            "retrained": name(predictions["retrain"][i]) if "retrain" in predictions else None,
            "unlearned": {key: name(predictions[key][i]) for key in methods},
        }
        for i in positions.tolist()
    ]


def is_image(inputs: Any) -> bool:
    """Return whether a batch of inputs is gray or color images."""
    return isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.shape[1] in (1, 3)
