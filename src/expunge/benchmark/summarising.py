"""The result of a recipe, from its cell files alone: means with intervals, the noise floor, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from expunge.api.documents import HELD_ELSEWHERE, document
from expunge.benchmark.items import Cell
from expunge.benchmark.plan import rows
from expunge.benchmark.recipe import Entry, Recipe
from expunge.benchmark.store import FAILURE, Folders
from expunge.benchmark.tuning import CRITERION, badness, chosen, trials
from expunge.errors import DataError
from expunge.evaluation import Trial, tabulate
from expunge.evaluation.table import cost_of
from expunge.metrics import summarise

Facts = Mapping[str, Any]
Row = Literal["original", "retrained", "method"]
RESERVED = ("original", "retrain")
UNTUNED = "Every method as it is written in the recipe; nothing was tuned."
HOLDS = "The folder of the networks: weights of originals, which were trained on the forgotten examples."
SEEN = ("step", "spent", "missing", "recognised", "auc")
"""What a summary keeps of a control reading."""
OF_CELLS = ("versions", "hardware", "commit", "created")


def summary(recipe: Recipe, folders: Folders, command: str = "expunge bench") -> dict[str, Any]:
    """Return a result document of all cells that are there.

    Each request has beside its table ``incomplete``: every cell that failed, with the sentence, or is missing.

    Args:
        recipe: The comparison.
        folders: Where the cells are.
        command: What makes them, for readers.

    Raises:
        DataError: If no cell of a request is there.
    """
    part = Part(recipe, folders)
    parts = [part.request(place) for place in range(len(recipe.requests))]
    made = document("bench", recipe.title, command, disclosure(recipe), parts, [HELD_ELSEWHERE, HOLDS])
    seen = {name: distinct([facts[name] for facts in part.seen]) for name in OF_CELLS}
    made |= {"versions": seen["versions"][0], "hardware": seen["hardware"][0]}
    environments = {name: seen[name] for name in ("versions", "hardware", "commit")}
    span = {"first": min(seen["created"]), "last": max(seen["created"])}
    return made | {"environments": environments, "made": span, "recipe": told(recipe), "tuning": part.tuning()}


def told(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values, without folders of this machine."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"data": {"dir"}})
    for request in plain["requests"]:
        request.pop("seed", None)
        if "indices" in request:
            request["indices"] = "a file of indices"
    return plain


def distinct(values: list[Any]) -> list[Any]:
    """Return the values without those that came before."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


def disclosure(recipe: Recipe) -> str:
    """Return how settings were chosen, in words."""
    if recipe.tune is None:
        return UNTUNED
    counts = {len(recipe.values(entry)) for entry in recipe.methods if entry.tunable}
    runs = max(counts, default=0) * len(recipe.tune.seeds)
    if not runs:
        return UNTUNED
    seeds = ", ".join(map(str, recipe.tune.seeds))
    return (
        f"One setting of every method was tuned with {runs} runs for each request, at seeds not shown ({seeds}); "
        f"`auto` searches inside its own cell. {CRITERION}"
    )


class Part:
    """Makes the parts of the document, and takes note of the cells that it has read.

    Args:
        recipe: The comparison.
        folders: Where the cells are.
    """

    def __init__(self, recipe: Recipe, folders: Folders) -> None:
        self.recipe, self.folders = recipe, folders
        self.seen: list[Facts] = []

    def request(self, place: int) -> dict[str, Any]:
        """Return the part of one request.

        Raises:
            DataError: If no cell of it is there.
        """
        listed: list[Trial] = []
        self.incomplete: list[dict[str, Any]] = []
        floors: list[float | None] = []
        about: Facts | None = None
        for seed in self.recipe.seeds:
            original = self.facts(Cell(self.recipe, "original", place, seed), "original")
            retrained = self.facts(Cell(self.recipe, "retrained", place, seed), "retrain")
            about = about or original
            floors.append(None if retrained is None else retrained.get("noise_floor"))
            listed.append(trial("original", "Original", "original", seed, original))
            listed.append(trial("retrain", "Retrain", "retrained", seed, retrained))
        if about is None:
            cure = "run `expunge bench` first"
            raise DataError(f"a cell of the original for {self.recipe.key(place)}", "none", cure)
        budgets: dict[str, list[Any]] = {}
        for entry in rows(self.recipe, place):
            found, facts = self.entry(place, entry)
            listed += found
            kept = [budget_facts(seed, one) for seed, one in facts if one and "budget" in one]
            budgets |= {row_key(entry): kept} if kept else {}
        chosen_for = self.recipe.requests[place]
        return {
            "id": self.recipe.key(place),
            "question": question(self.recipe, place, about["classes"]),
            "kind": chosen_for.kind,
            "sizes": {name: about["sizes"][name] for name in ("train", "forget", "retain", "test")},
            "classes": about["classes"],
            "seeds": list(self.recipe.seeds),
            "reference": True,
            **tabulate(listed, summarise(floors)),
            "examples": [],
            "incomplete": self.incomplete,
            **({"budgets": budgets} if budgets else {}),
        }

    def entry(self, place: int, entry: Entry) -> tuple[list[Trial], list[tuple[int, Facts | None]]]:
        """Return the trials of a row, and the facts that they are made of."""
        more = chosen(self.recipe, place, entry, self.folders.found)
        facts: list[tuple[int, Facts | None]] = []
        for seed in self.recipe.seeds:
            if more is None:
                self.note(row_key(entry), seed, "missing", "a trial of its tuning is missing")
                facts.append((seed, None))
            else:
                cell = Cell(self.recipe, "method", place, seed, entry, more)
                facts.append((seed, self.facts(cell, row_key(entry))))
        label = next((one["label"] for _, one in facts if one), entry.label or entry.key)
        return [trial(row_key(entry), label, "method", seed, one) for seed, one in facts], facts

    def facts(self, cell: Cell, row: str) -> Facts | None:
        """Return what was found of a cell; None, after noting it, where it failed or is missing."""
        found = self.folders.found(cell)
        if found is None:
            self.note(row, cell.seed, "missing", "it was not made yet")
            return None
        self.seen.append(found)
        if FAILURE in found:
            self.note(row, cell.seed, found[FAILURE]["type"], found[FAILURE]["sentence"])
            return None
        return found

    def note(self, row: str, seed: int, what: str, sentence: str) -> None:
        """Take note of a cell that has no figures."""
        self.incomplete.append({"row": row, "seed": seed, "what": what, "sentence": sentence})

    def tuning(self) -> list[dict[str, Any]]:
        """Return every trial with its mark, and what was chosen."""
        found = []
        for place in range(len(self.recipe.requests)):
            for entry in rows(self.recipe, place):
                grid = trials(self.recipe, place, entry)
                if grid:
                    best = chosen(self.recipe, place, entry, self.folders.found)
                    runs = [self.tried(cell) for group in grid for cell in group]
                    told = None if best is None else dict(best)
                    found.append({"request": self.recipe.key(place), "row": entry.key, "chosen": told, "trials": runs})
        return found

    def tried(self, cell: Cell) -> dict[str, Any]:
        """Return one trial of tuning."""
        facts, told = self.folders.found(cell), {"seed": cell.seed, **dict(cell.more)}
        if facts is None:
            return {**told, "missing": True}
        if FAILURE in facts:
            return {**told, FAILURE: facts[FAILURE]["sentence"]}
        return {**told, **facts["tuning"]["now"], "badness": badness(facts["tuning"]["now"], facts["tuning"]["before"])}


def row_key(entry: Entry) -> str:
    """Return the key of a method's row, apart from the rows that are no method's."""
    return f"{entry.key}_method" if entry.key in RESERVED else entry.key


def trial(key: str, label: str, role: Row, seed: int, facts: Facts | None) -> Trial:
    """Return one model of the table; without figures where there are none."""
    if facts is None:
        return Trial(key, label, role, seed, {})
    cost = cost_of(None if role == "original" else facts.get("seconds"), peak_of(facts), None)
    return Trial(key, label, role, seed, {**facts["scores"], **cost}, facts["per_class"], (), facts.get("settings", {}))


def peak_of(facts: Facts) -> int | None:
    """Return the most memory that a row took on an accelerator.

    That of a processor says nothing here: a worker makes one cell after the other, and uses memory again.
    """
    on_processor = str(facts["hardware"]["device"]).startswith("cpu")
    return None if on_processor else facts.get("peak_bytes")


def budget_facts(seed: int, facts: Facts) -> dict[str, Any]:
    """Return what became of a budget at one seed; points and drop in percent of the examples, a bound of points too."""
    budget, certificate = facts["budget"], facts["budget"].get("certificate") or {}
    bound = certificate.get("bound") if certificate.get("kind", "accuracy") == "accuracy" else None
    return {
        "seed": seed,
        "kept": budget.get("kept"),
        "reached": budget.get("reached"),
        "bound": None if bound is None else 100 * bound,
        "true_drop": facts["true_drop"],
        "search": budget.get("search"),
        "chosen": budget.get("chosen"),
        "looks": [{name: look.get(name) for name in SEEN} for look in budget.get("looks", ())],
    }


def question(recipe: Recipe, place: int, names: list[str]) -> str:
    """Return what a request asks, in words."""
    chosen_for = recipe.requests[place]
    if chosen_for.fraction is not None:
        return f"Forget a random {100 * chosen_for.fraction:g} %"
    if chosen_for.class_ is not None:
        number = chosen_for.class_
        name = names[number] if isinstance(number, int) and number < len(names) else str(number)
        return f"Forget class {number}" + (f" ({name})" if name != str(number) else "")
    return (
        "Forget the examples that a file lists" if chosen_for.indices else f"Forget what {chosen_for.predicate} picks"
    )
