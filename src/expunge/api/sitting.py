"""Sittings: a run that is stopped and gone on with is one run, and another run is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from expunge.api.digests import keyed, state_digest
from expunge.api.folder import SAVEPOINTS, RunFolder
from expunge.api.request.config import AnyConfig
from expunge.api.rows import settings_of
from expunge.api.steering.wish import Wish
from expunge.batch import Split
from expunge.data import root_indices
from expunge.data.manifest import digest, fingerprint
from expunge.engine import Every, Savepoints, Stateful
from expunge.key import load_key
from expunge.methods import Method
from expunge.weights import locked


def savepoints_of(config: AnyConfig, folder: RunFolder) -> Savepoints:
    """Return where a run saves its state, as often as its request says."""
    return Savepoints(folder.path / SAVEPOINTS, Every(**config.savepoints.model_dump()))


@contextmanager
def sitting(resume: Path | str | Savepoints | None) -> Iterator[Savepoints | None]:
    """Lend the savepoints of a folder, which no other process may use meanwhile; None without a folder.

    Raises:
        ConfigError: If another process is at work there, or it cannot be written.
    """
    if resume is None:
        yield None
        return
    points = resume if isinstance(resume, Savepoints) else Savepoints(Path(resume))
    with locked(points.folder):
        yield points


def gone_on(points: Savepoints | None, about: Callable[[], Mapping[str, Any]]) -> float:
    """Read what an earlier sitting of the same run has left, and return the seconds that it took.

    Args:
        points: Where; None where nothing is saved.
        about: What the run is about.
    """
    if points is None:
        return 0.0
    points.open(about())
    return points.earlier


def attached(points: Savepoints | None, **parts: Stateful | None) -> None:
    """Save these parts from now on, and give them their states."""
    for name, part in parts.items():
        if points is not None and part is not None:
            points.attach(name, part)


def subject(model: nn.Module, method: Method, split: Split, conditions: dict[str, Any], wish: Wish | None) -> Any:
    """Return what a run is about, as plain values and keyed hashes: who goes on with it has to ask for the same."""
    key = load_key()
    sides = (split.forget, split.retain, split.holdout)
    examples = [f"{digest(root_indices(side), key)} {fingerprint(side)}".encode() for side in sides if side is not None]
    return {
        "method": worded(settings_of(method)),
        "conditions": worded(conditions),
        "budget": None if wish is None else worded([asdict(wish.budget), wish.prefer]),
        "examples": keyed(key, "examples", examples),
        "model": state_digest(model, key),
    }


def worded(value: Any) -> str:
    """Return settings as text that is the same in every process; of an object that JSON cannot hold, its type."""
    return json.dumps(value, sort_keys=True, default=lambda thing: type(thing).__name__)
