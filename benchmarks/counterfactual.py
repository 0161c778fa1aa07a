"""The counterfactual objective on the harder half: a random 10 % of Fashion-MNIST, beside random labels.

Run: python benchmarks/counterfactual.py --data-dir DATA --cache FOLDER     (after fashion_methods.py, same cache)

Three paired seeds of the bench of all methods (12,000 images, a converged network of 73 thousand weights), two epochs,
λ of 1 and of 5, two learning rates, everything else alike: random labels, the neighbours' votes in the layer that
held-out images choose, and the same in the network's last block, where features of memorised images have collapsed.
Beside the gaps: which vote was chosen at each seed, how well it tells which forgotten images the retrained model gets
wrong (AUC of 1 − q_y), and how often its own errors are errors of the retrained model. Neither the retrained model nor
the test set is looked at by any choice. Writes docs/results/counterfactual.json.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from fashion_bench import COMMON, RESULTS, SEEDS, Bench, Cell, Workers, options
from sklearn.metrics import roc_auc_score

from expunge.batch import Predictor
from expunge.evaluation import ModelScores, compute_noise_floor
from expunge.metrics import summarize
from expunge.objectives import NeighborLabel

KIND = "random"
OBJECTIVES = {
    "random labels": "random_label",
    "without the true one": "random_label(exclude_true=true)",
    "votes, chosen layer": "counterfactual(calibrate=false)",
    "votes, last block": "counterfactual(layer='4', calibrate=false)",
}
LAMBDAS, RATES, EPOCHS = (1.0, 5.0), (0.01, 0.03), 2
COMPARED_SEEDS = SEEDS[:3]
COMPARED = ("ua", "ra", "ta", "mia", "avg_gap")
TARGET = RESULTS / "counterfactual.json"


def cell(objective: str, multiplier: float, rate: float, seed: int) -> Cell:
    """Return one model: (L_f + λ L_r) / (1 + λ) is descended."""
    shares = f"fixed(forget_weight={1 / (1 + multiplier):.6f}, retain_weight={multiplier / (1 + multiplier):.6f})"
    settings = {**COMMON, "epochs": EPOCHS, "rate": rate, "objective": objective, "surgery": shares}
    return Cell(KIND, seed, "composed", settings)


def known(bench: Bench, seed: int, layer: str | None) -> dict[str, Any]:
    """Return which vote was chosen at a seed, and what it knows of the retrained model's answers."""
    case, objective = bench.case(KIND, seed), NeighborLabel(layer, calibrate=False)
    objective.prepare(Predictor(bench.original(seed)), case.split)
    forget = bench.reference(KIND, seed, 0).forget
    targets = case.split.forget.targets.numpy()
    wrong = np.asarray(forget.logits).argmax(1) != targets
    votes = objective.target_probs.numpy()
    own = votes.argmax(1) != targets
    hit = float(wrong[own].mean()) if own.any() else None
    auc = float(roc_auc_score(wrong, 1 - votes[np.arange(len(targets)), targets]))
    chosen = None if objective.knn_settings is None else objective.knn_settings._asdict()
    return {
        "seed": seed,
        "vote": chosen,
        "auc": auc,
        "wrong": float(wrong.mean()),
        "own": float(own.mean()),
        "hit": hit,
    }


def row(bench: Bench, label: str, objective: str, multiplier: float, rate: float) -> dict[str, Any]:
    """Return the figures of one setting over the seeds."""
    found = [bench.cell(cell(objective, multiplier, rate, seed)) for seed in COMPARED_SEEDS]
    scores = {key: summarize([one.get("scores", {}).get(key) for one in found]).as_dict() for key in COMPARED}
    return {"objective": label, "lambda": multiplier, "rate": rate, "scores": scores}


def untouched(bench: Bench) -> dict[str, Any]:
    """Return the figures of doing nothing."""
    trials = []
    for seed in COMPARED_SEEDS:
        outputs = bench.outputs(bench.original(seed), bench.case(KIND, seed))
        reference = bench.reference(KIND, seed, 0)
        trials.append(
            ModelScores.from_outputs(outputs, key="", label="", role="original", seed=seed, retrained=reference)
        )
    return {key: summarize([trial.scores.get(key) for trial in trials]).as_dict() for key in COMPARED}


def main() -> None:
    """Make all cells that are not there and write the record."""
    asked = options(__doc__ or "")
    grid = [(label, words, lam, rate) for label, words in OBJECTIVES.items() for lam in LAMBDAS for rate in RATES]
    cells = [cell(words, lam, rate, seed) for _, words, lam, rate in grid for seed in COMPARED_SEEDS]
    Workers(asked.data_dir, asked.cache, asked.workers).make(cells, "counterfactual")
    bench = Bench(asked.data_dir, asked.cache)
    floor = compute_noise_floor([[bench.reference(KIND, seed, number) for number in (0, 1)] for seed in COMPARED_SEEDS])
    record = {
        "study": "counterfactual",
        "command": "python benchmarks/counterfactual.py",
        "seeds": list(COMPARED_SEEDS),
        "original": untouched(bench),
        "noise_floor": floor.as_dict(),
        "rows": [row(bench, *setting) for setting in grid],
        "votes": {
            name: [known(bench, seed, layer) for seed in COMPARED_SEEDS]
            for name, layer in (("chosen", None), ("last", "4"))
        },
    }
    TARGET.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
