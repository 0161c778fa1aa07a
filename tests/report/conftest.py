"""A small result document that tests bend to what they need; its numbers are made up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
METRICS = [
    ("ua", "UA", "%", "match"),
    ("ra", "RA", "%", "match"),
    ("ta", "TA", "%", "match"),
    ("mia", "MIA", "%", "match"),
    ("avg_gap", "avg gap", "points", "lower"),
    ("auc", "AUC", "", "match"),
    ("seconds", "seconds", "s", "lower"),
]


def score(*values: float, half: float | None = None) -> dict[str, Any]:
    return {"values": list(values), "mean": sum(values) / len(values), "half_width": half}


def row(key: str, role: str, ua: list[float], ta: float, gap: float | None = None, **more: Any) -> dict[str, Any]:
    scores = {
        "ua": score(*ua, half=0.3),
        "ra": score(99.0, 99.0, 99.0, half=0.1),
        "ta": score(ta, ta, ta, half=0.2),
        "auc": score(0.5, 0.5, 0.52, half=0.01),
    }
    if gap is not None:
        scores["avg_gap"] = score(gap, gap, gap, half=0.1)
    if role == "method":
        scores["seconds"] = score(1.5, 1.6, 1.7, half=0.2)
    return {"key": key, "label": key.upper(), "role": role, "paper": "", "scores": scores, **more}


def history(steps: int) -> list[dict[str, Any]]:
    shape = {"multiplier": None, "projected_fraction": 0.25}
    return [{"step": s, "forget_loss": 0.1 * s, "retain_loss": 1.0, "cosine": -0.5, **shape} for s in range(steps)]


def request() -> dict[str, Any]:
    return {
        "id": "class-0",
        "description": "Forget class 0 (zero)",
        "kind": "class",
        "sizes": {"train": 1200, "forget": 120, "retain": 1080, "test": 400},
        "classes": ["zero", "one"],
        "seeds": [0, 1, 2],
        "retrained": True,
        "metrics": [
            {"key": k, "label": label, "unit": unit, "definition": f"What {label} is.", "direction": d}
            for k, label, unit, d in METRICS
        ],
        "noise_floor": {"values": [0.5, 0.7], "mean": 0.6, "half_width": 0.2},
        "rows": [
            row("original", "original", [0.0, 0.0, 1.0], 98.0, 50.0, per_class=[98.0, 97.0]),
            row("retrained", "retrained", [100.0, 100.0, 99.0], 97.5, per_class=[0.0, 97.0]),
            row("ga", "method", [90.0, 91.0, 92.0], 70.0, 12.0, per_class=[5.0, 70.0], history=history(5)),
            row("eupmu", "method", [99.0, 100.0, 98.0], 97.0, 0.4, per_class=[1.0, None], history=history(700)),
        ],
        "examples": [
            {"image": PICTURE, "label": "0", "original": "0", "retrained": "1", "unlearned": {"ga": "0", "eupmu": "1"}}
        ],
    }


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "schema": 2,
        "kind": "run",
        "title": "A title",
        "created": "2025-01-02T03:04:05Z",
        "command": "expunge run request.yaml",
        "versions": {"expunge": "0.1.0", "torch": "2.13"},
        "hardware": {"device": "cpu", "cores": 2, "threads": 1, "platform": "Linux"},
        "provenance": "Chosen on the control split.",
        "requests": [request()],
        "data_still_in": ["The original's weights."],
        "limitations": ["Small data."],
    }


@pytest.fixture
def short(document: dict[str, Any]) -> dict[str, Any]:
    """The document with a few updates only: Hypothesis writes it out where a test fails."""
    for row in document["requests"][0]["rows"]:
        row["history"] = row.get("history", [])[:5]
    return document


@pytest.fixture
def bare() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function that takes a document's reference away, and all that depends on it."""

    def strip(document: dict[str, Any]) -> dict[str, Any]:
        stripped = copy.deepcopy(document)
        for request in stripped["requests"]:
            request["retrained"], request["noise_floor"] = False, None
            request["rows"] = [row for row in request["rows"] if row["role"] != "retrained"]
            for row in request["rows"]:
                row["scores"].pop("avg_gap", None)
            for example in request["examples"]:
                example["retrained"] = None
        return stripped

    return strip
