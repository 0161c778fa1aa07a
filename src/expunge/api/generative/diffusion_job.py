"""Everything that a request to a diffusion model needs, read and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from expunge.api.admission import checked_split
from expunge.api.budgeting import Agreed, agreed, halves_record
from expunge.api.chain import NOTHING_LEFT_OUT, LeftOut
from expunge.api.folder import Opening, RunFolder, check_folder
from expunge.api.inputs import device_of
from expunge.api.job import as_asked, left_out_record, opened_folder
from expunge.api.reading import checked_method, leave_out_chain, located, parted
from expunge.api.request.diffusion_config import DiffusionConfig
from expunge.api.sanity import check_request_fit
from expunge.api.steering.wish import without_certify
from expunge.batch import Split
from expunge.data import Affine, Request, Source, root_of
from expunge.errors import ConfigError, RequestError
from expunge.key import load_key
from expunge.methods import Method
from expunge.pair import Pair
from expunge.tasks.classification.build import build_model
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.evaluation import Judge, ShownImages
from expunge.tasks.diffusion.family import Diffusion
from expunge.tasks.diffusion.sampling import check_steps
from expunge.weights import load_into

SIGNED = Affine((0.5,), (0.5,))
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
        judge: What looks at its images, if anything does.
        opening: What may become of an earlier run in the folder.
        console: Where progress goes.
        agreed: The budget; None without one.
        left_out: What earlier requests forgot, and is left out of what the request retains, holds out and tests on.
    """

    config: DiffusionConfig
    source: Source
    real: ShownImages
    request: Request
    positions: Pair[torch.Tensor]
    split: Split
    method: Method
    original: DDPM
    judge: Judge | None
    opening: Opening
    console: Console
    agreed: Agreed | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT

    def asked(self) -> dict[str, Any]:
        """Return the method as ``unlearn`` is told of it: with its settings, or what ``auto`` has to keep to."""
        return as_asked(self.config, None if self.config.method.automatic else self.method)

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return next(self.original.parameters()).device

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder, opened by the first who writes."""
        more = {} if self.agreed is None else {"holdout": halves_record(self.agreed.halves, load_key())}
        more |= left_out_record(self.left_out)
        return opened_folder(self.config, self.opening, self.request, self.positions, self.source, self.device, more)


def prepare(config: DiffusionConfig, data_dir: Path | None, opening: Opening, console: Console) -> DiffusionJob:
    """Read everything and refuse what does not fit; nothing is written.

    Raises:
        ExpungeError: With the line of the request file that is to blame.
    """
    with located(config, "out"):
        check_folder(config.out, opening.overwrite, opening.resume)
        config.check_apart(config.model)
    method, family = checked_method(config, Diffusion()), Diffusion()
    with located(config, "device"):
        device = device_of(config.device)
    with located(config, "model"):
        original = DDPM.from_pretrained(config.model).to(device)
    with located(config, "images", "steps"):
        check_steps(original, config.images.steps)
    parts = leave_out_chain(config, parted(config, data_dir), original, config.model)
    source, holdout, request, positions, left_out = parts
    with located(config, "forget", config.forget.kind):
        check_whole_classes(source, positions)
    judge = loaded_judge(config, source, device)
    real = ShownImages.of(source.test)
    with located(config, "images", "remaining"):
        check_enough(judge, real, config.images.remaining)
    signed(source)
    with located(config, "model"):
        predict = family.predictor(original)
        split = checked_split(predict, *parts.sides, holdout, known=family.classes)
        check_classes(original, source)
    budget = agreed(config, None if config.method.automatic else method, predict, split)
    check_request_fit(config, family, predict, without_certify(split, None if budget is None else budget.halves))
    given = config, source, real, request, positions, split, method, original, judge
    return DiffusionJob(*given, opening, console, budget, left_out)


def check_whole_classes(source: Source, positions: Pair[torch.Tensor]) -> None:
    """Refuse a request for part of a class: such a model is asked for classes, and can forget only these.

    Raises:
        RequestError: If a class is on both sides, or no class is left.
    """
    lost, kept = (source.train.targets[part].unique() for part in (positions.forget, positions.retain))
    shared = lost[torch.isin(lost, kept)].tolist()
    if shared:
        found = f"examples of '{source.class_names[shared[0]]}' on both sides"
        raise RequestError("a request for whole classes", found, "write for example `forget: {class: 0}`")


def check_classes(model: DDPM, source: Source) -> None:
    """Refuse data of other classes than the model has.

    Raises:
        ConfigError: If the numbers of classes differ.
    """
    if model.classes != len(source.class_names):
        cure = "name the data that the model was trained on"
        raise ConfigError(f"a model of {len(source.class_names)} classes, as the data have", f"{model.classes}", cure)


def loaded_judge(config: DiffusionConfig, source: Source, device: torch.device) -> Judge | None:
    """Return the classifier that the request names, fed as the data's reader scales its images.

    Raises:
        ExpungeError: If there is no such network or its weights do not fit.
    """
    chosen = config.judge
    if chosen is None:
        return None
    with located(config, "judge"):
        sizes = {"classes": len(source.class_names), "channels": source.shape[0]}
        model = build_model(chosen.name, **{**sizes, **chosen.options})
        load_into(model, chosen.weights)
        return Judge(model.to(device), chosen.name.rsplit("/")[-1].rsplit(":")[-1], prepare=scale_of(source))


def check_enough(judge: Judge | None, real: ShownImages, remaining: int) -> None:
    """Refuse fewer images than a Fréchet distance with its split-half interval can be had from.

    Raises:
        ConfigError: If half of them are no more than the judge's features have dimensions.
    """
    if judge is None:
        return
    dimensions = judge.features(real.images[:1]).shape[1]
    if min(remaining, len(real)) <= 2 * dimensions + 1:
        found = f"{remaining} drawn and {len(real)} real ones"
        expected = f"more than {2 * dimensions + 1} images, twice the {dimensions} features of the judge"
        raise ConfigError(expected, found, "write for example `images: {remaining: 5000}`, or leave out the judge")


def scale_of(source: Source) -> Affine | None:
    """Return how a reader normalises its images; None for data from Python."""
    root = root_of(source.train)
    found: Affine | None = getattr(root, "scale", None)
    return found


def signed(source: Source) -> None:
    """Let built-in data come in [−1, 1]; what comes from Python is as it is."""
    for examples in (source.train, source.test):
        root: Any = root_of(examples)
        if getattr(root, "scale", None) is not None:
            root.scale = SIGNED
