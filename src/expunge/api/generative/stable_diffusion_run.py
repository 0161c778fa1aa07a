"""Answer a request to a text-to-image model: unlearn, let both models draw the same prompts, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from expunge.api.chain import (
    EarlierRequest,
    LeftOut,
    concepts_forgotten,
    naming_forgotten,
    nothing_left,
    trace_chain,
)
from expunge.api.digests import weights_digest
from expunge.api.disclosing import request_disclosure
from expunge.api.documents import document
from expunge.api.folder import CONFIG, GRID, HISTORY, Opening, RunFolder, check_folder, refuse_another
from expunge.api.generative.grids import HOLDS as GRID_HOLDS
from expunge.api.generative.grids import ImageGrid, image_grid
from expunge.api.inputs import device_of
from expunge.api.job import without_requester
from expunge.api.last_good import last_good_kept
from expunge.api.progress import bar
from expunge.api.reading import checked_method, located
from expunge.api.relapse import relapse_part
from expunge.api.request.stable_diffusion_config import ConceptChoice, StableDiffusionConfig
from expunge.api.result import Result
from expunge.api.resuming import check_code, write_config
from expunge.api.rows import settings_of
from expunge.api.sanity import fit_part, told_later
from expunge.api.sitting import savepoints_of
from expunge.api.telling import titled
from expunge.api.unlearning import unlearn
from expunge.errors import RequestError
from expunge.evaluation import SECONDS, Trial, tabulate
from expunge.key import load_key
from expunge.ledger import Entry, Ledger
from expunge.methods import Method
from expunge.tasks.diffusion.sampling import check_steps
from expunge.tasks.stable_diffusion.concept import Concept, check_concepts
from expunge.tasks.stable_diffusion.concept_split import ConceptSplit, concept_split
from expunge.tasks.stable_diffusion.family import StableDiffusion
from expunge.tasks.stable_diffusion.text_to_image import TextToImage
from expunge.trackers import Tracks

UNSEEN = "No classifier looked."
HOLDS = ("The original pipeline's folder.", "The cache of latents, where the request names one.", GRID_HOLDS)


class StableDiffusionJob:
    """A request to a text-to-image model, read and checked; nothing is written before ``answer``.

    Args:
        config: The request file.
        opening: What may become of an earlier run in the folder.
        console: Where progress goes.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """

    def __init__(self, config: StableDiffusionConfig, opening: Opening, console: Console) -> None:
        self.config, self.opening, self.console = config, opening, console
        with located(config, "out"):
            check_folder(config.out, opening.overwrite, opening.resume)
            config.check_apart(Path(config.model))
        self.method: Method = checked_method(config, StableDiffusion())
        with located(config, "device"):
            device = device_of(config.device)
        with located(config, "forget"):
            self.concepts = [as_concept(choice) for choice in config.forget]
            check_concepts(self.concepts, config.keep)
        self.keep, self.left_out = select_prompts(config, self.concepts)
        with located(config, "model"):
            self.original = TextToImage.from_pretrained(config.model).to(device)
        for section, steps in (("latents", config.latents.steps), ("images", config.images.steps)):
            with located(config, section, "steps"):
                check_steps(self.original, steps)
        with located(config, "forget"):
            self.original.reader.embed(self.prompts)

    @property
    def prompts(self) -> list[str]:
        """Every prompt of the request, those to forget first."""
        return [prompt for concept in self.concepts for prompt in concept.prompts] + self.keep

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes."""
        folder = RunFolder(self.config.out, overwrite=self.opening.overwrite, resume=self.opening.resume)
        told = without_requester(self.config.model_dump(mode="json", by_alias=True))
        if self.opening.resume and (folder.path / CONFIG).exists():
            refuse_another(folder.path / CONFIG, told)
            check_code(folder, self.opening.force)
            return folder
        write_config(folder, told, next(self.original.parameters()).device)
        return folder

    def answer(self, tracks: Tracks) -> dict[str, Any]:
        """Draw, unlearn, draw again and return the result document."""
        split = self.split()
        before = self.draws("Original", self.original)
        result = self.unlearned(split, tracks)
        saved = StableDiffusion().save(result.model, self.folder.path)
        after = self.draws("Unlearned", TextToImage.from_pretrained(saved).to(next(self.original.parameters()).device))
        label = self.method.label or type(self.method).__name__
        grid = self.grid({"Original": before, label: after})
        grid.write(self.folder.path / GRID)
        names = ", ".join(concept.name for concept in self.concepts)
        part = self.part(f"Forget '{names}'", label, split, result, grid)
        command = f"expunge run {self.config.where() or 'request'}"
        device = str(next(self.original.parameters()).device)
        disclosure = f"{request_disclosure(self.config.method.automatic, result)} {UNSEEN}"
        return document("run", f"A text-to-image model forgets '{names}'", command, disclosure, [part], HOLDS, device)

    def split(self) -> ConceptSplit:
        """Return the model with its prompts and the latents of both sides, drawn or from their cache."""
        chosen = self.config.latents.model_dump()
        cache: Path | None = chosen.pop("cache")
        with bar(self.console, "Drawing", chosen["count"] * len(self.prompts), images=1) as shown:
            settings = {**chosen, "on_images": shown.reached}
            split = concept_split(self.original, self.concepts, self.keep, cache=cache, **settings)
        part = self.config.train
        split.model.trainable(part.name, rank=part.rank, layers=part.layers)
        if self.config.checkpointing:
            split.model.checkpointing()
        return split

    def unlearned(self, split: ConceptSplit, tracks: Tracks) -> Result:
        """Unlearn with a progress bar and a history that is written as it grows."""
        config, batch = self.config, getattr(self.method, "batch", 0) or 0
        with last_good_kept(self.folder), bar(self.console, "Unlearning", images=batch) as shown, told_later():
            return unlearn(
                split.model,
                forget=split.forget,
                retain=split.retain,
                task="stable_diffusion",
                method=self.method,
                **config.conditions(),
                sanity_check=config.sanity_check,
                on_step=shown.update,
                on_rows=lambda rows: self.folder.append_rows(HISTORY, rows),
                track=tracks,
                resume=savepoints_of(config),
            )

    def draws(self, whose: str, model: TextToImage) -> Tensor:
        """Return what a model draws of every prompt with the same seeds."""
        chosen = self.config.images
        asked = [prompt for prompt in self.prompts for _ in range(chosen.each)]
        seeds = [chosen.seed + number for _ in self.prompts for number in range(chosen.each)]
        with bar(self.console, whose, len(asked), images=1) as shown:
            return model.images(asked, seeds, guidance=chosen.guidance, steps=chosen.steps, on_images=shown.reached)

    def grid(self, rows: Mapping[str, Tensor]) -> ImageGrid:
        """Return what both models draw, a row for each."""
        each, first = self.config.images.each, self.config.images.seed
        heads = [f"{prompt}, seed {first + number}" for prompt in self.prompts for number in range(each)]
        return image_grid(rows, heads, span=(0, 1), title="What each model draws of the same prompts and seeds")

    def part(self, question: str, label: str, split: ConceptSplit, result: Result, grid: ImageGrid) -> dict[str, Any]:
        """Return the request's part of the result document."""
        seed = self.config.seed
        made: dict[str, Any] = {"history": result.history, "settings": settings_of(self.method)}
        trials = [
            Trial("original", "Original", "original", seed, {}),
            Trial(self.config.method.name, label, "method", seed, {SECONDS.key: result.seconds}, **made),
        ]
        sizes = {"forget": len(split.forget), "retain": len(split.retain), "test": 0}
        return {
            "id": "request",
            "question": question,
            "kind": "concept",
            "sizes": {"train": None, **sizes},
            "classes": self.prompts,
            "seeds": [seed],
            "reference": False,
            **tabulate(trials, metrics=()),
            "examples": [],
            "grids": [grid.part()],
            **titled(self.config),
            **relapse_part(self.left_out, {}, lambda *_: None, ()),
            **fit_part(result.fit),
        }


def select_prompts(config: StableDiffusionConfig, concepts: Sequence[Concept]) -> tuple[list[str], LeftOut]:
    """Return the prompts to keep, without those that name a concept which an earlier request forgot, and what is gone.

    Raises:
        RequestError: If no prompt is left, or an anchor names such a concept: the model would learn it again.
    """
    key, folder = load_key(), Path(config.model)
    known: list[Entry] = []
    unknown: tuple[int, ...] = ()
    if config.ledger is not None and config.ledger.exists() and folder.is_dir():
        with located(config, "ledger"):
            known, unknown = trace_chain(Ledger(config.ledger).entries(), weights_digest(folder, key))
    gone = [(entry.number, entry.forgotten) for entry in known if entry.forgotten]
    named = [(None, concepts_forgotten(config.exclude, key))] if config.exclude else []
    earlier, lost = [], set()
    anchors = [anchor for concept in concepts for anchor in concept.anchors]
    for number, forgotten in [*gone, *named]:
        lost |= set(naming_forgotten(config.keep, forgotten, key))
        if naming_forgotten(anchors, forgotten, key):
            cure = "name another anchor"
            raise RequestError("an anchor that no earlier request forgot", "one that was", cure)
        earlier.append(EarlierRequest(number, torch.empty(0, dtype=torch.int64)))
    kept = [prompt for prompt in config.keep if prompt not in lost]
    if not kept:
        raise nothing_left("keep")
    return kept, LeftOut(tuple(earlier), retain=len(lost), unknown=unknown)


def as_concept(choice: ConceptChoice) -> Concept:
    """Return the concept that a request file names."""
    if choice.kind is not None:
        return Concept.of_kind(choice.kind, choice.name, choice.anchor[0])
    return Concept(choice.name, choice.prompts, choice.anchor[0] if len(choice.anchor) == 1 else choice.anchor)
