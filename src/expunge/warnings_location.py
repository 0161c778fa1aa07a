"""Where a warning is shown: at the line of the user's that called this package."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


def caller_stack_level() -> int:
    """Return the stack level, as its caller sees it, of the first frame outside of this package and its decorators."""
    own_paths = (str(Path(__file__).parent), contextlib.__file__)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own_paths):
        level, frame = level + 1, frame.f_back
    return level
