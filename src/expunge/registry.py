"""What is there, by kind and name: derived from the packages' ``__all__`` and from third parties' entry points.

A package of a room exports its public classes or functions in ``__all__``; nothing else has to be written down. The
name is the class or function name in snake case; ``aliases`` on it adds others (the acronym of its paper). Third
parties declare entry points in the group ``expunge.<kind>`` and touch none of our files.
"""

from __future__ import annotations

import difflib
import inspect
import re
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from expunge.errors import ConfigError

ROOMS: Mapping[str, tuple[str, str | None]] = {
    "surgeries": ("expunge.surgery", "Surgery"),
    "objectives": ("expunge.objectives", "Objective"),
    "masks": ("expunge.masks", "Mask"),
    "methods": ("expunge.methods", "Method"),
    "metrics": ("expunge.evaluation", "Quantity"),
    "readers": ("expunge.tasks.classification.readers", None),
    "models": ("expunge.tasks.classification.models", None),
    "tasks": ("expunge.tasks.families", "Family"),
    "trackers": ("expunge.trackers", "Tracker"),
}
"""Kind → (package, name of the base class in it; None where the entries are functions)."""

LEAVES: Mapping[str, tuple[str, ...]] = {
    "objectives": ("expunge.tasks.diffusion.objectives", "expunge.tasks.stable_diffusion.objectives"),
    "methods": ("expunge.tasks.diffusion.methods", "expunge.tasks.stable_diffusion.methods"),
}
"""Kind → further packages that register entries of it: those for one family of models."""


@dataclass(frozen=True)
class Entry:
    """One registered thing: its name, its other names, where it comes from, and the thing."""

    name: str
    aliases: tuple[str, ...]
    paper: str
    summary: str
    target: Any


def snake_case(name: str) -> str:
    """Return ``name`` in snake case.

    Examples:
        >>> snake_case("RandomLabel"), snake_case("resnet18")
        ('random_label', 'resnet18')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def describe(target: Any, name: str | None = None) -> Entry:
    """Return the entry of a class or function, read from its attributes and docstring."""
    summary = (inspect.getdoc(target) or "").split("\n", 1)[0]
    own = vars(target)
    return Entry(
        name or own.get("name") or snake_case(target.__name__),
        tuple(own.get("aliases", ())),
        own.get("paper", ""),
        summary,
        target,
    )


def exported(package: str, base: str | None, leaves: Sequence[str] = ()) -> list[Any]:
    """Return what a room registers: concrete subclasses of its base, or all functions where there is none."""
    rooms = [import_module(package)]
    if base is None:
        return [thing for thing in things_of(rooms) if inspect.isfunction(thing)]
    root = getattr(rooms[0], base)
    rooms += [import_module(leaf) for leaf in leaves]
    things = things_of(rooms)
    return [thing for thing in things if inspect.isclass(thing) and issubclass(thing, root) and is_concrete(thing)]


def things_of(rooms: Sequence[ModuleType]) -> list[Any]:
    """Return everything in the ``__all__`` of the rooms."""
    return [getattr(room, name) for room in rooms for name in room.__all__]


def is_concrete(thing: type) -> bool:
    """Return whether a class can be used as it is: nothing left abstract, and not itself an abstract base."""
    return not inspect.isabstract(thing) and ABC not in thing.__bases__


@cache
def entries(kind: str, task: str | None = None) -> Mapping[str, Entry]:
    """Return everything registered under ``kind`` by name, our own first, then third parties'.

    Args:
        kind: One of the keys of ``ROOMS``.
        task: Leave out what is for another family of models only. Default: leave out nothing.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in ROOMS:
        raise ConfigError(f"one of {', '.join(ROOMS)}", f"'{kind}'", "choose one of them")
    found = [describe(thing) for thing in exported(*ROOMS[kind], LEAVES.get(kind, ()))]
    found += [describe(point.load(), point.name) for point in entry_points(group=f"expunge.{kind}")]
    return {entry.name: entry for entry in found if serves(entry.target, task)}


def serves(target: Any, task: str | None) -> bool:
    """Return whether a thing can be used for a family of models; what names no family is for all."""
    own = getattr(target, "task", None)
    return task is None or own is None or own == task


def by_any_name(kind: str) -> Mapping[str, Entry]:
    """Return everything registered under ``kind`` by name and by alias."""
    return {known: entry for entry in entries(kind).values() for known in (entry.name, *entry.aliases)}


def plain(name: str) -> str:
    """Return a name in the form in which names are compared: hyphens and underscores are the same, capitals too."""
    return name.replace("-", "_").lower()


def is_registered(kind: str, name: str) -> bool:
    """Return whether something is registered under that name or alias."""
    return plain(name) in by_any_name(kind)


def find(kind: str, name: str) -> Any:
    """Return the thing registered under ``kind`` by its name or an alias; hyphens and underscores are the same.

    Raises:
        ConfigError: If nothing has that name; the message offers the nearest one.
    """
    wanted, every = plain(name), by_any_name(kind)
    if wanted in every:
        return every[wanted].target
    near = difflib.get_close_matches(wanted, every, n=1)
    cure = f"did you mean '{near[0]}'" if near else f"`expunge list {kind}` shows all"
    raise ConfigError(f"the name of one of the {kind} ({', '.join(sorted(every))})", f"'{name}'", cure)
