"""LUR put to the test: do gradients align, does it matter how long the virtual step is, and what does it cost?

Run: python benchmarks/claim_lookahead.py --data-dir DATA --cache FOLDER     (after fashion_methods.py, same cache)

With and without the lookahead at one learning rate, everything else alike, five paired seeds: at every 20th update the
gradients of both losses on 1,200 examples a side, at the weights themselves and by automatic differentiation alone, so
that the surgery's own record is not its judge. α from .001 to .1 and the three modes on three seeds.
Writes docs/results/claim-lookahead.json.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from fashion_bench import COMMON, KINDS, RESULTS, SEEDS, Bench, Cell, Workers, options
from fashion_methods import ENTRIES, LABELS, TUNING
from torch import Tensor, nn

from expunge.batch import Batch, Examples, Predictor
from expunge.engine import RunOptions
from expunge.evaluation.inference import preserving_state
from expunge.metrics import summarize
from expunge.objectives import CrossEntropy, Objective, RandomLabel
from expunge.surgery import Progress

PROBED = 1200
EVERY = 20
ALPHAS = (0.001, 0.01, 0.03, 0.1)
MODES = ("exact", "first_order")
SWEPT = SEEDS[:3]
COMPARED = ("ua", "ra", "ta", "mia", "avg_gap")
TARGET = RESULTS / "claim-lookahead.json"


class Probed(Bench):
    """Makes cells that also know the cosine of both full gradients over the course of unlearning."""

    folder = "probed"

    def conditions(self, cell: Cell, model: nn.Module, history: list[dict[str, Any]]) -> RunOptions:
        """Return conditions that look at both gradients at every 20th update."""
        case = self.case(cell.kind, cell.seed)
        objective = RandomLabel(cell.kind == "class", cell.seed)

        def look(progress: Progress) -> None:
            if (progress.step + 1) % EVERY:
                return
            with preserving_state(model), torch.enable_grad():
                sides = ((objective, case.split.forget), (CrossEntropy(), case.split.retain))
                forget, retain = (gradient(model, goal, part, progress.epoch) for goal, part in sides)
            cosine = forget @ retain / (forget.norm() * retain.norm())
            history.append({"step": progress.step, "epoch": progress.epoch, "cosine": float(cosine)})

        return RunOptions(cell.seed, log_gradients_every=0, on_step=look)


def gradient(model: nn.Module, objective: Objective, examples: Examples, epoch: int) -> Tensor:
    """Return the gradient of a loss over the first examples, flat."""
    batch: Batch = examples.batch(torch.arange(min(PROBED, len(examples))))
    batch = objective.sample(batch, epoch, torch.Generator().manual_seed(0))
    loss = objective(Predictor(model), batch)
    return torch.cat([piece.flatten() for piece in torch.autograd.grad(loss, list(model.parameters()))])


def cell(kind: str, seed: int, rate: float, method: str, **settings: Any) -> Cell:
    """Return one model; class requests do not draw the class itself."""
    return Cell(kind, seed, method, {**COMMON, **(LABELS if kind == "class" else {}), "rate": rate, **settings})


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what is compared over the course of unlearning."""
    return {
        "without": ("random_labels", {}),
        "alpha 0.01": ("lur", {"alpha": 0.01}),
    }


def sweeps() -> dict[str, tuple[str, dict[str, Any], tuple[int, ...]]]:
    """Return what is compared at the end."""
    found: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {"without": ("random_labels", {}, SWEPT)}
    found |= {f"lookahead, alpha {alpha:g}": ("lur", {"alpha": alpha}, SWEPT) for alpha in ALPHAS}
    for mode in MODES:
        found |= {f"{mode}, alpha {alpha:g}": ("lur", {"alpha": alpha, "mode": mode}, SWEPT) for alpha in (0.01,)}
    return found


def course(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return cosine and conflict rate by epoch, a mean per seed and its interval over seeds."""
    epochs = sorted({row["epoch"] for one in found for row in one["history"]})
    by_seed = [
        [[row["cosine"] for row in one["history"] if row["epoch"] == epoch] for epoch in epochs] for one in found
    ]
    cosine = [summarize([mean(seed[k]) for seed in by_seed]).as_dict() for k in range(len(epochs))]
    conflicts = [summarize([mean([c < 0 for c in seed[k]]) for seed in by_seed]).as_dict() for k in range(len(epochs))]
    every = [[c for epoch in seed for c in epoch] for seed in by_seed]
    return {
        "cosine_by_epoch": cosine,
        "conflict_by_epoch": conflicts,
        "cosine": summarize([mean(seed) for seed in every]).as_dict(),
        "conflict": summarize([mean([c < 0 for c in seed]) for seed in every]).as_dict(),
    }


def mean(values: list[Any]) -> float:
    """Return the mean."""
    return float(sum(values) / len(values))


def scores(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures at the end and the processor's seconds, over seeds."""
    sound = [one for one in found if "failed" not in one]
    figures = {name: summarize([one["scores"][name] for one in sound]).as_dict() for name in COMPARED}
    seconds = summarize([one["cpu_seconds"] for one in sound]).as_dict()
    return {**figures, "cpu_seconds": seconds, "diverged": len(found) - len(sound)}


def main() -> None:
    """Make the cells and write the record."""
    asked = options(__doc__)
    chosen = json.loads(TUNING.read_text())["chosen"]
    rates = {kind: chosen["lur"][kind] for kind in KINDS}
    plain = Bench(asked.data_dir, asked.cache)
    probed = Probed(asked.data_dir, asked.cache)
    watched = {
        (kind, name): [cell(kind, seed, rates[kind], method, **settings) for seed in SEEDS]
        for kind in KINDS
        for name, (method, settings) in variants().items()
    }
    swept = {
        (kind, name): [cell(kind, seed, rates[kind], method, **settings) for seed in seeds]
        for kind in KINDS
        for name, (method, settings, seeds) in sweeps().items()
    }
    for bench, groups, what in ((Probed, watched, "lookahead, probed"), (Bench, swept, "lookahead")):
        workers = Workers(asked.data_dir, asked.cache, asked.workers, bench)
        workers.make([one for group in groups.values() for one in group], what)
    entries = {entry.key: entry for entry in ENTRIES}
    scissors = {
        kind: [plain.cell(entries["scissor_hands"].cell(kind, s, chosen["scissor_hands"][kind], True)) for s in SEEDS]
        for kind in KINDS
    }
    document = {
        "study": "claim-lookahead",
        "torch": torch.__version__,
        "rates": rates,
        "seeds": list(SEEDS),
        "swept_seeds": list(SWEPT),
        "course": [
            {"kind": kind, "variant": name, **course([probed.cell(one) for one in cells])}
            for (kind, name), cells in watched.items()
        ],
        "sweep": [
            {"kind": kind, "variant": name, **scores([plain.cell(one) for one in cells])}
            for (kind, name), cells in swept.items()
        ],
        "scissor_hands": [{"kind": kind, **scores(found)} for kind, found in scissors.items()],
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
