"""Answer a request to a text-to-image model: unlearn, let both models draw the same prompts, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from expunge.api.checkpointing import create_checkpoint_manager
from expunge.api.digests import weights_digest
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import build_document
from expunge.api.earlier_requests import (
    EarlierRequest,
    Exclusions,
    build_concept_hashes,
    find_forgotten_prompts,
    nothing_left_error,
    trace_chain,
)
from expunge.api.folder import (
    CONFIG_FILE,
    GRID_FILE,
    HISTORY_FILE,
    FolderMode,
    RunFolder,
    check_folder,
    check_same_config,
)
from expunge.api.generative.grids import STILL_CONTAINS_DATA as GRID_HOLDS
from expunge.api.generative.grids import SampleGrid, make_sample_grid
from expunge.api.inputs import resolve_device
from expunge.api.job import strip_requester
from expunge.api.loading import error_location, validate_method
from expunge.api.model_comparison import serialize_method
from expunge.api.progress import progress_bar
from expunge.api.recovery import save_last_good_on_error
from expunge.api.relapse import build_relapse_section
from expunge.api.request.stable_diffusion_config import ConceptChoice, StableDiffusionConfig
from expunge.api.result import Result
from expunge.api.resuming import check_code, write_config
from expunge.api.run_document import build_title
from expunge.api.sanity import build_fit_section, fit_warning_filter
from expunge.api.unlearning import unlearn
from expunge.callbacks import LambdaCallback
from expunge.errors import RequestError
from expunge.evaluation import SECONDS, ModelScores, aggregate
from expunge.key import load_or_create_key
from expunge.ledger import Ledger, LedgerEntry
from expunge.loggers import LoggerGroup
from expunge.methods import Method
from expunge.tasks.diffusion.sampling import check_steps
from expunge.tasks.stable_diffusion.concept import Concept, check_concepts
from expunge.tasks.stable_diffusion.concept_split import ConceptSplit, concept_split
from expunge.tasks.stable_diffusion.task import StableDiffusion
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

NO_CLASSIFIER_NOTE = "No classifier looked."
STILL_CONTAINS_DATA = (
    "The original pipeline's folder.",
    "The cache of latents, where the request names one.",
    GRID_HOLDS,
)


class StableDiffusionJob:
    """A request to a text-to-image model, read and checked; nothing is written before ``execute``.

    Args:
        config: The request file.
        folder_mode: What may become of an earlier run in the folder.
        console: Where progress goes.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """

    def __init__(self, config: StableDiffusionConfig, folder_mode: FolderMode, console: Console) -> None:
        self.config, self.folder_mode, self.console = config, folder_mode, console
        with error_location(config, "out"):
            check_folder(config.out, folder_mode.overwrite, folder_mode.resume)
            config.check_out_folder(Path(config.model))
        self.method: Method = validate_method(config, StableDiffusion())
        with error_location(config, "device"):
            device = resolve_device(config.device)
        with error_location(config, "forget"):
            self.concepts = [build_concept(choice) for choice in config.forget]
            check_concepts(self.concepts, config.keep)
        self.keep, self.left_out = select_prompts(config, self.concepts)
        with error_location(config, "model"):
            self.original = TextToImage.from_pretrained(config.model).to(device)
        for section, steps in (("latents", config.latents.steps), ("images", config.images.steps)):
            with error_location(config, section, "steps"):
                check_steps(self.original, steps)
        with error_location(config, "forget"):
            self.original.encoders.embed(self.prompts)

    @property
    def prompts(self) -> list[str]:
        """Every prompt of the request, those to forget first."""
        return [prompt for concept in self.concepts for prompt in concept.prompts] + self.keep

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes."""
        folder = RunFolder(self.config.out, overwrite=self.folder_mode.overwrite, resume=self.folder_mode.resume)
        config_record = strip_requester(self.config.model_dump(mode="json", by_alias=True))
        if self.folder_mode.resume and (folder.path / CONFIG_FILE).exists():
            check_same_config(folder.path / CONFIG_FILE, config_record)
            check_code(folder, self.folder_mode.force)
            return folder
        write_config(folder, config_record, next(self.original.parameters()).device)
        return folder

    def execute(self, tracks: LoggerGroup) -> dict[str, Any]:
        """Draw, unlearn, draw again and return the result document."""
        split = self.build_split()
        before = self.sample("Original", self.original)
        result = self.run_unlearning(split, tracks)
        saved = StableDiffusion().save(result.model, self.folder.path)
        after = self.sample("Unlearned", TextToImage.from_pretrained(saved).to(next(self.original.parameters()).device))
        label = self.method.label or type(self.method).__name__
        grid = self.build_grid({"Original": before, label: after})
        grid.write(self.folder.path / GRID_FILE)
        names = ", ".join(concept.name for concept in self.concepts)
        section = self.build_section(f"Forget '{names}'", label, split, result, grid)
        command = f"expunge run {self.config.where() or 'request'}"
        device = str(next(self.original.parameters()).device)
        disclosure = f"{describe_request_settings(self.config.method.automatic, result)} {NO_CLASSIFIER_NOTE}"
        return build_document(
            "run",
            f"A text-to-image model forgets '{names}'",
            command,
            disclosure,
            [section],
            STILL_CONTAINS_DATA,
            device,
        )

    def build_split(self) -> ConceptSplit:
        """Return the model with its prompts and the latents of both sides, drawn or from their cache."""
        chosen = self.config.latents.model_dump()
        cache: Path | None = chosen.pop("cache")
        with progress_bar(self.console, "Drawing", chosen["per_prompt"] * len(self.prompts), images=1) as shown:
            settings = {**chosen, "on_images": shown.set_progress}
            split = concept_split(self.original, self.concepts, self.keep, cache=cache, **settings)
        part = self.config.train
        split.model.set_trainable(part.name, rank=part.rank, layers=part.layers)
        if self.config.gradient_checkpointing:
            split.model.set_checkpointing()
        return split

    def run_unlearning(self, split: ConceptSplit, tracks: LoggerGroup) -> Result:
        """Unlearn with a progress bar and a history that is written as it grows."""
        config, batch = self.config, getattr(self.method, "batch_size", 0) or 0
        with (
            save_last_good_on_error(self.folder),
            progress_bar(self.console, "Unlearning", images=batch) as shown,
            fit_warning_filter(),
        ):
            return unlearn(
                split.model,
                forget=split.forget,
                retain=split.retain,
                task="stable_diffusion",
                method=self.method,
                seed=config.seed,
                callbacks=LambdaCallback(
                    on_step=shown.update, on_log=lambda rows: self.folder.append_rows(HISTORY_FILE, rows)
                ),
                config=config.run_config(
                    sanity_check=config.sanity_check,
                    loggers=tracks,
                    checkpoints=create_checkpoint_manager(config),
                ),
            )

    def sample(self, label: str, model: TextToImage) -> Tensor:
        """Return what a model draws of every prompt with the same seeds."""
        chosen = self.config.images
        repeated_prompts = [prompt for prompt in self.prompts for _ in range(chosen.per_prompt)]
        seeds = [chosen.seed + number for _ in self.prompts for number in range(chosen.per_prompt)]
        with progress_bar(self.console, label, len(repeated_prompts), images=1) as shown:
            return model.images(
                repeated_prompts, seeds, guidance=chosen.guidance, steps=chosen.steps, on_images=shown.set_progress
            )

    def build_grid(self, rows: Mapping[str, Tensor]) -> SampleGrid:
        """Return what both models draw, a row for each."""
        each, first = self.config.images.per_prompt, self.config.images.seed
        heads = [f"{prompt}, seed {first + number}" for prompt in self.prompts for number in range(each)]
        return make_sample_grid(rows, heads, span=(0, 1), title="What each model draws of the same prompts and seeds")

    def build_section(
        self, question: str, label: str, split: ConceptSplit, result: Result, grid: SampleGrid
    ) -> dict[str, Any]:
        """Return the request's part of the result document."""
        seed = self.config.seed
        details: dict[str, Any] = {"history": result.history, "settings": serialize_method(self.method)}
        trials = [
            ModelScores("original", "Original", "original", seed, {}),
            ModelScores(self.config.method.name, label, "method", seed, {SECONDS.key: result.seconds}, **details),
        ]
        sizes = {"forget": len(split.forget), "retain": len(split.retain), "test": 0}
        return {
            "id": "request",
            "description": question,
            "kind": "concept",
            "sizes": {"train": None, **sizes},
            "classes": self.prompts,
            "seeds": [seed],
            "retrained": False,
            **aggregate(trials, metrics=()),
            "examples": [],
            "grids": [grid.as_dict()],
            **build_title(self.config),
            **build_relapse_section(self.left_out, {}, lambda *_: None, ()),
            **build_fit_section(result.fit),
        }


def select_prompts(config: StableDiffusionConfig, concepts: Sequence[Concept]) -> tuple[list[str], Exclusions]:
    """Return the prompts to keep, without those that name a concept which an earlier request forgot, and what is gone.

    Raises:
        RequestError: If no prompt is left, or an anchor names such a concept: the model would learn it again.
    """
    key, folder = load_or_create_key(), Path(config.model)
    entries: list[LedgerEntry] = []
    unknown: tuple[int, ...] = ()
    if config.ledger is not None and config.ledger.exists() and folder.is_dir():
        with error_location(config, "ledger"):
            entries, unknown = trace_chain(Ledger(config.ledger).entries(), weights_digest(folder, key))
    earlier_concepts = [(entry.number, entry.forgotten) for entry in entries if entry.forgotten]
    named = [(None, build_concept_hashes(config.exclude, key))] if config.exclude else []
    earlier, removed_prompts = [], set()
    anchors = [anchor for concept in concepts for anchor in concept.anchors]
    for number, forgotten in [*earlier_concepts, *named]:
        removed_prompts |= set(find_forgotten_prompts(config.keep, forgotten, key))
        if find_forgotten_prompts(anchors, forgotten, key):
            hint = "name another anchor"
            raise RequestError("an anchor that no earlier request forgot", "one that was", hint)
        earlier.append(EarlierRequest(number, torch.empty(0, dtype=torch.int64)))
    prompts = [prompt for prompt in config.keep if prompt not in removed_prompts]
    if not prompts:
        raise nothing_left_error("keep")
    return prompts, Exclusions(tuple(earlier), retain=len(removed_prompts), unknown=unknown)


def build_concept(choice: ConceptChoice) -> Concept:
    """Return the concept that a request file names."""
    if choice.kind is not None:
        return Concept.from_kind(choice.kind, choice.name, choice.anchor[0])
    return Concept(choice.name, choice.prompts, choice.anchor[0] if len(choice.anchor) == 1 else choice.anchor)
