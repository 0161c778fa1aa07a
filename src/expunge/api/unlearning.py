"""``unlearn``: make a model forget some of its training examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.call_exclusions import prepare_call_data
from expunge.api.call_recording import compare_with_ledger, create_call_recorder, open_ledger
from expunge.api.checkpointing import checkpoint_session, fingerprint_run, register_state, restore_checkpoint
from expunge.api.history import History
from expunge.api.request.names import AUTO
from expunge.api.request.time_limit import DEFAULT_TIME_LIMIT, parse_time_limit
from expunge.api.result import Result, get_task
from expunge.api.sanity import apply_misfit, judge_fit
from expunge.api.snapshot import rollback_on_failure
from expunge.api.steering.budget_validation import BudgetOptions, adapt_to_task, hold_out_control_half, validate_budget
from expunge.api.steering.controller import run_plan
from expunge.api.steering.evaluation_schedule import merge_evaluations
from expunge.api.steering.lr_range_test import EarlyStopping
from expunge.api.steering.options import resolve_method, validate_options
from expunge.api.steering.plan import UnlearnRequest, plan_run
from expunge.api.tracking import log_end, log_start, open_trackers
from expunge.api.validation import validate_changeable, validate_split
from expunge.batch import Split
from expunge.budget import Budget, Preference
from expunge.data import as_examples, hash_cache, move_split_to_device, move_split_to_host
from expunge.engine import CheckpointManager, HistoryRow, PrecisionName, ResourceMeter, RunOptions, device_of
from expunge.engine.compiled import check_compiler
from expunge.engine.distributed_checks import check_unsharded
from expunge.engine.run_options import noop
from expunge.errors import ModelError
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.surgery import Progress
from expunge.tasks.classification.libraries import format_exception
from expunge.tasks.task import Task
from expunge.type_checks import check_argument_types

DEFAULT_BATCH_NORM = "frozen"


@check_argument_types
@hash_cache()
def unlearn(
    model: nn.Module,
    *,
    forget: Any,
    retain: Any,
    holdout: Any = None,
    task: str = "classification",
    method: str | Method | None = None,
    within: str | float = DEFAULT_TIME_LIMIT,
    budget: Budget | None = None,
    prefer: Preference = "budget",
    logits: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
    normalisation: str | None = None,
    micro_batches: int = 1,
    precision: PrecisionName = "fp32",
    channels_last: bool | None = None,
    compile: bool = False,
    average: float | None = None,
    shared: bool = False,
    observe_every: int = 10,
    inplace: bool = False,
    track: Any = None,
    ledger: Path | str | None = None,
    again: bool = False,
    exclude: Any = None,
    request: Mapping[str, str] | None = None,
    sanity_check: bool = True,
    on_step: Callable[[Progress], None] = noop,
    on_rows: Callable[[list[HistoryRow]], None] = noop,
    resume: Path | str | CheckpointManager | None = None,
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
            splits them once: half of them steer, the others certify; with ``Budget(…, certify=False)`` all of them
            steer. Default: none.
        task: Family of the model: ``classification`` (default), ``diffusion`` for a class-conditional ``DDPM``, or
            ``stable_diffusion`` for a ``TextToImage``.
        method: Name of a method (``expunge list methods``), a ``Method``, or ``auto`` (default): for classifiers the
            neighbours' votes under a controller, with a learning rate that is searched on control examples where there
            is a budget; for other families what did best in their study, where it has a learning rate with one that a
            range test finds.
        within: Time that ``auto`` may take for everything, search included: seconds, or text such as ``90s``. Default
            ``10min``. By what its trials took it reckons what there is time for; where that is too little for a pass
            over all retained examples, fewer of them are used and fewer control readings are made, though there are
            one trial, 24 updates and three readings whatever the time.
        budget: How much worse the model may become on held-out retain examples, such as ``Budget(points=1.0)``. The
            best iterate inside it is handed over; ``Result.budget`` says what became of it. Default: none.
        prefer: What comes first where the budget cannot be kept at the forgetting that was asked for: ``budget``
            (default) or ``forgetting``.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        seed: Of order, draws and dropout. Default 0.
        normalisation: ``frozen``, ``joint`` or ``separate``. Default ``frozen``, which measured best.
        micro_batches: Parts in which each half batch is processed. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        channels_last: Hold the weights of convolutions with channels last while they are changed, which is faster on
            accelerators; the model that is handed back has them as they came. Default: on accelerators alone.
        compile: Pass batches through the model by ``torch.compile`` while it is changed. The first passes take the time
            of compiling, so it pays in long runs alone; what is handed back is not compiled. Default false.
        average: β of a running mean of the weights over the updates, which is then the unlearned model. It starts
            from the model itself and follows closely at first. Default: the weights of the last update.
        shared: Share the examples of every update with the other processes of torch.distributed, each of which makes
            this very call; all end with the same model. Default false.
        observe_every: Cosine and removed share are recorded every so many updates. Default 10.
        inplace: Change the model itself, which ends in evaluation mode without gradients. Default false: a copy.
        track: Trackers that show the course while it goes on: a name (``tensorboard``, ``wandb``, ``mlflow``,
            ``trackio``), a mapping of a name and settings, a ``Tracker``, or several of these. They are told losses,
            controls, readings and figures, and nothing of the data. Default: none.
        ledger: A file in which the request is recorded in keyed hashes once it is answered (``Result.entry``). Default:
            none, and nothing is recorded.
        again: Answer a request once more that the ledger shows to have been served. Default false.
        exclude: What earlier requests forgot, and so is neither learned from nor held out: a class or a list of them,
            by number or name; examples; or ``"ledger"`` for what the ledger's entries of this chain forgot. Default:
            nothing, and retained or held-out examples that the ledger knows for forgotten are refused.
        request: ``title``, ``ticket`` and ``requester``, of which the ledger keeps keyed hashes. Default none.
        sanity_check: Refuse a budget for a model that knows the retained or held-out examples no better than chance, as
            with permuted labels, other scaling or an untrained head. Where false, or without a budget, a
            ``FitWarning`` says so and the run goes on; ``Result.fit`` has the figures. Default true.
        on_step: Called after every update with its progress.
        on_rows: Called with new rows of the history.
        resume: A folder of the run's own, where its state is saved every minute, or a ``CheckpointManager`` with
            other settings. What an earlier call with the same arguments left there is gone on with, to the same bits.
            The state holds the original's weights: remove the folder once the result is saved. With ``shared=True``
            every process names the same folder and has one of its own in it; as many have to go on as began. Default:
            nothing is saved.
        **settings: Settings of the method, such as ``epochs``, ``rate`` and ``batch``.

    Raises:
        ExpungeError: If the request, the model, the data or a setting does not fit; before the first update.
        ModelError: If there is a budget and the model knows the data no better than chance.
        RequestError: If the ledger has an entry which answered this request for this model or one that it comes from,
            or knows examples to retain or hold out for forgotten.
        NotFiniteError: If a loss becomes NaN or infinite; its ``model`` is the last good iterate, unless ``inplace``.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> forget, retain = TensorExamples(x[:6], y[:6]), TensorExamples(x[6:], y[6:])
        >>> result = unlearn(nn.Linear(4, 3), forget=forget, retain=retain, method="rl", epochs=1)
        >>> len(result.history)
        1
    """
    began, trackers, family = time.perf_counter(), open_trackers(track), get_task(task)
    meter = ResourceMeter(device_of(model))
    budget_options = adapt_to_task(validate_budget(budget, prefer, settings, average), family)
    has_budget = budget_options is not None
    sides, held_out = (as_examples(forget), as_examples(retain)), None if holdout is None else as_examples(holdout)
    opened_ledger = open_ledger(ledger)
    chain = prepare_call_data(model, sides[1], held_out, exclude, opened_ledger, family)
    sides, held_out = (sides[0], chain.retain), chain.holdout
    named, deadline = None if method == AUTO else method, began + parse_time_limit(within)
    chosen = resolve_method(family, named, sides, settings, budgeted=has_budget)
    run_config: dict[str, Any] = {"seed": seed, "normalisation": normalisation or DEFAULT_BATCH_NORM}
    run_config |= {"micro_batches": micro_batches, "precision": precision, "average": average, "shared": shared or None}
    run_config |= {"channels_last": channels_last, "compile": compile or None}
    run_config = {name: value for name, value in run_config.items() if value is not None}
    conditions = create_run_options(run_config, model, family, observe_every, on_step)
    recipe = family.translate_recipe(family.validate_method(chosen).recipe(seed))
    original = family.make_predictor(model, logits)
    split = chain.mark_forgotten_classes(validate_split(original, *sides, held_out, count_classes=family.count_classes))
    family.check_memory(model, recipe, split, conditions, inplace=inplace)
    control_split = hold_out_control_half(split, budget_options, seed)
    fits = judge_fit(family, original, control_split, has_budget=has_budget, strict=sanity_check)
    recorder = create_call_recorder(opened_ledger, again, model, split, method, family, request)
    device_split = split_to_device(split, model, family, budget_options)
    with checkpoint_session(resume, shared) as checkpoints, trackers as tracks:
        history = History([on_rows, tracks.add_rows], None if checkpoints is None else checkpoints.folder)
        logged = run_config | {"observe_every": observe_every}
        earlier = restore_checkpoint(checkpoints, lambda: fingerprint_run(model, chosen, split, logged, budget_options))
        deadline -= earlier
        conditions = replace(conditions, on_log=history.add, checkpoints=checkpoints)
        call = UnlearnRequest(family, original, device_split, chosen, settings, conditions, deadline, named is None)
        course = plan_run(call, budget_options)
        chosen, device_split, record, controller = course.method, course.split, course.record, course.controller
        working_model = validate_changeable(model) if inplace else clone_model(model)
        with rollback_on_failure(working_model, active=inplace):
            log_start(tracks, chosen, run_config, family.name, controller)
            predict, ending = family.make_predictor(working_model, logits), None
            if controller is None and record is not None and "epochs" not in settings:
                ending = EarlyStopping(family, device_split, record)
                conditions = ending.attach(predict, conditions)
            register_state(checkpoints, keeper=controller, ending=ending, history=history)
            spending = apply_misfit(run_plan(controller, predict, course.recipe, device_split, conditions), fits)
            if spending is not None and record is not None:
                elapsed = time.perf_counter() - began + earlier
                time_fraction = 1.0 if course.cut_short else elapsed / parse_time_limit(within)
                spending = replace(spending, time_fraction=time_fraction)
            spending = compare_with_ledger(recorder, controller, spending)
            seconds, peak = meter.stop()
            seconds += earlier
            log_end(tracks, seconds, len(history.rows), spending)
        rows = history.rows if spending is None else merge_evaluations(history.rows, spending.evaluations)
    entry = None if recorder is None else recorder.append_entry(working_model, controller, spending)
    before = None if inplace else model
    details = (spending, record, entry, peak, chain.build_exclusions(split), fits)
    host_split = move_split_to_host(device_split)
    return Result(working_model, chosen, seconds, host_split, rows, run_config, logits, before, family.name, *details)


def create_run_options(
    run_config: Mapping[str, Any],
    model: nn.Module,
    family: Task,
    log_gradients_every: int,
    on_step: Callable[[Progress], None],
) -> RunOptions:
    """Return the options of a run, checked against the model and the machine.

    Args:
        run_config: What was asked for, by the names of the arguments of ``unlearn``; what is at its default is absent.
        model: The model.
        family: Its task.
        log_gradients_every: Updates from one comparison of the gradients to the next.
        on_step: Called after each update.
    """
    if "shared" in run_config:
        check_unsharded(model)
    if "compile" in run_config:
        check_compiler(device_of(model))
    return validate_options(
        RunOptions(
            seed=run_config["seed"],
            batch_norm=run_config["normalisation"],
            gradient_accumulation_steps=run_config["micro_batches"],
            precision=run_config["precision"],
            channels_last=run_config.get("channels_last", False if family.estimates_memory else None),
            compile="compile" in run_config,
            log_gradients_every=log_gradients_every,
            distributed="shared" in run_config,
            ema_decay=run_config.get("average"),
            on_step=on_step,
        )
    )


def split_to_device(split: Split, model: nn.Module, family: Task, budget_options: BudgetOptions | None) -> Split:
    """Return the split with its examples where the model is, as far as they fit there beside it."""
    if family.estimates_memory:
        return split
    device_split = move_split_to_device(split, device_of(model))
    # The caller's own measure reads the held-out examples where the caller left them.
    return (
        device_split
        if budget_options is None or budget_options.budget.metric is None
        else replace(device_split, holdout=split.holdout)
    )


def clone_model(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares nothing with it.

    Raises:
        ModelError: If it cannot be copied.
    """
    try:
        return copy_model(model)
    except Exception as error:  # a module may hold anything, a file or a lock
        hint = "pass inplace=True to change the model itself"
        raise ModelError("a model that can be copied", format_exception(error), hint) from error
