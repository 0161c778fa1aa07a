"""Parts by text: ``implicit(tolerance=0.1)`` names a registered thing and its settings."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from typing import Any

from expunge.errors import ConfigError
from expunge.registry import find

EXAMPLE = "eupmu + feasible(lenient, delta=0.1)"


@dataclass(frozen=True)
class Part:
    """A name with its settings, as it was written.

    Args:
        name: Of a registered thing.
        choices: Bare words among the settings, in their order: names of variants.
        settings: Settings by name.
    """

    name: str
    choices: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def read_parts(text: str) -> list[Part]:
    """Return the parts of ``first + second(word, setting=value) + …``; values are Python's constants.

    Nothing is evaluated: the text is read as an expression and its constants are taken.

    Args:
        text: What a request says.

    Raises:
        ConfigError: If it has another form.

    Examples:
        >>> [part.name for part in read_parts("eupmu + feasible(lenient, delta=0.1)")]
        ['eupmu', 'feasible']
    """
    try:
        tree = ast.parse(
            text.strip().replace("-", "_") if text.replace("-", "").isalpha() else text.strip(), mode="eval"
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable(text) from error
    return [as_part(node, text) for node in terms(tree.body)]


def terms(node: ast.expr) -> list[ast.expr]:
    """Return the terms of a sum, first to last."""
    found = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def as_part(node: ast.expr, text: str) -> Part:
    """Return one term as a part."""
    if isinstance(node, ast.Name):
        return Part(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise unreadable(text)
    words = [argument.id if isinstance(argument, ast.Name) else None for argument in node.args]
    names = [keyword.arg for keyword in node.keywords]
    if None in words or None in names:
        raise unreadable(text)
    settings = {str(keyword.arg): constant(keyword.value, text) for keyword in node.keywords}
    return Part(node.func.id, tuple(map(str, words)), settings)


def constant(node: ast.expr, text: str) -> Any:
    """Return the value of a constant; a bare word is its own text, ``true`` and ``false`` are truth values."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "none": None, "null": None}.get(node.id, node.id)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise unreadable(text) from error


def unreadable(text: str) -> ConfigError:
    """Return the error of a text that is no sum of parts."""
    return ConfigError(
        f"parts like '{EXAMPLE}'", f"'{text}'", "write names, with settings in parentheses, and + between"
    )


def build_part(kind: str, part: Part) -> Any:
    """Return the registered thing that a part names, built with its settings.

    Args:
        kind: ``surgeries``, ``objectives`` or ``masks``.
        part: Name and settings.

    Raises:
        ConfigError: If the name or a setting is not known.

    Examples:
        >>> build_part("surgeries", read_parts("unilateral(tolerance=0.5)")[0])
        Unilateral(tolerance=0.5)
    """
    target = find(kind, part.name)
    known = list(inspect.signature(target).parameters)
    for name in part.settings:
        if name not in known:
            expected = f"a setting of '{part.name}' ({', '.join(known) or 'it has none'})"
            raise ConfigError(expected, f"'{name}'", "correct or remove it")
    if part.choices:
        raise ConfigError(
            f"settings of '{part.name}' by name", f"'{part.choices[0]}'", f"write {part.name}(setting=value)"
        )
    try:
        return target(**part.settings)
    except TypeError as error:
        found = ", ".join(f"{name}={value!r}" for name, value in part.settings.items())
        raise ConfigError(f"settings that '{part.name}' can use", f"{found} ({error})", "correct them") from error
