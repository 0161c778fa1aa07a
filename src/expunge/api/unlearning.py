"""``unlearn``: make a model forget some of its training examples."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import Tensor, nn

from expunge.api.admission import checked_split
from expunge.api.auto import AUTO, WITHIN, Found, planned, searched, seconds_of
from expunge.api.folder import RunFolder
from expunge.api.rows import settings_of
from expunge.api.snapshot import restored_on_failure
from expunge.api.trial import Trials
from expunge.api.wish import checked_wish, promised
from expunge.api.within import Keeper, carried_out, with_readings
from expunge.batch import Split
from expunge.budget import Budget, Preference, Spending
from expunge.data import as_examples
from expunge.engine import Average, Conditions, Format, Row, checked_policy
from expunge.engine.descend import ignore
from expunge.errors import ConfigError, ModelError
from expunge.methods import Method, build_method
from expunge.registry import find
from expunge.surgery import Progress
from expunge.tasks.classification.libraries import sentence
from expunge.tasks.family import Family

DEFAULT_POLICY = "frozen"


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

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the run folder: the model, ``history.jsonl`` and ``config.json``.

        A classifier is written as ``unlearned.safetensors``, a diffusion model as the folder ``unlearned`` with the
        files of its ``save_pretrained``.

        Args:
            folder: Where; made if it is not there.
            overwrite: Replace what an earlier run has left there. Default false.

        Raises:
            ConfigError: If the folder holds an earlier run or cannot be written.
        """
        run = RunFolder(folder, overwrite=overwrite)
        family_of(self.task).save(self.model, run.path)
        run.write_lines("history.jsonl", self.history)
        spending = {} if self.budget is None else {"budget": self.budget.document()}
        spending |= {} if self.search is None else {"search": self.search}
        settings = {"method": settings_of(self.method), "conditions": self.conditions}
        run.write_json("config.json", settings | spending)
        return run.path


def unlearn(
    model: nn.Module,
    *,
    forget: Any,
    retain: Any,
    holdout: Any = None,
    task: str = "classification",
    method: str | Method | None = None,
    within: str | float = WITHIN,
    budget: Budget | None = None,
    prefer: Preference = "budget",
    logits: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
    normalisation: str | None = None,
    micro_batches: int = 1,
    precision: Format = "fp32",
    average: float | None = None,
    observe_every: int = 10,
    inplace: bool = False,
    on_step: Callable[[Progress], None] = ignore,
    on_rows: Callable[[list[Row]], None] = ignore,
    **settings: Any,
) -> Result:
    """Return a model that has forgotten ``forget`` and kept what it knows of ``retain``, approximately.

    The model that is handed in stays as it is, on success and on failure, unless ``inplace=True``; even then a failure
    puts it back.

    Args:
        model: A trained model of the family that ``task`` names.
        forget: Examples to forget: a map-style data set of ``(input, label)``, tensors, or ``Examples``.
        retain: Training examples to keep, disjoint from ``forget``.
        holdout: Examples that the model was not trained on, for objectives that need them and for a budget, which
            splits them once: half of them steer, the others certify. Default: none.
        task: Family of the model: ``classification`` (default), ``diffusion`` for a class-conditional ``DDPM``, or
            ``stable_diffusion`` for a ``TextToImage``.
        method: Name of a method (``expunge list methods``), a ``Method``, or ``auto`` (default): for classifiers the
            neighbours' votes under a controller, with a learning rate that is searched on control examples where there
            is a budget; for other families what did best in their study.
        within: Time that ``auto`` may take for everything, search included: seconds, or text such as ``90s``. Default
            ``10min``. Where that is too little for a pass over all retained examples, fewer of them are used.
        budget: How much worse the model may become on held-out retain examples, such as ``Budget(points=1.0)``. The
            best iterate inside it is handed over; ``Result.budget`` says what became of it. Default: none.
        prefer: What comes first where the budget cannot be kept at the forgetting that was asked for: ``budget``
            (default) or ``forgetting``.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        seed: Of order, draws and dropout. Default 0.
        normalisation: ``frozen``, ``joint`` or ``separate``. Default ``frozen``, which measured best.
        micro_batches: Parts in which each half batch is processed. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        average: β of a running mean of the weights over the updates, which is then the unlearned model. It starts
            from the model itself and follows closely at first. Default: the weights of the last update.
        observe_every: Cosine and removed share are recorded every so many updates. Default 10.
        inplace: Change the model itself, which ends in evaluation mode without gradients. Default false: a copy.
        on_step: Called after every update with its progress.
        on_rows: Called with new rows of the history.
        **settings: Settings of the method, such as ``epochs``, ``rate`` and ``batch``.

    Raises:
        ExpungeError: If the request, the model, the data or a setting does not fit; before the first update.
        NotFiniteError: If a loss becomes NaN or infinite.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> forget, retain = TensorExamples(x[:6], y[:6]), TensorExamples(x[6:], y[6:])
        >>> result = unlearn(nn.Linear(4, 3), forget=forget, retain=retain, method="rl", epochs=1)
        >>> len(result.history)
        1
    """
    began = time.perf_counter()
    family, wish = family_of(task), checked_wish(budget, prefer, settings, average)
    sides, held = (as_examples(forget), as_examples(retain)), None if holdout is None else as_examples(holdout)
    automatic, deadline = method in (None, AUTO), began + seconds_of(within)
    if automatic and family.votes:
        chosen: Method = planned(len(sides[1]), settings)
    else:
        named = family.automatic if method is None or method == AUTO else method
        chosen = checked_method(named, family.settings(named, settings) if isinstance(named, str) else settings)
    history: list[Row] = []

    def keep(rows: list[Row]) -> None:
        history.extend(rows)
        on_rows(rows)

    plain: dict[str, Any] = {
        "seed": seed,
        "normalisation": normalisation or DEFAULT_POLICY,
        "micro_batches": micro_batches,
        "precision": precision,
        **({} if average is None else {"average": average}),
    }
    conditions = checked_conditions(Conditions(**plain, observe_every=observe_every, on_step=on_step, on_rows=keep))
    recipe = family.recipe(family.admit(chosen).recipe(seed))
    split = checked_split(family.predictor(model, logits), *sides, held, known=family.classes)
    family.afford(model, recipe, split, conditions, inplace=inplace)
    keeper, record = None, None
    if wish is not None:
        original = family.predictor(model, logits)
        halves = promised(wish, original, split, seed)
        found = Found(chosen, split)
        if automatic and "rate" not in settings:
            found = searched(chosen, Trials(wish, original, split, halves.control, conditions), deadline)
        chosen, recipe, record = found.method, found.method.recipe(seed), found.record
        keeper = Keeper(wish, original, recipe, found.split, halves)
    work = model if inplace else copied(model)
    with restored_on_failure(work, active=inplace):
        spending = carried_out(keeper, family.predictor(work, logits), recipe, split, conditions)
    seconds = time.perf_counter() - began
    if spending is not None:
        history = with_readings(history, spending.looks)
    before = None if inplace else model
    return Result(work, chosen, seconds, split, history, plain, logits, before, family.name, spending, record)


def family_of(task: str) -> Family:
    """Return the family of models that a name stands for.

    Raises:
        ConfigError: If there is none of that name.
    """
    if not isinstance(task, str):
        raise ConfigError("the name of a task", type(task).__name__, "`expunge list tasks` shows all")
    found: Family = find("tasks", task)()
    return found


def checked_method(method: str | Method, settings: dict[str, Any]) -> Method:
    """Return the method, built from its name where it is one.

    Raises:
        ConfigError: If it is neither a name nor a method, or a setting is not understood.
    """
    if isinstance(method, str):
        return build_method(method, **settings)
    if not isinstance(method, Method):
        found = f"the class {method.__name__}" if isinstance(method, type) else type(method).__name__
        raise ConfigError("the name of a method or a Method", found, "make one first, as in method=EUPMU()")
    if settings:
        raise ConfigError("settings in the Method itself", "settings beside it", "pass the method by name")
    return method


def checked_conditions(conditions: Conditions) -> Conditions:
    """Return the conditions if they can be met.

    Raises:
        ConfigError: If a count is not positive, the decay of an average is out of its range, or the
            precision or the policy has no such name.
    """
    counts = {"micro_batches": conditions.micro_batches, "observe_every": conditions.observe_every}
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"{name} as a whole number of at least 1", f"{count!r}", "use the default")
    formats = get_args(Format)
    if conditions.precision not in formats:
        raise ConfigError(f"a precision ({', '.join(formats)})", f"{conditions.precision!r}", "choose one of them")
    if conditions.average is not None:
        Average([], conditions.average)
    checked_policy(conditions.normalisation)
    return conditions


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares nothing with it.

    Raises:
        ModelError: If it cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # a module may hold anything, a file or a lock
        cure = "pass inplace=True to change the model itself"
        raise ModelError("a model that can be copied", sentence(error), cure) from error
