"""Arguments of the wrong kind, refused at the door by what the signature says, in one sentence.

Only what is plainly wrong is refused: an annotation that says more than a kind (a protocol, a type variable) admits
everything, and what an argument means is checked where it is used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import numbers
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from expunge.errors import ConfigError, ModelError
from expunge.paths import describe_value, validate_path

MAX_INT = 2**63
"""Whole numbers of this size and above fit into no tensor."""
_TYPE_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", type(None): "None"}
_PLURAL_NAMES = {int: "whole numbers", float: "numbers", str: "texts"}
_CLASS_NAMES = {"Callable": "a function", "Module": "a model (an nn.Module)", "Tensor": "a tensor"}

P = ParamSpec("P")
R = TypeVar("R")


def check_argument_types(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments of another kind than its signature names.

    Examples:
        >>> @check_argument_types
        ... def halved(count: int) -> int:
        ...     return count // 2
        >>> halved("two")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a whole number for 'count' of halved, but found 'two': pass a whole number.
    """
    owner = function.__qualname__.removesuffix(".__init__").rsplit(".", 1)[-1]

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        signature = _signature(function)
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            meaning = _parameter_type(function, name)
            check_type(name, value, meaning, owner, parameter.default)
            if isinstance(value, str) and _accepts_path(meaning) and not _accepts(value, meaning):
                bound.arguments[name] = Path(value)  # a function that asks for a path gets one
        return function(*bound.args, **bound.kwargs)

    return wrapper


def enforce_constructor_types(kind: type) -> None:
    """Make a class refuse arguments of the wrong kind, if it has a constructor of its own."""
    constructor = vars(kind).get("__init__")
    if inspect.isfunction(constructor):
        kind.__init__ = check_argument_types(constructor)  # type: ignore[misc]


def check_field_types(value: Any) -> None:
    """Refuse a data class whose fields hold values of the wrong kind; for ``__post_init__``."""
    kind: Any = type(value)
    for field in dataclasses.fields(value):
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        annotation = _field_type(kind, field.name)
        check_type(field.name, getattr(value, field.name), annotation, kind.__name__, default)


def check_type(name: str, value: Any, annotation: Any, owner: str, default: Any = inspect.Parameter.empty) -> None:
    """Refuse one value of the wrong kind; the default of an argument is always right."""
    if value is default:
        return
    if _accepts_path(annotation) and isinstance(value, str | bytes | os.PathLike):
        if not (isinstance(value, str) and _accepts(value, _literal_choices(annotation))):
            validate_path(value, f"'{name}'")
    elif name == "seed" and isinstance(value, int) and value < 0:
        raise ConfigError(f"a seed ≥ 0 of {owner}", describe_value(value), "pass another")
    elif not _accepts(value, annotation):
        expected = describe_type(annotation)
        example = f", such as {default!r}" if isinstance(default, bool | int | float | str) and default != "" else ""
        error = ModelError if expected.startswith(_CLASS_NAMES["Module"]) else ConfigError
        hint = "make one first" if isinstance(value, type) else f"pass {expected}{example}"
        raise error(f"{expected} for '{name}' of {owner}", _describe_actual(value, annotation), hint)


def _describe_actual(value: Any, annotation: Any) -> str:
    """Return what was passed, in words: of a list whose items are wrong the first of those."""
    lists = [
        option
        for option in (annotation, *get_args(annotation))
        if _is_collection_type(get_origin(option) or option) and get_args(option)
    ]
    if lists and isinstance(value, list | tuple):
        wrong = [item for item in value if not _accepts(item, get_args(lists[0])[0])]
        return f"{describe_value(value)} with {describe_value(wrong[0])} in it" if wrong else describe_value(value)
    return describe_value(value)


def describe_type(annotation: Any) -> str:
    """Return what an annotation admits, in words.

    Examples:
        >>> describe_type(float | None), describe_type(Literal["sgd", "adamw"])
        ('a number or None', "'sgd' or 'adamw'")
    """
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(one) for one in inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Annotated:
        return describe_type(inner[0])
    kind = origin or annotation
    if not isinstance(kind, type):
        return "a value"
    if issubclass(kind, os.PathLike):
        return "a path"
    if kind is not object and issubclass(kind, Mapping):
        return "a mapping"
    if _is_collection_type(kind):
        return f"a list of {_PLURAL_NAMES[inner[0]]}" if inner and inner[0] in _PLURAL_NAMES else "a list"
    return _CLASS_NAMES.get(kind.__name__, f"a{'n' if kind.__name__[0] in 'AEIOU' else ''} {kind.__name__}")


def _accepts(value: Any, annotation: Any) -> bool:
    """Return whether a value is of the kind that an annotation names."""
    if annotation in (Any, object, inspect.Parameter.empty):
        return True
    if annotation is None or annotation is type(None):
        return value is None
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_accepts(value, one) for one in inner)
    if origin is Literal:
        return type(value) in {type(one) for one in inner}  # which of them is checked where it is used
    if origin is Annotated:
        return _accepts(value, inner[0])
    kind = origin or annotation
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return all(callable(getattr(value, name, None)) for name in _protocol_methods(kind))
    if annotation in _TYPE_NAMES:
        return _is_plain(value, kind)
    if kind.__name__ == "Callable":
        return callable(value)
    if _is_collection_type(kind):
        return _is_iterable(value) and _items_match(value, inner)
    return isinstance(value, kind)


def _is_plain(value: Any, kind: type) -> bool:
    """Return whether a value is a truth value, number or text as asked; numbers are finite in what they can hold."""
    if kind is bool:
        return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool) and abs(int(value)) < MAX_INT
    if kind is float:
        return _is_number(value)
    return isinstance(value, kind)


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that is not NaN, also as a tensor of one element."""
    single = getattr(value, "numel", None)
    if isinstance(value, bool) or not (isinstance(value, numbers.Real) or (callable(single) and single() == 1)):
        return False
    with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):
        return float(value) == float(value)
    return False


def _is_collection_type(kind: Any) -> bool:
    """Return whether a kind holds one value after the other and is no mapping and no text."""
    return getattr(kind, "__module__", "") in ("builtins", "collections.abc") and kind.__name__ in (
        *("list", "tuple", "set", "frozenset", "Sequence", "Iterable", "Collection", "Set"),
    )


@cache
def _protocol_methods(kind: type) -> tuple[str, ...]:
    """Return the methods that a protocol asks for; its attributes may be costly to ask for."""
    members = vars(kind).items()
    return tuple(name for name, one in members if callable(one) and (name[0] != "_" or name in ("__len__", "__call__")))


def _is_iterable(value: Any) -> bool:
    """Return whether one can go through a value that is no text; an array without dimensions only seems so."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return False
    with contextlib.suppress(TypeError):
        return iter(value) is not None
    return False


def _items_match(values: Any, inner: tuple[Any, ...]) -> bool:
    """Return whether values are of the kind that they should; what can be gone through once is not looked into."""
    if not inner or (len(inner) > 1 and inner[-1] is not Ellipsis) or isinstance(values, Iterator):
        return True
    if not isinstance(values, list | tuple) and inner[0] in (int, float):
        return True  # an array, whose dtype is looked at where it is used
    return all(_accepts(value, inner[0]) for value in values)


def _accepts_path(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    if kind in (Union, types.UnionType):
        return any(_accepts_path(one) for one in get_args(annotation))
    return isinstance(kind, type) and issubclass(kind, os.PathLike)


def _literal_choices(annotation: Any) -> Any:
    """Return the fixed choices beside a path, such as words with a meaning of their own."""
    choices = [one for one in get_args(annotation) if get_origin(one) is Literal]
    return choices[0] if choices else type(None)


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@cache
def _parameter_type(function: Callable[..., Any], name: str) -> Any:
    """Return the annotation of a parameter, or Any where it cannot be read."""
    return _evaluate_annotation(_signature(function).parameters[name].annotation, _namespace_of(function))


@cache
def _field_type(kind: type, name: str) -> Any:
    """Return the annotation of a field, or Any where it cannot be read."""
    for base in kind.__mro__:
        if name in vars(base).get("__annotations__", {}):
            return _evaluate_annotation(vars(base)["__annotations__"][name], _namespace_of(base))
    return Any


def _namespace_of(thing: Any) -> dict[str, Any]:
    """Return the names that the source of a function or class sees; none where its module is not registered."""
    return getattr(sys.modules.get(thing.__module__), "__dict__", {})


def _evaluate_annotation(annotation: Any, names: dict[str, Any]) -> Any:
    """Return what an annotation of our own or a user's source means."""
    try:
        return get_type_hints(types.SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except Exception:  # a name that is imported for the type checker alone
        return Any
