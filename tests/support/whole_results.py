"""A result document in which every part of the schema occurs; its numbers are made up."""

from __future__ import annotations

from typing import Any

from budgets import budget, search

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
COLUMNS = ("ua", "ra", "ta", "mia", "avg_gap", "seconds", "generated_ua", "generated_accuracy", "feature_fid_real")


def score(value: float) -> dict[str, Any]:
    """Two seeds of a figure."""
    return {"values": [value, value + 1], "mean": value + 0.5, "half_width": 0.4}


def row(key: str, role: str, base: float) -> dict[str, Any]:
    """A model."""
    past = [
        {
            "step": 10 * n,
            "forget_loss": n / 9,
            "retain_loss": 0.1,
            "cosine": -0.5,
            "multiplier": 1.0,
            "projected_fraction": 0.2,
        }
        for n in range(3)
    ]
    told = {"history": past, "settings": {"lr": 0.1, "name": key}} if role == "method" else {}
    scores = {name: score(base + place) for place, name in enumerate(COLUMNS)}
    return {"key": key, "label": key, "role": role, "paper": "P", "scores": scores, "per_class": [base, None], **told}


def request(**changes: Any) -> dict[str, Any]:
    """A request."""
    grid = {"title": "Same seeds", "columns": ["a", "b"], "rows": [{"label": "original", "images": [PICTURE, PICTURE]}]}
    example = {"image": PICTURE, "label": "zero", "original": "zero", "retrained": "one", "unlearned": {"ga": "one"}}
    return {
        "id": "class-0",
        "description": "Forget class 0",
        "kind": "class",
        "sizes": {"train": 100, "forget": 10, "retain": 90, "test": 40},
        "classes": ["zero", "one"],
        "seeds": [0, 1],
        "retrained": True,
        "metrics": [{"key": key, "label": key.upper(), "unit": "%", "definition": "D."} for key in COLUMNS],
        "noise_floor": score(0.5),
        "rows": [row("original", "original", 3), row("retrained", "retrained", 50), row("ga", "method", 60)]
        + [row(f"method {number}", "method", 40 + number) for number in range(4)],
        "examples": [example],
        "grids": [grid],
        "budget": budget(search=search()),
        **changes,
    }


def whole_result() -> dict[str, Any]:
    """A document."""
    return {
        "schema": 2,
        "kind": "run",
        "title": "A title",
        "created": "2025-01-02T03:04:05Z",
        "command": "expunge run request.yaml",
        "versions": {"expunge": "0.1.0"},
        "hardware": {"device": "cpu"},
        "provenance": "None.",
        "requests": [request(), request(kind="fraction", budget=None, grids=[])],
        "data_still_in": ["The weights."],
        "limitations": ["Small."],
    }
