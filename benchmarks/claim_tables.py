"""The tables of the claim pages, from the results of ``claim_feasible.py``, ``claim_lookahead.py``, ``claim_eupmu.py``.

Not a script: ``pages.py`` calls it. A table's number is its place in the tuple of its study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aims_tables import AIMS_TABLES
from certificate_tables import CERTIFICATE_TABLES
from counterfactual_tables import COUNTERFACTUAL_TABLES
from crash_tables import CRASH_TABLES, shared_kills, soak
from diffusion_tables import AUTO_TABLES, BUDGET_TABLES, DIFFUSION_TABLES, TUNING_TABLES
from gains_tables import GAINS_TABLES
from identity_tables import identity_costs
from known_tables import beside
from memory_table import memory_table
from quadratic_table import QUADRATIC_TABLES
from rank_tables import RANK_TABLES, run_table
from taught_tables import TAUGHT_TABLES
from throughput_tables import DEMO_TABLES, THROUGHPUT_TABLES
from ulira_tables import TIMING_TABLES, ULIRA_TABLES

Document = Mapping[str, Any]
REQUEST = {"class": "class 0", "random": "random 10 %"}


def number(value: float | None, places: int = 2) -> str:
    """Return a number with a true minus sign, or a dash."""
    return "–" if value is None else f"{value:.{places}f}".replace("-", "−")


def interval(found: Mapping[str, Any], places: int = 2) -> str:
    """Return a mean with half its 95 % interval."""
    if found["mean"] is None:
        return "–"
    half = "" if found["half_width"] is None else f" ± {number(found['half_width'], places)}"
    return f"{number(found['mean'], places)}{half}"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return a Markdown table whose first ``texts`` columns are text."""
    marks = [":---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def base_methods(document: Document) -> str:
    """Return the six methods without and with the add-on."""
    return feasible(document, lambda row: row["mask"].startswith("lenient"), "rate", lambda row: f"{row['factor']:g} ×")


def rules(document: Document) -> str:
    """Return all rules of the add-on on one method."""
    shown: list[Mapping[str, Any]] = [row for row in document["rows"] if not row["mask"].startswith("lenient")]
    on = {row["base"] for row in shown}
    return feasible(document, lambda row: row["base"] in on and row["factor"] == 1, "mask", lambda row: row["mask"])


def feasible(document: Document, chosen: Callable[[Any], bool], head: str, what: Callable[[Any], str]) -> str:
    """Return rows of paired differences."""
    rows = []
    for row in filter(chosen, document["rows"]):
        failed = sum(row["diverged"])
        figures = [interval(row[name]["difference"]) for name in ("ua", "ra", "ta", "avg_gap")]
        gaps = [number(row["avg_gap"][side]["mean"]) for side in ("without", "with")]
        rows.append(
            [
                REQUEST[row["kind"]],
                row["base"] + (f" ({failed} diverged)" if failed else ""),
                what(row),
                interval(row["ua"]["without"]),
                *figures,
                " → ".join(gaps),
                number(row["kept"]),
                number(row["seconds"]["mean"]),
            ]
        )
    heads = ["request", "method", head, "UA without", "Δ UA", "Δ RA", "Δ TA", "Δ gap", "gap", "kept", "time ×"]
    return grid(heads, rows, 3)


def course(document: Document) -> str:
    """Return cosine and conflict rate by epoch."""
    rows = []
    for row in document["course"]:
        cosines = [interval(one) for one in row["cosine_by_epoch"]]
        conflict = {k: 100 * v if isinstance(v, float) else v for k, v in row["conflict"].items()}
        rows.append([REQUEST[row["kind"]], row["variant"], *cosines, interval(row["cosine"]), interval(conflict, 1)])
    epochs = [f"epoch {k + 1}" for k in range(len(document["course"][0]["cosine_by_epoch"]))]
    return grid(["request", "lookahead", *epochs, "cosine, all", "conflict, %"], rows, 2)


def lookahead_sweep(document: Document) -> str:
    """Return the figures at the end over α and the modes, with ScissorHands beside them."""
    rows = [*document["sweep"]]
    rows += [{**row, "variant": "ScissorHands (its own rate, ten epochs)"} for row in document["scissor_hands"]]
    rows.sort(key=lambda row: row["kind"])
    shown = []
    for row in rows:
        figures = [interval(row[name]) for name in ("ua", "ra", "ta", "avg_gap")]
        shown.append([REQUEST[row["kind"]], row["variant"], *figures, interval(row["cpu_seconds"], 1)])
    return grid(["request", "variant", "UA", "RA", "TA", "gap", "CPU s"], shown, 2)


def eupmu(document: Document) -> str:
    """Return the figures of each form over its knob."""
    rows = sorted(document["rows"], key=lambda row: (row["kind"], row["form"]))
    shown = []
    for row in rows:
        failed = f" ({row['diverged']} diverged)" if row["diverged"] else ""
        figures = [interval(row[name]) if name in row else "–" for name in ("ua", "ra", "ta", "avg_gap")]
        large = (row["multiplier"]["mean"] or 0) >= 100
        figures += [interval(row["multiplier"], 0 if large else 2), interval(row["removed"])]
        shown.append([REQUEST[row["kind"]], row["form"] + failed, f"{row['knob']} {row['value']:g}", *figures])
    return grid(["request", "form", "knob", "UA", "RA", "TA", "gap", "λ", "removed"], shown, 3)


STUDIES: Mapping[str, tuple[Callable[[Document], str], ...]] = {
    "claim-feasible": (base_methods, rules),
    "claim-lookahead": (course, lookahead_sweep),
    "claim-eupmu": (eupmu,),
    "eupmu-quadratic": QUADRATIC_TABLES,
    "certificate-coverage": CERTIFICATE_TABLES,
    "tiny-stable-diffusion": TAUGHT_TABLES,
    "stable-diffusion-memory": (memory_table,),
    "aims-digits": AIMS_TABLES,
    "aims-fashion_mnist": AIMS_TABLES,
    "aims-fashion_mnist_12000": AIMS_TABLES,
    "known-figures": (beside,),
    "gains": GAINS_TABLES,
    "crash": CRASH_TABLES,
    "identity-cost": (identity_costs,),
    "crash-ranks": (shared_kills,),
    "soak": (soak,),
    "counterfactual": COUNTERFACTUAL_TABLES,
    "diffusion-auto": AUTO_TABLES,
    "diffusion-budget": BUDGET_TABLES,
    "diffusion-fashion-mnist": DIFFUSION_TABLES,
    "diffusion-fashion-mnist-tuning": TUNING_TABLES,
    "ulira": ULIRA_TABLES,
    "shadow-timing": TIMING_TABLES,
    "throughput": THROUGHPUT_TABLES,
    "demo-profile": DEMO_TABLES,
    "rank-costs": RANK_TABLES,
    "rank-run": (run_table,),
}
