"""How much faster shadow models train at once than one by one, measured in turns, network by network.

Run: python benchmarks/shadow_timing.py     (three minutes of one core; writes docs/results/shadow-timing.json)

Both ways make the same updates of as many networks from the same weights; a round is some updates of every network by
one way and then by the other, so that whatever else the machine does befalls both. Given are the medians and quartiles
of the ratio over rounds, and what the short calibration of ``train_shadows`` chose. Last comes one whole audit of one
method on digits, from nothing.
"""

from __future__ import annotations

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ulira import SETTINGS, study_of

from expunge.api.audits.ulira import score_study
from expunge.data import TensorExamples
from expunge.shadows import Shadow, ShadowTraining, measure_speed
from expunge.shadows.speed_test import SequentialTrainer, measure_seconds
from expunge.shadows.stacked import StackedTrainer
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.training import TrainSettings

TARGET = Path(__file__).parents[1] / "docs" / "results" / "shadow-timing.json"
ROUNDS, UPDATES = 9, 4


def perceptron() -> nn.Module:
    """Return a network without convolutions."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn(width: int) -> Callable[[], nn.Module]:
    """Return what makes the small convolutional network of this width."""
    return partial(small_cnn, 10, 1, width=width)


CASES: tuple[tuple[str, Callable[[], nn.Module], int, int, int], ...] = (
    ("64-64-10 perceptron", perceptron, 8, 16, 32),
    *((f"small_cnn, width {width}", cnn(width), 8, 16, models) for width in (4, 8, 16) for models in (8, 16, 32)),
    ("small_cnn, width 8", cnn(8), 8, 64, 32),
    ("small_cnn, width 8", cnn(8), 28, 16, 8),
    ("small_cnn, width 8", cnn(8), 28, 64, 8),
)
"""Network, pixels a side, batch, models."""


def case(label: str, make: Callable[[], nn.Module], pixels: int, batch: int, models: int) -> dict[str, Any]:
    """Return what was measured of one network."""
    generator = torch.Generator().manual_seed(0)
    examples = TensorExamples(
        torch.randn(UPDATES * batch, 1, pixels, pixels, generator=generator), torch.arange(UPDATES * batch) % 10
    )
    shadows = [Shadow(torch.arange(UPDATES * batch), number) for number in range(models)]
    settings = TrainSettings(epochs=ROUNDS + 1, batch_size=batch)
    training = ShadowTraining(make, examples, settings)
    lesson = training.config
    networks, others = ([training.make_model(shadow) for shadow in shadows] for _ in range(2))
    chosen = measure_speed(networks, shadows, lesson)
    together, loop = StackedTrainer(networks, shadows, lesson), SequentialTrainer(others, shadows, lesson)
    rounds = [
        (measure_seconds(together.run_epoch, number), measure_seconds(loop.run_epoch, number))
        for number in range(1, ROUNDS + 2)
    ][1:]
    ratios = sorted(alone / at_once for at_once, alone in rounds)
    low, median, high = statistics.quantiles(ratios, n=4)
    milliseconds = [1000 * statistics.median(times) / UPDATES / models for times in zip(*rounds, strict=True)]
    return {
        "network": label,
        "pixels": pixels,
        "batch": batch,
        "models": models,
        "together_ms": milliseconds[0],
        "loop_ms": milliseconds[1],
        "ratio": {"low": low, "median": median, "high": high},
        "chosen": chosen.way,
        "calibrated": chosen.ratio,
    }


def audit(method: str = "salun", rate: float = 0.003) -> dict[str, Any]:
    """Return what one audit costs: shadow models, unlearning and attack, retrained models not included."""
    with tempfile.TemporaryDirectory() as folder:
        study, _ = study_of("digits", Path(folder), None, 0)
        began, used = time.perf_counter(), time.process_time()
        found = score_study(study, {"method": method, **SETTINGS["digits"].common, "rate": rate})
        found.document()
        seconds = {"wall": time.perf_counter() - began, "processor": time.process_time() - used}
    return {"method": method, "models": study.num_models, "candidates": len(study.candidates), "seconds": seconds}


def main() -> None:
    """Measure every case and write the record."""
    torch.set_num_threads(1)
    record = {
        "study": "shadow-timing",
        "command": "python benchmarks/shadow_timing.py",
        "threads": 1,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "rounds": ROUNDS,
        "updates": UPDATES,
        "rows": [case(*one) for one in CASES],
        "audit": audit(),
    }
    TARGET.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
