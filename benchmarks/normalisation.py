"""Which normalisation policy should be the default? Measured on Fashion-MNIST with a batch-norm network.

Run: python benchmarks/normalisation.py --data-dir DATA --cache FOLDER --rate 0.01     (an hour on one core, resumable)

Trains a ResNet-8 on 6,000 images to convergence for three seeds, retrains it without the forgotten examples for a class
request and a random 10 % request, unlearns by three surgeries under each policy, and writes one JSON a request and rate
into docs/results. Weights and cells are cached, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.batch import Examples, Predictor, Split
from expunge.data import ByClass, ByFraction, LabeledDataset, Subset, split_request
from expunge.engine import BATCH_NORM_MODES, RunOptions, run_recipe
from expunge.errors import NotFiniteError
from expunge.evaluation import ModelOutputs, ModelScores, aggregate, collect_model_outputs
from expunge.methods import build_method
from expunge.registry import find_component
from expunge.report import markdown_table
from expunge.tasks.build import build_model
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.weights import load_into, save_weights

METHODS = ("rl", "explicit", "eupmu")
SEEDS = (0, 1, 2)
TRAIN, TEST = 6000, 3000
QUESTIONS = {"class": "Forget class 0", "random": "Forget a random 10 %"}
KINDS = {"class": "class", "random": "fraction"}
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def network() -> nn.Module:
    """Return the network, with whatever weights the generator gives."""
    return build_model("resnet8", 10, 1)


@dataclass(frozen=True)
class Study:
    """One request at one learning rate.

    Args:
        kind: ``class`` or ``random``.
        source: Fashion-MNIST.
        rate: Learning rate of the unlearning.
        clip: Largest norm of its gradient; None for no limit.
        epochs: Of the training.
        cache: Where weights and cells are kept.
    """

    kind: str
    source: LabeledDataset
    rate: float
    clip: float | None
    epochs: int
    cache: Path

    def trials(self) -> list[ModelScores]:
        """Return every model's figures at every seed."""
        return [trial for seed in SEEDS for trial in self.at(seed)]

    def at(self, seed: int) -> list[ModelScores]:
        """Return every model's figures at one seed."""
        drawn = self.source.subset(TRAIN, seed).train
        request = ByClass(0) if self.kind == "class" else ByFraction(0.1, seed=seed)
        forget, retain = (Subset(drawn, part) for part in split_request(drawn, request))
        split = Split(forget, retain, 10)
        original = self.trained("original", drawn, seed)
        reference = self.outputs(self.trained(f"retrained-{self.kind}", retain, seed + 100), split)
        trials = [
            ModelScores.from_outputs(seen, key=key, label=label, role=role, seed=seed, retrained=reference)  # type: ignore[arg-type]
            for key, label, role, seen in (
                ("original", "Original", "original", self.outputs(original, split)),
                ("retrain", "Retrain", "retrained", reference),
            )
        ]
        cells = [(method, policy) for method in METHODS for policy in BATCH_NORM_MODES]
        return trials + [self.cell(method, policy, seed, split, reference) for method, policy in cells]

    def trained(self, name: str, examples: Examples, seed: int) -> nn.Module:
        """Return a network trained to convergence, from the cache if it is there."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = network()
        path = self.cache / f"{name}-{seed}.safetensors"
        if path.exists():
            load_into(model, path)
            return model.eval()
        settings = TrainSettings(epochs=self.epochs, batch_size=64, lr=0.1, schedule="one_cycle", seed=seed)
        record = train_classifier(model, examples, settings)
        print(f"{name} seed {seed}: train accuracy {record.train_accuracy:.4f} in {record.seconds:.0f} s", flush=True)
        save_weights(model, path, {"train_accuracy": f"{record.train_accuracy:.5f}"})
        return model

    def cell(self, method: str, policy: str, seed: int, split: Split, reference: ModelOutputs) -> ModelScores:
        """Return one unlearned model's figures, from the cache if they are there."""
        path = self.cache / f"{self.kind}-{method}-{policy}-{self.rate}-{self.clip}-{seed}.json"
        if not path.exists():
            path.write_text(json.dumps(self.measured(method, policy, seed, split, reference)))
            print(path.stem, flush=True)
        found: dict[str, Any] = json.loads(path.read_text())
        scores = {**found["scores"], "seconds": found["seconds"]} if found["scores"] else {}
        settings = {"rate": self.rate, "clip": self.clip}
        name = f"{method}, {policy}"
        return ModelScores(f"{method}-{policy}", name, "method", seed, scores, found["per_class"], (), settings)

    def measured(self, method: str, policy: str, seed: int, split: Split, reference: ModelOutputs) -> dict[str, Any]:
        """Unlearn and measure; a run that diverges is recorded as such."""
        model = network()
        load_into(model, self.cache / f"original-{seed}.safetensors")
        built = build_method(method, epochs=2, rate=self.rate, clip=self.clip, batch=128, forget_batch=64)
        began = time.perf_counter()
        try:
            run_recipe(Predictor(model), built.recipe(seed), split, RunOptions(seed, policy, log_gradients_every=0))
        except NotFiniteError as error:
            return {"scores": {}, "per_class": [None] * 10, "seconds": None, "failed": str(error)}
        seconds = time.perf_counter() - began
        seen = self.outputs(model, split)
        trial = ModelScores.from_outputs(seen, key=method, label=method, role="method", seed=seed, retrained=reference)
        return {"scores": trial.scores, "per_class": trial.per_class, "seconds": seconds}

    def outputs(self, model: nn.Module, split: Split) -> ModelOutputs:
        """Return what a model says on all parts."""
        return collect_model_outputs(Predictor(model), split, self.source.test)


def main() -> None:
    """Measure all cells and write the documents."""
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
    source = find_component("readers", "fashion_mnist")(options.data_dir)
    source = replace(source, test=Subset(source.test, torch.arange(TEST)))
    for kind, question in QUESTIONS.items():
        study = Study(kind, source, options.rate, options.clip or None, options.epochs, options.cache)
        about = {name: value for name, value in vars(options).items() if name not in ("data_dir", "cache")}
        part = {
            "id": kind,
            "description": question,
            "kind": KINDS[kind],
            "sizes": {"train": TRAIN, "forget": TRAIN // 10, "retain": TRAIN - TRAIN // 10, "test": TEST},
            "classes": list(source.class_names),
            "seeds": list(SEEDS),
            "retrained": True,
            "examples": [],
            **aggregate(study.trials()),
        }
        target = RESULTS / f"normalisation-{kind}-{options.rate}.json"
        record = {"torch": torch.__version__, **about, "request": part}
        target.write_text(json.dumps(record, indent=1) + "\n")
        print(markdown_table(part))


if __name__ == "__main__":
    main()
