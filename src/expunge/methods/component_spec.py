"""Parts by text: ``eupmu(tolerance=0.1)`` names a registered thing and its settings."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from typing import Any

from expunge.errors import ConfigError
from expunge.registry import find_component

COMPONENT_EXAMPLE = "eupmu + feasible(lenient, delta=0.1)"


@dataclass(frozen=True)
class ComponentSpec:
    """A name with its settings, as it was written.

    Args:
        name: Of a registered thing.
        choices: Bare words among the settings, in their order: names of variants.
        settings: Settings by name.
    """

    name: str
    choices: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def parse_components(text: str) -> list[ComponentSpec]:
    """Return the parts of ``first + second(word, setting=value) + …``; values are Python's constants.

    Nothing is evaluated: the text is read as an expression and its constants are taken.

    Examples:
        >>> [part.name for part in parse_components("eupmu + feasible(lenient, delta=0.1)")]
        ['eupmu', 'feasible']
    """
    try:
        tree = ast.parse(
            text.strip().replace("-", "_") if text.replace("-", "").isalpha() else text.strip(), mode="eval"
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise component_syntax_error(text) from error
    return [parse_component(node, text) for node in split_sum(tree.body)]


def split_sum(node: ast.expr) -> list[ast.expr]:
    """Return the terms of a sum, first to last."""
    operands = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        operands.append(node.right)
        node = node.left
    return [node, *reversed(operands)]


def parse_component(node: ast.expr, text: str) -> ComponentSpec:
    """Return one term as a part."""
    if isinstance(node, ast.Name):
        return ComponentSpec(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise component_syntax_error(text)
    words = [argument.id if isinstance(argument, ast.Name) else None for argument in node.args]
    names = [keyword.arg for keyword in node.keywords]
    if None in words or None in names:
        raise component_syntax_error(text)
    settings = {str(keyword.arg): parse_constant(keyword.value, text) for keyword in node.keywords}
    return ComponentSpec(node.func.id, tuple(map(str, words)), settings)


def parse_constant(node: ast.expr, text: str) -> Any:
    """Return the value of a constant; a bare word is its own text, ``true`` and ``false`` are truth values."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "none": None, "null": None}.get(node.id, node.id)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise component_syntax_error(text) from error


def component_syntax_error(text: str) -> ConfigError:
    """Return the error of a text that is no sum of parts."""
    return ConfigError(
        f"parts like '{COMPONENT_EXAMPLE}'", f"'{text}'", "write names, with settings in parentheses, and + between"
    )


def build_component(kind: str, spec: ComponentSpec) -> Any:
    """Return the registered thing that a part names, built with its settings.

    Examples:
        >>> build_component("surgeries", parse_components("projection(tolerance=0.5)")[0])
        Projection(tolerance=0.5)
    """
    target = find_component(kind, spec.name)
    known_settings = list(inspect.signature(target).parameters)
    for name in spec.settings:
        if name not in known_settings:
            expected = f"a setting of '{spec.name}' ({', '.join(known_settings) or 'it has none'})"
            raise ConfigError(expected, f"'{name}'", "correct or remove it")
    if spec.choices:
        raise ConfigError(
            f"settings of '{spec.name}' by name", f"'{spec.choices[0]}'", f"write {spec.name}(setting=value)"
        )
    try:
        return target(**spec.settings)
    except TypeError as error:
        actual = ", ".join(f"{name}={value!r}" for name, value in spec.settings.items())
        raise ConfigError(f"settings that '{spec.name}' can use", f"{actual} ({error})", "correct them") from error
