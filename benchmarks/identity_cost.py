"""What it costs to know every example by what it holds, beside one pass over the same data.

Run: python benchmarks/identity_cost.py     (about two minutes of one core; needs Fashion-MNIST in EXPUNGE_DATA)

Writes docs/results/identity-cost.json. A pass is what any request needs at least twice: every example is read and goes
through a small network in evaluation mode, without gradients. Of 20,000 pictures in a folder two passes are timed: over
what a reader has decoded into memory, and over a data set that decodes each picture when it is asked for, laid out as
torchvision's ``ImageFolder``. A pass is timed over every tenth example and multiplied by ten. All times are of the
processor, so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

from expunge.batch import Examples
from expunge.data import as_examples, hash_examples
from expunge.registry import find_component
from expunge.tasks.build import build_model

RESULTS = Path(__file__).parents[1] / "docs" / "results"
KEY = bytes(32)
CLASSES, EACH, SIZE = 10, 2_000, 64
BATCH = 256
REPEATS = 3
EVERY = 10
"""A pass is timed over each example of so many."""


class PictureFolder:
    """Pictures that are decoded when they are asked for; it has the attributes of torchvision's ``ImageFolder``."""

    def __init__(self, place: Path) -> None:
        names = sorted(folder.name for folder in place.iterdir())
        found = [(path, label) for label, name in enumerate(names) for path in sorted((place / name).iterdir())]
        self.samples = [(str(path), label) for path, label in found]
        self.targets = [label for _, label in found]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return a picture between 0 and 1, and its label."""
        path, label = self.samples[index]
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32)
        return torch.from_numpy(pixels.transpose(2, 0, 1) / 255), label


PictureFolder.__module__ = "torchvision.datasets.folder"


def write_pictures(place: Path) -> None:
    """Write smooth random pictures as PNG files, train and test."""
    generator = np.random.default_rng(0)
    for part, each in (("train", EACH), ("test", 2)):
        for label in range(CLASSES):
            folder = place / part / f"class {label}"
            folder.mkdir(parents=True)
            for number in range(each):
                small = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                small.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / f"{number:05}.png")


def seconds(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the processor's median time of an action."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return statistics.median(times)


def passed(examples: Examples, channels: int) -> Callable[[], None]:
    """Return a pass over a tenth of the examples: reading them, and a small network in evaluation mode."""
    model = build_model("small_cnn", classes=CLASSES, channels=channels).eval()

    @torch.no_grad()
    def run() -> None:
        for positions in torch.arange(0, len(examples), EVERY).split(BATCH):
            model(examples.batch(positions).inputs)

    return run


def row(what: str, examples: Examples, channels: int) -> dict[str, Any]:
    """Return the times of one data set: a pass, the hashes the first time, and the hashes again."""
    first = seconds(lambda: hash_examples(examples, KEY), 1)
    again = seconds(lambda: hash_examples(examples, KEY))
    one_pass = EVERY * seconds(passed(examples, channels))
    print(f"{what}: a pass {one_pass:.2f} s, first {first:.3f} s, again {again:.3f} s", flush=True)
    return {"what": what, "examples": len(examples), "pass": one_pass, "first": first, "again": again}


def main() -> None:
    """Measure and write the record."""
    torch.set_num_threads(1)
    rows = [row("Fashion-MNIST, in memory", find_component("readers", "fashion_mnist")(None).train, 1)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        place = Path(folder, "pictures")
        write_pictures(place)
        time.sleep(3)  # what changed just now is not remembered
        read = find_component("readers", "image_folder")(place, size=SIZE).train
        rows.append(row("20,000 pictures, decoded into memory", read, 3))
        rows.append(row("20,000 pictures, decoded when asked for", as_examples(PictureFolder(place / "train")), 3))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread"
    study = {"study": "identity-cost", "command": "python benchmarks/identity_cost.py", "machine": machine}
    RESULTS.joinpath("identity-cost.json").write_text(
        json.dumps({**study, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
