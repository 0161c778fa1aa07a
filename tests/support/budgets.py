"""A part of a result document about a budget; its numbers are made up."""

from __future__ import annotations

from typing import Any


def look(step: int, spent: float, missing: float = 0.0, **more: Any) -> dict[str, Any]:
    """A control reading."""
    rest = {"loss": 0.3, "accuracy": 90.0, "value": None, "tolerance": 0.1, "recognised": None, "auc": None}
    return {"step": step, "spent": spent, "missing": missing, **rest, "verdict": None, **more}


def budget(**changes: Any) -> dict[str, Any]:
    """A budget of one point that was kept, for a request of single examples."""
    looks = [
        look(0, 0.0, 0.15, auc=0.7, verdict="remembered"),
        look(10, 2.5, 0.0, auc=0.5, verdict="undecided"),
        look(20, 0.5, 0.0, auc=0.52, verdict="equivalent"),
    ]
    certificate = {"examples": 1500, "lost": 4, "gained": 1, "delta": 0.05, "drop": 0.002}
    bounds = {"bound": 0.0065, "approximate": 0.0051, "smallest": 0.00246}
    return {
        "asked": {"points": 1.0, "relative": None, "metric": None, "drop": None, "higher_is_better": True},
        "prefer": "budget",
        "looks": looks,
        "chosen": 2,
        "kept": True,
        "reached": True,
        "frontier": [2],
        "certificate": certificate | bounds,
        "certified": True,
        "sentence": "The budget of 1 point was kept, and the request was met.",
        "examples": {"control": 1501, "certify": 1500},
        "smallest": 0.00246,
        "criterion": {"recognised": 0.005, "margin": 0.05},
        **changes,
    }


def broken(**changes: Any) -> dict[str, Any]:
    """A budget that no reading kept, for a request of a class: the model is handed back."""
    looks = [look(0, 0.0, 0.995, recognised=1.0), look(10, 3.0, 0.2, recognised=0.205), look(20, 9.0, recognised=0.0)]
    ends = {"chosen": 0, "kept": True, "reached": False, "frontier": [1, 2], "certificate": None, "certified": None}
    sentence = "The budget of 1 point could not be kept: every iterate spent more."
    return budget(looks=looks, sentence=sentence, **ends) | changes


def search(**changes: Any) -> dict[str, Any]:
    """What was tried before: three rates, of which one diverged, then two on more of the data."""

    def trial(rate: float, **more: Any) -> dict[str, Any]:
        rest = {"rise": 0.01, "spent": 0.4, "recognised": 0.0, "distance": 3.21, "updates": 4, "seconds": 0.2}
        return {"rate": rate, **rest, **more}

    lost = dict.fromkeys(("rise", "spent", "recognised", "distance"))
    first = [trial(0.005, recognised=0.3), trial(0.01), trial(0.02, **lost)]
    rounds = [{"share": 1 / 32, "trials": first}, {"share": 1 / 16, "trials": [trial(0.005), trial(0.01)]}]
    return {"rounds": rounds, "rate": 0.01, "seconds": 12.345, **changes}
