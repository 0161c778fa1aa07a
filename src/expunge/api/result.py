"""The result of ``unlearn``: the model, and how it came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.earlier_requests import NO_EXCLUSIONS, Exclusions
from expunge.api.folder import CONFIG_FILE, HISTORY_FILE, RESULT_FILE
from expunge.api.model_comparison import serialize_method
from expunge.api.saving import saving
from expunge.batch import Split
from expunge.budget import BudgetResult
from expunge.engine import HistoryRow
from expunge.errors import ConfigError
from expunge.formatting import format_number
from expunge.ledger import LedgerEntry
from expunge.methods import Method
from expunge.registry import find_component
from expunge.report import render_cell
from expunge.report.numbers import format_metric
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task
from expunge.type_checks import check_argument_types


@dataclass(repr=False)
class Result:
    """An unlearned model and how it came about.

    Args:
        model: The unlearned model, in evaluation mode.
        method: The method that was used.
        seconds: Wall clock of the unlearning, saliency and similar passes included.
        split: The examples of the request.
        history: One row for each update: losses, and where known cosine, multiplier and removed share.
        run_config: Seed, precision and normalization policy.
        logits: How logits are read from the model's output.
        original: The model as it was handed in; None after ``inplace=True``.
        task: Family of the model.
        budget: What became of the budget; None without one.
        search_history: What ``auto`` tried and found, as plain values; None where nothing was searched.
        ledger_entry: The ledger's entry of the request; None without a ledger, and where the model came back as it was.
        peak_memory: Most bytes of memory held beyond those held before; None where the system does not tell.
        left_out: What earlier requests forgot and was left out; ``evaluate`` measures whether it comes back.
        fit: How well the model knew the examples before the run, beside what chance gives.
    """

    model: nn.Module
    method: Method
    seconds: float
    split: Split
    history: list[HistoryRow]
    run_config: dict[str, Any]
    logits: Callable[[Any], Tensor] | None = field(default=None, repr=False)
    original: nn.Module | None = field(default=None, repr=False)
    task: str = "classification"
    budget: BudgetResult | None = None
    search_history: dict[str, Any] | None = None
    ledger_entry: LedgerEntry | None = None
    peak_memory: int | None = None
    left_out: Exclusions = NO_EXCLUSIONS
    fit: tuple[ModelFit, ...] = ()

    def __str__(self) -> str:
        """Return method, time, updates, budget and forgetting, a line each."""
        budget, losses = self.budget, ""
        if self.history and "forget_loss" in self.history[0]:
            first, last = (format_number(self.history[at]["forget_loss"]) for at in (0, -1))
            losses = f"; loss on the forgotten examples from {first} to {last}"
        lines = {
            "Method": self.method_label,
            "Time": f"{format_metric(self.seconds, 's')} s",
            "Updates": f"{len(self.history):,}{losses}",
            "Budget": "none was set" if budget is None else budget.summary,
            "Forgetting": "not measured yet; pass this result to evaluate" if budget is None else f"{budget.verdict}",
        }
        return "\n".join(f"{name}: {text}" for name, text in lines.items())

    def __repr__(self) -> str:
        return f"<Result of {self.method_label}: {len(self.history):,} updates in {format_metric(self.seconds, 's')} s>"

    def _repr_html_(self) -> str:
        return render_cell(self.document)

    @property
    def method_label(self) -> str:
        """What the method is called in reports."""
        return self.method.label or type(self.method).__name__

    @property
    def document(self) -> dict[str, Any]:
        """The result document, what ``save`` writes as ``result.json``; nothing is measured in it."""
        from expunge.api.result_document import build_result_document  # which needs this module

        return build_result_document(self)

    @check_argument_types
    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the run folder: the model, ``history.jsonl``, ``config.json`` and ``result.json``.

        A classifier is written as ``unlearned.safetensors``, a diffusion model as the folder ``unlearned`` with the
        files of its ``save_pretrained``. ``expunge report`` and ``expunge purge`` read the folder. It is written aside
        and put in the place of an earlier run as a whole, whose files are removed last.

        Args:
            folder: Where; made if it is not there.
            overwrite: Replace what an earlier run has left there. Default false.

        Raises:
            ConfigError: If the folder holds an earlier run or cannot be written.
        """
        with saving(folder, overwrite=overwrite) as run:
            get_task(self.task).save(self.model, run.path)
            run.write_lines(HISTORY_FILE, self.history)
            spending = {} if self.budget is None else {"budget": self.budget.as_dict()}
            spending |= {} if self.search_history is None else {"search": self.search_history}
            fit = [one.as_dict() for one in self.fit]
            settings = {"method": serialize_method(self.method), "run_config": self.run_config, "fit": fit}
            run.write_json(CONFIG_FILE, settings | spending)
            run.write_json(RESULT_FILE, self.document)
        return Path(folder)


def get_task(task: str) -> Task:
    """Return the family of models that a name stands for."""
    if not isinstance(task, str):
        raise ConfigError("the name of a task", type(task).__name__, "`expunge list tasks` shows all")
    loaded: Task = find_component("tasks", task)()
    return loaded
