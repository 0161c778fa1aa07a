"""The demo, from end to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from expunge.api.documents import document
from expunge.api.folder import CONFIG, FINISHED, REPORT, RunFolder
from expunge.api.progress import Bar, bar
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.rows import Rows
from expunge.api.run import from_here
from expunge.api.threads import threads as using_threads
from expunge.api.unlearning import unlearn
from expunge.data import Source, load_key, manifest, split_request
from expunge.demo import plan
from expunge.demo.plan import Case
from expunge.errors import ConfigError, NotFiniteError
from expunge.evaluation import ModelOutputs, Trial, gap_floors
from expunge.methods import build_method
from expunge.report import print_tables, write_report
from expunge.weights import save_weights

RETRAINED = 2
"""Retrained models for each split: one is the reference, the others give the noise floor."""
HOLDS = "This run folder: original and retrained weights, and pictures of forgotten digits in report.html."


def run_demo(
    *,
    fast: bool = False,
    out: Path = Path("expunge-demo"),
    seeds: int = 3,
    threads: int | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> Path:
    """Train, unlearn, measure and report on handwritten digits.

    Args:
        fast: One seed in place of three; the same methods and requests. Default false.
        out: Run folder. Default ``expunge-demo``.
        seeds: Paired seeds; one under ``fast``. Default 3.
        threads: Processor threads. Default: torch's own choice.
        overwrite: Replace an earlier run in the folder. Default false.
        console: Where progress and tables go. Default: nowhere.

    Raises:
        ConfigError: If the folder holds an earlier run, or there is no seed.
    """
    if seeds < 1:
        raise ConfigError("at least one seed", f"{seeds}", "use 3")
    began, console = time.perf_counter(), console or Console(quiet=True)
    folder = RunFolder(out, overwrite=overwrite)
    with using_threads(threads):
        show = Demo(folder, plan.source(), 1 if fast else seeds, console)
        folder.write_json(CONFIG, show.config())
        result = show.run()
    report = write_report(result, folder.path / REPORT)
    folder.write_json(FINISHED, result)
    print_tables(result, console)
    console.print(f"Report: {from_here(report)}   ({time.perf_counter() - began:.0f} s)", soft_wrap=True)
    return folder.path


@dataclass
class Answered:
    """What one request has gathered over the seeds.

    Args:
        first: The rows of the first seed, whose examples are shown.
        trials: Every model at every seed.
        references: What the retrained models of each seed say.
    """

    first: Rows
    trials: list[Trial] = field(default_factory=list)
    references: list[list[ModelOutputs]] = field(default_factory=list)


class Demo:
    """Answers both requests at every seed.

    Args:
        folder: The run folder.
        data: The digits.
        seeds: How many seeds.
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
        models = 1 + RETRAINED + len(plan.METHODS)
        total = len(plan.REQUESTS) * self.seeds * models
        with bar(self.console, "Digits", total, width=28, transient=True) as shown:
            parts = [self.answer(kind, shown) for kind in plan.REQUESTS]
        command = f"expunge demo --seeds {self.seeds}"
        return document("demo", "Forgetting handwritten digits", command, plan.DISCLOSURE, parts, [HOLDS])

    def answer(self, kind: str, shown: Bar) -> dict[str, Any]:
        """Answer one request at every seed; return its part of the document."""
        cases = [plan.case(kind, seed, self.data) for seed in range(self.seeds)]
        answered = Answered(Rows(cases[0].split, self.data.test, 0))
        for chosen in cases:
            rows = answered.first if chosen is cases[0] else Rows(chosen.split, self.data.test, chosen.seed)
            answered.references.append(self.one_seed(chosen, rows, shown))
            answered.trials += rows.trials()
        first, names = answered.first, self.data.class_names
        sheet = contact_sheet(first.split.forget, first.outputs, names)
        asked = Asked(kind, plan.REQUESTS[kind], cases[0].request.kind, names)
        floors = gap_floors(answered.references)
        return request_part(asked, first.split, self.data.test, answered.trials, None, sheet, floors=floors)

    def one_seed(self, chosen: Case, rows: Rows, shown: Bar) -> list[ModelOutputs]:
        """Train, retrain and unlearn at one seed; return what the retrained models say."""
        where = f"{chosen.kind}, seed {chosen.seed}"
        self.note(chosen)
        rows.original(*self.original(chosen))
        shown.done(f"{where}: original")
        references = []
        for number in range(RETRAINED):
            references.append(self.retrained(chosen, rows, number))
            shown.done(f"{where}: retrain")
        for method in plan.METHODS:
            self.unlearned(method, chosen, rows)
            shown.done(f"{where}: {rows.rows[-1].label}")
        return references

    def original(self, chosen: Case) -> tuple[nn.Module, float]:
        """Return the network trained on everything at this seed; both requests start from the same."""
        if chosen.seed not in self.originals:
            model, seconds = plan.train(chosen.train, chosen.seed)
            save_weights(model, self.folder.within(f"original-{chosen.seed}.safetensors"), overwrite=True)
            self.originals[chosen.seed] = model, seconds
        return self.originals[chosen.seed]

    def retrained(self, chosen: Case, rows: Rows, number: int) -> ModelOutputs:
        """Return what one retrained network says; the first is the reference and has a row."""
        model, seconds = plan.train(chosen.split.retain, chosen.seed + 10_000 * (number + 1))
        if number > 0:
            return rows.ask(model)
        self.keep(model, chosen, "retrain")
        return rows.retrained(model, seconds)

    def unlearned(self, name: str, chosen: Case, rows: Rows) -> None:
        """Unlearn by one method; a run that diverges keeps its row, without figures."""
        method, split = build_method(name, **plan.settings(name, chosen.kind)), chosen.split
        try:
            result = unlearn(
                self.original(chosen)[0],
                forget=split.forget,
                retain=split.retain,
                holdout=split.holdout,
                method=method,
                seed=chosen.seed,
                normalisation=plan.NORMALISATION,
                observe_every=1,
            )
            rows.unlearned(result.model, name, method, result.seconds, result.history)
        except NotFiniteError:
            rows.unlearned(None, name, method)
            return
        self.keep(result.model, chosen, name)
        self.folder.write_lines(f"{place(chosen)}/{name}.history.jsonl", result.history)

    def keep(self, model: nn.Module, chosen: Case, name: str) -> None:
        """Save a model's weights."""
        save_weights(model, self.folder.within(f"{place(chosen)}/{name}.safetensors"), overwrite=True)

    def note(self, chosen: Case) -> None:
        """Write the request's manifest: sizes and keyed hashes."""
        positions = split_request(chosen.train, chosen.request)
        record = manifest(chosen.request, *positions, self.data.name, chosen.train, load_key())
        self.folder.write_json(f"{place(chosen)}/manifest.json", record)


def place(chosen: Case) -> str:
    """Return the folder of one request at one seed."""
    return f"{chosen.kind}-{chosen.seed}"
