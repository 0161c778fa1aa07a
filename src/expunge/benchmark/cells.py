"""What a recipe is made of: networks and cells, each with the canonical JSON that its file is named by."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from expunge.api.loading import validate_method
from expunge.api.result import get_task
from expunge.benchmark.recipe import BenchmarkRecipe, MethodEntry
from expunge.code_hashes import hash_package, hash_user_sources
from expunge.python_path import import_object
from expunge.registry import find_component
from expunge.request.model_request import ModelRequest
from expunge.request.sections import MethodChoice

CellRole = Literal["original", "retrained", "method", "trial"]
SCHEMA_VERSION = 2
"""Raised when the meaning of a recipe changes, so that older cells are no longer taken for answers."""
SEED_OFFSET = 10_000
"""Added to the seed of a retrained network, times its number: it starts from weights and an order of its own."""
HASHED_KEYS = {"model", "data", "train", "holdout", "forget", "method", "seed", "budget", "priority", "time_limit"}
HASHED_KEYS |= {"batch_norm", "gradient_accumulation_steps", "precision"}
"""What of a request file decides what comes out; a key that is added to request files must not rename every cell."""
_PYTHON = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
ADDED_KEYS: dict[str, dict[str, Any]] = {
    "budget": {"bounds": None, "certify": None},
    "forget": {"ids": None, "id_column": None},
}
"""Keys that sections have got since, with their defaults: where they are left out nothing is decided otherwise."""


def to_canonical_json(value: Any) -> str:
    """Return plain values as JSON that is the same for the same meaning: keys sorted, no spaces, 1.0 written as 1.

    Examples:
        >>> to_canonical_json({"b": 1.0, "a": [0.5]}) == to_canonical_json({"a": [0.5], "b": 1})
        True
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def hash_config(value: Any) -> str:
    """Return the name that plain values are filed under."""
    return hashlib.sha256(to_canonical_json(value).encode()).hexdigest()[:32]


def canonicalize_config(config: ModelRequest) -> dict[str, Any]:
    """Return what decides the outcome of a request, as plain values; an index file by its content."""
    plain = config.model_dump(mode="json", by_alias=True, include=HASHED_KEYS)
    plain["data"].pop("dir")
    plain |= {} if config.task == "classification" else {"task": config.task}
    for section, added in ADDED_KEYS.items():
        plain[section] = drop_added_defaults(plain[section], added)
    if config.forget.indices is not None:
        plain["forget"]["indices"] = hashlib.sha256(config.forget.indices.read_bytes()).hexdigest()
    if config.forget.ids is not None:
        plain["forget"]["ids"] = hashlib.sha256(config.forget.ids.read_bytes()).hexdigest()
    return plain


def find_named_objects(config: ModelRequest, plain: Any) -> tuple[Any, ...]:
    """Return the model and the data that a request names, and every Python object in its plain values."""
    kinds = {"models": None if config.model.from_python else config.model.name, "readers": config.data.name}
    objects = [find_component(kind, name) for kind, name in kinds.items() if name is not None]
    return (
        type(get_task(config.task)),
        *objects,
        *(import_object(text) for text in iterate_strings(plain) if _PYTHON.fullmatch(text)),
    )


def iterate_strings(value: Any) -> Iterator[str]:
    """Yield every text in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from iterate_strings(one)


def drop_added_defaults(section: Any, added: dict[str, Any]) -> Any:
    """Return a section without keys that were added later and say what was always so."""
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if key not in added or value != added[key]}


class ContentAddressed(ABC):
    """What is filed under the hash of what decides it, and is the same as anything else filed there."""

    @property
    @abstractmethod
    def canonical_config(self) -> dict[str, Any]:
        """What of the recipe decides the outcome."""

    @property
    @abstractmethod
    def code_objects(self) -> tuple[Any, ...]:
        """What computes it, beside this package: the model, the data and the method, which may be a user's own."""

    @property
    def role_name(self) -> str:
        """What kind of item it is."""
        return str(getattr(self, "role", "network"))

    @cached_property
    def key(self) -> str:
        """Name of its files, which changes with what decides the outcome: the recipe, and the code that computes it."""
        code = {"expunge": hash_package("benchmark"), **hash_user_sources(*self.code_objects)}
        return hash_config({**self.canonical_config, "code": code})

    def __eq__(self, other: object) -> bool:
        """Return whether both are filed under one name."""
        return isinstance(other, ContentAddressed) and self.key == other.key

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class Network(ContentAddressed):
    """A network that all methods share: the original of a seed, or one that never saw what a request forgets.

    Args:
        recipe: That it belongs to.
        seed: Of the cells that use it.
        request: Place of the request; None for the original.
        number: From 1 on among the retrained networks; 0 for the original.
    """

    recipe: BenchmarkRecipe
    seed: int
    request: int | None = None
    number: int = 0

    @property
    def config(self) -> ModelRequest:
        """The request that draws its examples; the seed is the cell's."""
        return self.recipe.build_config(self.request, self.seed)

    @property
    def init_seed(self) -> int:
        """Seed of initialization and order."""
        return self.seed + SEED_OFFSET * self.number

    @cached_property
    def canonical_config(self) -> dict[str, Any]:
        """What decides the weights."""
        plain = canonicalize_config(self.config)
        forget = plain["forget"] if self.request is not None else None
        sections = {key: plain[key] for key in ("data", "model", "train", "task") if key in plain}
        return {"schema": SCHEMA_VERSION, "network": {**sections, "without": forget, "seed": self.init_seed}}

    @property
    def code_objects(self) -> tuple[Any, ...]:
        """The model and the data."""
        return find_named_objects(self.config, self.canonical_config)

    @property
    def needs(self) -> tuple[Network, ...]:
        """Networks that have to be there first: none."""
        return ()

    @property
    def description(self) -> str:
        """What it is, for people."""
        if self.request is None:
            return f"seed {self.seed} original"
        return f"seed {self.seed} {self.recipe.request_key(self.request)} retrained {self.number}"


@dataclass(frozen=True, eq=False)
class BenchmarkCell(ContentAddressed):
    """One model at one request and seed, with what was found of it.

    Args:
        recipe: That it belongs to.
        role: The original, the retrained reference with the noise floor, a row of the table, or a trial of tuning.
        request: Place of the request.
        seed: Of draw, initialization and order.
        entry: The row.
        tuned_settings: The setting that was tuned.
    """

    recipe: BenchmarkRecipe
    role: CellRole
    request: int
    seed: int
    entry: MethodEntry | None = None
    tuned_settings: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def config(self) -> ModelRequest:
        """The cell as a request file, with a budget where the method keeps one."""
        if self.entry is None:
            return self.recipe.build_config(self.request, self.seed)
        method = self.entry.as_method_choice(self.recipe.request_kind(self.request), dict(self.tuned_settings))
        return self.recipe.build_config(self.request, self.seed, method, **get_budget_settings(self.recipe, method))

    @cached_property
    def canonical_config(self) -> dict[str, Any]:
        """What decides its figures: trials and rows of the table are apart even where their settings are the same."""
        plain, recipe = canonicalize_config(self.config), self.recipe
        if self.entry is None:
            plain.pop("method")
        tuning_fraction = 0.0 if recipe.tune is None else recipe.tune.holdout_fraction
        single_reference = {"num_retrained": 1} if self.role == "retrained" and recipe.num_retrained == 1 else {}
        return {
            "schema": SCHEMA_VERSION,
            "role": self.role,
            "tuning_share": tuning_fraction,
            "request": plain,
            **single_reference,
        }

    @property
    def code_objects(self) -> tuple[Any, ...]:
        """The model, the data, and of a row or trial the method with its parts."""
        objects = find_named_objects(self.config, self.canonical_config)
        if self.entry is None:
            return objects
        method = validate_method(self.config)
        return *objects, method, method.recipe(self.config.seed)

    @cached_property
    def needs(self) -> tuple[Network, ...]:
        """Networks that have to be there first."""
        original = Network(self.recipe, self.seed)
        references = list_retrained_networks(self.recipe, self.seed, self.request)
        wanted = {"trial": [original], "retrained": references}
        return tuple(wanted.get(self.role, [original, references[0]]))

    @property
    def description(self) -> str:
        """What it is, for people."""
        row = self.role if self.entry is None else self.entry.id
        tuned = "".join(f" {knob} {value}" for knob, value in self.tuned_settings)
        trial = " trial" if self.role == "trial" else ""
        return f"seed {self.seed} {self.recipe.request_key(self.request)}{trial} {row}{tuned}"


Item = Network | BenchmarkCell


def list_retrained_networks(recipe: BenchmarkRecipe, seed: int, request: int) -> list[Network]:
    """Return the networks that never saw what a request forgets; the first is the reference of the seed."""
    return [Network(recipe, seed, request, 1 + number) for number in range(recipe.num_retrained)]


def get_budget_settings(recipe: BenchmarkRecipe, method: MethodChoice) -> dict[str, Any]:
    """Return the part of a cell's request about the budget; nothing for a method that cannot keep one."""
    from expunge.benchmark.budget_support import supports_budget

    if recipe.budget is None or not supports_budget(method):
        return {}
    timed = method.automatic and recipe.time_limit is not None and "lr" not in method.settings
    return {
        "budget": recipe.budget,
        "priority": recipe.priority,
        **({"time_limit": recipe.time_limit} if timed else {}),
    }
