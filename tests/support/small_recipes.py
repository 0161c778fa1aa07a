"""A small recipe on digits: two requests, two methods, a tuned one, a network of four channels."""

import json
from pathlib import Path

from expunge.benchmark import BenchmarkFolders, load_recipe, run_benchmark
from expunge.benchmark.cells import BenchmarkCell

LINES = {
    "model": "{name: small_cnn, options: {width: 4}}",
    "data": "{name: digits, subset: 120, options: {test_share: 0.5}}",
    "train": "{epochs: 2, batch_size: 32, lr: 0.05}",
    "holdout": "0.4",
    "requests": "[{class: 3}, {fraction: 0.1}]",
    "seeds": "[0, 1]",
    "methods": "[{name: ft, epochs: 1}, {name: rl, epochs: 1, id: labels, tune: {lr: [0.002, 0.02]}}]",
    "tune": "{lr: [0.01, 0.1]}",
}


def written(folder: Path, without: tuple[str, ...] = (), **lines: str) -> Path:
    path = folder / "tiny.yaml"
    kept = {key: line for key, line in {**LINES, **lines}.items() if key not in without}
    path.write_text("\n".join(f"{key}: {line}" for key, line in kept.items()))
    return path


def recipe_in(folder: Path, without: tuple[str, ...] = (), **lines: str):
    return load_recipe(written(folder, without, **lines))


def folders_in(folder: Path) -> BenchmarkFolders:
    return BenchmarkFolders(folder / "cells", folder / "networks")


def figures(folder: Path) -> dict[str, tuple]:
    """What the cells of a folder found, without times and dates."""
    found = {}
    for path in sorted((folder / "cells").glob("*.json")):
        cell = json.loads(path.read_text())
        found[path.name] = tuple(cell.get(key) for key in ("scores", "per_class", "tuning", "noise_floor", "settings"))
    return found


def carried_out(recipe, folder: Path, **options):
    return run_benchmark(recipe, folders_in(folder), **options)


def cell_of(recipe, row: str, request: int = 0, seed: int = 0, **more) -> BenchmarkCell:
    entry = next(entry for entry in recipe.methods if entry.id == row)
    return BenchmarkCell(recipe, "method", request, seed, entry, tuple(more.items()))
