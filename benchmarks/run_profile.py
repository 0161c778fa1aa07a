"""Where the time of a command goes: reading, batches, passes, steps, and everything else.

Not a script: ``throughput.py`` and ``demo_profile.py`` call it. Each part's functions are wrapped; a part's time is
what is spent in it and not in another part that it calls.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from expunge.api import inputs, job, run_request
from expunge.batch import Predictor
from expunge.data import TensorExamples
from expunge.request.config import load_request

REQUEST = """model: {model}
data: {{name: fashion_mnist, subset: {subset}, augment: crop_flip}}
forget: {{class: 0}}
method: {{name: eupmu, epochs: 1, batch_size: 64}}
train: {{epochs: 2, batch_size: 64}}
retrained_model: retrain
threads: 1
device: {device}
out: run
"""
READING, BATCHES, FORWARD, BACKWARD, STEP = "reading the files", "batches", "forward", "backward", "optimiser's step"
ELSE = "everything else"


class Clock:
    """Takes the time of parts; while one part calls another, the first one's clock stands still."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.open = [ELSE]
        self.since = time.process_time()

    def switch(self) -> None:
        """Give the part that is open the time since the last switch."""
        now = time.process_time()
        self.seconds[self.open[-1]] = self.seconds.get(self.open[-1], 0.0) + now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the body's time to a part."""
        self.switch()
        self.open.append(name)
        try:
            yield
        finally:
            self.switch()
            self.open.pop()

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose time goes to a part."""

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*args, **options)

        return timed


PLACES: list[tuple[Any, str, str]] = [
    (TensorExamples, "batch", BATCHES),
    (Predictor, "__call__", FORWARD),
    (torch.Tensor, "backward", BACKWARD),
    (torch.autograd, "grad", BACKWARD),
    (torch.optim.SGD, "step", STEP),
]


def profile(model: str, subset: int, device: str, data: Path | None) -> dict[str, Any]:
    """Return processor seconds and shares of a small request on Fashion-MNIST, from its data to its report."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "request.yaml")
        file.write_text(REQUEST.format(model=model, subset=subset, device=device))
        config, places = load_request(file), [(job, "checked_source", READING), *PLACES]
        found = shares(lambda: run_request(config, data_dir=data), places)
    return {"model": model, "subset": subset, **found}


def shares(call: Callable[[], Any], places: list[tuple[Any, str, str]]) -> dict[str, Any]:
    """Return the processor seconds of a call, and those of its parts with their shares.

    Args:
        call: What is measured.
        places: An object, the name of a function of it, and the part that its time belongs to.
    """
    clock = Clock()
    with ExitStack() as stack:
        for owner, name, part in places:
            stack.enter_context(patch.object(owner, name, clock.wrapped(part, getattr(owner, name))))
        crop = clock.wrapped(BATCHES, inputs.AUGMENTATIONS["crop_flip"])
        stack.enter_context(patch.dict(inputs.AUGMENTATIONS, {"crop_flip": crop}))
        clock.since = time.process_time()
        call()
        clock.switch()
    total, names = sum(clock.seconds.values()), [*dict.fromkeys([*(part for *_, part in places), ELSE])]
    parts = {name: clock.seconds.get(name, 0.0) for name in names}
    found = {name: {"seconds": round(value, 3), "share": round(value / total, 4)} for name, value in parts.items()}
    return {"seconds": round(total, 2), "parts": found}
