"""From a name and settings, or a composition in words, to a method."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from expunge.errors import ConfigError
from expunge.methods.composition import Masked
from expunge.methods.method import Method
from expunge.methods.parts import EXAMPLE, read_parts
from expunge.methods.presets import filled
from expunge.paths import described
from expunge.registry import find, is_registered


def build_method(text: str, **settings: Any) -> Method:
    """Return the method of that name with some settings changed, perhaps under a mask of its own.

    Args:
        text: A name; a name with settings in parentheses; or one of these ``+`` a mask.
        **settings: Settings of the method; they add to those in the text. Where the method has presets, ``preset``
            names one: its settings hold wherever nothing else is written.

    Raises:
        ConfigError: If a name or a setting is not known, a value is of the wrong type, or the parts make no sense
            together.

    Examples:
        >>> build_method("eupmu", epochs=2).settings()["epochs"]
        2
        >>> method = build_method("eupmu", preset="cifar10-10", epochs=2)
        >>> method.preset, method.rate, method.epochs
        ('cifar10-10', 0.003, 2)
        >>> build_method("rl(weight=0.5) + saliency(keep=0.3)", epochs=2).settings()["mask"]
        {'name': 'saliency', 'keep': 0.3}
    """
    if not isinstance(text, str):
        raise ConfigError("the name of a method", described(text), "`expunge list methods` shows all")
    if is_registered("methods", text) or not set(text) & set("+("):
        return named(text, settings)
    base, *masks = read_parts(text)
    if base.choices:
        raise ConfigError(f"settings of '{base.name}' by name", f"'{base.choices[0]}'", "write setting=value")
    twice = sorted(base.settings.keys() & settings.keys())
    if twice:
        raise ConfigError("each setting once", f"'{twice[0]}' in the text and beside it", "keep one")
    built = named(base.name, {**base.settings, **settings})
    if len(masks) > 1:
        raise ConfigError(f"one mask, as in '{EXAMPLE}'", f"{len(masks)}", "keep the stricter one")
    return Masked(built, masks[0]) if masks else built


def named(name: str, settings: dict[str, Any]) -> Method:
    """Return a registered method with some settings changed."""
    target: type[Method] = find("methods", name)
    known = [field.name for field in fields(target)] + ["preset"] * bool(target.presets)
    for setting in settings:
        if setting not in known:
            near = difflib.get_close_matches(setting, known, n=1)
            cure = f"did you mean '{near[0]}'" if near else "remove it"
            raise ConfigError(f"a setting of '{name}' ({', '.join(known)})", f"'{setting}'", cure)
    written = {setting: value for setting, value in settings.items() if setting != "preset"}
    if settings.get("preset") is None:
        return validated(name, target, written)
    preset, complete = filled(name, target, settings["preset"], written)
    method = validated(name, target, complete)
    # Not a field: a constructor cannot tell a value that was written from a default, and would overrule the first.
    object.__setattr__(method, "preset", preset)
    return method


def validated(name: str, target: type[Method], settings: dict[str, Any]) -> Method:
    """Return a method with settings whose types are checked.

    Raises:
        ConfigError: If a value is of the wrong type or out of its range.
    """
    try:
        return TypeAdapter(target).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        found = f"{described(first['input'])} ({first['msg'].lower()})"
        raise ConfigError(f"a usable value for '{where}' of '{name}'", found, "change it") from error
