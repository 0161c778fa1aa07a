"""Values of the wrong kind and paths that no file should have, and what an answer to them has to be."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from pydantic import BaseModel

from expunge.errors import ExpungeError

LONGEST_SENTENCE = 1500


class Odd:
    """An object of no use."""


WRITTEN = (None, True, -1, 0, 1.5, 10**400, "", "x" * 3000, "\x1b[2J", "a\0b", [], [1], {}, {"a": 1})
"""What a file can say."""
PASSED = (
    *(None, True, -1, 0, 1.5, 10**400, float("nan"), float("inf"), "", "x" * 3000, "a\0b", "\ud800\x1b[2J", b"\xff"),
    *([], [1], {}, {"a": 1}, Odd(), Odd, torch.tensor(1.0), torch.ones(3), np.arange(3), Path("nowhere")),
)
"""What a caller can pass."""


def fault(body: Callable[[], object]) -> str:
    """Return what is wrong with how a call ends: it works, or raises one of our errors in one printable sentence."""
    try:
        body()
    except ExpungeError as error:
        text = str(error)
        if not text.isprintable() or len(text) > LONGEST_SENTENCE or ": " not in text:
            return f"no sentence with a cure: {text[:300]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def hostile_paths(folder: Path) -> dict[str, str]:
    """Return paths by what is wrong with them; nothing that they lead to can be harmed by a rename.

    Args:
        folder: Where those are made that can be made.
    """
    loop, other, pipe = folder / "loop", folder / "other", folder / "pipe"
    loop.symlink_to(other)
    other.symlink_to(loop)
    os.mkfifo(pipe)
    (folder / "dangling").symlink_to(folder / "nowhere")
    for name in ("zero", "full"):
        (folder / name).symlink_to(f"/dev/{name}")
    here = socket.socket(socket.AF_UNIX)
    here.bind(os.path.relpath(folder / "socket"))
    here.close()
    (folder / "folder").mkdir()
    return {
        "a name over 255 bytes": str(folder / ("n" * 300)),
        "a path over 4096 bytes": "/".join(["n" * 200] * 30),
        "links in a circle": str(loop / "file"),
        "memory of a process": "/proc/self/mem",
        "a pipe": str(pipe),
        "below a pipe": str(pipe / "file"),
        "a socket": str(folder / "socket"),
        "an endless device": str(folder / "zero"),
        "a full device": str(folder / "full"),
        "a link to nothing": str(folder / "dangling"),
        "a folder": str(folder / "folder"),
        "no UTF-8": os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"),
        "half a character": "\ud800",
        "a NUL": "a\0b",
        "nothing": "",
        "nobody's home": "~nouser/file",
    }


def every(name: str, call: Callable[..., Any], good: dict[str, Any], wrong: dict[str, tuple[Any, ...]]) -> list[str]:
    """Return what is wrong with a call where one argument after the other is replaced, by call, argument and value."""
    found = []
    for argument, values in wrong.items():
        for value in values:
            said = fault(lambda argument=argument, value=value: call(**{**good, argument: value}))
            if said:
                found.append(f"{name}({argument}={type(value).__name__}): {said}")
    return found


def settings_below(model: type[BaseModel], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every setting of a request, sections and what is in them."""
    found = []
    for name, field in model.model_fields.items():
        keys = (*above, field.alias or name)
        found.append(keys)
        options = (field.annotation, *get_args(field.annotation))
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                found += settings_below(option, keys)
    return found


def annotation_of(model: type[BaseModel], keys: tuple[str, ...]) -> Any:
    """Return what is written at a place of a request."""
    first, *rest = keys
    field = next(one for name, one in model.model_fields.items() if (one.alias or name) == first)
    options = (field.annotation, *get_args(field.annotation))
    inside = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
    return annotation_of(inside[0], tuple(rest)) if rest else field.annotation
