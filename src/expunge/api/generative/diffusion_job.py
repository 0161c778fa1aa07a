"""A request to a class-conditional diffusion model: both models draw, and a classifier looks at the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from expunge.api.execute import RunOutcome
from expunge.api.folder import GRID_FILE
from expunge.api.generative.grids import STILL_CONTAINS_DATA as GRID_HOLDS
from expunge.api.generative.image_comparison import (
    ImageModelComparison,
    SamplingConfig,
    build_generative_section,
    make_correct_image_finder,
)
from expunge.api.job import DataJob
from expunge.api.loading import error_location
from expunge.api.progress import progress_bar
from expunge.api.relapse import DRAWN_PARTS, build_relapse_section
from expunge.data import LabeledDataset, Normalize, get_root
from expunge.errors import ConfigError, RequestError
from expunge.pair import Pair
from expunge.request.request_file import UNLEARNED_FOLDER
from expunge.tasks.build import build_model
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.denoiser import Denoiser, as_denoiser
from expunge.tasks.diffusion.evaluation import ImageClassifier, LabeledImages
from expunge.tasks.diffusion.request import DiffusionConfig
from expunge.tasks.diffusion.sampling import check_steps
from expunge.weights import load_into

SIGNED_RANGE = Normalize((0.5,), (0.5,))
"""From [0, 1] to [−1, 1], what diffusion models are trained on."""


STILL_CONTAINS_DATA = (
    "The training data themselves, and any cache of them.",
    "The original model's folder.",
    GRID_HOLDS,
)


@dataclass
class DiffusionJob(DataJob[DiffusionConfig]):
    """A request to a class-conditional diffusion model; its data are images in [-1, 1].

    Args:
        real: The test images.
        classifier: What looks at the model's images, if anything does.
    """

    outputs: ClassVar[Mapping[str, str]] = {"Model:": UNLEARNED_FOLDER, "Grid:": GRID_FILE}

    real: LabeledImages = field(init=False)
    classifier: ImageClassifier | None = None

    @property
    def images_per_update(self) -> int:
        return getattr(self.method, "batch_size", 0) or 0

    @property
    def sampling(self) -> SamplingConfig:
        """Which images are drawn."""
        return SamplingConfig(**self.config.images.model_dump())

    def check_out(self) -> None:
        """Refuse a run folder that would write over the model."""
        self.config.check_out_folder(self.config.model)

    def load_original(self, source: LabeledDataset, device: torch.device) -> DDPM:
        """Return the model in its folder."""
        self.checkpoint = self.config.model
        with error_location(self.config, "model"):
            model = DDPM.from_pretrained(self.config.model).to(device)
        with error_location(self.config, "images", "steps"):
            check_steps(model, self.config.images.steps)
        return model

    def read(self, data_dir: Path | None) -> None:
        """Read everything, and refuse a model that does not know the data."""
        super().read(data_dir)
        self.check_fit("model")

    def check_data(self) -> None:
        """Refuse requests for part of a class and too few images, read the classifier, and scale the data."""
        config, source = self.config, self.source
        with error_location(config, "forget", config.forget.kind):
            check_whole_classes(source, self.positions)
        self.classifier = load_image_classifier(config, source, self.device)
        self.real = LabeledImages.from_examples(source.test)
        with error_location(config, "images", "remaining"):
            check_enough_images(self.classifier, self.real, config.images.remaining)
        rescale_to_signed(source)
        with error_location(config, "model"):
            check_classes(as_denoiser(self.original), source)

    def create_comparison(self) -> ImageModelComparison:
        """Return what both models draw."""
        excluded_classes = self.left_out.classes
        return ImageModelComparison(
            self.split, self.real, self.classifier, self.sampling, self.config.seed, excluded_classes, self.console
        )

    def build_section(self, outcome: RunOutcome, show_examples: bool) -> dict[str, Any]:
        """Return the request's part of the result document, and write the grid of images."""
        rows, classifier = outcome.comparison, self.classifier
        rows.build_grid(self.source.class_names).write(self.folder.path / GRID_FILE)
        models: dict[str, Any] = {} if classifier is None else outcome.models
        total = len(models) * len(self.left_out.earlier) * self.sampling.forgotten
        with progress_bar(self.console, "Earlier", total, images=1) as progress:
            find_correct = make_correct_image_finder(self.sampling, classifier, progress.set_progress)
            earlier = build_relapse_section(self.left_out, models, find_correct, DRAWN_PARTS)
        return build_generative_section(self.info, rows, len(self.real)) | earlier

    def list_still_contains_data(self, section: Mapping[str, Any]) -> Sequence[str]:
        """Return what still holds the forgotten data."""
        return STILL_CONTAINS_DATA


def check_whole_classes(source: LabeledDataset, positions: Pair[torch.Tensor]) -> None:
    """Refuse a request for part of a class: such a model is asked for classes, and can forget only these."""
    forget_classes, retain_classes = (
        source.train.targets[part].unique() for part in (positions.forget, positions.retain)
    )
    shared = forget_classes[torch.isin(forget_classes, retain_classes)].tolist()
    if shared:
        actual = f"examples of '{source.class_names[shared[0]]}' on both sides"
        raise RequestError("a request for whole classes", actual, "write for example `forget: {class: 0}`")


def check_classes(model: Denoiser, source: LabeledDataset) -> None:
    """Refuse data of other classes than the model has."""
    if model.classes != len(source.class_names):
        hint = "name the data that the model was trained on"
        raise ConfigError(f"a model of {len(source.class_names)} classes, as the data have", f"{model.classes}", hint)


def load_image_classifier(
    config: DiffusionConfig, source: LabeledDataset, device: torch.device
) -> ImageClassifier | None:
    """Return the classifier that the request names, fed as the data's reader scales its images."""
    chosen = config.classifier
    if chosen is None:
        return None
    with error_location(config, "classifier"):
        sizes = {"classes": len(source.class_names), "channels": source.shape[0]}
        model = build_model(chosen.name, **{**sizes, **chosen.options})
        load_into(model, chosen.weights)
        return ImageClassifier(
            model.to(device), chosen.name.rsplit("/")[-1].rsplit(":")[-1], prepare=get_input_scale(source)
        )


def check_enough_images(classifier: ImageClassifier | None, real: LabeledImages, remaining: int) -> None:
    """Refuse fewer images than a Fréchet distance with its split-half interval can be had from."""
    if classifier is None:
        return
    dimensions = classifier.extract_features(real.images[:1]).shape[1]
    if min(remaining, len(real)) <= 2 * dimensions + 1:
        actual = f"{remaining} drawn and {len(real)} real ones"
        expected = f"more than {2 * dimensions + 1} images, twice the {dimensions} features of the classifier"
        raise ConfigError(
            expected, actual, "write for example `images: {remaining: 5000}`, or leave out the classifier"
        )


def get_input_scale(source: LabeledDataset) -> Normalize | None:
    """Return how a reader normalizes its images; None for data from Python."""
    root = get_root(source.train)
    scale: Normalize | None = getattr(root, "scale", None)
    return scale


def rescale_to_signed(source: LabeledDataset) -> None:
    """Let built-in data come in [−1, 1]; what comes from Python is as it is."""
    for examples in (source.train, source.test):
        root: Any = get_root(examples)
        if getattr(root, "scale", None) is not None:
            root.scale = SIGNED_RANGE
