"""The bench of the Fashion-MNIST studies: data, converged networks, and one cached cell for each model that is made.

Not a script: ``fashion_methods.py`` and the ``claim_*.py`` beside it use it. Every seed draws its own 12,000 training
images, initialisation and order; the original and two retrained networks of a request are trained to 100 %. What a
cell found is written once and read ever after, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tuning import accuracies

from expunge.batch import Examples, Predictor, Split
from expunge.data import ByClass, ByFraction, LabeledDataset, Subset, split_request
from expunge.engine import BatchNormMode, RunOptions, run_recipe
from expunge.errors import NotFiniteError
from expunge.evaluation import ModelOutputs, ModelScores, collect_model_outputs
from expunge.methods import build_method
from expunge.registry import find_component
from expunge.tasks.classification.models.resnet import BasicBlock
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.weights import load_into, save_weights

KINDS = ("class", "random")
QUESTIONS = {"class": "Forget class 0", "random": "Forget a random 10 %"}
REQUESTS = {"class": "class", "random": "fraction"}
SEEDS = (0, 1, 2, 3, 4)
TUNING_SEED = 1000
TRAIN, TEST, CONTROL = 12_000, 3_000, 3_000
FORGOTTEN_CLASS, SHARE = 0, 0.1
EPOCHS = 20
COMMON = {"batch": 128, "forget_batch": 32}
"""Sizes of all methods that take pairs: an epoch is one pass over D_r and about two over D_f."""
OBSERVE = 10
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def network() -> nn.Module:
    """Return a residual network of 73,082 weights: a strided stem of 16 channels and blocks of 32 and 64."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        BasicBlock(16, 32, 2),
        BasicBlock(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@dataclass(frozen=True)
class Case:
    """One request at one seed: the images trained on, and what is forgotten, kept, looked at and tested on."""

    drawn: Examples
    control: Examples
    split: Split
    test: Examples


@dataclass(frozen=True)
class Cell:
    """One unlearned model.

    Args:
        kind: ``class`` or ``random``.
        seed: Of draw, training and unlearning.
        method: As ``build_method`` reads it.
        settings: Of the method.
        measured: Whether it is judged beside the retrained model and on the test set; a tuning trial is not.
        normalisation: Whose statistics an update uses, where the method does not insist on its own.
    """

    kind: str
    seed: int
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    measured: bool = True
    normalisation: BatchNormMode = "frozen"

    def name(self) -> str:
        """Return a file name that changes with anything that matters."""
        told = {key: value for key, value in asdict(self).items() if (key, value) != ("normalisation", "frozen")}
        text = json.dumps(told, sort_keys=True)
        word = "".join(letter if letter.isalnum() else "-" for letter in self.method)[:40]
        return f"{self.kind}-{self.seed}-{word}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


class Bench:
    """Makes and remembers networks and cells.

    Args:
        data_dir: Folder of the data sets.
        cache: Where weights and cells are kept.

    Attributes:
        folder: Where in the cache the cells are.
        reader: Of the data set.
        train, control, test: How many images of the training file are trained on, how many of it are held out, and how
            many of the test file are tested on.
        forgotten: The class of the class request.
        training: Settings of training, the seed left out.
    """

    folder = "cells"
    reader = "fashion_mnist"
    train, control, test = TRAIN, CONTROL, TEST
    forgotten = FORGOTTEN_CLASS
    training: Mapping[str, Any] = {"epochs": EPOCHS, "batch": 64, "rate": 0.1, "schedule": "one_cycle"}

    def __init__(self, data_dir: Path, cache: Path) -> None:
        self.cache = cache
        (cache / self.folder).mkdir(parents=True, exist_ok=True)
        self.source = self.read_source(data_dir)
        self.case = lru_cache(maxsize=4)(self._case)
        self.reference = lru_cache(maxsize=4)(self._reference)

    def read_source(self, data_dir: Path) -> LabeledDataset:
        """Return the data."""
        found: LabeledDataset = find_component("readers", self.reader)(data_dir)
        return found

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""
        return network()

    def _case(self, kind: str, seed: int) -> Case:
        """Return one request at one seed; control images are of the training file, but never trained on."""
        order = torch.randperm(len(self.source.train), generator=torch.Generator().manual_seed(seed))
        drawn = Subset(self.source.train, order[: self.train].sort().values)
        control = Subset(self.source.train, order[self.train : self.train + self.control].sort().values)
        request = ByClass(self.forgotten) if kind == "class" else ByFraction(SHARE, seed=seed)
        forget, retain = (Subset(drawn, part) for part in split_request(drawn, request))
        return Case(
            drawn, control, Split(forget, retain, 10, control), Subset(self.source.test, torch.arange(self.test))
        )

    def original(self, seed: int) -> nn.Module:
        """Return the network trained on all images of a seed."""
        return self.trained(f"original-{seed}", self.case(KINDS[0], seed).drawn, seed)

    def retrained(self, kind: str, seed: int, number: int) -> nn.Module:
        """Return a network trained without the forgotten images; the second gives the noise floor."""
        examples = self.case(kind, seed).split.retain
        return self.trained(f"retrained-{kind}-{seed}-{number}", examples, seed + 10_000 * (number + 1))

    def trained(self, name: str, examples: Examples, seed: int) -> nn.Module:
        """Return a network trained to convergence, from the cache if it is there."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.network()
        path = self.cache / f"{name}.safetensors"
        if path.exists():
            load_into(model, path)
            return model.eval()
        record = train_classifier(model, examples, TrainSettings(**self.training, seed=seed))
        print(f"{name}: train accuracy {record.train_accuracy:.4f}, {record.seconds:.0f} s", flush=True)
        facts = {"train_accuracy": record.train_accuracy, "seconds": record.seconds}
        path.with_suffix(".json").write_text(json.dumps(facts))
        save_weights(model, path, {"train_accuracy": f"{record.train_accuracy:.5f}"})
        return model.eval()

    def facts(self, name: str) -> dict[str, float]:
        """Return train accuracy and seconds of a network that was trained."""
        found: dict[str, float] = json.loads((self.cache / f"{name}.json").read_text())
        return found

    def outputs(self, model: nn.Module, case: Case) -> ModelOutputs:
        """Return what a model says on all parts."""
        return collect_model_outputs(Predictor(model), case.split, case.test)

    def _reference(self, kind: str, seed: int, number: int) -> ModelOutputs:
        """Return what a retrained network says."""
        return self.outputs(self.retrained(kind, seed, number), self.case(kind, seed))

    def path(self, cell: Cell) -> Path:
        """Return where a cell is kept."""
        return self.cache / self.folder / cell.name()

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Return what was found of a cell, from the cache if it is there."""
        path = self.path(cell)
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps({"cell": asdict(cell), **self.unlearned(cell)}))
            part.replace(path)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def unlearned(self, cell: Cell) -> dict[str, Any]:
        """Unlearn and measure; a run that diverges is recorded as such."""
        case, model = self.case(cell.kind, cell.seed), self.original(cell.seed)
        history: list[dict[str, Any]] = []
        method = build_method(cell.method, **cell.settings)
        conditions = self.conditions(cell, model, history)
        began, cpu = time.perf_counter(), time.process_time()
        try:
            run_recipe(Predictor(model), method.recipe(cell.seed), case.split, conditions)
        except NotFiniteError as error:
            return {"failed": str(error)}
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        spent["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seen = [row for row in history if row.get("cosine") is not None]
        try:
            return {**spent, "history": seen, **self.judged(model, cell, case)}
        except NotFiniteError as error:
            return {**spent, "failed": str(error)}

    def conditions(self, cell: Cell, model: nn.Module, history: list[dict[str, Any]]) -> RunOptions:
        """Return under which conditions a cell is made, and where its history goes."""
        return RunOptions(cell.seed, cell.normalisation, log_gradients_every=OBSERVE, on_log=history.extend)

    def tuning_view(self, model: nn.Module, case: Case) -> dict[str, float]:
        """Return the accuracies in percent that tuning may read: neither test set nor retrained model is among them."""
        return accuracies(model, case.split, case.control, self.forgotten)

    def judged(self, model: nn.Module, cell: Cell, case: Case) -> dict[str, Any]:
        """Return the accuracies that tuning may look at, and the scores if the cell is measured."""
        found: dict[str, Any] = {"tuning": self.tuning_view(model, case)}
        if cell.measured:
            reference = self.reference(cell.kind, cell.seed, 0)
            trial = ModelScores.from_outputs(
                self.outputs(model, case), key="", label="", role="method", seed=cell.seed, retrained=reference
            )
            found |= {"scores": trial.scores, "per_class": trial.per_class}
        return found


_bench: list[Bench] = []


def start_worker(bench: type[Bench], data_dir: Path, cache: Path) -> None:
    """Prepare a worker: one thread, one bench."""
    torch.set_num_threads(1)
    _bench.append(bench(data_dir, cache))


def train_one(task: tuple[str, int, int]) -> str:
    """Train one network in a worker."""
    kind, seed, number = task
    _ = _bench[0].original(seed) if kind == "original" else _bench[0].retrained(kind, seed, number)
    return f"{kind} {seed}"


def make_one(cell: Cell) -> str:
    """Make one cell in a worker."""
    found = _bench[0].cell(cell)
    return f"{cell.kind} {cell.seed} {cell.method} {cell.settings.get('rate', '')}: " + (
        "diverged" if "failed" in found else f"{found['seconds']:.0f} s"
    )


@dataclass(frozen=True)
class Workers:
    """Processes of one thread each that make networks and cells.

    Args:
        data_dir: Folder of the data sets.
        cache: Where weights and cells are kept.
        count: How many.
        bench: What makes the cells.
    """

    data_dir: Path
    cache: Path
    count: int
    bench: type[Bench] = Bench

    def train(self, kinds: Sequence[str] = KINDS, seeds: Sequence[int] = SEEDS) -> None:
        """Train what is not there: the originals, and two retrained networks for each request and seed."""
        tasks = [("original", seed, 0) for seed in (TUNING_SEED, *seeds)]
        tasks += [(kind, seed, number) for kind in kinds for seed in seeds for number in (0, 1)]
        self.each(train_one, tasks, "networks")

    def make(self, cells: Sequence[Cell], what: str) -> None:
        """Make the cells that are not there, after saying how long that may take."""
        folder = self.cache / self.bench.folder
        missing = [cell for cell in cells if not (folder / cell.name()).exists()]
        known = [json.loads(path.read_text()).get("seconds", 0) for path in folder.glob("*.json")]
        each = 4 + (sum(known) / len(known) if known else 10)
        hours = len(missing) * each / self.count / 3600
        print(f"{what}: {len(missing)} of {len(cells)} cells to make, about {hours:.1f} hours", flush=True)
        self.each(make_one, missing, what)

    def each(self, do: Callable[[Any], str], tasks: Sequence[Any], what: str) -> None:
        """Carry out tasks in the workers, in their order."""
        if not tasks:
            return
        began, context = time.perf_counter(), multiprocessing.get_context("spawn")
        with context.Pool(self.count, start_worker, (self.bench, self.data_dir, self.cache)) as pool:
            for number, said in enumerate(pool.imap_unordered(do, tasks), start=1):
                print(f"[{time.perf_counter() - began:6.0f} s] {what} {number}/{len(tasks)}: {said}", flush=True)


def options(description: str) -> argparse.Namespace:
    """Return the options that all studies share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--cache", type=Path, required=True, help="folder of weights and cells")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    return parser.parse_args()
