"""Everything that a request to a diffusion model needs, read and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from expunge.api.budgeting import BudgetPlan, build_split_manifest, prepare_budget
from expunge.api.earlier_requests import NO_EXCLUSIONS, Exclusions
from expunge.api.folder import FolderMode, RunFolder, check_folder
from expunge.api.inputs import resolve_device
from expunge.api.job import build_exclusion_record, build_unlearn_kwargs, create_run_folder
from expunge.api.loading import error_location, exclude_ledger_requests, load_request_data, validate_method
from expunge.api.request.diffusion_config import DiffusionConfig
from expunge.api.sanity import check_request_fit
from expunge.api.steering.budget_validation import drop_certify_half
from expunge.api.validation import validate_split
from expunge.batch import Split
from expunge.data import ForgetRequest, LabeledDataset, Normalize, get_root
from expunge.errors import ConfigError, RequestError
from expunge.key import load_or_create_key
from expunge.methods import Method
from expunge.pair import Pair
from expunge.tasks.classification.build import build_model
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.evaluation import ImageClassifier, LabeledImages
from expunge.tasks.diffusion.sampling import check_steps
from expunge.tasks.diffusion.task import Diffusion
from expunge.weights import load_into

SIGNED_RANGE = Normalize((0.5,), (0.5,))
"""From [0, 1] to [−1, 1], what diffusion models are trained on."""


@dataclass
class DiffusionJob:
    """A request to a diffusion model whose every part is at hand.

    Args:
        config: The request file.
        source: The data, images in [−1, 1].
        real: The test images.
        request: The forget request.
        positions: Positions in the training data that it forgets and retains.
        split: The same as examples.
        method: The method with its settings; for ``auto`` what it stands for, whose rate the run finds.
        original: The model.
        classifier: What looks at its images, if anything does.
        folder_mode: What may become of an earlier run in the folder.
        console: Where progress goes.
        budget_plan: The budget; None without one.
        left_out: What earlier requests forgot, and is left out of what the request retains, holds out and tests on.
    """

    config: DiffusionConfig
    source: LabeledDataset
    real: LabeledImages
    request: ForgetRequest
    positions: Pair[torch.Tensor]
    split: Split
    method: Method
    original: DDPM
    classifier: ImageClassifier | None
    folder_mode: FolderMode
    console: Console
    budget_plan: BudgetPlan | None = None
    left_out: Exclusions = NO_EXCLUSIONS

    def get_unlearn_kwargs(self) -> dict[str, Any]:
        """Return the method as ``unlearn`` is told of it: with its settings, or what ``auto`` has to keep to."""
        method = None if self.config.method.automatic else self.method
        return build_unlearn_kwargs(self.config, method, self.budget_plan)

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return next(self.original.parameters()).device

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes."""
        extra_records = (
            {}
            if self.budget_plan is None
            else {"holdout": build_split_manifest(self.budget_plan.holdout_split, load_or_create_key())}
        )
        extra_records |= build_exclusion_record(self.left_out)
        return create_run_folder(
            self.config, self.folder_mode, self.request, self.positions, self.source, self.device, extra_records
        )


def prepare(config: DiffusionConfig, data_dir: Path | None, opening: FolderMode, console: Console) -> DiffusionJob:
    """Read everything and refuse what does not fit; nothing is written.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """
    with error_location(config, "out"):
        check_folder(config.out, opening.overwrite, opening.resume)
        config.check_out_folder(config.model)
    method, family = validate_method(config, Diffusion()), Diffusion()
    with error_location(config, "device"):
        device = resolve_device(config.device)
    with error_location(config, "model"):
        original = DDPM.from_pretrained(config.model).to(device)
    with error_location(config, "images", "steps"):
        check_steps(original, config.images.steps)
    parts = exclude_ledger_requests(config, load_request_data(config, data_dir), original, config.model)
    source, holdout, request, positions, left_out = parts
    with error_location(config, "forget", config.forget.kind):
        check_whole_classes(source, positions)
    classifier = load_image_classifier(config, source, device)
    real = LabeledImages.from_examples(source.test)
    with error_location(config, "images", "remaining"):
        check_enough_images(classifier, real, config.images.remaining)
    rescale_to_signed(source)
    with error_location(config, "model"):
        predict = family.make_predictor(original)
        split = validate_split(predict, *parts.sides, holdout, count_classes=family.count_classes)
        check_classes(original, source)
    budget = prepare_budget(config, None if config.method.automatic else method, predict, split)
    check_request_fit(
        config, family, predict, drop_certify_half(split, None if budget is None else budget.holdout_split)
    )
    parts_in_order = config, source, real, request, positions, split, method, original, classifier
    return DiffusionJob(*parts_in_order, opening, console, budget, left_out)


def check_whole_classes(source: LabeledDataset, positions: Pair[torch.Tensor]) -> None:
    """Refuse a request for part of a class: such a model is asked for classes, and can forget only these.

    Raises:
        RequestError: If a class is on both sides, or no class is left.
    """
    forget_classes, retain_classes = (
        source.train.targets[part].unique() for part in (positions.forget, positions.retain)
    )
    shared = forget_classes[torch.isin(forget_classes, retain_classes)].tolist()
    if shared:
        actual = f"examples of '{source.class_names[shared[0]]}' on both sides"
        raise RequestError("a request for whole classes", actual, "write for example `forget: {class: 0}`")


def check_classes(model: DDPM, source: LabeledDataset) -> None:
    """Refuse data of other classes than the model has.

    Raises:
        ConfigError: If the numbers of classes differ.
    """
    if model.classes != len(source.class_names):
        hint = "name the data that the model was trained on"
        raise ConfigError(f"a model of {len(source.class_names)} classes, as the data have", f"{model.classes}", hint)


def load_image_classifier(
    config: DiffusionConfig, source: LabeledDataset, device: torch.device
) -> ImageClassifier | None:
    """Return the classifier that the request names, fed as the data's reader scales its images.

    Raises:
        ExpungeError: If there is no such network or its weights do not fit.
    """
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
    """Refuse fewer images than a Fréchet distance with its split-half interval can be had from.

    Raises:
        ConfigError: If half of them are no more than the classifier's features have dimensions.
    """
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
