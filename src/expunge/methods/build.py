"""From a name and settings, or a composition in words, to a method."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from expunge.errors import ConfigError
from expunge.methods.component_spec import COMPONENT_EXAMPLE, parse_components
from expunge.methods.composition import MaskedMethod
from expunge.methods.method import Method
from expunge.methods.presets import apply_preset
from expunge.paths import describe_value
from expunge.registry import find_component, is_registered


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
        >>> method.preset, method.lr, method.epochs
        ('cifar10-10', 0.003, 2)
        >>> build_method("rl(weight=0.5) + saliency(fraction=0.3)", epochs=2).settings()["mask"]
        {'name': 'saliency', 'fraction': 0.3}
    """
    if not isinstance(text, str):
        raise ConfigError("the name of a method", describe_value(text), "`expunge list methods` shows all")
    if is_registered("methods", text) or not set(text) & set("+("):
        return build_by_name(text, settings)
    base, *masks = parse_components(text)
    if base.choices:
        raise ConfigError(f"settings of '{base.name}' by name", f"'{base.choices[0]}'", "write setting=value")
    repeated = sorted(base.settings.keys() & settings.keys())
    if repeated:
        raise ConfigError("each setting once", f"'{repeated[0]}' in the text and beside it", "keep one")
    built = build_by_name(base.name, {**base.settings, **settings})
    if len(masks) > 1:
        raise ConfigError(f"one mask, as in '{COMPONENT_EXAMPLE}'", f"{len(masks)}", "keep the stricter one")
    return MaskedMethod(built, masks[0]) if masks else built


def build_by_name(name: str, settings: dict[str, Any]) -> Method:
    """Return a registered method with some settings changed."""
    target: type[Method] = find_component("methods", name)
    known_settings = [field.name for field in fields(target)] + ["preset"] * bool(target.presets)
    for setting in settings:
        if setting not in known_settings:
            matches = difflib.get_close_matches(setting, known_settings, n=1)
            hint = f"did you mean '{matches[0]}'" if matches else "remove it"
            raise ConfigError(f"a setting of '{name}' ({', '.join(known_settings)})", f"'{setting}'", hint)
    written = {setting: value for setting, value in settings.items() if setting != "preset"}
    if settings.get("preset") is None:
        return validate_settings(name, target, written)
    preset, complete = apply_preset(name, target, settings["preset"], written)
    method = validate_settings(name, target, complete)
    # Not a field: a constructor cannot tell a value that was written from a default, and would overrule the first.
    object.__setattr__(method, "preset", preset)
    return method


def validate_settings(name: str, target: type[Method], settings: dict[str, Any]) -> Method:
    """Return a method with settings whose types are checked."""
    try:
        return TypeAdapter(target).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        actual = f"{describe_value(first['input'])} ({first['msg'].lower()})"
        raise ConfigError(f"a usable value for '{where}' of '{name}'", actual, "change it") from error
