"""The boundary of the command line: paths checked before a command begins, what stops it told in one line on stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from expunge.cli.echo import echo
from expunge.errors import ConfigError, ExpungeError, sanitize
from expunge.paths import error_reason, validate_path

BAD_INPUT_CODE = 2
INTERRUPTED_CODE = 130
P = ParamSpec("P")
R = TypeVar("R")


class CommandGroup(TyperGroup):
    """The commands, with our errors and the interrupt key turned into one line on stderr and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments and run a command; what the system refuses is one line too."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            _discard_stdout()
            _print_error(format_os_error(error))
            sys.exit(BAD_INPUT_CODE)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments; what is wrong with them is said without the control characters in them."""
        with _message_escaping():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            with _message_escaping():
                return super().invoke(ctx)
        except ExpungeError as error:
            if _may_speak():
                _print_error(str(error))
            raise typer.Exit(BAD_INPUT_CODE) from None
        except KeyboardInterrupt as stopped:
            _print_error(str(stopped) or "Interrupted; nothing of yours was changed.")
            raise typer.Exit(getattr(stopped, "code", INTERRUPTED_CODE)) from None


def validate_paths(command: Callable[P, R]) -> Callable[P, R]:
    """Let a command refuse paths that no system call could use, before anything else."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in kwargs.items():
            for path in value if isinstance(value, list) else [value]:
                if isinstance(path, Path):
                    validate_path(path, f"'{name}'")
        return command(*args, **kwargs)

    return wrapper


def format_os_error(error: OSError) -> str:
    """Return what the system refused as one sentence.

    Examples:
        >>> print(format_os_error(OSError(28, "No space left on device", "runs/a")))
        Expected to read or write 'runs/a', but found no space left on device: check the path, its rights and the \
room on the disk.
    """
    what = "the output" if error.filename is None else f"'{os.fsdecode(error.filename)}'"
    hint = "check the path, its rights and the room on the disk"
    return str(ConfigError(f"to read or write {what}", error_reason(error), hint))


def flush_stdout() -> int:
    """Write out what stdout still holds, and return the exit code for that: 0, or 2 where it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_stdout()
        if error.errno != errno.EPIPE:  # who read the output may be gone
            _print_error(format_os_error(error))
        return BAD_INPUT_CODE
    return 0


@contextmanager
def _message_escaping() -> Iterator[None]:
    """Let messages about the arguments, which quote them, reach the terminal without control characters."""
    try:
        yield
    except Exception as error:
        if callable(getattr(error, "format_message", None)):
            setattr(error, "message", sanitize(getattr(error, "message", "")))  # noqa: B010
        raise


def _may_speak() -> bool:
    """Return whether no other process that a launcher has started says what ended this one."""
    if os.environ.get("WORLD_SIZE", "1") == "1":  # asking imports torch
        return True
    from expunge.api.distributed import may_speak

    return may_speak()


def _print_error(words: str) -> None:
    """Print a line on stderr, if that can be written."""
    with suppress(OSError):
        echo(words, err=True)


def _discard_stdout() -> None:
    """Let stdout lead nowhere, so that Python does not try to write it once more when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
