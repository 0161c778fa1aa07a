"""Which methods can keep a budget."""

from __future__ import annotations

from expunge.api.steering.budget_validation import find_controllable_surgery
from expunge.errors import ConfigError
from expunge.methods import build_method
from expunge.request.sections import MethodChoice


def supports_budget(method: MethodChoice) -> bool:
    """Return whether a budget can steer a method: ``auto``, or one descent whose surgery has a tolerance and an anchor.

    A method whose own tolerance is written decides by itself how far it goes.
    """
    if "tolerance" in method.settings:
        return False
    if method.automatic:
        return True
    built = build_method(method.name, **method.settings)
    try:
        find_controllable_surgery(built.recipe())
    except ConfigError:
        return False
    return True
