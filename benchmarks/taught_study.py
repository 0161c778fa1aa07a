"""What a taught pipeline forgets by each method, and what it keeps: one cached cell for each unlearned model.

Not a script: ``tiny_stable_diffusion.py`` uses it. All methods have the same pictures, seeds and number of updates.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from captioned_pictures import CAPTIONS, GENERAL, numbers, pictures
from safetensors.torch import load_file, save_file
from torch import Tensor

from expunge.api.generative.grids import SampleGrid, make_sample_grid
from expunge.api.unlearning import unlearn
from expunge.tasks.diffusion.evaluation import ImageClassifier, ImageEvaluation, LabeledImages
from expunge.tasks.stable_diffusion.concept import Concept
from expunge.tasks.stable_diffusion.concept_split import ConceptSplit, concept_split
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

FORGOTTEN = {"class": "trouser", "style": "sketch"}
INSTEAD = {"class": ("trouser", "bag"), "style": ("sketch", "photo")}
FORGET, RETAIN, EACH = 160, 800, 300
"""Pictures on each side, as many of each caption, out of so many photographs of each class."""
COMMON = {"batch": 32, "forget_batch": 32, "rate": 5e-4}
"""Of all that descends: pairs of pictures, AdamW."""
EPOCHS = (6,)
"""Passes over the pictures to keep, of 25 updates each; several budgets are several rows of a method."""
METHODS: Mapping[str, str] = {
    "RL (pseudo-prompt, no surgery)": "rl",
    "SalUn": "salun",
    "EUPMU": "eupmu",
    "LUR": "lur",
    "EUPMU + feasible": "eupmu + lenient",
    "ESD": "esd",
}
ORIGINAL, CLOSED = "original", "UCE"
CELLS = ((ORIGINAL, 0), (CLOSED, 0), *((name, epochs) for epochs in EPOCHS for name in METHODS))
ASKED = {"class": (100, 50), "style": (40, 80)}
"""Images of each caption that was erased, and of each other one."""
GUIDANCE, STEPS = 3.0, 25
SHOWN = 2
"""Images of each caption in a grid."""


def concept(kind: str) -> Concept:
    """Return what a request forgets."""
    word, other = INSTEAD[kind]
    prompts = [caption for caption in (*CAPTIONS, *GENERAL) if word in caption.split()]
    return Concept(word, prompts, [prompt.replace(word, other) for prompt in prompts])


@dataclass
class Study:
    """Makes and remembers cells.

    Args:
        data_dir: Folder of the data sets.
        cache: Holds the taught pipeline; cells are kept there.
        judge: Tells captions apart.
        seed: Of the unlearning.
    """

    data_dir: Path | None
    cache: Path
    judge: ImageClassifier
    seed: int = 0
    model: TextToImage = field(init=False)

    def __post_init__(self) -> None:
        self.model = TextToImage.from_pretrained(self.cache / "pipeline")
        self.split = lru_cache(maxsize=2)(self._split)
        self.evaluation = lru_cache(maxsize=2)(self._evaluation)
        self.folder.mkdir(exist_ok=True)

    @property
    def folder(self) -> Path:
        """Where the cells are."""
        return self.cache / "cells"

    def path(self, kind: str, name: str, epochs: int = 0) -> Path:
        """Return where a cell is kept, without its ending."""
        word = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
        return self.folder / f"{kind}-{word}-{epochs}-{self.seed}"

    def has(self, kind: str, name: str, epochs: int) -> bool:
        """Return whether a cell is in the cache."""
        return self.path(kind, name, epochs).with_suffix(".json").exists()

    def _split(self, kind: str) -> ConceptSplit:
        """Return the request: pictures that the model was taught, with their captions."""
        asked, train = concept(kind), pictures(self.data_dir, "train", EACH)
        kept = [prompt for prompt in (*CAPTIONS, *GENERAL) if prompt not in asked.prompts]
        places, captions = [], []
        for prompts, total in ((asked.prompts, FORGET), (kept, RETAIN)):
            for prompt in prompts:
                fitting = of_prompt(prompt, prompts, train.targets)
                order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(0))
                places.append(fitting[order[: total // len(prompts)]])
                captions += [prompt] * len(places[-1])
        images = train.batch(torch.cat(places)).inputs
        examples = PromptExamples.from_images(self.model, images, captions, batch_size=100)
        return concept_split(self.model, asked, kept, examples=examples)

    def _evaluation(self, kind: str) -> ImageEvaluation:
        """Return what all models of a request are measured by."""
        test = pictures(self.data_dir, "test", 500)
        original = self.shown(kind, self.drawn(kind, ORIGINAL))
        return ImageEvaluation(
            self.judge, LabeledImages.from_examples(test), numbers(FORGOTTEN[kind]), original=original
        )

    def asked(self, kind: str) -> tuple[Tensor, Tensor]:
        """Return the captions' numbers and the seeds of all images of a request."""
        erased, kept = ASKED[kind]
        counts = torch.tensor([erased if n in numbers(FORGOTTEN[kind]) else kept for n in range(len(CAPTIONS))])
        labels = torch.arange(len(CAPTIONS)).repeat_interleave(counts)
        seeds = torch.cat([10_000 + 1000 * number + torch.arange(count) for number, count in enumerate(counts)])
        return labels, seeds

    def shown(self, kind: str, images: Tensor) -> LabeledImages:
        """Return images with what they were asked to show."""
        labels, seeds = self.asked(kind)
        return LabeledImages(images, labels, (0.0, 1.0), seeds)

    def drawn(self, kind: str, name: str, epochs: int = 0, model: TextToImage | None = None) -> Tensor:
        """Return a cell's images in [0, 1], from the cache if they are there."""
        path = self.path(kind, name, epochs).with_suffix(".safetensors")
        if not path.exists():
            labels, seeds = self.asked(kind)
            settings = {"guidance": GUIDANCE, "steps": STEPS, "batch_size": 100}
            made = (model or self.model).images([CAPTIONS[n] for n in labels], seeds.tolist(), **settings)
            save_file({"images": (255 * made).round().to(torch.uint8).contiguous()}, path)
        return load_file(path)["images"].float() / 255

    def cell(self, kind: str, name: str, epochs: int) -> dict[str, Any]:
        """Return what was found of a method, from the cache if it is there."""
        path = self.path(kind, name, epochs).with_suffix(".json")
        if not path.exists():
            made = self.original(kind) if name == ORIGINAL else self.unlearned(kind, name, epochs)
            path.write_text(json.dumps({"method": name, **made}))
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def original(self, kind: str) -> dict[str, Any]:
        """Measure the model as it was taught."""
        evaluation = self.evaluation(kind)
        return {"seconds": 0.0, "updates": 0, **told(evaluation, evaluation.original)}

    def unlearned(self, kind: str, name: str, epochs: int) -> dict[str, Any]:
        """Unlearn and measure."""
        words, settings = ("uce", {}) if name == CLOSED else (METHODS[name], {**COMMON, "epochs": epochs})
        split = self.split(kind)
        sides = {"forget": split.forget, "retain": split.retain, "task": "stable_diffusion"}
        cpu = time.process_time()
        result = unlearn(copy.deepcopy(split.model), **sides, method=words, seed=self.seed, **settings)
        spent = {"seconds": result.seconds, "cpu_seconds": time.process_time() - cpu, "updates": len(result.history)}
        images = self.drawn(kind, name, epochs, result.model)
        found = told(self.evaluation(kind), self.shown(kind, images))
        return {"words": words, "settings": settings, **spent, **found}

    def grid(self, kind: str) -> SampleGrid:
        """Return what every model of a request draws with the same seeds."""
        labels, seeds = self.asked(kind)
        chosen = [int(place) for n in range(len(CAPTIONS)) for place in (labels == n).nonzero().flatten()[:SHOWN]]
        shown = [cell for cell in CELLS if cell[1] in (0, max(EPOCHS)) and self.has(kind, *cell)]
        rows = {name: self.drawn(kind, name, epochs)[chosen] for name, epochs in shown}
        heads = [f"{CAPTIONS[labels[place]]}, seed {seeds[place]}" for place in chosen]
        return make_sample_grid(rows, heads, span=(0, 1), title=f"'{FORGOTTEN[kind]}' forgotten, the same seeds")


def told(evaluation: ImageEvaluation, shown: LabeledImages) -> dict[str, Any]:
    """Return the scores of images, and what stands behind them."""
    figures = evaluation(shown)
    return {"scores": dict(figures.scores), "evidence": dict(figures.evidence)}


def of_prompt(prompt: str, prompts: Sequence[str], targets: Tensor) -> Tensor:
    """Return the positions of pictures that a prompt fits; a general one fits what the others of its style show."""
    style = prompt.split()[1]
    fitting = [prompt] if prompt in CAPTIONS else [one for one in prompts if style in one.split() and one in CAPTIONS]
    return torch.isin(targets, torch.tensor([CAPTIONS.index(one) for one in fitting])).nonzero().flatten()
