"""Presets: named settings of a method, which a request may take as they are or change in part."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expunge.errors import ConfigError
from expunge.registry import plain

if TYPE_CHECKING:
    from expunge.methods.method import Method


def filled(name: str, target: type[Method], preset: Any, written: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the full name of a preset, and its settings with those that were written laid over them.

    A number that was written wins. A truth value chooses the form that the preset's numbers belong to, and stays.

    Args:
        name: The method's, for messages.
        target: The method.
        preset: Name of the preset; hyphens and underscores are the same.
        written: Settings beside the preset.

    Raises:
        ConfigError: If there is no such preset, or a setting beside it asks for another form.
    """
    known = {plain(key): key for key in target.presets}
    wanted = plain(str(preset))
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        cure = f"did you mean '{known[near[0]]}'" if near else "choose one of them"
        raise ConfigError(f"a preset of '{name}' ({', '.join(target.presets)})", f"'{preset}'", cure)
    values = target.presets[known[wanted]]
    for key, value in values.items():
        if isinstance(value, bool) and written.get(key, value) != value:
            expected = f"{key}={value}, the form that the numbers of '{known[wanted]}' were chosen for"
            cure = f"remove {key}, or the preset and write the numbers that you want"
            raise ConfigError(expected, f"{key}={written[key]}", cure)
    return known[wanted], {**values, **written}
