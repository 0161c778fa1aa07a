"""Answer the request in a file: read, check, unlearn, measure, report."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from expunge.api.config import RunConfig
from expunge.api.documents import document
from expunge.api.folder import FINISHED, RunFolder, refuse_finished
from expunge.api.inputs import as_request, device_of, fresh_model, held_out, read_source
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.unlearning import checked_split, settings_of, unlearn
from expunge.batch import Examples, Predictor, Split
from expunge.data import Request, Source, Subset, check_labels, load_key, manifest, split_request
from expunge.errors import ConfigError
from expunge.evaluation import ModelOutputs, Trial, outputs_of
from expunge.methods import Method, build_method
from expunge.report import print_tables, write_report
from expunge.tasks.classification.training import TrainSettings, fit
from expunge.weights import load_into, save_weights

DISCLOSURE = "The settings are those of the request file; nothing was tuned by this run."


@dataclass
class Job:
    """Everything that a request needs, read and checked, before anything is trained or written.

    Args:
        config: The request file.
        source: The data.
        request: The forget request.
        split: What it leaves.
        method: The method with its settings.
        device: Where to compute.
        original: The model; its weights may still have to be trained.
        console: Where progress and tables go.
    """

    config: RunConfig
    source: Source
    request: Request
    split: Split
    method: Method
    device: torch.device
    original: nn.Module
    console: Console

    @property
    def must_train(self) -> bool:
        """Whether the original is still untrained."""
        checkpoint = self.config.checkpoint
        return self.config.train is not None and not (checkpoint and checkpoint.exists())


def run_request(
    config: RunConfig, *, data_dir: Path | None, overwrite: bool, show_examples: bool, console: Console
) -> Path:
    """Answer a request and return its run folder.

    The folder holds ``manifest.json``, ``config.json``, ``history.jsonl``, ``unlearned.safetensors``, ``report.html``
    and ``result.json``; the original's and the retrained model's weights too, where this run trained them.

    Args:
        config: The request, from ``load_request``.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace a finished run.
        show_examples: Put pictures of forgotten examples into the report.
        console: Where progress and tables go.

    Raises:
        ExpungeError: If something does not fit; before the first step.
    """
    refuse_finished(config.out, overwrite)
    job = prepare(config, data_dir, console)
    folder = RunFolder(config.out, overwrite=overwrite)
    folder.write_json("config.json", told(config))
    folder.write_json("manifest.json", recorded(job))
    if job.must_train:
        train_original(job, folder)
    result = answer(job, folder, show_examples)
    report = write_report(result, folder.path / "report.html")
    folder.write_json(FINISHED, result)
    print_tables(result, console)
    console.print(f"Report: {report}", soft_wrap=True)
    return folder.path


def train_request(config: RunConfig, *, data_dir: Path | None, overwrite: bool, console: Console) -> Path:
    """Train the original of a request and return the path of its weights.

    They go where ``checkpoint`` points, or into the run folder as ``original.safetensors``.

    Args:
        config: The request, with a section ``train``.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        overwrite: Replace weights that are there.
        console: Where progress goes.

    Raises:
        ConfigError: If weights are there already and must not be replaced.
    """
    target = config.checkpoint or config.out / "original.safetensors"
    if target.exists() and not overwrite:
        raise ConfigError("no weights yet", f"'{target}'", "pass --overwrite to train and replace them")
    device = device_of(config.device)
    source = read_source(config, data_dir)
    model = fresh_model(config, source, config.seed).to(device)
    target.parent.mkdir(parents=True, exist_ok=True)
    record = trained(model, source.train, config, console, "Training")
    save_weights(model, target, {"train_accuracy": f"{record:.5f}"}, overwrite=True)
    console.print(f"Train accuracy {100 * record:.2f} %; weights: {target}", soft_wrap=True)
    return target


def prepare(config: RunConfig, data_dir: Path | None, console: Console) -> Job:
    """Read everything and refuse what does not fit."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    method = checked_method(config)
    device = device_of(config.device)
    source, holdout = held_out(read_source(config, data_dir), config.holdout, config.seed)
    request = as_request(config)
    forget, retain = split_request(source.train, request, source.class_names)
    check_labels(source.train, len(source.class_names))
    model = fresh_model(config, source, config.seed).to(device)
    if config.checkpoint is not None and config.checkpoint.exists():
        load_into(model, config.checkpoint)
    sides = Subset(source.train, forget), Subset(source.train, retain)
    split = checked_split(Predictor(model), *sides, holdout)
    return Job(config, source, request, split, method, device, model, console)


def checked_method(config: RunConfig) -> Method:
    """Return the method; a wrong setting is refused with its line."""
    try:
        return build_method(config.method.name, **config.method.settings)
    except ConfigError as error:
        raise ConfigError(error.expected, error.found, error.cure, config.where("method")) from None


def told(config: RunConfig) -> dict[str, Any]:
    """Return the request as plain values, without the path of an index file."""
    plain = config.model_dump(mode="json", by_alias=True)
    if plain["forget"].get("indices"):
        plain["forget"]["indices"] = "a file of indices"
    return plain


def recorded(job: Job) -> dict[str, Any]:
    """Return the request's manifest."""
    forget, retain = split_request(job.source.train, job.request, job.source.class_names)
    return manifest(job.request, forget, retain, job.source.name, job.source.train, load_key())


@contextmanager
def bar(console: Console, what: str, total: int) -> Iterator[Any]:
    """Show a progress bar; the body calls what it is given after each piece of work."""
    columns = TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(f"{what:<10}", total=total)
        yield lambda done: bars.update(task, completed=done)


def trained(model: nn.Module, examples: Examples, config: RunConfig, console: Console, what: str) -> float:
    """Train a network as the section ``train`` says; return its accuracy on the examples."""
    if config.train is None:
        raise ConfigError("the section 'train'", "none", "add `train: {epochs: 20}`", config.where("model"))
    settings = TrainSettings(**config.train.model_dump(), seed=config.seed)
    augment = getattr(examples, "augment", None)
    device = next(model.parameters()).device
    with bar(console, what, settings.epochs) as advance:
        on_epoch = lambda epoch, *_: advance(epoch)  # noqa: E731
        return fit(model, examples, settings, device=device, on_epoch=on_epoch, augment=augment).train_accuracy


def train_original(job: Job, folder: RunFolder) -> None:
    """Train the original and keep its weights, where the request wants them or in the run folder."""
    trained(job.original, job.source.train, job.config, job.console, "Training")
    target = job.config.checkpoint or folder.path / "original.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(job.original, target, overwrite=job.config.checkpoint is None)


def answer(job: Job, folder: RunFolder, show_examples: bool) -> dict[str, Any]:
    """Unlearn, measure and return the result document."""
    outputs, seconds = {"original": seen(job, job.original)}, {}
    reference, seconds["retrain"] = retrained(job, folder)
    if reference is not None:
        outputs["retrain"] = seen(job, reference)
    result = unlearned(job, folder)
    save_weights(result.model, folder.path / "unlearned.safetensors", overwrite=True)
    key = job.config.method.name
    outputs[key], seconds[key] = seen(job, result.model), result.seconds
    trials = []
    for name, role in (("original", "original"), ("retrain", "retrained"), (key, "method")):
        if name not in outputs:
            continue
        label = {"original": "Original", "retrain": "Retrain"}.get(name, type(job.method).label or name)
        made: dict[str, Any] = {"history": result.history, "settings": settings_of(job.method)} if name == key else {}
        made |= {"seconds": seconds.get(name), "retrained": outputs.get("retrain")}
        trials.append(Trial.of(outputs[name], key=name, label=label, role=role, seed=job.config.seed, **made))  # type: ignore[arg-type]
    names = job.source.class_names
    sheet = contact_sheet(job.split.forget, outputs, names) if show_examples else []
    asked = Asked("request", f"Forget {job.request.sentence(names)}", job.request.kind, names)
    part = request_part(asked, job.split, job.source.test, trials, None, sheet)
    command = f"expunge run {job.config.where() or 'request'}".strip()
    title = f"{asked.question} ({job.source.name})"
    return document("run", title, command, DISCLOSURE, [part], still_held(job, show_examples), str(job.device))


def unlearned(job: Job, folder: RunFolder) -> Any:
    """Unlearn with a progress bar and a history that is written as it grows."""
    config = job.config
    (folder.path / "history.jsonl").unlink(missing_ok=True)
    with bar(job.console, "Unlearning", 1) as advance:
        return unlearn(
            job.original,
            forget=job.split.forget,
            retain=job.split.retain,
            holdout=job.split.holdout,
            method=job.method,
            seed=config.seed,
            normalisation=config.normalisation,
            micro_batches=config.micro_batches,
            precision=config.precision,
            on_step=lambda progress: advance((progress.step + 1) / progress.total),
            on_rows=lambda rows: folder.append_rows("history.jsonl", rows),
        )


def seen(job: Job, model: nn.Module) -> ModelOutputs:
    """Return what a model says on all parts."""
    return outputs_of(Predictor(model), job.split, job.source.test)


def retrained(job: Job, folder: RunFolder) -> tuple[nn.Module | None, float | None]:
    """Return the reference model and the seconds it took, as the request says; none where it wants none."""
    wanted = job.config.reference
    if wanted == "none":
        return None, None
    model = copy.deepcopy(job.original) if isinstance(wanted, Path) else None
    if isinstance(wanted, Path) and model is not None:
        load_into(model, wanted)
        return model, None
    model = fresh_model(job.config, job.source, job.config.seed + 10_000).to(job.device)
    import time

    began = time.perf_counter()
    trained(model, job.split.retain, job.config, job.console, "Retraining")
    took = time.perf_counter() - began
    save_weights(model, folder.path / "retrained.safetensors", overwrite=True)
    return model, took


def still_held(job: Job, show_examples: bool) -> list[str]:
    """Return what still holds the forgotten data after this run."""
    held = ["The training data themselves, and any cache of them.", "The original's weights."]
    if show_examples:
        held.append("The report, which shows pictures of forgotten examples.")
    return held
