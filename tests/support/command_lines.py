"""The commands of the command line and their paths, read off its functions: a new one is driven without a list."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import typer

from expunge.cli import app


class PathPlace(NamedTuple):
    """A place of a command line where a path stands.

    Args:
        command: Such as ``ledger show``.
        name: Of the parameter.
        option: Such as ``--out``; empty where it is an argument.
        number: Which argument, from 0.
    """

    command: str
    name: str
    option: str
    number: int

    def put_into(self, line: str, path: str) -> list[str]:
        """Return the words of a good command line with the path in this place."""
        words = line.split()
        if self.option:
            return [*words, self.option, path]
        place = len(self.command.split()) + self.number
        return [*words[:place], path, *words[place + 1 :]]


def commands(typer_app: typer.Typer = app, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command and its function."""
    for info in typer_app.registered_commands:
        name = info.name or info.callback.__name__.replace("_", "-")
        yield f"{above}{name}", inspect.unwrap(info.callback)
    for group in typer_app.registered_groups:
        yield from commands(group.typer_instance, f"{above}{group.name} ")


def path_places() -> list[PathPlace]:
    """Return every place where a path stands on the command line."""
    found = []
    for command, function in commands():
        arguments = 0
        for name, hint in get_type_hints(function, include_extras=True).items():
            about = get_args(hint)[1] if get_origin(hint) is Annotated else None
            is_argument = isinstance(about, typer.models.ArgumentInfo)
            if admits_path(hint):
                option = "" if is_argument else next(iter(about.param_decls or ()), f"--{name.replace('_', '-')}")
                found.append(PathPlace(command, name, option, arguments))
            arguments += is_argument
    return found


def admits_path(hint: Any) -> bool:
    """Return whether an annotation has a path anywhere in it."""
    if isinstance(hint, type) and issubclass(hint, os.PathLike | Path):
        return True
    return any(admits_path(one) for one in get_args(hint))
