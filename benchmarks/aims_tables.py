"""The tables and figures of the pages on the default, from the results of ``aims.py``.

Not a script: ``claim_tables.py`` and ``claim_figures.py`` call it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from counterfactual_tables import counted, figure, written
from figures import Axes, Curve, chart

from expunge.metrics import summarize

Document = Mapping[str, Any]
SHOWN = ("ua", "ra", "ta", "mia", "avg_gap")
REQUEST = {"class": "one class", "random": "random 10 %"}
NAMES = {
    "auto": "auto",
    "salun_soft": "SalUn-soft, tuned",
    "scrub_separate": "SCRUB, separate statistics, tuned",
    "gdr_gma": "GDR-GMA, tuned",
    "eupmu": "EUPMU, tuned",
    "eupmu_fast": "EUPMU-fast, tuned",
}


def scores(document: Document) -> str:
    """Return every model's figures, and how much nearer the default is to retraining than each rival."""
    rows = [["request", "model", "UA", "RA", "TA", "MIA", "gap", "auto − this", "CPU s"]]
    for kind, request in document["requests"].items():
        for name in ("original", "retrained"):
            seconds = figure(summarize(request["retrain_seconds"]).as_dict()) if name == "retrained" else "–"
            figures = [figure(request[name][key]) for key in SHOWN]
            rows.append([REQUEST[kind], name, *figures, "–", seconds])
        for key, found in request["rows"].items():
            seconds = figure(summarize(found["seconds"]).as_dict())
            paired = figure(request["difference"][key]) if key in request["difference"] else "–"
            rows.append([REQUEST[kind], NAMES[key], *(figure(found["scores"][one]) for one in SHOWN), paired, seconds])
    floors = ", ".join(f"{REQUEST[kind]} {figure(one['noise_floor'])}" for kind, one in document["requests"].items())
    sure = f"Noise floor of the gap: {floors}. {len(document['seeds'])} paired seeds, ± half a 95 % t-interval."
    return f"{written(rows, 2)}\n\n{sure}"


def promises(document: Document) -> str:
    """Return what was promised at every seed and what the test set says of it."""
    rows = [["request", "seed", "rate found", "spent (control)", "drop on test", "bound (certify)", "kept", "forgets"]]
    for kind, request in document["requests"].items():
        for number, seed in enumerate(document["seeds"]):
            budget, certificate = request["budget"][number], request["budget"][number]["certificate"]
            looks, rate = request["looks"][number], request["search"][number]["rate"]
            bound = "–" if certificate is None else f"{100 * certificate['bound']:.2f}"
            figures = [f"{looks[budget['chosen']]['spent']:.2f}", f"{request['true_drop'][number]:.2f}", bound]
            said = [{True: "yes", None: "undecided"}.get(budget[what], "no") for what in ("kept", "reached")]
            rows.append([REQUEST[kind], f"{seed}", f"{rate:g}", *figures, *said])
    return f"{written(rows, 1)}\n\n{violations(document)}"


def violations(document: Document) -> str:
    """Return how often the budget was broken on the test set, and the bound was."""
    runs = [
        (budget, drop)
        for request in document["requests"].values()
        for budget, drop in zip(request["budget"], request["true_drop"], strict=True)
        if budget["certificate"] is not None
    ]
    over = counted(sum(drop > document["points"] for _, drop in runs), len(runs))
    missed = counted(sum(drop > 100 * budget["certificate"]["bound"] for budget, drop in runs), len(runs))
    certified = sum(bool(budget["certified"]) for budget, _ in runs)
    return (
        f"Of {len(runs)} runs {over} lost more than {document['points']:g} points on the test set; the certificate's "
        f"bound was below the loss there in {missed}, and inside the budget in {certified}. The test set has sampling "
        "error of its own."
    )


def course(what: str, title: str, name: str) -> Callable[[Document], str]:
    """Return what draws a quantity at the control readings, mean and interval over seeds."""

    def draw(document: Document) -> str:
        curves = []
        for kind, request in document["requests"].items():
            runs: Sequence[Any] = request["looks"]
            count = min(len(run) for run in runs)
            points = []
            for at in range(count):
                found = summarize([run[at][what] for run in runs])
                points.append((float(runs[0][at]["step"]), found.mean or 0.0, found.half_width))
            curves.append(Curve(REQUEST[kind], points))
        if what == "spent":
            end = max(x for curve in curves for x, _, _ in curve.points)
            curves.append(Curve("the budget", [(0.0, document["points"], None), (end, document["points"], None)]))
        return chart(Axes(title, "updates", name), curves)

    return draw


AIMS_TABLES = (scores, promises)
AIMS_FIGURES: Mapping[str, tuple[str, Callable[[Document], str]]] = {
    "budget-spent.svg": (
        "aims-fashion_mnist.json",
        course("spent", "What has been spent of one point", "points of held-out accuracy"),
    ),
    "budget-missing.svg": (
        "aims-fashion_mnist.json",
        course("missing", "How much of the forgetting is missing", "share"),
    ),
}
