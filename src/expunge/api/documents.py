"""The result document: what ``result.json`` holds and the report shows."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import expunge
from expunge.errors import is_unicode

SCHEMA_VERSION = 2

CAVEATS = (
    "Approximate unlearning: the figures show how the model behaves on the examples measured; they do not prove that "
    "the forgotten data have no influence left, and they are no legal conclusion.",
    "The attacks measured are average-case attacks on one model's outputs; an attacker who trains shadow models may "
    "learn more; `expunge ulira` tries that on the method.",
)

ORIGINAL_ELSEWHERE = "The original's weights."
ORIGINAL_IN_FOLDER = "The original's weights, one copy of which is in the run folder; `expunge purge` removes that."
REPORT_SHOWS_EXAMPLES = "The report, which shows pictures of forgotten examples."
"""What ``holds_data`` says of the original's weights and of pictures, where that is so."""


def anonymize_path(path: Path) -> str:
    """Return how a document names a file: as it was written, without the folders of this machine if it is absolute.

    Examples:
        >>> anonymize_path(Path("recipes/digits.yaml")), anonymize_path(Path("/home/me/recipes/digits.yaml"))
        ('recipes/digits.yaml', 'digits.yaml')
    """
    return path.name if path.is_absolute() else path.as_posix()


def build_document(
    kind: str,
    title: str,
    command: str,
    disclosure: str,
    requests: Sequence[dict[str, Any]],
    holds_data: Sequence[str],
    device: str = "cpu",
) -> dict[str, Any]:
    """Return a result document."""
    content: dict[str, Any] = escape_surrogates(
        {
            "schema": SCHEMA_VERSION,
            "kind": kind,
            "title": title,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "versions": collect_versions(),
            "hardware": describe_hardware(device),
            "provenance": disclosure,
            "requests": list(requests),
            "data_still_in": list(holds_data),
            "limitations": list(CAVEATS),
        }
    )
    return content


def escape_surrogates(value: Any) -> Any:
    r"""Return plain values whose texts can be written as UTF-8: names of files may be in another encoding.

    Examples:
        >>> escape_surrogates({"command": ["expunge run m\udcfcde.yaml"]})
        {'command': ['expunge run m\\udcfcde.yaml']}
    """
    if isinstance(value, str):
        return value if is_unicode(value) else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(part) for key, part in value.items()}
    return type(value)(map(escape_surrogates, value)) if isinstance(value, list | tuple) else value


def collect_versions() -> dict[str, str]:
    """Return the versions that figures depend on."""
    return {
        "expunge": expunge.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def describe_hardware(device: str) -> dict[str, Any]:
    """Return what the figures were computed on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.machine()
    return {
        "device": f"{device} ({name})",
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "platform": platform.system(),
    }
