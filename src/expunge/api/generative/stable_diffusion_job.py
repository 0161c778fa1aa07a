"""A request to a text-to-image model: both models draw the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from rich.console import Console
from torch import Tensor, nn

from expunge.api.digests import hmac_digest, weights_digest
from expunge.api.earlier_requests import (
    EarlierRequest,
    Exclusions,
    build_concept_hashes,
    find_forgotten_prompts,
    nothing_left_error,
    trace_chain,
)
from expunge.api.execute import RunOutcome
from expunge.api.folder import CONFIG_FILE, GRID_FILE, RunFolder, check_folder, check_same_config
from expunge.api.generative.grids import STILL_CONTAINS_DATA as GRID_HOLDS
from expunge.api.generative.grids import SampleGrid, make_sample_grid
from expunge.api.generative.noise_change import measure_noise_change
from expunge.api.inputs import resolve_device
from expunge.api.job import Job, strip_requester
from expunge.api.loading import error_location, validate_method
from expunge.api.model_comparison import serialize_method
from expunge.api.progress import progress_bar
from expunge.api.relapse import build_relapse_section
from expunge.api.request_section import RequestInfo
from expunge.api.resuming import check_code, write_config
from expunge.batch import Split
from expunge.errors import RequestError
from expunge.key import load_or_create_key
from expunge.ledger import ForgottenHashes, Ledger, LedgerEntry, RequestRecord
from expunge.methods import Method
from expunge.metrics import SECONDS, ModelScores, aggregate
from expunge.request.request_file import UNLEARNED_FOLDER
from expunge.tasks.diffusion.sampling import check_steps
from expunge.tasks.stable_diffusion.concept import Concept, check_concepts
from expunge.tasks.stable_diffusion.concept_split import ConceptSplit, concept_split
from expunge.tasks.stable_diffusion.prompt_examples import generate_latents
from expunge.tasks.stable_diffusion.request import ConceptChoice, SamplesChoice, StableDiffusionConfig
from expunge.tasks.stable_diffusion.task import as_text_to_image
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

STILL_CONTAINS_DATA = (
    "The original pipeline's folder.",
    "The cache of latents, where the request names one.",
    GRID_HOLDS,
)


@dataclass
class StableDiffusionJob(Job[StableDiffusionConfig]):
    """A request to a text-to-image model; its examples are images that the model draws in the run.

    Args:
        concepts: To forget.
        keep: Prompts whose images must not change.
    """

    outputs: ClassVar[Mapping[str, str]] = {"Model:": UNLEARNED_FOLDER, "Grid:": GRID_FILE}
    disclosure_note: ClassVar[str] = "No classifier looked."

    concepts: list[Concept] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)

    def read(self, data_dir: Path | None) -> None:
        """Read model, method and concepts, each refusal with the line to blame."""
        config, folder = self.config, Path(self.config.model)
        with error_location(config, "out"):
            check_folder(config.out, self.folder_mode.overwrite, self.folder_mode.resume)
            config.check_out_folder(folder)
        self.method = validate_method(config)
        with error_location(config, "device"):
            device = resolve_device(config.device)
        with error_location(config, "forget"):
            self.concepts = [build_concept(choice) for choice in config.forget]
            check_concepts(self.concepts, config.keep)
        self.keep, self.left_out = select_prompts(config, self.concepts)
        with error_location(config, "model"):
            original = TextToImage.from_pretrained(config.model).to(device)
        for section, steps in (("latents", config.latents.steps), ("images", config.images.steps)):
            with error_location(config, section, "steps"):
                check_steps(original, steps)
        with error_location(config, "forget"):
            original.encoders.embed(self.prompts)
        with error_location(config, "exclude"):
            original.encoders.embed([*config.exclude, *config.keep])
        self.original, self.checkpoint = original, folder if folder.is_dir() else None

    @property
    def prompts(self) -> list[str]:
        """Every prompt of the request, those to forget first."""
        return [prompt for concept in self.concepts for prompt in concept.prompts] + self.keep

    @property
    def names(self) -> str:
        """The concepts to forget, in words."""
        return ", ".join(concept.name for concept in self.concepts)

    @property
    def info(self) -> RequestInfo:
        """The request in the words of the report."""
        return RequestInfo("request", f"Forget '{self.names}'", "concept", self.prompts)

    @property
    def title(self) -> str:
        """What is asked of which kind of model."""
        return f"A text-to-image model forgets '{self.names}'"

    @property
    def chosen_method(self) -> Method:
        """The method, for ``auto`` what it stands for: there is nothing to search."""
        return self.method

    @property
    def images_per_update(self) -> int:
        return getattr(self.method, "batch_size", 0) or 0

    @property
    def model(self) -> nn.Module:
        """The model with its prompts, some of whose weights may change."""
        return self.concept_split.model

    def build_split(self) -> Split:
        """Return the images of both sides, drawn or from their cache."""
        self.split = Split(self.concept_split.forget, self.concept_split.retain, len(self.prompts))
        return self.split

    @cached_property
    def concept_split(self) -> ConceptSplit:
        """The model with its prompts and the latents of both sides."""
        chosen = self.config.latents.model_dump()
        cache: Path | None = chosen.pop("cache")
        with progress_bar(self.console, "Drawing", chosen["per_prompt"] * len(self.prompts), images=1) as shown:
            settings = {**chosen, "on_images": shown.set_progress}
            split = concept_split(as_text_to_image(self.original), self.concepts, self.keep, cache=cache, **settings)
        part = self.config.train
        split.model.set_trainable(part.name, rank=part.rank, layers=part.layers)
        if self.config.gradient_checkpointing:
            split.model.set_checkpointing()
        return split

    def open_folder(self) -> RunFolder:
        mode = self.folder_mode
        folder = RunFolder(self.config.out, overwrite=mode.overwrite, resume=mode.resume)
        config_record = strip_requester(self.config.model_dump(mode="json", by_alias=True))
        if mode.resume and (folder.path / CONFIG_FILE).exists():
            check_same_config(folder.path / CONFIG_FILE, config_record)
            check_code(folder, mode.force)
            return folder
        write_config(folder, config_record, self.device)
        return folder

    def create_comparison(self) -> PromptComparison:
        """Return what both models draw of the same prompts."""
        return PromptComparison(self.config.images, self.prompts, self.console)

    def build_section(self, outcome: RunOutcome, show_examples: bool) -> dict[str, Any]:
        """Return the request's part of the result document, and write the grid of images."""
        seed, result, split = self.config.seed, outcome.result, self.concept_split
        grid = outcome.comparison.build_grid()
        grid.write(self.folder.path / GRID_FILE)
        label = self.method.label or type(self.method).__name__
        details: dict[str, Any] = {"history": result.history, "settings": serialize_method(self.method)}
        trials = [
            ModelScores("original", "Original", "original", seed, {}),
            ModelScores(self.config.method.name, label, "method", seed, {SECONDS.key: result.seconds}, **details),
        ]
        sizes = {"forget": len(split.forget), "retain": len(split.retain), "test": 0}
        return {
            "id": "request",
            "description": self.info.description,
            "kind": "concept",
            "sizes": {"train": None, **sizes},
            "classes": self.prompts,
            "seeds": [seed],
            "retrained": False,
            **aggregate(trials, metrics=()),
            "examples": [],
            "grids": [grid.as_dict()],
            **self.build_earlier_section(outcome.models),
        }

    def build_earlier_section(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is seen of earlier requests: how much the noise predicted for their prompts changed."""
        section = build_relapse_section(self.left_out, {}, lambda *_: None, ())
        if not any(one.prompts for one in self.left_out.earlier):
            return section
        before, after, chosen = models["original"], models["method"], self.config.latents

        def measure(prompts: Sequence[str], title: str) -> float:
            settings = chosen.model_dump(include={"guidance", "steps", "seed"})
            with progress_bar(self.console, title, chosen.per_prompt * len(prompts), images=1) as shown:
                settings["on_images"] = shown.set_progress
                examples = generate_latents(before, prompts, chosen.per_prompt, **settings)
            return measure_noise_change(before, after, examples, self.config.seed)

        kept = measure(self.keep, "Kept")
        for row, one in zip(section["earlier"], self.left_out.earlier, strict=True):
            if one.prompts:
                change = measure(one.prompts, "Earlier")
                row["noise"] = {"prompts": len(one.prompts), "change": change, "kept_change": kept}
        return section

    def list_still_contains_data(self, section: Mapping[str, Any]) -> Sequence[str]:
        """Return what still holds what was to be forgotten."""
        return STILL_CONTAINS_DATA

    def build_request_record(self, key: bytes) -> RequestRecord:
        """Return which concepts are to be forgotten, in keyed hashes; the sizes are numbers of concepts and prompts."""
        concepts = sorted(choice.model_dump_json().encode() for choice in self.config.forget)
        kept_prompts = sorted(prompt.encode() for prompt in self.config.keep)
        forgotten, data = hmac_digest(key, "concepts", concepts), hmac_digest(key, "kept prompts", kept_prompts)
        return RequestRecord(forgotten, data, "concept", len(concepts), len(kept_prompts))

    def build_forgotten_hashes(self, key: bytes) -> ForgottenHashes:
        return build_concept_hashes([text for one in self.concepts for text in (one.name, *one.prompts)], key)

    def hash_state(self, model: nn.Module, key: bytes) -> None:
        """Return None: a text-to-image model is known by its files."""


class PromptComparison:
    """What every model draws of the same prompts with the same seeds; nothing is measured.

    Args:
        sampling: Which images are drawn.
        prompts: All prompts.
        console: Where bars go.
    """

    def __init__(self, sampling: SamplesChoice, prompts: Sequence[str], console: Console) -> None:
        self.sampling, self.prompts, self.console = sampling, prompts, console
        self.images: dict[str, Tensor] = {}

    def add_original(self, model: TextToImage) -> None:
        """Add the model before unlearning."""
        self.images["Original"] = self.sample_images(model, "Original")

    def add_retrained(self, model: TextToImage, seconds: float | None = None) -> None:
        """Add a model that never saw what is forgotten."""
        self.images["Retrain"] = self.sample_images(model, "Retrain")

    def add_unlearned(self, model: TextToImage, key: str, method: Method, *_: Any) -> None:
        self.images[method.label or type(method).__name__] = self.sample_images(model, "Unlearned")

    def sample_images(self, model: TextToImage, label: str) -> Tensor:
        """Return what a model draws."""
        chosen = self.sampling
        repeated_prompts = [prompt for prompt in self.prompts for _ in range(chosen.per_prompt)]
        seeds = [chosen.seed + number for _ in self.prompts for number in range(chosen.per_prompt)]
        with progress_bar(self.console, label, len(repeated_prompts), images=1) as shown:
            settings: dict[str, Any] = {"guidance": chosen.guidance, "steps": chosen.steps}
            return model.images(repeated_prompts, seeds, **settings, on_images=shown.set_progress)

    def build_grid(self) -> SampleGrid:
        """Return what all models draw, a row for each."""
        each, first = self.sampling.per_prompt, self.sampling.seed
        heads = [f"{prompt}, seed {first + number}" for prompt in self.prompts for number in range(each)]
        title = "What each model draws of the same prompts and seeds"
        return make_sample_grid(self.images, heads, span=(0, 1), title=title)


def select_prompts(config: StableDiffusionConfig, concepts: Sequence[Concept]) -> tuple[list[str], Exclusions]:
    """Return the prompts to keep, without those that name a concept which an earlier request forgot, and exclusions."""
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
        texts = dict.fromkeys(find_forgotten_prompts([*config.exclude, *config.keep], forgotten, key))
        earlier.append(EarlierRequest(number, torch.empty(0, dtype=torch.int64), prompts=tuple(texts)))
    prompts = [prompt for prompt in config.keep if prompt not in removed_prompts]
    if not prompts:
        raise nothing_left_error("keep")
    return prompts, Exclusions(tuple(earlier), retain=len(removed_prompts), unknown=unknown)


def build_concept(choice: ConceptChoice) -> Concept:
    """Return the concept that a request file names."""
    if choice.kind is not None:
        return Concept.from_kind(choice.kind, choice.name, choice.anchor[0])
    return Concept(choice.name, choice.prompts, choice.anchor[0] if len(choice.anchor) == 1 else choice.anchor)
