"""What several checkpoints make of the same requests with the same seeds, as one labeled picture."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from expunge.api.compute_context import thread_count as processor_threads
from expunge.api.folder import RESULT_FILE
from expunge.api.generative.grids import MIN_LABELED_SIDE, GridSampler, SampleGrid, sample_same_seed_grid
from expunge.api.inputs import resolve_device
from expunge.api.progress import progress_bar
from expunge.errors import CheckpointError, ConfigError, DataError, ModelError
from expunge.registry import list_entries
from expunge.report import read_document
from expunge.screen import SafeConsole
from expunge.tasks.image_sampler import ImageSampler
from expunge.tasks.task import Task
from expunge.type_checks import check_argument_types

UNLEARNED_FOLDER = "unlearned"
"""The folder of a run folder that has the unlearned model."""
MAX_PIXELS = 100_000_000
"""Pixels of the largest picture."""
MAX_SEEDS = 1000


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a model in it that draws images.

    Args:
        path: As it was named: the folder of the model, or of the run that made it.
        folder: Of the model.
        family: Of the model.
    """

    path: Path
    folder: Path
    family: Task

    @classmethod
    def find(cls, path: Path) -> Checkpoint:
        """Return the checkpoint at a path.

        Raises:
            CheckpointError: If there is none.
        """
        folder = path / UNLEARNED_FOLDER if (path / UNLEARNED_FOLDER).is_dir() else path
        families = [entry.target() for entry in list_entries("tasks").values()]
        for family in families if folder.is_dir() else ():
            if family.detects(folder):
                return cls(path, folder, family)
        expected = f"a model that draws images in '{path}'"
        actual = "none there" if path.is_dir() else "no such folder"
        hint = "name a folder that save_pretrained wrote (unet, scheduler, …), or a run folder with one in 'unlearned'"
        raise CheckpointError(expected, actual, hint)

    def read_class_names(self) -> tuple[str, ...]:
        """Return the names of the classes, if the run that made the model says them."""
        file = self.path / RESULT_FILE
        if self.folder == self.path or not file.is_file():
            return ()
        try:
            document = read_document(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            hint = "write the result again, or name the folder 'unlearned' itself"
            raise DataError(f"a readable '{RESULT_FILE}' in '{self.path}'", type(error).__name__, hint) from error
        return document.requests[0].classes


@check_argument_types
def draw_images(
    checkpoints: Sequence[Path | str],
    prompts: Sequence[str],
    seeds: Sequence[int],
    out: Path | str,
    *,
    guidance: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    console: Console | None = None,
) -> SampleGrid:
    """Write what checkpoints make of the same requests with the same seeds as one labeled PNG file.

    A row for each checkpoint, a column for each request and seed. All of them are read and checked before any draws.
    """
    target, torch_device = validate_target(Path(out), overwrite), resolve_device(device)
    check_counts(prompts, seeds, batch_size)
    loaded = LoadedCheckpoints.load([Path(path) for path in checkpoints], guidance, steps)
    check_grid_size(loaded.samplers, len(prompts) * len(seeds))
    prompt_names = loaded.resolve_prompts(prompts)
    screen = console or SafeConsole()
    progress_sampler = ProgressSampler(screen, torch_device, batch_size, max(map(len, loaded.samplers)))
    with processor_threads(threads):
        rows = {label: progress_sampler.wrap(label, sampler) for label, sampler in loaded.samplers.items()}
        grid = sample_same_seed_grid(
            rows,
            list(prompt_names),
            seeds,
            span=(0.0, 1.0),
            names=prompt_names,
            title=f"Images of the same seeds, {loaded.settings}",
        )
    grid.write(target)
    return grid


@dataclass(frozen=True)
class LoadedCheckpoints:
    """Checkpoints that are read.

    Args:
        samplers: Label of each → what draws its images.
        class_names: Names of the classes, if a run says them.
    """

    samplers: Mapping[str, ImageSampler]
    class_names: Sequence[str]

    @classmethod
    def load(cls, paths: Sequence[Path], guidance: float | None, steps: int | None) -> LoadedCheckpoints:
        """Return the checkpoints at paths; their families are compared before anything is loaded.

        Raises:
            ExpungeError: If one cannot be read, or they do not fit together.
        """
        labels, checkpoints = label_checkpoints(paths), [Checkpoint.find(path) for path in paths]
        check_families(checkpoints)
        names = next((names for names in (one.read_class_names() for one in checkpoints) if names), ())
        models = [one.family.load(one.folder) for one in checkpoints]
        samplers = [
            one.family.make_sampler(model, guidance, steps) for one, model in zip(checkpoints, models, strict=True)
        ]
        check_image_shapes(samplers)
        return cls(dict(zip(labels, samplers, strict=True)), names)

    @property
    def settings(self) -> str:
        """How all of them draw, in words."""
        return " and ".join({f"guidance {one.guidance:g}, {one.steps} steps": 0 for one in self.samplers.values()})

    def resolve_prompts(self, prompts: Sequence[str]) -> dict[Any, str]:
        """Return what is asked for, with what it is called in the grid."""
        resolved, *_ = [
            [sampler.parse_condition(words, self.class_names) for words in prompts]
            for sampler in self.samplers.values()
        ]
        if len(set(resolved)) < len(resolved):
            raise ConfigError("every request once", "one of them twice", "leave it out, or add seeds")
        return {one: self.format_prompt(one) for one in resolved}

    def format_prompt(self, request: Any) -> str:
        """Return what a request is called in the grid."""
        if not isinstance(request, int):
            return str(request)
        return self.class_names[request] if request < len(self.class_names) else f"class {request}"


@dataclass(frozen=True)
class ProgressSampler:
    """Draws in batches with a progress bar.

    Args:
        console: Where the bar is.
        device: Where a model is while it draws.
        batch_size: Images at a time; None for the family's number.
        width: Of the longest label.
    """

    console: Console
    device: torch.device
    batch_size: int | None
    width: int

    def wrap(self, label: str, sampler: ImageSampler) -> GridSampler:
        """Return the sampler with a bar."""

        def draw(asked: Sequence[Any], seeds: Sequence[int]) -> Tensor:
            home = next(sampler.model.parameters()).device
            size, done = self.batch_size or sampler.default_batch_size, []
            sampler.model.to(self.device)
            with progress_bar(self.console, label, len(asked), width=self.width, images=1) as shown:
                for at in range(0, len(asked), size):
                    done.append(sampler(asked[at : at + size], seeds[at : at + size]))
                    shown.set_progress(min(at + size, len(asked)), len(asked))
            sampler.model.to(home)
            return torch.cat(done)

        return draw


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that somebody wrote as numbers and ranges.

    Examples:
        >>> parse_seeds("0-3,8")
        [0, 1, 2, 3, 8]
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,15})\s*(?:-\s*([0-9]{1,15})\s*)?", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= high - low < MAX_SEEDS - len(seeds):
            expected = f"at most {MAX_SEEDS} seeds, as numbers and rising ranges"
            raise ConfigError(expected, f"'{text[:60]}'", "write for example --seeds 0-3 or --seeds 0,5,9")
        seeds += range(low, high + 1)
    return list(dict.fromkeys(seeds))


def validate_target(target: Path, overwrite: bool) -> Path:
    """Return the place of the PNG file."""
    if target.suffix.lower() != ".png" or target.is_dir():
        raise ConfigError("a file name that ends in .png", f"'{target}'", "write for example --out grid.png")
    if target.exists() and not overwrite:
        hint = "choose another, or pass --overwrite (overwrite=True)"
        raise CheckpointError(f"'{target}' not to exist yet", "a file there", hint)
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder '{target.parent}'", "none", "create it first")
    return target


def check_counts(prompts: Sequence[str], seeds: Sequence[int], batch_size: int | None) -> None:
    """Refuse a grid of nothing and batches of nothing."""
    if not len(prompts) or not len(seeds):
        raise ConfigError("at least one request and one seed", "none", "write for example --prompt 0 --seeds 0-3")
    if batch_size is not None and batch_size < 1:
        raise ConfigError("a batch size of at least 1", f"{batch_size}", "write for example --batch-size 16")


def label_checkpoints(paths: Sequence[Path]) -> list[str]:
    """Return a label for each checkpoint: the name of its folder, or the path where names are the same."""
    if not paths or len({path.resolve() for path in paths}) < len(paths):
        actual = "none" if not paths else "one of them twice"
        raise ConfigError("checkpoints, each once", actual, "name for example the original and the unlearned model")
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def check_families(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse models of different families: they cannot be asked for the same."""
    names = {one.family.name: one.path for one in checkpoints}
    if len(names) > 1:
        actual = " and ".join(f"{name} in '{path}'" for name, path in names.items())
        raise ModelError("checkpoints of one family of models", actual, "compare models of one family")


def check_image_shapes(samplers: Sequence[ImageSampler]) -> None:
    """Refuse models whose images are not of one form, or that know different numbers of classes."""
    forms = {
        "×".join(map(str, one.image_shape)) + (f" of {one.classes} classes" if one.classes else "") for one in samplers
    }
    if len(forms) > 1:
        hint = "compare models that draw the same kind of images"
        raise ModelError("checkpoints with images of one form", " and ".join(sorted(forms)), hint)


def check_grid_size(samplers: Mapping[str, ImageSampler], columns: int) -> None:
    """Refuse a picture beyond all bounds."""
    _, height, width = next(iter(samplers.values())).image_shape
    pixels = len(samplers) * columns * max(height, MIN_LABELED_SIDE) * max(width, MIN_LABELED_SIDE)
    if pixels > MAX_PIXELS:
        actual = f"{pixels / 1e6:.0f} million"
        hint = "ask for less, or for fewer seeds"
        raise ConfigError(f"a picture of at most {MAX_PIXELS / 1e6:.0f} million pixels", actual, hint)
