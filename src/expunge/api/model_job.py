"""A request to a model that is made by a function, whose weights are in a file and which can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from expunge.api.budgeting import ROUNDED_CAVEAT, is_rounded
from expunge.api.documents import ORIGINAL_ELSEWHERE, ORIGINAL_IN_FOLDER, REPORT_SHOWS_EXAMPLES
from expunge.api.earlier_requests import exclude_earlier
from expunge.api.execute import RunOutcome
from expunge.api.folder import CHECKPOINTS_FOLDER, ORIGINAL_FILE, RETRAINED_FILE, UNLEARNED_FILE, check_writable
from expunge.api.inputs import create_model
from expunge.api.job import DataJob
from expunge.api.loading import (
    error_location,
    find_checkpoint_path,
    load_network,
    read_train_settings,
)
from expunge.api.model_comparison import ModelComparison
from expunge.api.relapse import build_relapse_section, make_correctness_finder
from expunge.api.request_section import build_contact_sheet, build_request_section
from expunge.api.training import train_model
from expunge.batch import Examples
from expunge.data import LabeledDataset, device_cache
from expunge.engine import ResourceMeter
from expunge.request.model_request import ModelRequest
from expunge.weights import check_savable, load_into, load_weights, read_metadata, save_weights

STILL_CONTAINS_DATA = ("The training data themselves, and any cache of them.",)
SECONDS_KEY = "seconds"
"""In the header of the reference's file: what its training took."""
REFERENCE_SEED_OFFSET = 10_000
"""Added to the seed of the run, so that the reference starts from weights of its own."""


@dataclass
class ModelJob(DataJob[ModelRequest]):
    """A request whose model ``Task.create_model`` makes, and ``Task.train`` trains where there is a section ``train``.

    Args:
        retrained: The retrained model, where the request names its weights.
        num_references: Retrained models that the run trains; none where the request asks for none.
        keeps_networks: Whether the weights of what the run trains stay in its folder.
        training_examples: What the original is trained on. Default: all that no earlier request forgot.
    """

    outputs: ClassVar[Mapping[str, str]] = {"Weights:": UNLEARNED_FILE}

    retrained: nn.Module | None = None
    num_references: int = 0
    keeps_networks: bool = True
    training_examples: Examples | None = None

    def check_out(self) -> None:
        """Refuse a place for the trained original that cannot be written."""
        checkpoint = self.config.checkpoint
        if checkpoint is not None and not checkpoint.exists():
            with error_location(self.config, "checkpoint"):
                check_writable(checkpoint.parent)

    def load_original(self, source: LabeledDataset, device: torch.device) -> nn.Module:
        """Return the network that the request names, with the weights that are there."""
        config = self.config
        if config.train is not None:
            read_train_settings(config)
        self.checkpoint = find_checkpoint_path(config, self.folder_mode.overwrite)
        model = load_network(
            config, source, device, self.checkpoint, "checkpoint", lambda text: self.console.print(text, soft_wrap=True)
        )
        with error_location(config, "model"):
            check_savable(model.state_dict())
        return model

    def read(self, data_dir: Path | None) -> None:
        """Read everything, the retrained model too."""
        super().read(data_dir)
        config, examples = self.config, exclude_earlier(self.source.train, self.left_out.earlier)
        self.training_examples, self.num_references = examples, int(config.retrained_model == "retrain")
        if self.checkpoint is not None:
            self.check_fit("checkpoint")
        if isinstance(config.retrained_model, Path):
            self.retrained = load_network(config, self.source, self.device, config.retrained_model, "retrained_model")

    @property
    def must_train(self) -> bool:
        """Whether the original is still untrained."""
        return self.checkpoint is None and self.config.train is not None

    @property
    def weights(self) -> Path | None:
        """Where the original's weights are, once they are there."""
        return self.config.checkpoint or self.config.out / ORIGINAL_FILE if self.must_train else self.checkpoint

    def cache_data(self) -> AbstractContextManager[None]:
        """Return the context in which the data may stay on an accelerator as a whole."""
        return device_cache(self.device, self.source.train, self.source.test)

    def create_comparison(self) -> ModelComparison:
        """Return the rows of the request, after a metric that could not be measured has been refused."""
        config = self.config
        comparison = ModelComparison(self.split, self.source.test, config.seed, extra_metrics=config.metrics)
        with self.sync_errors():
            comparison.check_measurable(original=True, retrained=self.retrained is not None or self.num_references > 0)
            if self.is_distributed:
                self.folder.file_path(CHECKPOINTS_FOLDER)  # opened before the others write there
        return comparison

    def train_original(self) -> None:
        """Train the original and keep its weights, where the request wants them or in the run folder."""
        config = self.config
        target = config.checkpoint or self.folder.file_path(ORIGINAL_FILE)
        train_model(self.original, self.training_examples or self.source.train, config, self.console, "Training")
        if self.keeps_networks:
            target.parent.mkdir(parents=True, exist_ok=True)
            save_weights(self.original, target, overwrite=config.checkpoint is None)

    def check_trained(self) -> None:
        """Refuse an original that learned nothing; one of a share of the data may know little."""
        if self.keeps_networks:
            self.check_fit("train")

    def make_references(self) -> Iterator[tuple[nn.Module, float | None]]:
        """Yield the retrained model that the request names, or those that the run trains."""
        if self.retrained is not None:
            yield self.retrained, None
        for number in range(1, 1 + self.num_references):
            yield self.train_reference(number)

    def train_reference(self, number: int) -> tuple[nn.Module, float]:
        """Train a model without the forgotten examples; return it with the seconds that took.

        A run that is gone on with takes the one that it has made already. Further ones have an order of their own.
        """
        config, path = self.config, self.folder.path / RETRAINED_FILE
        seed = config.seed + number * REFERENCE_SEED_OFFSET
        model = create_model(config, self.source, seed).to(self.device)
        if self.keeps_networks and self.folder_mode.resume and path.exists():
            train_seconds = read_train_seconds(path)
            if train_seconds is not None:
                load_into(model, path)
                return model, train_seconds
        meter = ResourceMeter(self.device)
        label = "Retraining"
        if self.num_references > 1:
            config, label = config.model_copy(update={"seed": seed}), f"{label} {number}"
        train_model(model, self.split.retain, config, self.console, label)
        seconds = meter.stop().seconds
        if self.keeps_networks:
            save_weights(model, path, {SECONDS_KEY: repr(seconds)}, overwrite=True)
        return model, seconds

    def save_answer(self, model: nn.Module) -> nn.Module:
        """Save the unlearned model, where networks are kept, and return it as it was saved."""
        return super().save_answer(model) if self.keeps_networks else model

    def build_section(self, outcome: RunOutcome, show_examples: bool) -> dict[str, Any]:
        """Return the request's part of the result document, with pictures where they are allowed."""
        rows, names = outcome.comparison, self.source.class_names
        shown = show_examples or self.config.show_examples
        sheet = build_contact_sheet(self.split.forget, rows.outputs, names) if shown else []
        part = build_request_section(
            self.info, self.split, self.source.test, rows.score(), None, sheet, metrics=rows.metrics
        )
        return part | build_relapse_section(self.left_out, outcome.models, make_correctness_finder())

    def list_still_contains_data(self, section: Mapping[str, Any]) -> Sequence[str]:
        """Return what still holds the forgotten data: the data, the original, and the pictures in the report."""
        weights = ORIGINAL_IN_FOLDER if (self.folder.path / ORIGINAL_FILE).exists() else ORIGINAL_ELSEWHERE
        return [*STILL_CONTAINS_DATA, weights, *([REPORT_SHOWS_EXAMPLES] if section["examples"] else [])]

    def list_limitations(self, outcome: RunOutcome) -> list[str]:
        """Return what to say, and that a certificate is about weights before they were rounded, where that is so."""
        result, limitations = outcome.result, super().list_limitations(outcome)
        rounded = result.budget is not None and is_rounded(result.model, load_weights(self.answer))
        return [*limitations, ROUNDED_CAVEAT] if rounded else limitations


def read_train_seconds(path: Path) -> float | None:
    """Return the seconds that a run has noted in the weights that it trained; None in weights that it did not make."""
    try:
        return float(read_metadata(path)[SECONDS_KEY])
    except (KeyError, ValueError):
        return None
