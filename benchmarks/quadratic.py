"""EUPMU on a quadratic against its theory: rates, limits, tolerances and noise, explicit against implicit.

Run: python benchmarks/quadratic.py     (a minute on one thread; no data)

Writes docs/results/eupmu-quadratic.json. The package's own surgeries decide every update, lent a ``ToyStep`` in
float64; what they are compared with comes from ``quadratic_problem.py``, which runs no surgery. Afterwards ``python
benchmarks/tables.py`` puts the tables into docs/results/claim-eupmu.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import quadratic_problem as theory
import torch
from quadratic_problem import Limit, Problem, problem
from quadratic_runs import RATE, fitted_factor, run

from expunge.metrics.statistics import summarize
from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery, EUPMUSurgery, Projection, Surgery

RESULT = Path(__file__).parents[1] / "docs" / "results" / "eupmu-quadratic.json"
CONDITIONS = (1, 10, 100)
DECAY, ERROR = 0.01, 0.01
"""γ and the demanded fall of the released form: its defaults."""
HIGHEST = 1e6
"""λ_max, out of the way."""
SEEDS = range(20)
NOISE, NOISY, SETTLED = 0.002, 1000, 200
KINDS = ("explicit", "same batch", "fresh batch")
Row = dict[str, Any]


def rates(made: Problem) -> list[Row]:
    """Return predicted and measured factors and limits of each surgery on one problem."""
    square = float(np.sum(theory.explicit_limit(made).retain_slope ** 2))
    return [
        explicit_row(made),
        implicit_row(made, "implicit, β = 1 (default)", 1.0),
        implicit_row(made, "implicit, β = 1/‖g_r‖²", 1 / square),
        log_row(made),
        adam_row(made),
        *(published_row(made, dual_rate) for dual_rate in (1.0, 0.01)),
        *(fast_row(made, dual_rate) for dual_rate in (1.0, 0.01)),
    ]


def explicit_row(made: Problem) -> Row:
    """Return explicit surgery's row; the rise that its finite steps cause shifts the limit."""
    limit = theory.explicit_limit(made, theory.explicit_rise(made, RATE))
    return row(made, "explicit", limit, theory.explicit_factor(limit, RATE), observed(made, Projection(), 3000))


def implicit_row(made: Problem, name: str, dual_rate: float, updates: int = 3000) -> Row:
    """Return stabilised implicit surgery's row, with what the projection on λ ≥ 0 cut off."""
    found = observed(made, EUPMUSurgery(dual_rate=dual_rate, max_multiplier=HIGHEST), updates)
    # Without the projection λ − λ₀ would be (β/η) times the rise, to rounding: the difference is what it cut off.
    cut = found["multiplier"] - 1 - dual_rate / RATE * found["rise"]
    limit = theory.implicit_limit(made, RATE, dual_rate, 1.0 + cut)
    uncut = theory.implicit_limit(made, RATE, dual_rate, 1.0)
    first = theory.implicit_factor(uncut, RATE, dual_rate)
    made_row = row(made, name, limit, theory.implicit_factor(limit, RATE, dual_rate), found)
    return {**made_row, "cut": cut, "uncut": {"rise": made.rise(uncut.theta), "predicted": first}}


def log_row(made: Problem) -> Row:
    """Return the row of the log form with β = 1."""
    found = observed(made, EUPMUSurgery(log_loss=True, max_multiplier=HIGHEST), 3000)
    end = found["multiplier"] * found["retain"] / found["forget"]
    cut = end - 1 - np.log(found["retain"] / made.retain(made.start)) / RATE
    limit = theory.log_implicit_limit(made, RATE, 1.0, 1.0 + cut)
    uncut = theory.log_implicit_limit(made, RATE, 1.0, 1.0)
    first = theory.implicit_factor(uncut, RATE, 1.0)
    made_row = row(made, "implicit, log, β = 1", limit, theory.implicit_factor(limit, RATE, 1.0), found)
    return {**made_row, "cut": cut, "uncut": {"rise": made.rise(uncut.theta), "predicted": first}}


def adam_row(made: Problem) -> Row:
    """Return the row of the stabilised form under Adam: its sum is no function of the rise, so nothing is predicted."""
    found = observed(made, EUPMUSurgery(dual="adam", dual_rate=0.1, max_multiplier=HIGHEST), 3000)
    nothing = {"multiplier": None, "rise": None}
    return {"surgery": "implicit, Adam at .1", "limit": nothing, "predicted": None, **found}


def published_row(made: Problem, dual_rate: float) -> Row:
    """Return the released form's row; of several points where it can rest, the one that it is nearest to."""
    found = observed(made, EUPMUOfficialSurgery("log", dual_rate=dual_rate), 6000)
    choices = theory.published_limits(made, ERROR / DECAY)
    limit = min(choices, key=lambda limit: abs(made.rise(limit.theta) - found["rise"]))
    slow = theory.decayed_factor(made, limit, partial(theory.log_weight, made), DECAY)
    factor = max(theory.plain_factor(limit, RATE), slow)
    return {**row(made, f"as published, w_lr = {dual_rate:g}", limit, factor, found), "rests": len(choices)}


def fast_row(made: Problem, dual_rate: float) -> Row:
    """Return EUPMU-fast's row; at w = 1 its update is half of that on the sum."""
    found = observed(made, EUPMUFastSurgery(dual_rate=dual_rate), 6000)
    weight = ERROR / DECAY
    limit = theory.raw_limit(made, made.stationary(weight), weight)
    slow = theory.decayed_factor(made, limit, lambda weight: weight, DECAY)
    factor = max(theory.plain_factor(limit, RATE / (1 + weight)), slow)
    return row(made, f"fast, w_lr = {dual_rate:g}", limit, factor, found)


def row(made: Problem, name: str, limit: Limit, predicted: float, found: Row) -> Row:
    """Return one surgery's prediction beside its measurement."""
    expected = {"multiplier": limit.multiplier, "rise": made.rise(limit.theta)}
    return {"surgery": name, "limit": expected, "predicted": predicted, **found}


def observed(made: Problem, surgery: Surgery, updates: int, rate: float = RATE) -> Row:
    """Return what a long run gives; the gap late in it is that of the last sixth."""
    course = run(made, surgery, updates, rate)
    gaps, end = course.gaps(), course.theta[-1]
    return {
        "measured": fitted_factor(gaps),
        "rise": made.rise(end),
        "forget": made.forget(end),
        "retain": made.retain(end),
        "multiplier": float(course.multiplier[-1]),
        "first_gap": float(gaps[0]),
        "late_gap": float(gaps[-updates // 6 :].max()),
        "curve": [float(gap) for gap in gaps[:1201:20]],
    }


def halvings(made: Problem) -> list[Row]:
    """Return how the limits approach the solution as the learning rate is halved."""
    return [halving(made, rate) for rate in (0.1, 0.05, 0.025, 0.0125)]


def halving(made: Problem, rate: float) -> Row:
    """Return the rises of both forms at one learning rate."""
    surgeries = {"explicit": Projection(), "implicit": EUPMUSurgery(max_multiplier=HIGHEST)}
    found = {name: observed(made, surgery, int(60 / rate), rate)["rise"] for name, surgery in surgeries.items()}
    limit = theory.implicit_limit(made, rate, 1.0, 1.0)
    expected = {"explicit": theory.explicit_rise(made, rate), "implicit": made.rise(limit.theta)}
    return {"rate": rate} | {name: {"predicted": expected[name], "measured": found[name]} for name in found}


def dual_rates(made: Problem) -> list[Row]:
    """Return the factor of implicit surgery over its dual rate, up to and beyond where it can be stable."""
    square = float(np.sum(theory.explicit_limit(made).retain_slope ** 2))
    rows = []
    for share in (0.03, 0.1, 0.3, 1.0, 1.8, 2.5):
        found = implicit_row(made, "implicit", share / square, 1500)
        del found["curve"]
        rows.append({"share": share, **found})
    return rows


def tolerances(made: Problem, budget: float = 0.05) -> list[Row]:
    """Return how a budget τ = ηεT is met over the number of updates, and what twice as many updates make of it."""
    target, multiplier = made.kkt(budget)
    rows = []
    for updates in (250, 1000, 4000):
        permitted, dual_rate = budget / (RATE * updates), 8.0
        limit = theory.implicit_limit(made, RATE, dual_rate, theory.MULTIPLIER, budget)
        surgeries = {
            "explicit": (Projection(permitted), budget + theory.explicit_rise(made, RATE)),
            "implicit": (
                EUPMUSurgery(permitted, dual_rate, initial_multiplier=theory.MULTIPLIER, max_multiplier=HIGHEST),
                made.rise(limit.theta),
            ),
        }
        found: Row = {"updates": updates, "tolerance": permitted, "budget": budget, "multiplier": multiplier}
        for name, (surgery, expected) in surgeries.items():
            course = run(made, surgery, 1 + (2 * updates if updates == 250 else updates))
            found[name] = {
                "predicted": expected,
                "measured": made.rise(course.theta[updates]),
                "distance": float(np.linalg.norm(course.theta[updates] - target)),
                "after_twice": made.rise(course.theta[2 * updates]) if updates == 250 else None,
            }
        rows.append(found)
    return rows


def noisy(made: Problem) -> list[Row]:
    """Return leaks of L_r and floors of the KKT gap with noisy gradients, from the solution, over seeds."""
    at_rest = replace(made, start=made.kkt()[0])
    settings = [("explicit", 1.0, 0.0), ("explicit", 0.5, 0.0), ("same batch", 1.0, 0.5), ("fresh batch", 1.0, 0.5)]
    settings += [("fresh batch", 0.5, 0.5), ("fresh batch", 1.0, 0.1)]
    return [compared(at_rest, kind, RATE * part, share) for kind, part, share in settings]


def compared(made: Problem, kind: str, rate: float, share: float) -> Row:
    """Return one rule's predictions and measurements at one learning rate and one β‖g_r‖²."""
    solution = theory.explicit_limit(made)
    dual_rate = share / float(solution.retain_slope @ solution.retain_slope)
    make = surgery_of(kind, dual_rate, solution.multiplier)
    courses = [run(made, make(), NOISY, rate, NOISE, seed, kind == "fresh batch") for seed in SEEDS]
    rises = [course.rises() for course in courses]
    slopes = [float(rise[-1] - rise[SETTLED]) / (NOISY - 1 - SETTLED) for rise in rises]
    squares = [float((c.aside() if kind == "explicit" else c.gaps() ** 2)[SETTLED:].mean()) for c in courses]
    # Predictions are for the level of L_r in the middle of the run.
    first = theory.leak(solution, made, rate, NOISE, kind, dual_rate)
    limit = theory.explicit_limit(made, first * (NOISY + SETTLED) / 2)
    expected = (
        theory.explicit_floor(limit, rate, NOISE) if kind == "explicit" else theory.floor(limit, rate, dual_rate, NOISE)
    )
    return {
        "surgery": kind,
        "rate": rate,
        "share": share,
        "leak": {"predicted": theory.leak(limit, made, rate, NOISE, kind, dual_rate), **interval(slopes)},
        "gap_squared": {"predicted": expected, **interval(squares)},
        "curves": [[float(value) for value in rise[:: NOISY // 10]] for rise in rises],
    }


def surgery_of(kind: str, dual_rate: float, multiplier: float) -> Callable[[], Surgery]:
    """Return what builds the surgery, its multiplier at the solution's."""
    if kind == "explicit":
        return Projection
    return lambda: EUPMUSurgery(dual_rate=dual_rate, initial_multiplier=multiplier, max_multiplier=HIGHEST)


def interval(values: list[float]) -> Row:
    """Return the values with mean and half-width of the 95 % t-interval."""
    found = summarize(values)
    return {"values": values, "mean": found.mean, "half_width": found.half_width}


def described(made: Problem) -> Row:
    """Return what the problem's solution is like."""
    limit = theory.explicit_limit(made)
    return {
        "multiplier": limit.multiplier,
        "retain_slope_squared": float(limit.retain_slope @ limit.retain_slope),
        "lagrangian_condition": float(np.linalg.cond(limit.curvature)),
    }


def study() -> Row:
    """Return the whole result."""
    problems = {condition: problem(condition) for condition in CONDITIONS}
    return {
        "study": "eupmu-quadratic",
        "size": theory.SIZE,
        "rate": RATE,
        "noise": {"deviation": NOISE, "updates": NOISY, "settled": SETTLED, "seeds": len(SEEDS)},
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "solution": {str(condition): described(made) for condition, made in problems.items()},
        "rates": [{"condition": condition, **one} for condition, made in problems.items() for one in rates(made)],
        "halvings": halvings(problems[10]),
        "dual_rates": dual_rates(problems[10]),
        "tolerances": tolerances(problems[10]),
        "noisy": noisy(problems[10]),
    }


def cut(value: Any) -> Any:
    """Return a document with its numbers cut to six digits."""
    if isinstance(value, dict):
        return {key: cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cut(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    RESULT.write_text(json.dumps(cut(study()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
