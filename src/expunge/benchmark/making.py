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

from expunge.api.budgeting import asked_budget, budget_part
from expunge.api.documents import hardware, versions
from expunge.api.inputs import as_request, device_of, fresh_model
from expunge.api.reading import checked_method, checked_source, trainable_model
from expunge.api.result import Result
from expunge.api.rows import settings_of
from expunge.api.steering.wish import halves_of
from expunge.api.training import trained
from expunge.api.unlearning import unlearn
from expunge.batch import Examples, Predictor, Split
from expunge.benchmark import tuning
from expunge.benchmark.items import Cell, Item, Network
from expunge.benchmark.recipe import Recipe
from expunge.benchmark.store import FAILURE, Folders, commit
from expunge.budget import whole_classes
from expunge.data import Source, Subset, resident, split_request
from expunge.errors import ConfigError, ExpungeError, ModelError
from expunge.evaluation import ModelOutputs, Trial, gap_floor, outputs_of
from expunge.metrics import accuracy
from expunge.tasks.classification.libraries import sentence
from expunge.weights import load_into, save_weights

OBSERVE = 10
"""Cosine and multiplier are recorded every so many updates."""
NOBODY = Console(quiet=True)


@dataclass(frozen=True)
class Case:
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


class Maker:
    """Makes the items of one recipe, and remembers what the next one probably needs too.

    Args:
        recipe: The comparison.
        folders: Where data, networks and cells are.
    """

    def __init__(self, recipe: Recipe, folders: Folders) -> None:
        self.recipe, self.folders = recipe, folders
        self.device = device_of(recipe.device)
        self.near: list[Examples] = []
        self.source = lru_cache(maxsize=2)(self.drawn_source)
        self.case = lru_cache(maxsize=4)(self.read_case)
        self.reference = lru_cache(maxsize=4)(self.ask_reference)
        self.before = lru_cache(maxsize=4)(self.view_original)

    @cached_property
    def whole(self) -> Source:
        """All data, read once, and kept on the device where they fit."""
        config = self.recipe.config(None, 0)
        data = config.data.model_copy(update={"subset": None})
        source = checked_source(config.model_copy(update={"data": data}), self.folders.data)
        self.near = [resident(part, self.device) for part in (source.train, source.test)]
        return source

    def drawn_source(self, seed: int) -> Source:
        """Return the data of a seed."""
        chosen = self.recipe.config(None, seed).data
        return self.whole if chosen.subset is None else self.whole.subset(chosen.subset, chosen.subset_seed)

    def read_case(self, request: int, seed: int) -> Case:
        """Return a request at one seed."""
        source, config = self.source(seed), self.recipe.config(request, seed)
        with blamed(self.recipe.where("requests", request)):
            positions = split_request(source.train, as_request(config), source.class_names)
        forget, retain = positions.map(lambda part: Subset(source.train, part))
        held, aside, test = self.parts(source.test)
        return Case(Split(forget, retain, len(source.class_names), held), aside, test, source.class_names)

    def parts(self, test: Examples) -> tuple[Examples | None, Examples | None, Examples]:
        """Return the held-out examples, those of tuning, and the rest of the test data: the same at every seed.

        Raises:
            ConfigError: If one of them is empty.
        """
        recipe = self.recipe
        order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
        shares = [recipe.holdout or 0.0, recipe.tune.holdout if recipe.tune else 0.0]
        first, second = (round(share * len(order)) for share in shares)
        found = order[:first], order[first : first + second], order[first + second :]
        for share, part in zip([*shares, 1.0], found, strict=True):
            if share and not len(part):
                expected = "shares that leave examples to hold out, to tune and to test on"
                raise ConfigError(expected, f"none of {len(test)} for one of them", "change holdout or tune.holdout")
        parts = [Subset(test, part) if len(part) else None for part in found[:2]]
        return parts[0], parts[1], Subset(test, found[2])

    def check(self) -> None:
        """Refuse, before anything is made, what no cell could do without.

        Raises:
            ExpungeError: If data, network, a request or a method is not right.
        """
        recipe = self.recipe
        for place, entry in enumerate(recipe.methods):
            kinds = {recipe.kind(request) for request in range(len(recipe.requests))}
            tried = [entry.choice(kind, value) for kind in sorted(kinds) for value in recipe.values(entry) or [{}]]
            with blamed(recipe.where("methods", place)):
                for method in tried:
                    checked_method(recipe.config(None, recipe.seeds[0], method))
        trainable_model(recipe.config(None, recipe.seeds[0]), self.source(recipe.seeds[0]))
        for place in range(len(recipe.requests)):
            self.case(place, recipe.seeds[0])

    def make(self, item: Item) -> dict[str, Any]:
        """Make an item and return its facts; what goes wrong on the way is a fact too."""
        asked: dict[str, Any] = {"recipe": item.told, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        asked |= {"versions": versions(), "hardware": hardware(str(self.device)), "commit": commit()}
        case = self.case(item.request or 0, item.seed)
        began, cpu = time.perf_counter(), time.process_time()
        try:
            found = self.network(item, case) if isinstance(item, Network) else self.cell(item, case)
        except Exception as error:  # a method may fail in any way, and the table then says so
            said = str(error) if isinstance(error, ExpungeError) else sentence(error)
            found = {FAILURE: {"type": type(error).__name__, "sentence": said}}
        spent = {"wall_seconds": time.perf_counter() - began, "process_seconds": time.process_time() - cpu}
        return {**asked, **spent, **found}

    def network(self, item: Network, case: Case) -> dict[str, Any]:
        """Train a network, and keep its weights."""
        config = item.config.model_copy(update={"seed": item.start})
        model = fresh_model(config, self.source(item.seed), item.start).to(self.device)
        examples = self.source(item.seed).train if item.request is None else case.split.retain
        record = trained(model, examples, config, NOBODY, "")
        save_weights(model, self.folders.weights(item), overwrite=True)
        return {
            "seconds": record.seconds,
            "train_accuracy": 100 * record.train_accuracy,
            "final_loss": record.final_loss,
            "seed": item.start,
        }

    def load(self, item: Network) -> nn.Module:
        """Return a network that was trained.

        Raises:
            ModelError: If it could not be trained, or was not.
        """
        facts = self.folders.found(item)
        if facts is None or FAILURE in facts:
            why = "none" if facts is None else facts[FAILURE]["sentence"]
            raise ModelError(f"the network of {item.words}", why, "correct `train`, and run with --retry-failed")
        model = fresh_model(item.config, self.source(item.seed), item.seed)
        load_into(model, self.folders.weights(item))
        return model.to(self.device).eval()

    def ask(self, model: nn.Module, case: Case) -> ModelOutputs:
        """Return what a model says on all parts."""
        return outputs_of(Predictor(model), case.split, case.test)

    def ask_reference(self, request: int, seed: int, number: int) -> ModelOutputs:
        """Return what a retrained network says."""
        return self.ask(self.load(Network(self.recipe, seed, request, number)), self.case(request, seed))

    def view_original(self, request: int, seed: int) -> tuning.View:
        """Return what tuning sees of the original."""
        case = self.case(request, seed)
        return tuning.view(self.load(Network(self.recipe, seed)), case.split, held_for_tuning(case))

    def cell(self, item: Cell, case: Case) -> dict[str, Any]:
        """Make and measure the model of a cell."""
        made: Mapping[str, Callable[[Cell, Case], dict[str, Any]]] = {
            "original": self.original,
            "retrained": self.retrained,
            "method": self.row,
            "trial": self.trial,
        }
        return made[item.role](item, case)

    def original(self, item: Cell, case: Case) -> dict[str, Any]:
        """Measure the original, and tell what the request is about."""
        network = item.needs[0]
        facts = self.folders.found(network) or {}
        found = self.scored(item, self.ask(self.load(network), case))
        sizes = {"forget": len(case.split.forget), "retain": len(case.split.retain), "test": len(case.test)}
        held = 0 if case.split.holdout is None else len(case.split.holdout)
        sizes |= {"train": sizes["forget"] + sizes["retain"], "holdout": held}
        told = {key: facts.get(key) for key in ("seconds", "train_accuracy")}
        return {**found, **told, "sizes": sizes, "classes": list(case.names)}

    def retrained(self, item: Cell, case: Case) -> dict[str, Any]:
        """Measure the reference, and where there is a second one the noise floor: their distance."""
        every = [self.reference(item.request, item.seed, network.number) for network in item.needs]
        facts = [self.folders.found(network) or {} for network in item.needs]
        floor = gap_floor([every])
        told = {
            "seconds": facts[0].get("seconds"),
            "train_accuracy": [one.get("train_accuracy") for one in facts],
            "noise_floor": None if floor is None else floor.mean,
            "second": self.scored(item, every[1])["scores"] if len(every) > 1 else None,
        }
        return {**self.scored(item, every[0]), **told}

    def row(self, item: Cell, case: Case) -> dict[str, Any]:
        """Unlearn, and measure beside the reference of the same seed."""
        result, facts = self.unlearned(item, case)
        found = self.scored(item, self.ask(result.model, case))
        seen = [row for row in result.history if row.get("cosine") is not None]
        return {**facts, **found, "history": seen, **self.budget(item, case, result)}

    def trial(self, item: Cell, case: Case) -> dict[str, Any]:
        """Unlearn, and look at what tuning may look at."""
        result, facts = self.unlearned(item, case)
        now = tuning.view(result.model, case.split, held_for_tuning(case))
        return {**facts, "tuning": {"now": now, "before": self.before(item.request, item.seed)}}

    def unlearned(self, item: Cell, case: Case) -> tuple[Result, dict[str, Any]]:
        """Unlearn as ``expunge run`` does; return the result with what it cost and the settings that it had."""
        config, split = item.config, case.split
        method = config.method
        asked: dict[str, Any] = {"method": checked_method(config)}
        if method.automatic:
            time_limit = {} if config.within is None else {"within": config.within}
            asked = {"method": method.name, **method.settings, **time_limit}
        model, budget = self.load(Network(self.recipe, item.seed)), asked_budget(config)
        wish: dict[str, Any] = {} if budget is None else {"budget": budget, "prefer": config.prefer}
        parts: dict[str, Any] = {"forget": split.forget, "retain": split.retain, "holdout": split.holdout}
        cpu = time.process_time()
        result = unlearn(model, **parts, **asked, **wish, **config.conditions(), observe_every=OBSERVE)
        spent = {"unlearning_process_seconds": time.process_time() - cpu, "peak_bytes": result.peak}
        facts = {"seconds": result.seconds, **spent}
        label = (item.entry.label if item.entry else "") or ("auto" if method.automatic else "")
        told = {"label": label or result.method.label or type(result.method).__name__}
        return result, {**facts, **told, "settings": settings_of(result.method)}

    def scored(self, item: Cell, outputs: ModelOutputs) -> dict[str, Any]:
        """Return the scores of a model beside the reference of its seed."""
        reference = self.reference(item.request, item.seed, 1)
        trial = Trial.of(outputs, key="", label="", role="method", seed=item.seed, retrained=reference)
        return {"scores": dict(trial.scores), "per_class": list(trial.per_class)}

    def budget(self, item: Cell, case: Case, result: Result) -> dict[str, Any]:
        """Return what became of the budget, and the drop on test examples that nobody had looked at."""
        if result.budget is None:
            return {}
        halves = halves_of(result.budget.asked, result.split, item.config.seed)
        drop = self.kept(self.load(Network(self.recipe, item.seed)), case) - self.kept(result.model, case)
        return {"budget": budget_part(result.budget, halves, result.search), "true_drop": drop}

    def kept(self, model: nn.Module, case: Case) -> float:
        """Return the test accuracy in percent on the classes that stay, which is what a budget is about."""
        gone = torch.tensor(whole_classes(case.split), dtype=torch.int64)
        part = self.ask(model, case).held_out.without(gone)
        return accuracy(part.logits, part.targets) or 0.0


@contextmanager
def blamed(where: str) -> Iterator[None]:
    """Give an error that the body raises a place in the recipe."""
    try:
        yield
    except ExpungeError as error:
        error.where = where
        raise


def held_for_tuning(case: Case) -> Examples:
    """Return the held-out examples of tuning.

    Raises:
        ConfigError: If there are none.
    """
    if case.tuning is None:
        raise ConfigError("a section 'tune' for a trial", "none", "add `tune: {rate: [...]}`")
    return case.tuning
