"""All methods on Fashion-MNIST: 12,000 images, class 0 and a random tenth, five paired seeds, networks at 100 %.

Run: python benchmarks/fashion_methods.py --data-dir DATA --cache FOLDER     (hours on two cores, said first; resumable)

Tuning: each method's own knob, for most the learning rate, four trials on seed 1000, which is not shown; the criterion
is the same for all and looks at control images, never at a retrained model or the test set. Then the choice is frozen.
Writes docs/results/methods-fashion-mnist.json and docs/results/methods-fashion-mnist-tuning.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fashion_bench import (
    COMMON,
    EPOCHS,
    FORGOTTEN_CLASS,
    KINDS,
    QUESTIONS,
    REQUESTS,
    RESULTS,
    SEEDS,
    TEST,
    TRAIN,
    TUNING_SEED,
    Bench,
    Cell,
    Workers,
    options,
)
from tuning import badness

from expunge.engine import BatchNormMode
from expunge.evaluation import ModelScores, aggregate, compute_noise_floor

TARGET = RESULTS / "methods-fashion-mnist.json"
TUNING = RESULTS / "methods-fashion-mnist-tuning.json"
USUAL = (0.001, 0.003, 0.01, 0.03)
LABELS = {"exclude_true": True}
"""For the class request the class itself is not drawn as a random label, for all methods that draw."""


@dataclass(frozen=True)
class Entry:
    """A method of the study.

    Args:
        key: Name of the row.
        label: What tables show.
        method: As ``build_method`` reads it; ``{labels}`` is where a composition takes the objective's settings.
        grid: Four values of the knob.
        knob: What is tuned. Default the learning rate.
        settings: Beside the defaults.
        draws: Whether it draws random labels.
        paired: Whether it takes the sizes that all pairs share.
        normalisation: Whose statistics an update uses.
    """

    key: str
    label: str
    method: str
    grid: tuple[float, ...] = USUAL
    knob: str = "rate"
    settings: dict[str, Any] = field(default_factory=dict)
    draws: bool = False
    paired: bool = True
    normalisation: BatchNormMode = "frozen"

    def cell(self, kind: str, seed: int, value: float, measured: bool) -> Cell:
        """Return one model of this method."""
        excluded = kind == "class" and self.draws
        named = {} if self.method == "composed" or not excluded else LABELS
        common = COMMON if self.paired else {}
        settings = {**common, **self.settings, **named, self.knob: value}
        if self.method == "composed" and excluded:
            settings["objective"] = "random_label(exclude_true=true)"
        return Cell(kind, seed, self.method, settings, measured, self.normalisation)


def symmetric(surgery: str, label: str) -> Entry:
    """Return a symmetric rule on random labels and the true ones."""
    return Entry(surgery, label, "composed", settings={"surgery": surgery}, draws=True)


GA = Entry("gradient_ascent", "GA", "gradient_ascent", (1e-5, 3e-5, 1e-4, 3e-4))
NEGGRAD = Entry("neggrad_plus", "NegGrad+", "neggrad_plus", (0.001, 0.005, 0.02, 0.1), "weight")
SCRUB = Entry("scrub", "SCRUB", "scrub", (0.0005, 0.002, 0.008, 0.03))
SFR_ON = Entry("sfr_on", "SFR-on", "sfr_on")

ENTRIES = (
    Entry("fine_tune", "FT", "fine_tune", (0.01, 0.03, 0.1, 0.3)),
    GA,
    NEGGRAD,
    Entry("random_labels", "RL", "random_labels", draws=True),
    Entry("salun", "SalUn", "salun", draws=True),
    Entry("salun_soft", "SalUn-soft", "salun_soft", draws=True),
    Entry("l1_sparse", "l1-sparse", "l1_sparse", (0.01, 0.03, 0.1, 0.3)),
    SCRUB,
    Entry("scrub_r", "SCRUB+R", "scrub_r", (0.0005, 0.002, 0.008, 0.03)),
    Entry("bad_teacher", "BadTeacher", "bad_teacher"),
    Entry("ssd", "SSD", "ssd", (3.0, 10.0, 40.0, 80.0), "selection", paired=False),
    SFR_ON,
    Entry("iu", "IU", "iu", (1.0, 3.0, 10.0, 30.0), "step_size", paired=False),
    Entry("boundary_expand", "BE", "boundary_expand", (1e-5, 1e-4, 1e-3, 1e-2)),
    Entry("boundary_shrink", "BS", "boundary_shrink", (1e-5, 1e-4, 1e-3, 1e-2)),
    Entry("scissor_hands", "ScissorHands", "scissor_hands", settings={"forget_batch": 128}),
    Entry("msg", "MSG", "msg"),
    Entry("gdr_gma", "GDR-GMA", "gdr_gma", (1e-5, 3e-5, 1e-4, 3e-4)),
    Entry("lur", "LUR", "lur", settings={"alpha": 0.01}, draws=True),
    Entry("eupmu", "EUPMU", "eupmu", draws=True),
    Entry("eupmu_published", "EUPMU as published", "eupmu", settings={"as_published": True}, draws=True),
    Entry("eupmu_fast", "EUPMU-fast", "eupmu_fast", draws=True),
    Entry("explicit_surgery", "Explicit", "explicit_surgery", (0.0001, 0.0003, 0.001, 0.003), draws=True),
    Entry("noise_aware", "Noise-aware", "composed", settings={"surgery": "noise_aware"}, draws=True),
    Entry("eupmu_feasible", "EUPMU + feasible", "eupmu + feasible(lenient, delta=0.1)", draws=True),
    Entry("mudman", "RL + sign mask (MUDMAN)", "random_labels + sign_agreement", draws=True),
    symmetric("pcgrad", "PCGrad"),
    symmetric("mgda", "MGDA"),
    symmetric("cagrad", "CAGrad"),
    symmetric("nash_mtl", "Nash-MTL"),
    symmetric("grad_vac", "GradVac"),
    symmetric("aligned_mtl", "Aligned-MTL"),
    symmetric("upgrad", "UPGrad"),
    symmetric("famo", "FAMO"),
    *(
        replace(entry, key=f"{entry.key}_joint", label=f"{entry.label}, joint statistics", normalisation="joint")
        for entry in (NEGGRAD, SFR_ON)
    ),
    replace(SCRUB, key="scrub_separate", label="SCRUB, separate statistics", normalisation="separate"),
)
"""All methods; three that ascend also with batch statistics, under which their authors run them."""


def trials_of(entry: Entry) -> list[Cell]:
    """Return the tuning trials of a method."""
    return [entry.cell(kind, TUNING_SEED, value, False) for kind in KINDS for value in entry.grid]


def choose(bench: Bench) -> dict[str, Any]:
    """Return the record of all tuning trials with the value that each method and request is frozen at."""
    record: dict[str, Any] = {"seed": TUNING_SEED, "criterion": badness.__doc__, "chosen": {}, "trials": []}
    for kind in KINDS:
        before = bench.tuning_view(bench.original(TUNING_SEED), bench.case(kind, TUNING_SEED))
        for entry in ENTRIES:
            ranked = []
            for value in entry.grid:
                found = bench.cell(entry.cell(kind, TUNING_SEED, value, False))
                trial = {"kind": kind, "method": entry.key, "knob": entry.knob, "value": value}
                if "failed" in found:
                    record["trials"].append({**trial, "failed": True})
                    continue
                bad = badness(kind, found["tuning"], before)
                ranked.append((bad, value))
                record["trials"].append({**trial, "badness": bad, **found["tuning"]})
            chosen = min(ranked)[1] if ranked else entry.grid[0]
            record["chosen"].setdefault(entry.key, {})[kind] = chosen
    return record


def final_cells(chosen: dict[str, dict[str, float]]) -> list[Cell]:
    """Return the cells of the table, whole seeds first."""
    return [
        entry.cell(kind, seed, chosen[entry.key][kind], True) for seed in SEEDS for kind in KINDS for entry in ENTRIES
    ]


def reference_trials(bench: Bench, kind: str) -> list[ModelScores]:
    """Return the original's and the retrained model's rows at every seed."""
    found = []
    for seed in SEEDS:
        reference, case = bench.reference(kind, seed, 0), bench.case(kind, seed)
        models = (
            ("original", "Original", "original", bench.outputs(bench.original(seed), case), f"original-{seed}"),
            ("retrain", "Retrain", "retrained", reference, f"retrained-{kind}-{seed}-0"),
        )
        for key, label, role, seen, name in models:
            seconds = bench.facts(name)["seconds"] if role == "retrained" else None
            found.append(
                ModelScores.from_outputs(
                    seen, key=key, label=label, role=role, seed=seed, retrained=reference, seconds=seconds
                )  # type: ignore[arg-type]
            )
    return found


def as_trial(bench: Bench, key: str, label: str, cell: Cell, settings: dict[str, Any]) -> ModelScores:
    """Return a cell as a row's trial; one that diverged has no scores."""
    found = bench.cell(cell)
    if "failed" in found:
        return ModelScores(key, label, "method", cell.seed, {}, (), (), settings)
    scores = {**found["scores"], "seconds": found["seconds"]}
    return ModelScores(key, label, "method", cell.seed, scores, found["per_class"], (), settings)


def request_of(bench: Bench, kind: str, methods: list[ModelScores]) -> dict[str, Any]:
    """Return one request of the result."""
    floor = compute_noise_floor([[bench.reference(kind, seed, number) for number in (0, 1)] for seed in SEEDS])
    forget = len(bench.case(kind, SEEDS[0]).split.forget)
    return {
        "id": kind,
        "description": QUESTIONS[kind],
        "kind": REQUESTS[kind],
        "sizes": {"train": TRAIN, "forget": forget, "retain": TRAIN - forget, "test": TEST},
        "classes": list(bench.source.class_names),
        "seeds": list(SEEDS),
        "retrained": True,
        "examples": [],
        **aggregate([*reference_trials(bench, kind), *methods], floor),
    }


def telemetry(bench: Bench, cells: list[Cell]) -> dict[str, float | None]:
    """Return the mean over seeds and updates of what was observed of a method's updates."""
    rows = [row for cell in cells for row in bench.cell(cell).get("history", [])]
    means = {}
    for name in ("cosine", "multiplier", "removed"):
        values = [row[name] for row in rows if row.get(name) is not None]
        means[name] = sum(values) / len(values) if values else None
    cosines = [row["cosine"] for row in rows if row.get("cosine") is not None]
    means["conflict_rate"] = sum(value < 0 for value in cosines) / len(cosines) if cosines else None
    return means


def study(bench: Bench, chosen: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return the result of all cells."""
    parts, seen = [], {}
    for kind in KINDS:
        methods = []
        for entry in ENTRIES:
            value = chosen[entry.key][kind]
            cells = [entry.cell(kind, seed, value, True) for seed in SEEDS]
            settings = {entry.knob: value, "method": entry.method, **entry.settings}
            methods += [as_trial(bench, entry.key, entry.label, cell, settings) for cell in cells]
            seen[f"{entry.key}-{kind}"] = telemetry(bench, cells)
        parts.append(request_of(bench, kind, methods))
    trained = {seed: bench.facts(f"original-{seed}")["train_accuracy"] for seed in SEEDS}
    about = {"torch": torch.__version__, "threads": 1, "epochs_of_training": EPOCHS, "forgotten_class": FORGOTTEN_CLASS}
    return {**about, "train_accuracy": trained, "telemetry": seen, "requests": parts}


def main() -> None:
    """Train, tune, unlearn, measure and write the result."""
    asked = options(__doc__)
    workers = Workers(asked.data_dir, asked.cache, asked.workers)
    bench = Bench(asked.data_dir, asked.cache)
    workers.train()
    workers.make([cell for entry in ENTRIES for cell in trials_of(entry)], "tuning")
    torch.set_num_threads(1)
    record = choose(bench)
    TUNING.write_text(json.dumps(record, indent=1) + "\n")
    workers.make(final_cells(record["chosen"]), "methods")
    TARGET.write_text(json.dumps(study(bench, record["chosen"]), indent=1) + "\n")


if __name__ == "__main__":
    main()
