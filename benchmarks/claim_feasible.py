"""Does the feasible add-on raise UA at less than half a point of utility? Six diverse methods with and without it.

Run: python benchmarks/claim_feasible.py --data-dir DATA --cache FOLDER     (after fashion_methods.py, same cache)

Each base method as benchmarks/fashion_methods.py froze it, alone and under the lenient mask at δ = .1, everything else
alike and every difference paired by seed: five seeds. Three of them also at three times their rate, and on one, random
labels, all rules of the add-on with the certificate among them: three seeds.
Writes docs/results/claim-feasible.json.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from fashion_bench import KINDS, RESULTS, SEEDS, Bench, Cell, Workers, options
from fashion_methods import ENTRIES, TUNING, Entry

from expunge.methods import build_method
from expunge.metrics import summarize

BASES = ("gradient_ascent", "neggrad_plus", "random_labels", "scrub", "bad_teacher", "eupmu")
FASTER = 3.0
FASTER_ON = ("neggrad_plus", "random_labels", "eupmu")
MASK = "lenient(delta=0.1)"
RULES = (
    "strict(delta=0.1)",
    "agreement(delta=0.1)",
    "agreement(delta=0.1, soft=true)",
    "knapsack",
    "feasible(lenient, delta=0.1, certify=true, batches=5)",
)
RULES_ON = "random_labels"
COMPARED = ("ua", "ra", "ta", "mia", "avg_gap")
TARGET = RESULTS / "claim-feasible.json"


def masked(entry: Entry, mask: str | None) -> Entry:
    """Return a base method, under a mask if one is named."""
    return entry if mask is None else replace(entry, method=f"{entry.method} + {mask}")


def faster(cell: Cell, factor: float) -> Cell:
    """Return a cell at a multiple of its learning rate; the same cell at once that rate."""
    if factor == 1:
        return cell
    rate = build_method(cell.method, **cell.settings).settings()["rate"]
    return replace(cell, settings={**cell.settings, "rate": factor * rate})


def seeds_of(factor: float, mask: str) -> tuple[int, ...]:
    """Return the seeds of a comparison: all for the main one, three for the others."""
    return SEEDS if (factor, mask) == (1, MASK) else SEEDS[:3]


def comparisons(chosen: dict[str, dict[str, float]]) -> list[tuple[str, str, float, str, list[Cell], list[Cell]]]:
    """Return (kind, base, factor, mask, cells without, cells with), each list in the order of the seeds."""
    entries = {entry.key: entry for entry in ENTRIES}
    wanted = [(base, 1.0, MASK) for base in BASES] + [(base, FASTER, MASK) for base in FASTER_ON]
    wanted += [(RULES_ON, 1.0, rule) for rule in RULES]
    found = []
    for kind in KINDS:
        for base, factor, mask in wanted:
            value = chosen[base][kind]
            plain, under = (
                [
                    faster(masked(entries[base], one).cell(kind, seed, value, True), factor)
                    for seed in seeds_of(factor, mask)
                ]
                for one in (None, mask)
            )
            found.append((kind, base, factor, mask, plain, under))
    return found


def differences(bench: Bench, plain: list[Cell], under: list[Cell]) -> dict[str, Any]:
    """Return means without and with, and the paired difference with its interval, of each figure."""
    pairs = [(bench.cell(a), bench.cell(b)) for a, b in zip(plain, under, strict=True)]
    found: dict[str, Any] = {"diverged": [sum("failed" in pair[side] for pair in pairs) for side in (0, 1)]}
    sound = [(a, b) for a, b in pairs if "failed" not in a and "failed" not in b]
    for name in COMPARED:
        values = [(a["scores"][name], b["scores"][name]) for a, b in sound]
        found[name] = {
            "without": summarize([a for a, _ in values]).as_dict(),
            "with": summarize([b for _, b in values]).as_dict(),
            "difference": summarize([b - a for a, b in values]).as_dict(),
        }
    found["seconds"] = summarize([b["cpu_seconds"] / a["cpu_seconds"] for a, b in sound]).as_dict()
    kept = [row["kept"] for _, b in sound for row in b["history"] if row.get("kept") is not None]
    found["kept"] = sum(kept) / len(kept) if kept else None
    return found


def main() -> None:
    """Make the cells and write the comparison."""
    asked = options(__doc__)
    workers = Workers(asked.data_dir, asked.cache, asked.workers)
    bench = Bench(asked.data_dir, asked.cache)
    chosen = json.loads(TUNING.read_text())["chosen"]
    wanted = comparisons(chosen)
    workers.make([cell for *_, plain, under in wanted for cell in (*plain, *under)], "feasible")
    rows = [
        {"kind": kind, "base": base, "factor": factor, "mask": mask, **differences(bench, plain, under)}
        for kind, base, factor, mask, plain, under in wanted
    ]
    document = {"study": "claim-feasible", "torch": torch.__version__, "rows": rows}
    TARGET.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
