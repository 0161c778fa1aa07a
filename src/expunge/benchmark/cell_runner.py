"""Making an item: training a network, or unlearning and measuring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import torch
from rich.console import Console
from torch import nn

from expunge.api.budgeting import budget_from_config, build_budget_section
from expunge.api.documents import collect_versions, describe_hardware
from expunge.api.execute import unlearn_split
from expunge.api.inputs import as_request, create_model, resolve_device
from expunge.api.loading import create_trainable_model, validate_method, validate_source
from expunge.api.model_comparison import serialize_method
from expunge.api.result import Result, get_task
from expunge.api.steering.budget_validation import make_holdout_split
from expunge.api.training import train_model
from expunge.batch import Examples, Split
from expunge.benchmark import tuning
from expunge.benchmark.cells import BenchmarkCell, Item, Network
from expunge.benchmark.recipe import BenchmarkRecipe
from expunge.benchmark.store import FAILURE, BenchmarkFolders, get_git_commit
from expunge.budget import find_forgotten_classes
from expunge.data import LabeledDataset, Subset, split_request, to_device
from expunge.errors import ConfigError, ExpungeError, ModelError, format_exception
from expunge.metrics import ModelOutputs, ModelScores, accuracy, collect_model_outputs, compute_noise_floor
from expunge.weights import load_into, save_weights

LOG_GRADIENTS_EVERY = 10
"""Cosine and multiplier are recorded every so many updates."""
QUIET_CONSOLE = Console(quiet=True)


@dataclass(frozen=True)
class RequestCase:
    """A request at one seed.

    Args:
        split: What is forgotten, retained and held out.
        tuning: Held-out examples for tuning alone; none where nothing is tuned.
        test: What figures are computed on.
        names: Of the classes.
    """

    split: Split
    tuning: Examples | None
    test: Examples
    names: tuple[str, ...]


class CellRunner:
    """Makes the items of one recipe, and remembers what the next one probably needs too.

    Args:
        recipe: The comparison.
        folders: Where data, networks and cells are.
    """

    def __init__(self, recipe: BenchmarkRecipe, folders: BenchmarkFolders) -> None:
        self.recipe, self.folders = recipe, folders
        self.device, self.task = resolve_device(recipe.device), get_task(recipe.task)
        self.resident_examples: list[Examples] = []
        self.source = lru_cache(maxsize=2)(self.load_seed_data)
        self.case = lru_cache(maxsize=4)(self.load_case)
        self.reference = lru_cache(maxsize=4)(self.compute_reference_outputs)
        self.original_scores = lru_cache(maxsize=4)(self.score_original)

    @cached_property
    def full_data(self) -> LabeledDataset:
        """All data, read once, and kept on the device where they fit."""
        config = self.recipe.build_config(None, 0)
        data = config.data.model_copy(update={"subset": None})
        source = validate_source(config.model_copy(update={"data": data}), self.folders.data)
        self.resident_examples = [to_device(part, self.device) for part in (source.train, source.test)]
        return source

    def load_seed_data(self, seed: int) -> LabeledDataset:
        chosen = self.recipe.build_config(None, seed).data
        return self.full_data if chosen.subset is None else self.full_data.subset(chosen.subset, chosen.subset_seed)

    def load_case(self, request: int, seed: int) -> RequestCase:
        source, config = self.source(seed), self.recipe.build_config(request, seed)
        with error_location(self.recipe.where("requests", request)):
            positions = split_request(source.train, as_request(config), source.class_names)
        forget, retain = positions.map(lambda part: Subset(source.train, part))
        holdout, tuning_examples, test = self.split_test_data(source.test)
        return RequestCase(
            Split(forget, retain, len(source.class_names), holdout), tuning_examples, test, source.class_names
        )

    def split_test_data(self, test: Examples) -> tuple[Examples | None, Examples | None, Examples]:
        """Return the held-out examples, those of tuning, and the rest of the test data: the same at every seed."""
        recipe = self.recipe
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
        fractions = [recipe.holdout or 0.0, recipe.tune.holdout_fraction if recipe.tune else 0.0]
        first, second = (round(fraction * len(order)) for fraction in fractions)
        positions = order[:first], order[first : first + second], order[first + second :]
        for fraction, part in zip([*fractions, 1.0], positions, strict=True):
            if fraction and not len(part):
                expected = "shares that leave examples to hold out, to tune and to test on"
                raise ConfigError(expected, f"none of {len(test)} for one of them", "change holdout or tune.holdout")
        parts = [Subset(test, part) if len(part) else None for part in positions[:2]]
        return parts[0], parts[1], Subset(test, positions[2])

    def check(self) -> None:
        """Refuse, before anything is made, what no cell could do without.

        Raises:
            ExpungeError: If data, network, a request or a method is not right.
        """
        recipe = self.recipe
        for index, entry in enumerate(recipe.methods):
            kinds = {recipe.request_kind(request) for request in range(len(recipe.requests))}
            choices = [
                entry.as_method_choice(kind, value)
                for kind in sorted(kinds)
                for value in recipe.tuning_values(entry) or [{}]
            ]
            with error_location(recipe.where("methods", index)):
                for method in choices:
                    validate_method(recipe.build_config(None, recipe.seeds[0], method))
        create_trainable_model(recipe.build_config(None, recipe.seeds[0]), self.source(recipe.seeds[0]))
        for index in range(len(recipe.requests)):
            self.case(index, recipe.seeds[0])

    def run(self, item: Item) -> dict[str, Any]:
        """Make an item and return its facts; what goes wrong on the way is a fact too."""
        provenance: dict[str, Any] = {
            "recipe": item.canonical_config,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        provenance |= {
            "versions": collect_versions(),
            "hardware": describe_hardware(str(self.device)),
            "commit": get_git_commit(),
        }
        start_time, cpu = time.perf_counter(), time.process_time()
        try:
            case = self.case(item.request or 0, item.seed)
            facts = self.train_network(item, case) if isinstance(item, Network) else self.run_cell(item, case)
        except Exception as error:  # a method may fail in any way, and the table then says so
            message = str(error) if isinstance(error, ExpungeError) else format_exception(error)
            facts = {FAILURE: {"type": type(error).__name__, "sentence": message}}
        seconds = {"wall_seconds": time.perf_counter() - start_time, "process_seconds": time.process_time() - cpu}
        return {**provenance, **seconds, **facts}

    def train_network(self, item: Network, case: RequestCase) -> dict[str, Any]:
        """Train a network, and keep its weights."""
        config = item.config.model_copy(update={"seed": item.init_seed})
        model = create_model(config, self.source(item.seed), item.init_seed).to(self.device)
        examples = self.source(item.seed).train if item.request is None else case.split.retain
        record = train_model(model, examples, config, QUIET_CONSOLE, "")
        save_weights(model, self.folders.weights_path(item), overwrite=True)
        return {
            "seconds": record.seconds,
            "train_accuracy": 100 * record.train_accuracy,
            "final_loss": record.final_loss,
            "seed": item.init_seed,
        }

    def load_network(self, item: Network) -> nn.Module:
        """Return a network that was trained."""
        facts = self.folders.load(item)
        if facts is None or FAILURE in facts:
            why = "none" if facts is None else facts[FAILURE]["sentence"]
            raise ModelError(f"the network of {item.description}", why, "correct `train`, and run with --retry-failed")
        model = create_model(item.config, self.source(item.seed), item.seed)
        load_into(model, self.folders.weights_path(item))
        return model.to(self.device).eval()

    def compute_outputs(self, model: nn.Module, case: RequestCase) -> ModelOutputs:
        """Return what a model says on all parts."""
        return collect_model_outputs(self.task.make_predictor(model), case.split, case.test)

    def compute_reference_outputs(self, request: int, seed: int, number: int) -> ModelOutputs:
        """Return what a retrained network says."""
        return self.compute_outputs(
            self.load_network(Network(self.recipe, seed, request, number)), self.case(request, seed)
        )

    def score_original(self, request: int, seed: int) -> tuning.TuningScores:
        case = self.case(request, seed)
        predict = self.task.make_predictor(self.load_network(Network(self.recipe, seed)))
        return tuning.compute_tuning_scores(predict, case.split, get_tuning_examples(case))

    def run_cell(self, item: BenchmarkCell, case: RequestCase) -> dict[str, Any]:
        """Make and measure the model of a cell."""
        runners: Mapping[str, Callable[[BenchmarkCell, RequestCase], dict[str, Any]]] = {
            "original": self.measure_original,
            "retrained": self.measure_retrained,
            "method": self.measure_method,
            "trial": self.run_trial,
        }
        return runners[item.role](item, case)

    def measure_original(self, item: BenchmarkCell, case: RequestCase) -> dict[str, Any]:
        network = item.needs[0]
        facts = self.folders.load(network) or {}
        scores = self.score_outputs(item, self.compute_outputs(self.load_network(network), case))
        sizes = {"forget": len(case.split.forget), "retain": len(case.split.retain), "test": len(case.test)}
        num_holdout = 0 if case.split.holdout is None else len(case.split.holdout)
        sizes |= {"train": sizes["forget"] + sizes["retain"], "holdout": num_holdout}
        training_facts = {key: facts.get(key) for key in ("seconds", "train_accuracy")}
        return {**scores, **training_facts, "sizes": sizes, "classes": list(case.names)}

    def measure_retrained(self, item: BenchmarkCell, case: RequestCase) -> dict[str, Any]:
        """Measure the reference, and where there is a second one the noise floor: their distance."""
        outputs = [self.reference(item.request, item.seed, network.number) for network in item.needs]
        facts = [self.folders.load(network) or {} for network in item.needs]
        floor = compute_noise_floor([outputs])
        training_facts = {
            "seconds": facts[0].get("seconds"),
            "train_accuracy": [one.get("train_accuracy") for one in facts],
            "noise_floor": None if floor is None else floor.mean,
            "second": self.score_outputs(item, outputs[1])["scores"] if len(outputs) > 1 else None,
        }
        return {**self.score_outputs(item, outputs[0]), **training_facts}

    def measure_method(self, item: BenchmarkCell, case: RequestCase) -> dict[str, Any]:
        """Unlearn, and measure beside the reference of the same seed."""
        result, facts = self.run_unlearning(item, case)
        scores = self.score_outputs(item, self.compute_outputs(result.model, case))
        history = [row for row in result.history if row.get("cosine") is not None]
        return {**facts, **scores, "history": history, **self.measure_budget(item, case, result)}

    def run_trial(self, item: BenchmarkCell, case: RequestCase) -> dict[str, Any]:
        """Unlearn, and look at what tuning may look at."""
        result, facts = self.run_unlearning(item, case)
        predict = self.task.make_predictor(result.model)
        now = tuning.compute_tuning_scores(predict, case.split, get_tuning_examples(case))
        return {**facts, "tuning": {"now": now, "before": self.original_scores(item.request, item.seed)}}

    def run_unlearning(self, item: BenchmarkCell, case: RequestCase) -> tuple[Result, dict[str, Any]]:
        """Unlearn as ``expunge run`` does; return the result with what it cost and the settings that it had."""
        config, split = item.config, case.split
        method = None if config.method.automatic else validate_method(config)
        model, budget = self.load_network(Network(self.recipe, item.seed)), budget_from_config(config)
        cpu = time.process_time()
        result = unlearn_split(model, split, config, method, budget, log_gradients_every=LOG_GRADIENTS_EVERY)
        cost = {"unlearning_process_seconds": time.process_time() - cpu, "peak_bytes": result.peak_memory}
        facts = {"seconds": result.seconds, **cost}
        label = (item.entry.label if item.entry else "") or ("auto" if method is None else "")
        labels = {"label": label or result.method.label or type(result.method).__name__}
        return result, {**facts, **labels, "settings": serialize_method(result.method)}

    def score_outputs(self, item: BenchmarkCell, outputs: ModelOutputs) -> dict[str, Any]:
        """Return the scores of a model beside the reference of its seed."""
        reference = self.reference(item.request, item.seed, 1)
        trial = ModelScores.from_outputs(outputs, key="", label="", role="method", seed=item.seed, retrained=reference)
        return {"scores": dict(trial.scores), "per_class": list(trial.per_class)}

    def measure_budget(self, item: BenchmarkCell, case: RequestCase, result: Result) -> dict[str, Any]:
        """Return what became of the budget, and the drop on test examples that nobody had looked at."""
        if result.budget is None:
            return {}
        halves = make_holdout_split(result.budget.budget, result.split, item.config.seed)
        drop = self.measure_retained_accuracy(
            self.load_network(Network(self.recipe, item.seed)), case
        ) - self.measure_retained_accuracy(result.model, case)
        return {"budget": build_budget_section(result.budget, halves, result.search_history), "true_drop": drop}

    def measure_retained_accuracy(self, model: nn.Module, case: RequestCase) -> float:
        """Return the test accuracy in percent on the classes that stay, which is what a budget is about."""
        forgotten_classes = torch.tensor(find_forgotten_classes(case.split), dtype=torch.int64)
        part = self.compute_outputs(model, case).held_out.without(forgotten_classes)
        return accuracy(part.logits, part.targets) or 0.0


@contextmanager
def error_location(where: str) -> Iterator[None]:
    """Give an error that the body raises a place in the recipe."""
    try:
        yield
    except ExpungeError as error:
        error.location = where
        raise


def get_tuning_examples(case: RequestCase) -> Examples:
    """Return the held-out examples of tuning."""
    if case.tuning is None:
        raise ConfigError("a section 'tune' for a trial", "none", "add `tune: {lr: [...]}`")
    return case.tuning
