"""pydantic's errors as one of our sentences: the line, what was expected, what was found, what to do."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from expunge.errors import ConfigError
from expunge.request.checks import format_value, suggest, yaml_repr
from expunge.request.document import KeyPath, RequestDocument

TYPE_DESCRIPTIONS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "path_type": "a path",
    "is_instance_of": "a path",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}


def translate_validation_error(
    error: ValidationError, document: RequestDocument, model: type[BaseModel]
) -> ConfigError:
    """Return the first thing that is wrong, misspelled keys before the missing ones that they leave behind."""
    all_errors = error.errors(include_url=False)
    unknown = [one for one in all_errors if one["type"] == "extra_forbidden"]
    first = (unknown or all_errors)[0]
    keys = first["loc"]
    if first["type"] == "extra_forbidden":
        return unknown_key_error(keys, document, model)
    if first["type"] == "missing":
        return missing_key_error(keys, document, model)
    if first["type"] == "refused":
        context = first["ctx"]
        location = (*keys, context["key"]) if context["key"] else keys
        return ConfigError(context["expected"], context["found"], context["cure"], document.where(*location))
    return wrong_value_error(first, document, model)


def unknown_key_error(keys: KeyPath, document: RequestDocument, model: type[BaseModel]) -> ConfigError:
    """Return the sentence for a key that means nothing."""
    names = list_keys(find_section(model, keys[:-1]))
    hint = suggest(str(keys[-1]), names, "remove it or use one of them")
    return ConfigError(f"one of {', '.join(names)}", f"'{keys[-1]}'", hint, document.where(*keys))


def missing_key_error(keys: KeyPath, document: RequestDocument, model: type[BaseModel]) -> ConfigError:
    """Return the sentence for a key that has to be there."""
    inside = f" in '{keys[0]}'" if len(keys) > 1 else ""
    return ConfigError(
        f"the key '{keys[-1]}'{inside}", "none", suggest_example(keys, model), document.where(*keys[:-1])
    )


def wrong_value_error(error: ErrorDetails, document: RequestDocument, model: type[BaseModel]) -> ConfigError:
    keys = tuple(key for key in error["loc"] if not isinstance(key, str) or "[" not in key)
    expected = f"{describe_expectation(error)} for '{'.'.join(map(str, keys))}'"
    hint = suggest(str(error["input"]), list_choices(error), suggest_example(keys, model))
    return ConfigError(expected, format_value(error["input"]), hint, document.where(*keys))


def describe_expectation(error: ErrorDetails) -> str:
    """Return what pydantic would have accepted, as a noun phrase."""
    if right := list_choices(error):
        return f"one of {', '.join(right)}" if len(right) > 1 else right[0]
    plain = error["msg"].removeprefix("Input should be ")
    comparison = plain.startswith(("greater", "less"))
    return TYPE_DESCRIPTIONS.get(error["type"], f"a number {plain}" if comparison else plain)


def list_choices(error: ErrorDetails) -> list[str]:
    """Return the values that a setting with fixed choices may have; none if it has no such choices."""
    return re.findall(r"'([^']*)'", error["ctx"]["expected"]) if error["type"] == "literal_error" else []


def suggest_example(keys: KeyPath, model: type[BaseModel]) -> str:
    """Return a cure that shows the key with a value that is right."""
    field = find_field(find_section(model, keys[:-1]), keys[-1])
    value = (field.examples or [field.default])[0] if field is not None else "…"
    return f"write for example `{keys[-1]}: {yaml_repr(value)}`"


def find_section(model: type[BaseModel], keys: KeyPath) -> type[BaseModel]:
    """Return the model of the section under ``keys``, or the nearest one above it."""
    for key in keys:
        field = find_field(model, key)
        options = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        models = [one for one in options if isinstance(one, type) and issubclass(one, BaseModel)]
        model = models[0] if models else model
    return model


def find_field(model: type[BaseModel], key: str | int) -> Any:
    """Return the field that is written as ``key``; None if there is none."""
    return next((field for name, field in model.model_fields.items() if key in (name, field.alias)), None)


def list_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys of a section as they are written, those that are its own before those that it shares."""
    written = {name: field.alias or name for name, field in model.model_fields.items()}
    names_in_order = [
        name for kind in model.__mro__ for name in vars(kind).get("__annotations__", {}) if name in written
    ]
    return [written[name] for name in dict.fromkeys(names_in_order)]
