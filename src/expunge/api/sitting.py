"""Sittings: a run that is stopped and gone on with is one run, and another run is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from expunge.api.digests import keyed, state_digest
from expunge.api.folder import SAVEPOINTS
from expunge.api.request.config import AnyConfig
from expunge.api.rows import settings_of
from expunge.api.steering.wish import Wish
from expunge.batch import Examples, Split
from expunge.data import example_hashes, root_indices
from expunge.engine import CODE, Every, Savepoints, SharedSavepoints, Stateful, Stopped
from expunge.key import load_key
from expunge.methods import Method
from expunge.sources import code_version, own_sources
from expunge.weights import locked


def savepoints_of(config: AnyConfig, force: bool = False) -> Savepoints:
    """Return where a run saves its state, as often as its request says."""
    return Savepoints(config.out / SAVEPOINTS, Every(**config.savepoints.model_dump()), force=force)


@contextmanager
def sitting(resume: Path | str | Savepoints | None, shared: bool = False) -> Iterator[Savepoints | None]:
    """Lend the savepoints of a folder, which no other process may use meanwhile; None without a folder.

    Args:
        resume: The folder, or what says more.
        shared: Whether the ranks of torch.distributed share the run; each is lent a folder of its own, below.

    Raises:
        ConfigError: If another process is at work there, or it cannot be written.
        Stopped: On ranks, if a signal came after the last savepoint.
    """
    points = Savepoints(Path(resume)) if isinstance(resume, Path | str) else resume
    if points is None:
        yield None
    elif shared:
        yield from together(points)
    else:
        with locked(points.folder):
            yield points


def together(points: Savepoints) -> Iterator[Savepoints]:
    """Lend this rank's own savepoints below a folder.

    A signal waits until all ranks have agreed to end: where one ended by itself, the others would wait for it in vain.
    """
    own = SharedSavepoints(points.folder, points.every, points.stopping, force=points.force)
    with own.stopping.held_back(), ExitStack() as held:
        held.callback(own.council.adjourn)
        own.jointly(lambda: held.enter_context(locked(own.folder)))
        yield own
        own.due()
    if own.asked is not None:
        raise Stopped(own.asked)


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
    # The order counts: batches are drawn by it.
    examples = [part for side in sides if side is not None for part in side_parts(side, key)]
    return {
        "method": worded(settings_of(method)),
        "conditions": worded(conditions),
        "budget": None if wish is None else worded([asdict(wish.budget), wish.prefer]),
        "examples": keyed(key, "examples", examples),
        "model": state_digest(model, key),
        CODE: {**code_version(), **own_sources(method, model)},
    }


def side_parts(examples: Examples, key: bytes) -> tuple[bytes, bytes]:
    """Return where the examples of a side stand in their data set, and what they hold, in their order."""
    return root_indices(examples).numpy().astype("<i8").tobytes(), example_hashes(examples, key).tobytes()


def worded(value: Any) -> str:
    """Return settings as text that is the same in every process; of an object that JSON cannot hold, its type."""
    return json.dumps(value, sort_keys=True, default=lambda thing: type(thing).__name__)
