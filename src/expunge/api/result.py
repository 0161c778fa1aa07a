"""The result of ``unlearn``: the model, and how it came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.chain import NOTHING_LEFT_OUT, LeftOut
from expunge.api.folder import CONFIG, FINISHED, HISTORY
from expunge.api.rows import settings_of
from expunge.api.saving import saving
from expunge.batch import Split
from expunge.budget import Spending
from expunge.engine import Row
from expunge.errors import ConfigError
from expunge.kinds import kinds_checked
from expunge.ledger import Entry
from expunge.methods import Method
from expunge.registry import find
from expunge.tasks.family import Family
from expunge.tasks.fit import Fit


@dataclass
class Result:
    """An unlearned model and how it came about.

    Args:
        model: The unlearned model, in evaluation mode.
        method: The method that was used.
        seconds: Wall clock of the unlearning, saliency and similar passes included.
        split: The examples of the request.
        history: One row for each update: losses, and where known cosine, multiplier and removed share.
        conditions: Seed, precision and normalisation policy.
        logits: How logits are read from the model's output.
        original: The model as it was handed in; None after ``inplace=True``.
        task: Family of the model.
        budget: What became of the budget; None without one.
        search: What ``auto`` tried and found, as plain values; None where nothing was searched.
        entry: The ledger's entry of the request; None without a ledger, and where the model came back as it was.
        peak: Most bytes of memory held beyond those held before; None where the system does not tell.
        left_out: What earlier requests forgot and was left out; ``evaluate`` measures whether it comes back.
        fit: How well the model knew the examples before the run, beside what chance gives.
    """

    model: nn.Module
    method: Method
    seconds: float
    split: Split
    history: list[Row]
    conditions: dict[str, Any]
    logits: Callable[[Any], Tensor] | None = field(default=None, repr=False)
    original: nn.Module | None = field(default=None, repr=False)
    task: str = "classification"
    budget: Spending | None = None
    search: dict[str, Any] | None = None
    entry: Entry | None = None
    peak: int | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT
    fit: tuple[Fit, ...] = ()

    @kinds_checked
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
        from expunge.api.result_document import result_document  # which needs this module

        with saving(folder, overwrite=overwrite) as run:
            family_of(self.task).save(self.model, run.path)
            run.write_lines(HISTORY, self.history)
            spending = {} if self.budget is None else {"budget": self.budget.document()}
            spending |= {} if self.search is None else {"search": self.search}
            fit = [one.document() for one in self.fit]
            settings = {"method": settings_of(self.method), "conditions": self.conditions, "fit": fit}
            run.write_json(CONFIG, settings | spending)
            run.write_json(FINISHED, result_document(self))
        return Path(folder)


def family_of(task: str) -> Family:
    """Return the family of models that a name stands for.

    Raises:
        ConfigError: If there is none of that name.
    """
    if not isinstance(task, str):
        raise ConfigError("the name of a task", type(task).__name__, "`expunge list tasks` shows all")
    found: Family = find("tasks", task)()
    return found
