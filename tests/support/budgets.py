"""A part of a result document about a budget; its numbers are made up."""

from __future__ import annotations

from typing import Any


def look(step: int, spent: float, missing: float = 0.0, **more: Any) -> dict[str, Any]:
    """A control reading."""
    rest = {"loss": 0.3, "accuracy": 90.0, "value": None, "tolerance": 0.1, "recognized": None, "auc": None}
    return {"step": step, "spent": spent, "shortfall": missing, **rest, "verdict": None, **more}


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
        "limit": {
            "accuracy_points": 1.0,
            "loss_increase": None,
            "metric": None,
            "max_drop": None,
            "higher_is_better": True,
        },
        "priority": "budget",
        "evaluations": looks,
        "chosen": 2,
        "within_budget": True,
        "target_met": True,
        "pareto_indices": [2],
        "certificate": certificate | bounds,
        "certified": True,
        "summary": "The budget of 1 point was kept, and the request was met.",
        "examples": {"control": 1501, "certify": 1500},
        "smallest": 0.00246,
        "criterion": {"max_recognized": 0.005, "margin": 0.05},
        **changes,
    }


def broken(**changes: Any) -> dict[str, Any]:
    """A budget that no reading kept, for a request of a class: the model is handed back."""
    looks = [look(0, 0.0, 0.995, recognized=1.0), look(10, 3.0, 0.2, recognized=0.205), look(20, 9.0, recognized=0.0)]
    ends = {
        "chosen": 0,
        "within_budget": True,
        "target_met": False,
        "pareto_indices": [1, 2],
        "certificate": None,
        "certified": None,
    }
    sentence = "The budget of 1 point could not be kept: every iterate spent more."
    return budget(evaluations=looks, summary=sentence, **ends) | changes


def search(**changes: Any) -> dict[str, Any]:
    """What was tried before: three rates, of which one diverged, then two on more of the data."""

    def trial(rate: float, **more: Any) -> dict[str, Any]:
        rest = {"loss_increase": 0.01, "spent": 0.4, "recognized": 0.0, "distance": 3.21, "updates": 4, "seconds": 0.2}
        return {"lr": rate, **rest, **more}

    lost = dict.fromkeys(("loss_increase", "spent", "recognized", "distance"))
    first = [trial(0.005, recognized=0.3), trial(0.01), trial(0.02, **lost)]
    rounds = [{"fraction": 1 / 32, "trials": first}, {"fraction": 1 / 16, "trials": [trial(0.005), trial(0.01)]}]
    return {"rounds": rounds, "lr": 0.01, "seconds": 12.345, **changes}
