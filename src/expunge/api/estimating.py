"""``estimate_retrain``: what a retrained model would show, on a share of the data, and what it would cost on all."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from expunge.api.disclosing import request_disclosure
from expunge.api.documents import document
from expunge.api.folder import FINISHED, REPORT, Opening
from expunge.api.inputs import fresh_model
from expunge.api.job import Job, prepare
from expunge.api.reading import located, train_settings
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.requests import Asked, request_part
from expunge.api.result import Result
from expunge.api.rows import Rows
from expunge.api.run import REFERENCE_SEED, from_here
from expunge.api.steering.trial import drawn
from expunge.api.threads import computing
from expunge.api.training import trained
from expunge.api.unlearning import unlearn
from expunge.batch import Examples, Split
from expunge.data import Subset, root_indices, root_of
from expunge.errors import ConfigError
from expunge.formatting import format_number
from expunge.kinds import kinds_checked
from expunge.report import print_tables, write_report

REFERENCES = 2
"""Retrained models: the first is the reference, both together say how far two of them are apart."""
HOLDS = ("The training data themselves, and any cache of them.",)


@dataclass(frozen=True)
class Cost:
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
            >>> Cost(0.1, 100, 1000, 2.0).sentence
            'Retraining on 100 of 1,000 retained examples took 2 s; all of them would take about 20 s, which is an \
extrapolation in proportion to the examples and was not measured.'
        """
        taken, whole = format_number(self.seconds), format_number(self.extrapolated)
        return (
            f"Retraining on {self.examples:,} of {self.all_examples:,} retained examples took {taken} s; all of them "
            f"would take about {whole} s, which is an extrapolation in proportion to the examples and was not "
            "measured."
        )

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**vars(self), "extrapolated_seconds": self.extrapolated, "sentence": self.sentence}


def caveat(share: float) -> str:
    """Return what figures on a share of the data are not."""
    return (
        f"Original, reference and unlearned model were all made from {100 * share:g} % of the training examples: the "
        "figures compare them with each other. Models of all the data know more; their figures differ, and so may the "
        "gap of a method."
    )


@kinds_checked
def estimate_retrain(
    config: AnyConfig,
    *,
    share: float = 0.1,
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
        share: Of the forgotten and of the retained examples, in (0, 1). Default .1.
        out: Folder of the result. Default: the request's run folder with ``-estimate`` after its name.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace an earlier result. Default false.
        console: Where progress and tables go. Default: nowhere.

    Raises:
        ConfigError: If the request is no classifier's, or does not say how to train, or the share is out of range.
        ExpungeError: If something else does not fit; before anything is trained.
    """
    if not isinstance(config, RunConfig):
        cure = "retrain with the library that trained the model"
        raise ConfigError("the request of a classifier", f"task: {config.task}", cure, config.where("task"))
    if not 0 < share < 1:
        raise ConfigError("a share between 0 and 1", f"{share:g}", "use for example --share 0.1")
    train_settings(config)
    console = console or Console(quiet=True)
    place = out or config.out.with_name(f"{config.out.name}-estimate")
    alone = config.model_copy(update={"out": place, "checkpoint": None, "reference": "none", "ledger": None})
    with computing(config):
        job = prepare(alone, data_dir, Opening(overwrite), console)
        result = estimated(job, share)
    write_report(result, job.folder.path / REPORT)
    job.folder.write_json(FINISHED, result)
    print_tables(result, console)
    console.print(f"{result['requests'][0]['estimate']['sentence']}\n{caveat(share)}", markup=False)
    console.print(f"Report:  {from_here(job.folder.path / REPORT)}", soft_wrap=True, markup=False)
    return job.folder.path


def estimated(job: Job, share: float) -> dict[str, Any]:
    """Make all models on a share of the data, and return the result document."""
    split = shared(job, share)
    with located(job.config, "train"):
        trained(job.original, together(split), job.config, job.console, "Training")
    rows = Rows(split, job.source.test, job.config.seed, also=job.config.metrics)
    rows.original(job.original)
    result = unlearned(job, split)
    rows.unlearned(result.model, job.config.method.name, result.method, result.seconds, result.history)
    seconds = [retrained(job, split, rows, number) for number in range(1, 1 + REFERENCES)]
    cost = Cost(share, len(split.retain), len(job.split.retain), seconds[0])
    names, sentence = job.source.class_names, job.request.sentence(job.source.class_names)
    asked = Asked("request", f"Forget {sentence}, on {100 * share:g} % of the data", job.request.kind, names)
    floors = rows.floors()
    part = request_part(
        asked, split, job.source.test, rows.trials(), floors.get("avg_gap"), metrics=rows.metrics, floors=floors
    )
    title = f"{asked.question} ({job.source.name})"
    command = f"expunge estimate-retrain {job.config.where() or 'request'} --share {share:g}"
    disclosure = request_disclosure(job.config.method.automatic, result)
    told = [part | {"estimate": cost.plain()}]
    made = document("run", title, command, disclosure, told, HOLDS, str(job.device))
    made["caveats"] += [caveat(share), cost.sentence]
    return made


def shared(job: Job, share: float) -> Split:
    """Return a share of both sides, drawn by the seed of the run, each class in proportion."""
    forget, retain = (drawn(part, share, 0, job.config.seed) for part in (job.split.forget, job.split.retain))
    return replace(job.split, forget=forget, retain=retain)


def together(split: Split) -> Examples:
    """Return what the original of a share is trained on: both sides, in the order of the data."""
    forget = split.forget
    root = root_of(forget)
    return Subset(root, torch.cat([root_indices(forget), root_indices(split.retain)]).sort().values)


def unlearned(job: Job, split: Split) -> Result:
    """Unlearn from the share as the run would from all."""
    wish = {} if job.agreed is None else job.agreed.wish._asdict()
    parts: dict[str, Any] = {"forget": split.forget, "retain": split.retain, "holdout": split.holdout}
    return unlearn(job.original, **parts, **job.asked(), **wish, **job.config.conditions())


def retrained(job: Job, split: Split, rows: Rows, number: int) -> float:
    """Train a model without the forgotten examples, ask it, and return the seconds that training took."""
    seed = job.config.seed + number * REFERENCE_SEED
    model = fresh_model(job.config, job.source, seed).to(job.device)
    began = time.perf_counter()
    trained(model, split.retain, job.config.model_copy(update={"seed": seed}), job.console, f"Retraining {number}")
    seconds = time.perf_counter() - began
    rows.retrained(model, seconds)
    return seconds
