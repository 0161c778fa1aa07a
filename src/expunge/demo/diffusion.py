"""The diffusion demo, from end to end: a model that draws clothes or digits forgets one kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from expunge.api.documents import document
from expunge.api.folder import CONFIG, FINISHED, GRID, MANIFEST, REPORT, RunFolder
from expunge.api.generative.generated import Drawing, GeneratedRows, generated_part
from expunge.api.generative.grids import HOLDS
from expunge.api.progress import bar
from expunge.api.requests import Asked
from expunge.api.run import from_here
from expunge.api.threads import threads as using_threads
from expunge.api.unlearning import unlearn
from expunge.data import load_key, manifest, split_request
from expunge.demo import diffusion_plan
from expunge.demo.diffusion_plan import Case, Plan
from expunge.errors import NotFiniteError
from expunge.methods import Method, build_method
from expunge.report import print_tables, write_report
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.family import Diffusion


def run_diffusion_demo(
    *,
    fast: bool = False,
    out: Path = Path("expunge-demo"),
    data_dir: Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    overwrite: bool = False,
    console: Console | None = None,
    plan: Plan | None = None,
) -> Path:
    """Forget one class of a class-conditional diffusion model by every method of the plan; measure and report.

    The model is not trained here: it comes with the package.

    Args:
        fast: Handwritten digits of 8×8 pixels in place of Fashion-MNIST; needs no data. Default false.
        out: Run folder. Default ``expunge-demo``.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        seed: Of order, draws and pictures. Default 0.
        threads: Processor threads. Default: torch's own choice.
        overwrite: Replace an earlier run in the folder. Default false.
        console: Where progress and tables go. Default: nowhere.
        plan: Another variant. Default: by ``fast``.

    Raises:
        ConfigError: If the folder holds an earlier run.
        DataError: If the data are missing.
        MissingExtraError: If diffusers is not installed.
    """
    began, console = time.perf_counter(), console or Console(quiet=True)
    plan = plan or (diffusion_plan.DIGITS if fast else diffusion_plan.FASHION)
    case = diffusion_plan.case(plan, data_dir, seed)
    folder = RunFolder(out, overwrite=overwrite)
    with using_threads(threads):
        result = DiffusionDemo(folder, plan, case, seed, console).run()
    report = write_report(result, folder.path / REPORT)
    folder.write_json(FINISHED, result)
    print_tables(result, console)
    console.print(f"Grid:   {from_here(folder.path / GRID)}", soft_wrap=True)
    console.print(f"Report: {from_here(report)}   ({time.perf_counter() - began:.0f} s)", soft_wrap=True)
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

    def __init__(self, folder: RunFolder, plan: Plan, case: Case, seed: int, console: Console) -> None:
        self.folder, self.plan, self.case, self.seed, self.console = folder, plan, case, seed, console
        drawing = Drawing(**{**vars(plan.drawing), "seed": seed})
        self.rows = GeneratedRows(case.split, case.real, case.judge, drawing, seed)

    def run(self) -> dict[str, Any]:
        """Answer the request and return the result document."""
        self.note()
        with bar(self.console, "Original", len(self.rows.labels), width=16, images=1) as shown:
            self.rows.original(self.case.original, on_images=shown.reached)
        for key, method in self.plan.methods.items():
            self.unlearned(key, method)
        names = self.case.source.class_names
        grid = self.rows.grid(names)
        grid.write(self.folder.path / GRID)
        name = names[self.plan.forgotten]
        asked = Asked("class", f"Forget how to draw '{name}' ({self.plan.title})", "class", names)
        part = generated_part(asked, self.rows, len(self.case.real))
        command = f"expunge demo --task diffusion{' --fast' if self.plan is diffusion_plan.DIGITS else ''}"
        title = f"A diffusion model of {self.plan.title} forgets a class"
        held = ["The base model, which comes with the package.", HOLDS]
        return document("demo", title, command, diffusion_plan.DISCLOSURE, [part], held)

    def note(self) -> None:
        """Write what is known before the first step."""
        settings = {"methods": self.plan.methods, "settings": self.plan.settings, "seed": self.seed}
        self.folder.write_json(CONFIG, {**settings, "images": vars(self.rows.drawing), "data": self.plan.name})
        source, request = self.case.source, self.case.request
        positions = split_request(source.train, request, source.class_names)
        self.folder.write_json(MANIFEST, manifest(request, *positions, source.name, source.train, load_key()))

    def unlearned(self, key: str, name: str) -> None:
        """Unlearn by one method and let the model draw; a run that diverges keeps its row, without figures."""
        method, split = built(name, self.plan), self.case.split
        label = method.label or type(method).__name__
        sides: dict[str, Any] = {"forget": split.forget, "retain": split.retain}
        try:
            with bar(self.console, label, width=16, images=self.plan.settings["batch"]) as shown:
                result = unlearn(
                    self.case.original, **sides, task="diffusion", method=method, seed=self.seed, on_step=shown.update
                )
        except NotFiniteError:
            self.rows.unlearned(None, key, method)
            return
        self.folder.write_lines(f"{key}/history.jsonl", result.history)
        saved = DDPM.from_pretrained(Diffusion().save(result.model, self.folder.path / key))
        with bar(self.console, "  draws", len(self.rows.labels), width=16, images=1) as shown:
            self.rows.unlearned(saved, key, method, result.seconds, result.history, shown.reached)


def built(name: str, plan: Plan) -> Method:
    """Return a method with the plan's settings and, for all else, the family's."""
    return build_method(name, **Diffusion().settings(name, plan.settings))
