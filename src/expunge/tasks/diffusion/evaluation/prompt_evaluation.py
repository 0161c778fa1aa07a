"""What is said of a text-to-image model's images without a classifier: how well they fit their prompts, and nudity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.errors import ConfigError, DataError
from expunge.metrics import Column, clopper_pearson
from expunge.tasks.diffusion.evaluation import clip_score, nudity
from expunge.tasks.diffusion.evaluation.clip_score import ClipScore
from expunge.tasks.diffusion.evaluation.image_results import ImageResults, format_ranges
from expunge.tasks.diffusion.evaluation.labeled_images import ValueRange, as_unit_images
from expunge.tasks.diffusion.evaluation.nudity import NudeNetCounts

FORGET_CLIP_COLUMN = Column(
    "clip_score_forgotten",
    "CLIP score, forgotten",
    "",
    "CLIP score of images asked for what was forgotten with the prompts that asked for it; low where they show "
    "something else. A model that draws noise is low here too: see that of the kept prompts.",
    "lower",
)


@dataclass(frozen=True, eq=False)
class PromptImages:
    """Images and the prompt that each was asked for.

    Args:
        images: ``(n, c, h, w)`` with one or three channels, in ``span``; kept in [0, 1], float32, on the CPU.
        prompts: One for each image.
        span: The values of black and of white. Default (0, 1).
        seeds: Seed of each image, ``(n,)``. Default: not told.

    Raises:
        DataError: If there is not one prompt, or not one seed, for each image, or the images are of another form.

    Examples:
        >>> len(PromptImages(torch.rand(2, 3, 4, 4), ["a cat", "a dog"], seeds=[0, 1]))
        2
    """

    images: Tensor
    prompts: Sequence[str]
    span: ValueRange = (0.0, 1.0)
    seeds: Any = None

    def __post_init__(self) -> None:
        """Bring the images into one range."""
        images = as_unit_images(self.images, self.span)
        seeds = None if self.seeds is None else torch.as_tensor(self.seeds).cpu()
        if len(self.prompts) != len(images) or (seeds is not None and seeds.shape != images.shape[:1]):
            actual = f"{len(self.prompts)} prompts and {'no' if seeds is None else len(seeds)} seeds"
            raise DataError(
                f"a prompt, and a seed if any, for each of {len(images)} images", actual, "pass all of them"
            )
        for name, value in {"images": images, "span": (0.0, 1.0), "seeds": seeds}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "prompts", tuple(self.prompts))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


class PromptEvaluation:
    """Judges a text-to-image model by images of prompts, those for what was forgotten and those for the rest.

    Both parts are optional packages with weights of their own; each states version and hash beside its numbers.

    Args:
        clip: Scores how well images fit their prompts. Default: the columns of it are absent.
        nudity: Counts nudity in the images asked for what was forgotten. Default: the column of it is absent.

    Raises:
        ConfigError: If there is neither.
    """

    def __init__(self, clip: ClipScore | None = None, nudity: NudeNetCounts | None = None) -> None:
        if clip is None and nudity is None:
            raise ConfigError("a CLIP score or counts of nudity", "neither", "pass clip= or nudity=")
        self.clip, self.nudity = clip, nudity

    def __call__(self, forgotten: PromptImages | None, kept: PromptImages | None = None) -> ImageResults:
        """Return the figures of a model from its images.

        Args:
            forgotten: Images of prompts that ask for what was forgotten; None for none.
            kept: Images of other prompts; None for none.

        Raises:
            DataError: If there are no images at all.
        """
        parts = {name: part for name, part in (("forgotten", forgotten), ("kept", kept)) if part is not None}
        if not any(len(part) for part in parts.values()):
            raise DataError("images of at least one prompt", "none", "generate some")
        scores: dict[str, float | None] = {}
        evidence: dict[str, Any] = {f"{name}_prompts": summarize_images(part) for name, part in parts.items()}
        for figures in (self.score_clip(parts), self.score_nudity(parts)):
            scores |= figures.scores
            evidence |= figures.evidence
        return ImageResults(scores, evidence)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the scores, in their order."""
        fit = () if self.clip is None else (clip_score.COLUMN, FORGET_CLIP_COLUMN)
        return (*fit, *(() if self.nudity is None else (nudity.COLUMN,)))

    def score_clip(self, parts: Mapping[str, PromptImages]) -> ImageResults:
        """Return how well images fit their prompts."""
        if self.clip is None:
            return ImageResults({}, {})
        keys = {"kept": clip_score.COLUMN.key, "forgotten": FORGET_CLIP_COLUMN.key}
        clip_scores = {name: self.clip(part.images, part.prompts) for name, part in parts.items() if len(part)}
        scores = {keys[name]: float(values.mean()) for name, values in clip_scores.items()}
        spread = {f"{name}_deviation": float(np.std(values)) for name, values in clip_scores.items()}
        return ImageResults(scores, {"clip": self.clip.describe() | spread})

    def score_nudity(self, parts: Mapping[str, PromptImages]) -> ImageResults:
        """Return how often nudity is shown; of the kept prompts as evidence only, as what the detector errs by."""
        if self.nudity is None:
            return ImageResults({}, {})
        counts = {name: self.nudity(part.images) for name, part in parts.items() if len(part)}
        evidence = {"nudity": self.nudity.describe() | counts}
        if "forgotten" not in counts:
            return ImageResults({}, evidence)
        hits, total = counts["forgotten"]["nude_images"], counts["forgotten"]["images"]
        interval = clopper_pearson(hits, total)
        evidence["nudity"]["interval"] = [100.0 * interval.low, 100.0 * interval.high]
        return ImageResults({nudity.COLUMN.key: 100.0 * hits / total}, evidence)


def summarize_images(images: PromptImages) -> dict[str, Any]:
    """Return what was asked for, in numbers: the prompts themselves are the user's."""
    seeds = None if images.seeds is None or not len(images) else format_ranges(images.seeds)
    return {"images": len(images), "prompts": len(set(images.prompts)), "seeds": seeds}
