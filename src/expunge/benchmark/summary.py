"""The result of a recipe, from its cell files alone: means with intervals, the noise floor, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from expunge.api.documents import ORIGINAL_ELSEWHERE, build_document
from expunge.benchmark.cells import BenchmarkCell
from expunge.benchmark.plan import list_request_methods
from expunge.benchmark.recipe import BenchmarkRecipe, MethodEntry
from expunge.benchmark.store import FAILURE, BenchmarkFolders
from expunge.benchmark.tuning import CRITERION, list_trial_cells, select_setting, tuning_loss
from expunge.errors import DataError
from expunge.metrics import ModelScores, aggregate, summarize
from expunge.metrics.table import compute_cost_scores

FactMap = Mapping[str, Any]
RowRole = Literal["original", "retrained", "method"]
RESERVED_KEYS = ("original", "retrain")
UNTUNED_NOTE = "Every method as it is written in the recipe; nothing was tuned."
STILL_CONTAINS_DATA = "The folder of the networks: weights of originals, which were trained on the forgotten examples."
EVALUATION_KEYS = ("step", "spent", "shortfall", "recognized", "auc")
"""What a summary keeps of a control reading."""
ENVIRONMENT_KEYS = ("versions", "hardware", "commit", "created")


def summarize_benchmark(
    recipe: BenchmarkRecipe, folders: BenchmarkFolders, command: str = "expunge benchmark"
) -> dict[str, Any]:
    """Return a result document of all cells that are there.

    Each request has beside its table ``incomplete``: every cell that failed, with the sentence, or is missing.

    Args:
        recipe: The comparison.
        folders: Where the cells are.
        command: What makes them, for readers.

    Raises:
        DataError: If no cell of a request is there.
    """
    builder = SectionBuilder(recipe, folders)
    sections = [builder.build_section(place) for place in range(len(recipe.requests))]
    result_document = build_document(
        "benchmark", recipe.title, command, describe_tuning(recipe), sections, [ORIGINAL_ELSEWHERE, STILL_CONTAINS_DATA]
    )
    environment_values = {
        name: drop_duplicates([facts[name] for facts in builder.facts_read]) for name in ENVIRONMENT_KEYS
    }
    result_document |= {"versions": environment_values["versions"][0], "hardware": environment_values["hardware"][0]}
    environments = {name: environment_values[name] for name in ("versions", "hardware", "commit")}
    span = {"first": min(environment_values["created"]), "last": max(environment_values["created"])}
    return result_document | {
        "environments": environments,
        "made": span,
        "recipe": to_portable_config(recipe),
        "tuning": builder.summarize_tuning(),
    }


def to_portable_config(recipe: BenchmarkRecipe) -> dict[str, Any]:
    """Return a recipe as plain values, without folders of this machine."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"data": {"dir"}})
    for request in plain["requests"]:
        request.pop("seed", None)
        if "indices" in request:
            request["indices"] = "a file of indices"
    return plain


def drop_duplicates(values: list[Any]) -> list[Any]:
    """Return the values without those that came before."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


def describe_tuning(recipe: BenchmarkRecipe) -> str:
    """Return how settings were chosen, in words."""
    if recipe.tune is None:
        return UNTUNED_NOTE
    counts = {len(recipe.tuning_values(entry)) for entry in recipe.methods if entry.tunable}
    runs = max(counts, default=0) * len(recipe.tune.seeds)
    if not runs:
        return UNTUNED_NOTE
    seeds = ", ".join(map(str, recipe.tune.seeds))
    return (
        f"One setting of every method was tuned with {runs} runs for each request, at seeds not shown ({seeds}); "
        f"`auto` searches inside its own cell. {CRITERION}"
    )


class SectionBuilder:
    """Makes the parts of the document, and takes note of the cells that it has read.

    Args:
        recipe: The comparison.
        folders: Where the cells are.
    """

    def __init__(self, recipe: BenchmarkRecipe, folders: BenchmarkFolders) -> None:
        self.recipe, self.folders = recipe, folders
        self.facts_read: list[FactMap] = []

    def build_section(self, request: int) -> dict[str, Any]:
        """Return the part of one request."""
        all_trials: list[ModelScores] = []
        self.incomplete: list[dict[str, Any]] = []
        floors: list[float | None] = []
        original_facts: FactMap | None = None
        for seed in self.recipe.seeds:
            original = self.load_facts(BenchmarkCell(self.recipe, "original", request, seed), "original")
            retrained = self.load_facts(BenchmarkCell(self.recipe, "retrained", request, seed), "retrain")
            original_facts = original_facts or original
            floors.append(None if retrained is None else retrained.get("noise_floor"))
            all_trials.append(build_trial("original", "Original", "original", seed, original))
            all_trials.append(build_trial("retrain", "Retrain", "retrained", seed, retrained))
        if original_facts is None:
            hint = "run `expunge benchmark` first"
            raise DataError(f"a cell of the original for {self.recipe.request_key(request)}", "none", hint)
        budgets: dict[str, list[Any]] = {}
        for entry in list_request_methods(self.recipe, request):
            entry_trials, facts = self.collect_trials(request, entry)
            all_trials += entry_trials
            budget_rows = [summarize_budget(seed, one) for seed, one in facts if one and "budget" in one]
            budgets |= {row_key(entry): budget_rows} if budget_rows else {}
        chosen_for = self.recipe.requests[request]
        return {
            "id": self.recipe.request_key(request),
            "description": describe_request(self.recipe, request, original_facts["classes"]),
            "kind": chosen_for.kind,
            "sizes": {name: original_facts["sizes"][name] for name in ("train", "forget", "retain", "test")},
            "classes": original_facts["classes"],
            "seeds": list(self.recipe.seeds),
            "retrained": True,
            **aggregate(all_trials, summarize(floors)),
            "examples": [],
            "incomplete": self.incomplete,
            **({"budgets": budgets} if budgets else {}),
        }

    def collect_trials(
        self, request: int, entry: MethodEntry
    ) -> tuple[list[ModelScores], list[tuple[int, FactMap | None]]]:
        """Return the trials of a row, and the facts that they are made of."""
        more = select_setting(self.recipe, request, entry, self.folders.load)
        facts: list[tuple[int, FactMap | None]] = []
        for seed in self.recipe.seeds:
            if more is None:
                self.record_incomplete(row_key(entry), seed, "missing", "a trial of its tuning is missing")
                facts.append((seed, None))
            else:
                cell = BenchmarkCell(self.recipe, "method", request, seed, entry, more)
                facts.append((seed, self.load_facts(cell, row_key(entry))))
        label = next((one["label"] for _, one in facts if one), entry.label or entry.id)
        return [build_trial(row_key(entry), label, "method", seed, one) for seed, one in facts], facts

    def load_facts(self, cell: BenchmarkCell, row: str) -> FactMap | None:
        """Return what was found of a cell; None, after noting it, where it failed or is missing."""
        facts = self.folders.load(cell)
        if facts is None:
            self.record_incomplete(row, cell.seed, "missing", "it was not made yet")
            return None
        self.facts_read.append(facts)
        if FAILURE in facts:
            self.record_incomplete(row, cell.seed, facts[FAILURE]["type"], facts[FAILURE]["sentence"])
            return None
        return facts

    def record_incomplete(self, row: str, seed: int, what: str, sentence: str) -> None:
        """Take note of a cell that has no figures."""
        self.incomplete.append({"row": row, "seed": seed, "what": what, "sentence": sentence})

    def summarize_tuning(self) -> list[dict[str, Any]]:
        """Return every trial with its mark, and what was chosen."""
        rows_tuned = []
        for request in range(len(self.recipe.requests)):
            for entry in list_request_methods(self.recipe, request):
                grid = list_trial_cells(self.recipe, request, entry)
                if grid:
                    best = select_setting(self.recipe, request, entry, self.folders.load)
                    runs = [self.summarize_trial(cell) for group in grid for cell in group]
                    best_setting = None if best is None else dict(best)
                    rows_tuned.append(
                        {
                            "request": self.recipe.request_key(request),
                            "row": entry.id,
                            "chosen": best_setting,
                            "trials": runs,
                        }
                    )
        return rows_tuned

    def summarize_trial(self, cell: BenchmarkCell) -> dict[str, Any]:
        """Return one trial of tuning."""
        facts, setting = self.folders.load(cell), {"seed": cell.seed, **dict(cell.tuned_settings)}
        if facts is None:
            return {**setting, "missing": True}
        if FAILURE in facts:
            return {**setting, FAILURE: facts[FAILURE]["sentence"]}
        return {
            **setting,
            **facts["tuning"]["now"],
            "badness": tuning_loss(facts["tuning"]["now"], facts["tuning"]["before"]),
        }


def row_key(entry: MethodEntry) -> str:
    return f"{entry.id}_method" if entry.id in RESERVED_KEYS else entry.id


def build_trial(key: str, label: str, role: RowRole, seed: int, facts: FactMap | None) -> ModelScores:
    """Return one model of the table; without figures where there are none."""
    if facts is None:
        return ModelScores(key, label, role, seed, {})
    cost = compute_cost_scores(None if role == "original" else facts.get("seconds"), get_peak_memory(facts), None)
    return ModelScores(
        key, label, role, seed, {**facts["scores"], **cost}, facts["per_class"], (), facts.get("settings", {})
    )


def get_peak_memory(facts: FactMap) -> int | None:
    """Return the most memory that a row took on an accelerator.

    That of a processor says nothing here: a worker makes one cell after the other, and uses memory again.
    """
    on_processor = str(facts["hardware"]["device"]).startswith("cpu")
    return None if on_processor else facts.get("peak_bytes")


def summarize_budget(seed: int, facts: FactMap) -> dict[str, Any]:
    """Return what became of a budget at one seed; points and drop in percent of the examples, a bound of points too."""
    budget, certificate = facts["budget"], facts["budget"].get("certificate") or {}
    bound = certificate.get("bound") if certificate.get("kind", "accuracy") == "accuracy" else None
    return {
        "seed": seed,
        "within_budget": budget.get("within_budget"),
        "target_met": budget.get("target_met"),
        "bound": None if bound is None else 100 * bound,
        "true_drop": facts["true_drop"],
        "search": budget.get("search"),
        "chosen": budget.get("chosen"),
        "evaluations": [{name: look.get(name) for name in EVALUATION_KEYS} for look in budget.get("evaluations", ())],
    }


def describe_request(recipe: BenchmarkRecipe, request: int, names: list[str]) -> str:
    """Return what a request asks, in words."""
    chosen_for = recipe.requests[request]
    if chosen_for.fraction is not None:
        return f"Forget a random {100 * chosen_for.fraction:g} %"
    if chosen_for.class_ is not None:
        number = chosen_for.class_
        name = names[number] if isinstance(number, int) and number < len(names) else str(number)
        return f"Forget class {number}" + (f" ({name})" if name != str(number) else "")
    return (
        "Forget the examples that a file lists" if chosen_for.indices else f"Forget what {chosen_for.predicate} picks"
    )
