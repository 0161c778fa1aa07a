"""The rows of a request to a generative model: all models draw the same images, and one classifier looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from expunge.api.earlier_requests import EarlierRequest
from expunge.api.generative.grids import SampleGrid, make_sample_grid
from expunge.api.model_comparison import Role, serialize_method
from expunge.api.progress import progress_bar
from expunge.api.relapse import FindCorrect
from expunge.api.request_section import RequestInfo
from expunge.batch import Split
from expunge.errors import ConfigError
from expunge.methods import Method
from expunge.metrics import SECONDS, ModelScores, aggregate
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.evaluation import ImageClassifier, ImageEvaluation, LabeledImages
from expunge.tasks.diffusion.sampling import sample

VALUE_RANGE = (-1.0, 1.0)
IMAGES_PER_CLASS = 3
"""Pictures of each class in the grid of the report."""
OnImages = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplingConfig:
    """Which images every model draws.

    Args:
        forgotten: How many of the forgotten classes. Default 500.
        remaining: How many of the other classes together, as many of each as can be. Default 5000.
        guidance: w of classifier-free guidance; 1 is none. Default 2.
        steps: Of the sampler. Default 25.
        seed: Of the starting noise; image i of every model starts from the same. Default 0.

    Raises:
        ConfigError: If a count is not positive.

    Examples:
        >>> SamplingConfig(forgotten=2, remaining=3).make_labels([1], 4)
        tensor([1, 1, 0, 2, 3])
    """

    forgotten: int = 500
    remaining: int = 5000
    guidance: float = 2.0
    steps: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if min(self.forgotten, self.remaining, self.steps) < 1:
            actual = f"{self.forgotten}, {self.remaining} and {self.steps}"
            raise ConfigError("numbers of images and steps of at least 1", actual, "change them")

    def make_labels(self, forgotten: Sequence[int], classes: int, excluded: Sequence[int] = ()) -> Tensor:
        """Return the class of each image, the forgotten ones first; none of a class that is gone already."""
        forgotten_classes = torch.tensor(sorted(forgotten))
        remaining_classes = torch.tensor([one for one in range(classes) if one not in {*forgotten, *excluded}])
        return torch.cat(
            [cycle_labels(forgotten_classes, self.forgotten), cycle_labels(remaining_classes, self.remaining)]
        )

    def sample_images(self, model: DDPM, labels: Tensor, on_images: OnImages | None = None) -> LabeledImages:
        """Return what a model draws."""
        settings: dict[str, Any] = {"guidance": self.guidance, "steps": self.steps, "seed": self.seed}
        images = sample(model, labels, **settings, on_images=on_images)
        return LabeledImages(images, labels, VALUE_RANGE, seeds=torch.arange(len(labels)))


def cycle_labels(classes: Tensor, count: int) -> Tensor:
    """Return ``count`` classes in turn; none of no class."""
    return classes[torch.arange(count if len(classes) else 0) % max(1, len(classes))]


@dataclass(frozen=True)
class ModelImages:
    """A model's place in the table."""

    key: str
    label: str
    role: Role
    images: LabeledImages | None
    details: Mapping[str, Any] = field(default_factory=dict)


class ImageModelComparison:
    """What every model draws for one request at one seed, and the figures of it.

    The original comes first: its images are what the others' are compared with.

    Args:
        split: The examples of the request.
        real: Real images that neither classifier nor model was trained on.
        classifier: The named classifier; None for pictures without figures.
        sampling: Which images are drawn. Default: those of ``SamplingConfig``.
        seed: Of the run that the models belong to. Default 0.
        excluded_classes: Classes that earlier requests forgot, of which nothing is drawn. Default none.
        console: Where a bar for the images of each model goes. Default: nowhere.
    """

    def __init__(
        self,
        split: Split,
        real: LabeledImages,
        classifier: ImageClassifier | None,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
        excluded_classes: Sequence[int] = (),
        console: Console | None = None,
    ) -> None:
        self.console = console or Console(quiet=True)
        self.split, self.real, self.classifier, self.seed = split, real, classifier, seed
        self.sampling = sampling or SamplingConfig()
        self.forgotten: list[int] = split.forget.targets.unique().tolist()
        self.labels = self.sampling.make_labels(self.forgotten, split.num_classes, excluded_classes)
        self.rows: list[ModelImages] = []

    def add_original(self, model: DDPM) -> None:
        """Add the model before unlearning."""
        self.rows.append(ModelImages("original", "Original", "original", self.sample_images(model), {"scores": {}}))

    def add_retrained(self, model: DDPM, seconds: float | None = None) -> None:
        """Add a model that never saw what is forgotten."""
        scores = {} if seconds is None else {SECONDS.key: seconds}
        self.rows.append(ModelImages("retrain", "Retrain", "retrained", self.sample_images(model), {"scores": scores}))

    def add_unlearned(
        self,
        model: DDPM | None,
        key: str,
        method: Method,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        peak_memory: int | None = None,
    ) -> None:
        """Add an unlearned model; None for one that diverged, which keeps a row without figures."""
        images = None if model is None else self.sample_images(model)
        time_scores = {} if seconds is None or model is None else {SECONDS.key: seconds}
        details = {"scores": time_scores, "history": history, "settings": serialize_method(method)}
        self.rows.append(ModelImages(key, method.label or type(method).__name__, "method", images, details))

    def sample_images(self, model: DDPM) -> LabeledImages:
        """Return what a model draws."""
        with progress_bar(self.console, "Drawing", len(self.labels), images=1) as progress:
            return self.sampling.sample_images(model, self.labels, progress.set_progress)

    def build_table(self) -> dict[str, Any]:
        """Return metrics and rows of the request's part of a result document."""
        trials, columns = (
            self.score_models() if self.classifier is not None else ([self.build_trial(row) for row in self.rows], ())
        )
        return aggregate(trials, metrics=columns)

    def score_models(self) -> tuple[list[ModelScores], Any]:
        """Return the trials of all models with their figures, and the columns of these."""
        original_images = next(row.images for row in self.rows if row.role == "original")
        classifier = self.classifier
        if classifier is None:
            raise ConfigError("a classifier", "none", "pass one to have figures")
        evaluation = ImageEvaluation(classifier, self.real, self.forgotten, original=original_images)
        trials = []
        for row in self.rows:
            figures = None if row.images is None else evaluation(row.images)
            trials.append(self.build_trial(row, figures.scores, figures.evidence) if figures else self.build_trial(row))
        return trials, evaluation.columns

    def build_trial(
        self, row: ModelImages, scores: Mapping[str, Any] | None = None, evidence: Any = None
    ) -> ModelScores:
        """Return a model with its figures."""
        all_scores = {**(scores or {}), **row.details["scores"]}
        details = {name: row.details[name] for name in ("history", "settings") if name in row.details}
        return ModelScores(row.key, row.label, row.role, self.seed, all_scores, evidence=evidence or {}, **details)

    def build_grid(self, names: Sequence[str], per_class: int = IMAGES_PER_CLASS) -> SampleGrid:
        """Return the first pictures of every class, a row for each model."""
        chosen = [(self.labels == one).nonzero().flatten()[:per_class] for one in self.labels.unique()]
        forgotten = [part for part in chosen if int(self.labels[part[0]]) in self.forgotten]
        remaining = [part for part in chosen if int(self.labels[part[0]]) not in self.forgotten]
        at = torch.cat([*forgotten, *remaining])
        heads = [f"{names[int(self.labels[i])]}, image {int(i)}" for i in at]
        rows = {row.label: row.images.images[at] for row in self.rows if row.images is not None}
        return make_sample_grid(rows, heads, span=(0, 1), title="What each model draws from the same noise")


def make_correct_image_finder(
    sampling: SamplingConfig, classifier: ImageClassifier | None, on_images: OnImages | None = None
) -> FindCorrect:
    """Return a function that finds the images of a diffusion model in which the classifier sees their own class."""

    def find_correct(model: Any, one: EarlierRequest, part: str) -> Tensor | None:
        if classifier is None or not one.classes:
            return None
        labels = cycle_labels(torch.tensor(one.classes), sampling.forgotten)
        predicted = classifier(sampling.sample_images(model, labels, on_images).images).classes
        return torch.isin(torch.from_numpy(predicted), labels)

    return find_correct


def build_generative_section(request_info: RequestInfo, rows: ImageModelComparison, real: int) -> dict[str, Any]:
    """Return the part of a result document that belongs to one request to a generative model."""
    split = rows.split
    sizes = {"forget": len(split.forget), "retain": len(split.retain), "test": real}
    return {
        "id": request_info.id,
        "description": request_info.description,
        "kind": request_info.kind,
        "sizes": {"train": sizes["forget"] + sizes["retain"], **sizes},
        "classes": list(request_info.class_names),
        "seeds": [rows.seed],
        "retrained": False,
        **rows.build_table(),
        "examples": [],
        "grids": [rows.build_grid(request_info.class_names).as_dict()],
    }
