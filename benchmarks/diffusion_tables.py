"""The tables of the page of the diffusion demo, from the results of ``diffusion_fashion.py``.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
SHARE = 0.1
"""Of the training time of the base model: the aim for unlearning."""
LEAST = 98.0
"""UA in percent: the aim."""
FIFTH = 0.2
"""Of the training time of the base model: the aim for ``auto``, its search included."""


def score(row: Mapping[str, Any], key: str) -> float:
    """Return a figure of a row."""
    return float(row["scores"][key]["mean"])


def evidence(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what stands behind a row's figures."""
    found: Mapping[str, Any] = row["evidence"][0]
    return found


def written(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; its first row is its head."""
    marks = [":---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], marks, *rows[1:]))


def figures(document: Document) -> str:
    """Return what the judge says of every model."""
    head = ["model", "UA, %", "95 % interval", "entropy", "kept right, %", "FID real", "FID original", "precision"]
    rows = [[*head, "recall", "s"]]
    for row in document["requests"][0]["rows"]:
        low, high = evidence(row)["ua_interval"]
        seconds = row["scores"].get("seconds")
        rows.append(
            [
                row["label"],
                f"{score(row, 'generated_ua'):.1f}",
                f"{low:.1f} – {high:.1f}",
                f"{score(row, 'generated_entropy'):.2f}",
                f"{score(row, 'generated_accuracy'):.1f}",
                f"{score(row, 'feature_fid_real'):.3f}",
                f"{score(row, 'feature_fid_original'):.3f}",
                f"{score(row, 'feature_precision'):.1f}",
                f"{score(row, 'feature_recall'):.1f}",
                "–" if seconds is None else f"{seconds['mean']:.0f}",
            ]
        )
    return written(rows)


def aims(document: Document) -> str:
    """Return each aim and whether it is met."""
    most = SHARE * document["base"]["seconds"]
    rows = [["method", f"UA ≥ {LEAST:g}", "FID real within the limit", f"seconds ≤ {most:.0f}"]]
    for row in document["requests"][0]["rows"]:
        if row["role"] != "method":
            continue
        limit = evidence(row)["feature"]["fid_real_allowed"]
        ua, distance, seconds = (score(row, key) for key in ("generated_ua", "feature_fid_real", "seconds"))
        rows.append(
            [
                row["label"],
                told(f"{ua:.1f}", ua >= LEAST),
                told(f"{distance:.3f} of {limit:.3f}", distance <= limit),
                told(f"{seconds:.0f}", seconds <= most),
            ]
        )
    return written(rows)


def told(figure: str, met: bool) -> str:
    """Return a figure and whether it meets its aim."""
    return f"{figure} {'met' if met else '**missed**'}"


def tuning(document: Document) -> str:
    """Return what the judge said of each rate, on another class."""
    rows = [["method", "rate", "UA, %", "kept right, %", "s"]]
    for cell in document["cells"]:
        figures = [f"{cell['ua']:.0f}", f"{cell['accuracy']:.1f}", f"{cell['seconds']:.0f}"]
        rows.append([cell["method"], f"{cell['rate']:g}", *figures])
    return written(rows)


def auto(document: Document) -> str:
    """Return what ``auto`` came to on every model and seed."""
    head = ["model", "", "rate", "updates", "UA, %", "95 % interval", "kept right, %", "FID real", "FID original"]
    rows = [[*head, "s"]]
    for name, found in document["models"].items():
        made = iter(found["searches"])
        rows += [[name, *auto_cells(row, found, made)] for row in found["requests"][0]["rows"]]
    return written(rows)


def auto_cells(row: Mapping[str, Any], found: Mapping[str, Any], made: Iterator[Mapping[str, Any]]) -> list[str]:
    """Return the cells of a model before or after."""
    low, high = evidence(row)["ua_interval"]
    ua, right = score(row, "generated_ua"), f"{score(row, 'generated_accuracy'):.1f}"
    distances = [f"{score(row, key):.3f}" for key in ("feature_fid_real", "feature_fid_original")]
    interval = f"{low:.1f} – {high:.1f}"
    if row["role"] != "method":
        return ["original", "–", "–", f"{ua:.1f}", interval, right, *distances, "–"]
    search, limit = next(made), evidence(row)["feature"]["fid_real_allowed"]
    most, seconds = FIFTH * found["base"]["seconds"], score(row, "seconds")
    near = score(row, "feature_fid_real") <= limit
    return [
        f"seed {row['key'].rsplit('-')[-1]}",
        f"{search['rate']:g}",
        f"{search['recognised'][-1]['step']}" if search.get("recognised") else "–",
        told(f"{ua:.1f}", ua >= LEAST),
        interval,
        right,
        told(f"{distances[0]} of {limit:.3f}", near),
        distances[1],
        told(f"{seconds:.0f} of {most:.0f}", seconds <= most),
    ]


def budgeted(document: Mapping[str, Any]) -> str:
    """Return what became of a budget of the loss at every seed, in percent, and what the judge says of the drawings."""
    head = ["model", "", "updates", "s", "spent on control", "drop on certify", "bound", "own error recognises"]
    rows = [[*head, "kept", "met", "UA, %", "kept right, %", "FID real"]]
    for name, runs in document["models"].items():
        rows.append([name, "original", *["–"] * 8, *judged_cells(runs[0]["before"])])
        rows += [[name, f"seed {run['seed']}", *spent_cells(run), *judged_cells(run["after"])] for run in runs]
    return written(rows)


def judged_cells(drawn: Mapping[str, Any]) -> list[str]:
    """Return what the judge says of one model; a distance only where enough images were drawn for one."""
    distance = drawn.get("feature_fid_real")
    far = "–" if distance is None else told(f"{distance:.3f} of {drawn['allowed']:.3f}", distance <= drawn["allowed"])
    return [f"{drawn['generated_ua']:.1f}", f"{drawn['generated_accuracy']:.1f}", far]


def spent_cells(run: Mapping[str, Any]) -> list[str]:
    """Return what one run made of its budget."""
    budget, certificate = run["budget"], run["budget"]["certificate"] or {}
    look = budget["looks"][budget["chosen"]]
    shares = (look["spent"], certificate.get("drop"), certificate.get("bound"), look["recognised"])
    cells = ["–" if share is None else f"{100 * share:.1f}" for share in shares]
    ends = ["yes" if budget[name] else "no" for name in ("kept", "reached")]
    return [f"{run['updates']}", f"{run['seconds']:.0f}", *cells, *ends]


DIFFUSION_TABLES = (figures, aims)
BUDGET_TABLES = (budgeted,)
AUTO_TABLES = (auto,)
TUNING_TABLES = (tuning,)
