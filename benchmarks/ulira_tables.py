"""The tables of the page about shadow models, from the results of ``ulira.py`` and ``shadow_timing.py``.

Not a script: ``claim_tables.py`` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]


def written(rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return a Markdown table whose first ``texts`` columns are text; its first row is its head."""
    marks = [":---"] * texts + ["---:"] * (len(rows[0]) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], marks, *rows[1:]))


def share(value: float, interval: Sequence[float]) -> str:
    """Return a share in percent with its interval."""
    return f"{100 * value:.1f} ({100 * interval[0]:.1f} – {100 * interval[1]:.1f})"


def area(value: float, interval: Sequence[float]) -> str:
    """Return an area with its interval."""
    return f"{value:.3f} ({interval[0]:.3f} – {interval[1]:.3f})"


def recall(attack: Mapping[str, Any], fpr: float) -> str:
    """Return the recall at a false positive rate in percent; a dash where it could not be stated."""
    found = [one for one in attack["recalls"] if one["fpr"] == fpr]
    return share(found[0]["tpr"], found[0]["interval"]) if found else "–"


def attacks(document: Document) -> str:
    """Return what the attack finds in the models of every method."""
    heads = ["models", "told right, %", "AUC", "TPR @ 5 % FPR, %", "AUC, one threshold", "higher, %", "RA, %", "TA, %"]
    rows = [heads]
    for row in document["rows"]:
        attack = row["attack"]
        plain = [f"{row[key]['mean']:.1f}" for key in ("retain_accuracy", "test_accuracy")]
        rows.append(
            [
                row["label"],
                share(attack["balanced_accuracy"], attack["interval"]),
                area(attack["auc"], attack["auc_interval"]),
                recall(attack, 0.05),
                f"{row['one_threshold_auc']['mean']:.3f}",
                f"{100 * row['shift']['higher']:.0f}",
                *plain,
            ]
        )
    rows += [[label, "not run", *[""] * 6] for label in document["missing"]]
    setting = document["setting"]
    told = f"{document['models']} shadow models; {setting['train']} images, {setting['candidates']} candidates"
    return f"{document['data']}: {told}. In brackets 95 % intervals.\n\n{written(rows, 1)}"


def beside(document: Document) -> str:
    """Return what metrics of many models say of the same models."""
    rows = [["models", "KLOM", "forgetting quality"]]
    labels = {row["key"]: row["label"] for row in document["rows"]}
    for key, found in document["beside_retrained"].items():
        cells = [f"{one['value']:.3f}" for one in (found["klom"], found["forgetting_quality"])]
        rows.append([labels[key], *cells])
    controls = next(iter(document["beside_retrained"].values()))
    floor = [f"{controls[name]['control']:.3f}" for name in ("klom", "forgetting_quality")]
    return written([*rows, ["Retrained beside retrained", *floor]], 1)


def rates(document: Document) -> str:
    """Return which learning rates were chosen."""
    labels = {row["key"]: row["label"] for row in document["rows"]}
    chosen = document["tuning"]["chosen"]
    return written([["method", "rate"], *([labels.get(key, key), f"{rate:g}"] for key, rate in chosen.items())], 1)


def timing(document: Document) -> str:
    """Return how much faster training at once is."""
    rows = [
        ["network", "pixels", "batch", "models", "at once, ms", "one by one, ms", "× faster", "quartiles", "chosen"]
    ]
    for row in document["rows"]:
        ratio = row["ratio"]
        rows.append(
            [
                row["network"],
                f"{row['pixels']} × {row['pixels']}",
                f"{row['batch']}",
                f"{row['models']}",
                f"{row['together_ms']:.2f}",
                f"{row['loop_ms']:.2f}",
                f"{ratio['median']:.2f}",
                f"{ratio['low']:.2f} – {ratio['high']:.2f}",
                {"together": "at once", "loop": "one by one"}[row["chosen"]],
            ]
        )
    return f"{document['threads']} thread; milliseconds of one update of one network.\n\n{written(rows, 1)}"


ULIRA_TABLES = (attacks, beside, rates)


def cost(document: Document) -> str:
    """Return what one audit costs."""
    found = document["audit"]
    seconds = found["seconds"]
    heads = ["audit", "shadow models", "candidates", "seconds of the processor", "seconds on the clock"]
    cells = [found["method"], f"{found['models']}", f"{found['candidates']}"]
    return written([heads, [*cells, f"{seconds['processor']:.0f}", f"{seconds['wall']:.0f}"]], 1)


ULIRA_TABLES = (attacks, beside, rates)
TIMING_TABLES = (timing, cost)
