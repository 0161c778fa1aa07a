"""The demo, from end to end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from expunge.api.compute_context import thread_count as using_threads
from expunge.api.documents import build_document
from expunge.api.folder import CONFIG_FILE, REPORT_FILE, RESULT_FILE, RunFolder
from expunge.api.model_comparison import ModelComparison
from expunge.api.progress import ProgressBar, progress_bar
from expunge.api.request_section import RequestInfo, build_contact_sheet, build_request_section
from expunge.api.run import display_path
from expunge.api.unlearning import unlearn
from expunge.data import LabeledDataset, build_manifest, load_or_create_key, split_request
from expunge.demo import plan
from expunge.demo.plan import DemoCase
from expunge.errors import ConfigError, NotFiniteError
from expunge.methods import build_method
from expunge.metrics import ModelOutputs, ModelScores, compute_noise_floors
from expunge.report import print_tables, write_report
from expunge.run_config import RunConfig
from expunge.weights import save_weights

NUM_RETRAINED = 2
"""Retrained models for each split: one is the reference, the others give the noise floor."""
STILL_CONTAINS_DATA = (
    "This run folder: original and retrained weights, and pictures of forgotten digits in report.html."
)


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
    start_time, console = time.perf_counter(), console or Console(quiet=True)
    folder = RunFolder(out, overwrite=overwrite)
    with using_threads(threads):
        show = Demo(folder, plan.load_digits(), 1 if fast else seeds, console)
        folder.write_json(CONFIG_FILE, show.config())
        result = show.run()
    report = write_report(result, folder.path / REPORT_FILE)
    folder.write_json(RESULT_FILE, result)
    print_tables(result, console)
    console.print(f"Report: {display_path(report)}   ({time.perf_counter() - start_time:.0f} s)", soft_wrap=True)
    return folder.path


@dataclass
class RequestResults:
    """What one request has gathered over the seeds.

    Args:
        first: The rows of the first seed, whose examples are shown.
        trials: Every model at every seed.
        references: What the retrained models of each seed say.
    """

    first: ModelComparison
    trials: list[ModelScores] = field(default_factory=list)
    references: list[list[ModelOutputs]] = field(default_factory=list)


class Demo:
    """Answers both requests at every seed.

    Args:
        folder: The run folder.
        data: The digits.
        seeds: How many seeds.
        console: Where progress goes.
    """

    def __init__(self, folder: RunFolder, data: LabeledDataset, seeds: int, console: Console) -> None:
        self.folder, self.data, self.seeds, self.console = folder, data, seeds, console
        self.originals: dict[int, tuple[nn.Module, float]] = {}

    def config(self) -> dict[str, Any]:
        """Return what can be said of the run before it starts."""
        chosen = {kind: {m: plan.get_method_settings(m, kind) for m in plan.METHODS} for kind in plan.REQUESTS}
        return {"seeds": self.seeds, "train": plan.NUM_TRAIN_IMAGES, "training": plan.TRAIN_SETTINGS, "methods": chosen}

    def run(self) -> dict[str, Any]:
        """Answer every request and return the result document."""
        models = 1 + NUM_RETRAINED + len(plan.METHODS)
        total = len(plan.REQUESTS) * self.seeds * models
        with progress_bar(self.console, "Digits", total, width=28, transient=True) as shown:
            parts = [self.run_request(kind, shown) for kind in plan.REQUESTS]
        command = f"expunge demo --seeds {self.seeds}"
        return build_document(
            "demo", "Forgetting handwritten digits", command, plan.DISCLOSURE, parts, [STILL_CONTAINS_DATA]
        )

    def run_request(self, kind: str, progress: ProgressBar) -> dict[str, Any]:
        """Answer one request at every seed; return its part of the document."""
        cases = [plan.make_case(kind, seed, self.data) for seed in range(self.seeds)]
        results = RequestResults(ModelComparison(cases[0].split, self.data.test, 0))
        for chosen in cases:
            rows = results.first if chosen is cases[0] else ModelComparison(chosen.split, self.data.test, chosen.seed)
            results.references.append(self.run_seed(chosen, rows, progress))
            results.trials += rows.score()
        first, names = results.first, self.data.class_names
        sheet = build_contact_sheet(first.split.forget, first.outputs, names)
        request_info = RequestInfo(kind, plan.REQUESTS[kind], cases[0].request.kind, names)
        floors = compute_noise_floors(results.references)
        return build_request_section(
            request_info, first.split, self.data.test, results.trials, None, sheet, floors=floors
        )

    def run_seed(self, case: DemoCase, rows: ModelComparison, progress: ProgressBar) -> list[ModelOutputs]:
        """Train, retrain and unlearn at one seed; return what the retrained models say."""
        where = f"{case.kind}, seed {case.seed}"
        self.write_manifest(case)
        rows.add_original(*self.get_original(case))
        progress.advance(f"{where}: original")
        references = []
        for number in range(NUM_RETRAINED):
            references.append(self.retrain(case, rows, number))
            progress.advance(f"{where}: retrain")
        for method in plan.METHODS:
            self.run_method(method, case, rows)
            progress.advance(f"{where}: {rows.entries[-1].label}")
        return references

    def get_original(self, case: DemoCase) -> tuple[nn.Module, float]:
        """Return the network trained on everything at this seed; both requests start from the same."""
        if case.seed not in self.originals:
            model, seconds = plan.train_network(case.train, case.seed)
            save_weights(model, self.folder.file_path(f"original-{case.seed}.safetensors"), overwrite=True)
            self.originals[case.seed] = model, seconds
        return self.originals[case.seed]

    def retrain(self, case: DemoCase, rows: ModelComparison, number: int) -> ModelOutputs:
        """Return what one retrained network says; the first is the reference and has a row."""
        model, seconds = plan.train_network(case.split.retain, case.seed + 10_000 * (number + 1))
        if number > 0:
            return rows.collect_outputs(model)
        self.save_model(model, case, "retrain")
        return rows.add_retrained(model, seconds)

    def run_method(self, name: str, case: DemoCase, rows: ModelComparison) -> None:
        """Unlearn by one method; a run that diverges keeps its row, without figures."""
        method, split = build_method(name, **plan.get_method_settings(name, case.kind)), case.split
        try:
            result = unlearn(
                self.get_original(case)[0],
                forget=split.forget,
                retain=split.retain,
                holdout=split.holdout,
                method=method,
                seed=case.seed,
                config=RunConfig(batch_norm=plan.BATCH_NORM, log_gradients_every=1, progress=False),
            )
            rows.add_unlearned(result.model, name, method, result.seconds, result.history)
        except NotFiniteError:
            rows.add_unlearned(None, name, method)
            return
        self.save_model(result.model, case, name)
        self.folder.write_lines(f"{case_folder(case)}/{name}.history.jsonl", result.history)

    def save_model(self, model: nn.Module, case: DemoCase, name: str) -> None:
        save_weights(model, self.folder.file_path(f"{case_folder(case)}/{name}.safetensors"), overwrite=True)

    def write_manifest(self, case: DemoCase) -> None:
        """Write the request's manifest: sizes and keyed hashes."""
        positions = split_request(case.train, case.request)
        record = build_manifest(case.request, *positions, self.data.name, case.train, load_or_create_key())
        self.folder.write_json(f"{case_folder(case)}/manifest.json", record)


def case_folder(case: DemoCase) -> str:
    """Return the folder of one request at one seed."""
    return f"{case.kind}-{case.seed}"
