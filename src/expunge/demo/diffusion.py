"""The diffusion demo, from end to end: a model that draws clothes or digits forgets one kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from expunge.api.compute_context import thread_count as using_threads
from expunge.api.documents import build_document
from expunge.api.folder import CONFIG_FILE, GRID_FILE, MANIFEST_FILE, REPORT_FILE, RESULT_FILE, RunFolder
from expunge.api.generative.grids import STILL_CONTAINS_DATA
from expunge.api.generative.image_comparison import ImageModelComparison, SamplingConfig, build_generative_section
from expunge.api.progress import progress_bar
from expunge.api.request_section import RequestInfo
from expunge.api.run import display_path
from expunge.api.unlearning import unlearn
from expunge.callbacks import LambdaCallback
from expunge.data import build_manifest, load_or_create_key, split_request
from expunge.demo import diffusion_plan
from expunge.demo.base_models import find_base_models
from expunge.demo.diffusion_plan import DiffusionDemoCase, DiffusionDemoPlan
from expunge.errors import NotFiniteError
from expunge.methods import Method, build_method
from expunge.report import print_tables, write_report
from expunge.run_config import RunConfig
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.task import Diffusion


def run_diffusion_demo(
    *,
    fast: bool = False,
    out: Path = Path("expunge-demo"),
    data_dir: Path | None = None,
    models_dir: Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
    console: Console | None = None,
    plan: DiffusionDemoPlan | None = None,
) -> Path:
    """Forget one class of a class-conditional diffusion model by every method of the plan; measure and report.

    The first run of a variant trains its base model: a minute for digits, twenty-five for Fashion-MNIST, on two cores.
    """
    start_time, console = time.perf_counter(), console or Console(quiet=True)
    plan = plan or (diffusion_plan.DIGITS if fast else diffusion_plan.FASHION)
    source, folder = diffusion_plan.read_source(plan, data_dir), RunFolder(out, overwrite=overwrite)
    with using_threads(threads):
        models = find_base_models(plan.name, source, models_dir, console)
        case = diffusion_plan.build_case(plan, source, models, seed)
        result = DiffusionDemo(folder, plan, case, seed, console).run()
    report = write_report(result, folder.path / REPORT_FILE)
    folder.write_json(RESULT_FILE, result)
    print_tables(result, console)
    console.print(f"Grid:   {display_path(folder.path / GRID_FILE)}", soft_wrap=True)
    console.print(f"Report: {display_path(report)}   ({time.perf_counter() - start_time:.0f} s)", soft_wrap=True)
    return folder.path


class DiffusionDemo:
    """Answers the request by every method.

    Args:
        folder: The run folder.
        plan: What is done.
        case: What it is done with.
        seed: Of order, draws and pictures.
        console: Where progress goes.
    """

    def __init__(
        self, folder: RunFolder, plan: DiffusionDemoPlan, case: DiffusionDemoCase, seed: int, console: Console
    ) -> None:
        self.folder, self.plan, self.case, self.seed, self.console = folder, plan, case, seed, console
        drawing = SamplingConfig(**{**vars(plan.sampling), "seed": seed})
        self.rows = ImageModelComparison(case.split, case.real, case.classifier, drawing, seed, console=console)

    def run(self) -> dict[str, Any]:
        """Answer the request and return the result document."""
        self.write_manifest()
        self.rows.add_original(self.case.original)
        for key, method in self.plan.methods.items():
            self.run_method(key, method)
        names = self.case.source.class_names
        grid = self.rows.build_grid(names)
        grid.write(self.folder.path / GRID_FILE)
        name = names[self.plan.forgotten_class]
        request_info = RequestInfo("class", f"Forget how to draw '{name}' ({self.plan.title})", "class", names)
        part = build_generative_section(request_info, self.rows, len(self.case.real))
        command = f"expunge demo --task diffusion{' --fast' if self.plan is diffusion_plan.DIGITS else ''}"
        title = f"A diffusion model of {self.plan.title} forgets a class"
        still_contains_data = ["The base model.", STILL_CONTAINS_DATA]
        return build_document("demo", title, command, diffusion_plan.DISCLOSURE, [part], still_contains_data)

    def write_manifest(self) -> None:
        """Write what is known before the first step."""
        settings = {"methods": self.plan.methods, "settings": self.plan.settings, "seed": self.seed}
        self.folder.write_json(CONFIG_FILE, {**settings, "images": vars(self.rows.sampling), "data": self.plan.name})
        source, request = self.case.source, self.case.request
        positions = split_request(source.train, request, source.class_names)
        self.folder.write_json(
            MANIFEST_FILE, build_manifest(request, *positions, source.name, source.train, load_or_create_key())
        )

    def run_method(self, key: str, name: str) -> None:
        """Unlearn by one method and let the model draw; a run that diverges keeps its row, without figures."""
        method, split = build_demo_method(name, self.plan), self.case.split
        label = method.label or type(method).__name__
        sides: dict[str, Any] = {"forget": split.forget, "retain": split.retain}
        try:
            with progress_bar(self.console, label, width=16, images=self.plan.settings["batch_size"]) as shown:
                result = unlearn(
                    self.case.original,
                    **sides,
                    task="diffusion",
                    method=method,
                    seed=self.seed,
                    callbacks=LambdaCallback(on_step=shown.update),
                    config=RunConfig(progress=False),
                )
        except NotFiniteError:
            self.rows.add_unlearned(None, key, method)
            return
        self.folder.write_lines(f"{key}/history.jsonl", result.history)
        saved = DDPM.from_pretrained(Diffusion().save(result.model, self.folder.path / key))
        self.rows.add_unlearned(saved, key, method, result.seconds, result.history)


def build_demo_method(name: str, plan: DiffusionDemoPlan) -> Method:
    """Return a method with the plan's settings and, for all else, the family's."""
    return build_method(name, **Diffusion().resolve_settings(name, plan.settings))
