"""Presets: named settings of a method, which a request may take as they are or change in part."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expunge.errors import ConfigError
from expunge.registry import normalize_name

if TYPE_CHECKING:
    from expunge.methods.method import Method


def apply_preset(
    name: str, target: type[Method], preset: Any, written: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the full name of a preset, and its settings with those that were written laid over them.

    A number that was written wins. A truth value chooses the form that the preset's numbers belong to, and stays.
    """
    known_presets = {normalize_name(key): key for key in target.presets}
    normalized = normalize_name(str(preset))
    if normalized not in known_presets:
        matches = difflib.get_close_matches(normalized, known_presets, n=1)
        hint = f"did you mean '{known_presets[matches[0]]}'" if matches else "choose one of them"
        raise ConfigError(f"a preset of '{name}' ({', '.join(target.presets)})", f"'{preset}'", hint)
    values = target.presets[known_presets[normalized]]
    for key, value in values.items():
        if isinstance(value, bool) and written.get(key, value) != value:
            expected = f"{key}={value}, the form that the numbers of '{known_presets[normalized]}' were chosen for"
            hint = f"remove {key}, or the preset and write the numbers that you want"
            raise ConfigError(expected, f"{key}={written[key]}", hint)
    return known_presets[normalized], {**values, **written}
