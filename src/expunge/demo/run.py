"""The demo, from end to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import nn

from expunge.api.documents import document
from expunge.api.folder import FINISHED, RunFolder
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.unlearning import settings_of, unlearn
from expunge.batch import Predictor
from expunge.data import Source, load_key, manifest
from expunge.demo import plan
from expunge.demo.plan import Case
from expunge.errors import NotFiniteError
from expunge.evaluation import ModelOutputs, Trial, gap_floor, outputs_of
from expunge.methods import build_method
from expunge.report import print_tables, write_report
from expunge.weights import save_weights

RETRAINED = 2
"""Retrained models for each split: one is the reference, the others give the noise floor."""


def run_demo(*, fast: bool, out: Path, seeds: int, threads: int | None, overwrite: bool, console: Console) -> Path:
    """Train, unlearn, measure and report on handwritten digits.

    Args:
        fast: One seed in place of three; the same methods and requests.
        out: Run folder.
        seeds: Paired seeds; one under ``fast``.
        threads: Processor threads. Default: torch's own choice.
        overwrite: Replace a finished run in the folder.
        console: Where progress and tables go.

    Raises:
        ConfigError: If the folder holds a finished run.
    """
    began, folder = time.perf_counter(), RunFolder(out, overwrite=overwrite)
    if threads is not None:
        torch.set_num_threads(threads)
    show = Demo(folder, plan.source(), 1 if fast else seeds, console)
    folder.write_json("config.json", show.config())
    result = show.run()
    report = write_report(result, folder.path / "report.html")
    folder.write_json(FINISHED, result)
    print_tables(result, console)
    console.print(f"Report: {report}   ({time.perf_counter() - began:.0f} s)", soft_wrap=True)
    return folder.path


@dataclass
class Answered:
    """What one request has gathered over the seeds."""

    first: Case
    trials: list[Trial] = field(default_factory=list)
    references: list[list[ModelOutputs]] = field(default_factory=list)
    seen: dict[str, ModelOutputs] = field(default_factory=dict)


class Demo:
    """The demo's work: requests × seeds × methods.

    Args:
        folder: Where weights, histories and manifests go.
        data: The digits.
        seeds: How many paired seeds.
        console: Where progress goes.
    """

    def __init__(self, folder: RunFolder, data: Source, seeds: int, console: Console) -> None:
        self.folder, self.data, self.seeds, self.console = folder, data, seeds, console
        self.originals: dict[int, tuple[nn.Module, float]] = {}

    def config(self) -> dict[str, Any]:
        """Return what can be said of the run before it starts."""
        chosen = {kind: {m: plan.settings(m, kind) for m in plan.METHODS} for kind in plan.REQUESTS}
        return {"seeds": self.seeds, "train": plan.TRAIN, "training": plan.TRAINING, "methods": chosen}

    def run(self) -> dict[str, Any]:
        """Answer every request and return the result document."""
        columns = TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn()
        models = 1 + RETRAINED + len(plan.METHODS)
        with Progress(*columns, console=self.console, transient=True) as bars:
            bar = bars.add_task("Digits", total=len(plan.REQUESTS) * self.seeds * models)

            def advance(what: str, steps: int = 1) -> None:
                bars.update(bar, advance=steps, description=f"{what:<28}")

            parts = [self.answer(kind, advance) for kind in plan.REQUESTS]
        command = f"expunge demo --seeds {self.seeds}"
        holds = ["This run folder: original and retrained weights, and pictures of forgotten digits in report.html."]
        return document("demo", "Forgetting handwritten digits", command, plan.DISCLOSURE, parts, holds)

    def answer(self, kind: str, advance: Any) -> dict[str, Any]:
        """Answer one request at every seed; return its part of the document."""
        answered: Answered | None = None
        for seed in range(self.seeds):
            chosen = plan.case(kind, seed, self.data)
            answered = answered or Answered(chosen)
            self.one_seed(chosen, answered, advance)
        if answered is None:
            raise ValueError("a demo without seeds")
        names = self.data.class_names
        sheet = contact_sheet(answered.first.split.forget, answered.seen, names)
        asked = Asked(kind, plan.REQUESTS[kind], answered.first.request.kind, names)
        floor = gap_floor(answered.references)
        return request_part(asked, answered.first.split, self.data.test, answered.trials, floor, sheet)

    def one_seed(self, chosen: Case, answered: Answered, advance: Any) -> None:
        """Train, retrain and unlearn at one seed."""
        kind, seed = chosen.kind, chosen.seed
        self.note(chosen)
        original, seconds = self.original(chosen)
        advance(f"{kind}, seed {seed}: original")
        references = []
        for number in range(RETRAINED):
            model, took = plan.train(chosen.split.retain, seed + 10_000 * (number + 1))
            references.append(self.outputs(model, chosen))
            if number == 0:
                self.keep(model, chosen, "retrain")
                retrain_seconds = took
            advance(f"{kind}, seed {seed}: retrain")
        answered.references.append(references)
        seen = {"original": self.outputs(original, chosen), "retrain": references[0]}
        for key, label, role, took in (
            ("original", "Original", "original", seconds),
            ("retrain", "Retrain", "retrained", retrain_seconds),
        ):
            trial = Trial.of(
                seen[key],
                key=key,
                label=label,
                role=role,  # type: ignore[arg-type]
                seed=seed,
                retrained=references[0],
                seconds=took,
            )
            answered.trials.append(trial)
        for method in plan.METHODS:
            trial, outputs = self.unlearned(method, original, chosen, references[0])
            answered.trials.append(trial)
            if outputs is not None:
                seen[method] = outputs
            advance(f"{kind}, seed {seed}: {trial.label}")
        answered.seen = answered.seen or seen

    def original(self, chosen: Case) -> tuple[nn.Module, float]:
        """Return the network trained on everything at this seed; both requests start from the same."""
        if chosen.seed not in self.originals:
            model, seconds = plan.train(chosen.train, chosen.seed)
            save_weights(model, self.folder.within(f"original-{chosen.seed}.safetensors"), overwrite=True)
            self.originals[chosen.seed] = model, seconds
        return self.originals[chosen.seed]

    def unlearned(
        self, method: str, original: nn.Module, chosen: Case, reference: ModelOutputs
    ) -> tuple[Trial, ModelOutputs | None]:
        """Unlearn by one method; a run that diverges keeps its row, without figures."""
        settings = plan.settings(method, chosen.kind)
        built = build_method(method, **settings)
        named: dict[str, Any] = {"key": method, "label": type(built).label, "role": "method", "seed": chosen.seed}
        split = chosen.split
        try:
            result = unlearn(
                original,
                forget=split.forget,
                retain=split.retain,
                holdout=split.holdout,
                method=built,
                seed=chosen.seed,
                normalisation=plan.NORMALISATION,
                observe_every=1,
            )
            outputs = self.outputs(result.model, chosen)
        except NotFiniteError:
            return Trial(**named, scores={}, per_class=[None] * split.classes, settings=settings_of(built)), None
        self.keep(result.model, chosen, method)
        self.folder.write_lines(f"{self.place(chosen)}/{method}.history.jsonl", result.history)
        made: dict[str, Any] = {"history": result.history, "settings": settings_of(built)}
        return Trial.of(outputs, **named, retrained=reference, seconds=result.seconds, **made), outputs

    def outputs(self, model: nn.Module, chosen: Case) -> ModelOutputs:
        """Return what a model says on all parts."""
        return outputs_of(Predictor(model), chosen.split, self.data.test)

    def place(self, chosen: Case) -> str:
        """Return the folder of one request at one seed."""
        return f"{chosen.kind}-{chosen.seed}"

    def keep(self, model: nn.Module, chosen: Case, name: str) -> None:
        """Save a model's weights."""
        save_weights(model, self.folder.within(f"{self.place(chosen)}/{name}.safetensors"), overwrite=True)

    def note(self, chosen: Case) -> None:
        """Write the request's manifest: sizes and keyed hashes."""
        forget, retain = (part.positions for part in (chosen.split.forget, chosen.split.retain))  # type: ignore[attr-defined]
        record = manifest(chosen.request, forget, retain, self.data.name, self.data.train, load_key())
        self.folder.write_json(f"{self.place(chosen)}/manifest.json", record)
