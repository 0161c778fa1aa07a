"""Request files of tests: a good one as its lines, and changes to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_lines(folder: Path, lines: Mapping[str, str | None], **changes: str | None) -> Path:
    """Write a request with some values changed, each key on a line of its own; None leaves a key out."""
    file = folder / "request.yaml"
    kept = {key: value for key, value in {**lines, **changes}.items() if value is not None}
    file.write_text("".join(f"{key}: {value}\n" for key, value in kept.items()))
    return file
