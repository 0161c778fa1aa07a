"""Which normalisation policy should be the default? Measured on Fashion-MNIST with a batch-norm network.

Run: python benchmarks/normalisation.py --data-dir DATA --cache FOLDER     (about 45 minutes on one core, resumable)

Trains a ResNet-8 on 6,000 images for three seeds, retrains it without the forgotten examples for a class request and a
random 10 % request, unlearns with three surgeries under each policy, and writes docs/results/normalisation.json and
the table beside it. Weights are cached, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from expunge.batch import Predictor, Split
from expunge.data import ByClass, ByFraction, Source, Subset, split_request
from expunge.engine import POLICIES, Conditions, execute
from expunge.errors import NotFiniteError
from expunge.evaluation import ModelOutputs, Trial, outputs_of, tabulate
from expunge.methods import build_method
from expunge.registry import find
from expunge.tasks.classification.build import build_model
from expunge.tasks.classification.training import TrainSettings, fit
from expunge.weights import load_into, save_weights

METHODS = ("rl", "explicit", "eupmu")
SEEDS = (0, 1, 2)
TRAIN = 6000
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def requests(seed: int) -> dict[str, ByClass | ByFraction]:
    """Return both requests of a seed."""
    return {"class": ByClass(0), "random": ByFraction(0.1, seed=seed)}


def trained(name: str, examples: Subset, seed: int, epochs: int, cache: Path) -> torch.nn.Module:
    """Return a network trained to convergence on the examples, from the cache if it is there."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model("resnet8", 10, 1)
    path = cache / f"{name}-{seed}.safetensors"
    if path.exists():
        load_into(model, path)
        return model.eval()
    record = fit(model, examples, TrainSettings(epochs=epochs, batch=64, rate=0.1, schedule="one_cycle", seed=seed))
    print(f"{name} seed {seed}: train accuracy {record.train_accuracy:.4f} in {record.seconds:.0f} s", flush=True)
    save_weights(model, path, {"train_accuracy": f"{record.train_accuracy:.5f}"})
    return model


def unlearned(
    method: str, policy: str, seed: int, model: torch.nn.Module, split: Split, rate: float, clip: float | None
) -> float:
    """Unlearn in place; return the seconds."""
    began = time.perf_counter()
    recipe = build_method(method, epochs=2, rate=rate, clip=clip, batch=128, forget_batch=64).recipe(seed)
    execute(Predictor(model), recipe, split, Conditions(seed=seed, normalisation=policy, observe_every=10**9))
    return time.perf_counter() - began


def cell(key: str, cache: Path, make: object) -> dict[str, object]:
    """Return a measured cell, from the cache if it is there."""
    path = cache / f"{key}.json"
    if not path.exists():
        path.write_text(json.dumps(make()))  # type: ignore[operator]
    found: dict[str, object] = json.loads(path.read_text())
    return found


def outputs(model: torch.nn.Module, split: Split, source: Source) -> ModelOutputs:
    """Return what the model says on all parts."""
    return outputs_of(Predictor(model), split, source.test)


def trials_of(kind: str, source: Source, rate: float, clip: float | None, epochs: int, cache: Path) -> list[Trial]:
    """Return every model of one request."""
    trials = []
    for seed in SEEDS:
        subset = source.subset(TRAIN, seed)
        positions = split_request(subset.train, requests(seed)[kind])
        split = Split(Subset(subset.train, positions.forget), Subset(subset.train, positions.retain), 10)
        original = trained("original", subset.train, seed, epochs, cache)
        reference = outputs(trained(f"retrained-{kind}", split.retain, seed + 100, epochs, cache), split, source)
        names = {"original": ("Original", original), "retrain": ("Retrain", None)}
        for key, (label, model) in names.items():
            seen = reference if model is None else outputs(model, split, source)
            role = "original" if model is not None else "retrained"
            trials.append(Trial.of(seen, key=key, label=label, role=role, seed=seed, retrained=reference))
        cells = [(method, policy) for method in METHODS for policy in POLICIES]
        trials += [measured(kind, *names, seed, split, source, reference, rate, clip, cache) for names in cells]
    return trials


def measured(
    kind: str,
    method: str,
    policy: str,
    seed: int,
    split: Split,
    source: Source,
    reference: ModelOutputs,
    rate: float,
    clip: float | None,
    cache: Path,
) -> Trial:
    """Return one unlearned model's figures."""

    def make() -> dict[str, object]:
        model = build_model("resnet8", 10, 1)
        load_into(model, cache / f"original-{seed}.safetensors")
        try:
            seconds = unlearned(method, policy, seed, model, split, rate, clip)
        except NotFiniteError as error:
            return {"scores": {}, "per_class": [None] * 10, "seconds": None, "failed": str(error)}
        trial = Trial.of(outputs(model, split, source), key="", label="", role="method", seed=seed, retrained=reference)
        print(
            kind, method, policy, seed, {k: round(v, 2) for k, v in trial.scores.items() if v is not None}, flush=True
        )
        return {"scores": trial.scores, "per_class": trial.per_class, "seconds": seconds}

    found = cell(f"{kind}-{method}-{policy}-{rate}-{clip}-{seed}", cache, make)
    scores = {**found["scores"], "seconds": found["seconds"]} if found["scores"] else {}  # type: ignore[dict-item]
    label = f"{method}, {policy}"
    return Trial(
        f"{method}-{policy}", label, "method", seed, scores, found["per_class"], (), {"rate": rate, "clip": clip}
    )  # type: ignore[arg-type]


def main() -> None:
    """Measure all cells and write the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--clip", type=float, default=1.0, help="0 for no clipping")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.cache.mkdir(parents=True, exist_ok=True)
    source = find("readers", "fashion_mnist")(options.data_dir)
    source = Source(**{**vars(source), "test": Subset(source.test, torch.arange(3000))})
    for kind in ("class", "random"):
        trials = trials_of(kind, source, options.rate, options.clip or None, options.epochs, options.cache)
        document = {
            "request": kind,
            "rate": options.rate,
            "clip": options.clip,
            "epochs_of_training": options.epochs,
            **tabulate(trials),
        }
        document["torch"], document["threads"] = torch.__version__, options.threads
        target = RESULTS / f"normalisation-{kind}-rate{options.rate}-clip{options.clip}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
