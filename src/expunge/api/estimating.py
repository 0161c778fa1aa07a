"""``estimate_retrain``: what a retrained model would show, on a share of the data, and what it would cost on all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from expunge.api.compute_context import compute_context
from expunge.api.disclosure import describe_request_settings
from expunge.api.documents import build_document
from expunge.api.execute import run_job
from expunge.api.folder import REPORT_FILE, RESULT_FILE, FolderMode
from expunge.api.loading import read_train_settings
from expunge.api.model_job import ModelJob
from expunge.api.request_section import build_request_section
from expunge.api.result import get_task
from expunge.api.run import display_path
from expunge.api.steering.trial import subsample_by_class
from expunge.batch import Examples, Split
from expunge.data import Subset, get_root, get_root_indices
from expunge.errors import ConfigError
from expunge.formatting import format_number
from expunge.report import print_tables, write_report
from expunge.request.request_file import RequestFile
from expunge.type_checks import check_argument_types

NUM_REFERENCES = 2
"""Retrained models: the first is the reference, both together say how far two of them are apart."""
STILL_CONTAINS_DATA = ("The training data themselves, and any cache of them.",)


@dataclass(frozen=True)
class RetrainEstimate:
    """What the first reference took, and what one on all data would take.

    Args:
        share: Of the training examples.
        examples: That the reference was trained on.
        all_examples: That are retained in all.
        seconds: Measured.
    """

    share: float
    examples: int
    all_examples: int
    seconds: float

    @property
    def extrapolated(self) -> float:
        """Seconds of retraining on all retained examples, at the same number of epochs and seconds per example."""
        return self.seconds * self.all_examples / self.examples

    @property
    def sentence(self) -> str:
        """Both in words.

        Examples:
            >>> RetrainEstimate(0.1, 100, 1000, 2.0).sentence
            'Retraining on 100 of 1,000 retained examples took 2 s; all of them would take about 20 s, which is an \
extrapolation in proportion to the examples and was not measured.'
        """
        measured, total = format_number(self.seconds), format_number(self.extrapolated)
        return (
            f"Retraining on {self.examples:,} of {self.all_examples:,} retained examples took {measured} s; all of "
            f"them would take about {total} s, which is an extrapolation in proportion to the examples and was not "
            "measured."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**vars(self), "extrapolated_seconds": self.extrapolated, "sentence": self.sentence}


def describe_caveat(fraction: float) -> str:
    """Return what figures on a share of the data are not."""
    return (
        f"Original, reference and unlearned model were all made from {100 * fraction:g} % of the training "
        "examples: the figures compare them with each other. Models of all the data know more; their figures differ, "
        "and so may the gap of a method."
    )


@check_argument_types
def estimate_retrain(
    config: RequestFile,
    *,
    fraction: float = 0.1,
    out: Path | None = None,
    data_dir: Path | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Path:
    """Answer a request on a share of the data, beside models retrained there, and return the folder of the result.

    Who has no retrained model learns how far the method ends from one where that is cheap: an original, the method's
    model and two retrained ones are made from the same share of the examples, each class in proportion.

    Args:
        config: The request, with a section ``train``.
        fraction: Of the forgotten and of the retained examples, in (0, 1). Default .1.
        out: Folder of the result. Default: the request's run folder with ``-estimate`` after its name.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace an earlier result. Default false.
        console: Where progress and tables go. Default: nowhere.

    Raises:
        ConfigError: If the request is no classifier's, or does not say how to train, or the share is out of range.
        ExpungeError: If something else does not fit; before anything is trained.
    """
    config = config.as_model_request("retrain with the library that trained the model")
    if not 0 < fraction < 1:
        raise ConfigError("a share between 0 and 1", f"{fraction:g}", "use for example --fraction 0.1")
    read_train_settings(config)
    console = console or Console(quiet=True)
    folder = out or config.out.with_name(f"{config.out.name}-estimate")
    standalone = config.model_copy(
        update={"out": folder, "checkpoint": None, "retrained_model": "none", "ledger": None}
    )
    with compute_context(config):
        job = ModelJob(standalone, get_task(config.task), FolderMode(overwrite), console)
        job.read(data_dir)
        result = run_estimate(job, fraction)
    write_report(result, job.folder.path / REPORT_FILE)
    job.folder.write_json(RESULT_FILE, result)
    job.folder.clear_checkpoints()
    print_tables(result, console)
    console.print(f"{result['requests'][0]['estimate']['sentence']}\n{describe_caveat(fraction)}", markup=False)
    console.print(f"Report:  {display_path(job.folder.path / REPORT_FILE)}", soft_wrap=True, markup=False)
    return job.folder.path


def run_estimate(job: ModelJob, fraction: float) -> dict[str, Any]:
    """Make all models on a share of the data, and return the result document."""
    retained = len(job.split.retain)
    job.split = split = subsample(job, fraction)
    job.training_examples, job.num_references, job.keeps_networks = merge_sides(split), NUM_REFERENCES, False
    outcome = run_job(job)
    estimate = RetrainEstimate(fraction, len(split.retain), retained, outcome.retrain_seconds[0] or 0.0)
    info = replace(job.info, description=f"{job.info.description}, on {100 * fraction:g} % of the data")
    rows, floors = outcome.comparison, outcome.comparison.compute_floors()
    part = build_request_section(
        info, split, job.source.test, rows.score(), floors.get("avg_gap"), metrics=rows.metrics, floors=floors
    )
    title = f"{info.description} ({job.source.name})"
    command = f"expunge estimate-retrain {job.config.where() or 'request'} --fraction {fraction:g}"
    disclosure = describe_request_settings(job.config.method.automatic, outcome.result)
    sections = [part | {"estimate": estimate.to_dict()}]
    content = build_document("run", title, command, disclosure, sections, STILL_CONTAINS_DATA, str(job.device))
    content["limitations"] += [describe_caveat(fraction), estimate.sentence]
    return content


def subsample(job: ModelJob, fraction: float) -> Split:
    """Return a share of both sides, drawn by the seed of the run, each class in proportion."""
    forget, retain = (
        subsample_by_class(part, fraction, 0, job.config.seed) for part in (job.split.forget, job.split.retain)
    )
    return replace(job.split, forget=forget, retain=retain)


def merge_sides(split: Split) -> Examples:
    """Return what the original of a share is trained on: both sides, in the order of the data."""
    forget = split.forget
    root = get_root(forget)
    return Subset(root, torch.cat([get_root_indices(forget), get_root_indices(split.retain)]).sort().values)
