"""``unlearn``: make a model forget some of its training examples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from expunge.api.call_exclusions import CallData, prepare_call_data
from expunge.api.call_recording import CallLedgerRecorder, compare_with_ledger, create_call_recorder, open_ledger
from expunge.api.checkpointing import checkpoint_session, fingerprint_run, register_state, restore_checkpoint
from expunge.api.history import History
from expunge.api.logging_hooks import log_end, log_start, open_loggers
from expunge.api.progress import show_updates
from expunge.api.result import Result, get_task
from expunge.api.sanity import apply_misfit, judge_fit
from expunge.api.snapshot import rollback_on_failure
from expunge.api.steering.budget_validation import BudgetOptions, adapt_to_task, hold_out_control_half, validate_budget
from expunge.api.steering.controller import run_plan
from expunge.api.steering.evaluation_schedule import merge_evaluations
from expunge.api.steering.lr_range_test import EarlyStopping
from expunge.api.steering.options import resolve_method, validate_options
from expunge.api.steering.plan import RunPlan, UnlearnRequest, plan_run
from expunge.api.validation import validate_changeable, validate_split
from expunge.batch import Predictor, Split
from expunge.budget import Budget, BudgetResult
from expunge.callbacks import Callback, CallbackList, as_callback_list
from expunge.data import hash_cache, move_split_to_device, move_split_to_host
from expunge.engine import ResourceMeter, RunOptions, device_of
from expunge.engine.compiled import check_compiler
from expunge.engine.distributed_checks import check_unsharded
from expunge.errors import ConfigError, ModelError, format_exception
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.registry import AUTO
from expunge.request.time_limit import DEFAULT_TIME_LIMIT, parse_time_limit
from expunge.run_config import RunConfig
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task
from expunge.type_checks import check_argument_types


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
    budget: Budget | None = None,
    time_limit: str | float = DEFAULT_TIME_LIMIT,
    seed: int = 0,
    config: RunConfig | None = None,
    callbacks: Any = (),
    ledger: Path | str | None = None,
    **settings: Any,
) -> Result:
    """Return a model that has forgotten ``forget`` and kept what it knows of ``retain``, approximately.

    The model that is passed in stays as it is, on success and on failure, unless ``RunConfig(inplace=True)``; even
    then a failure puts it back.

    Args:
        model: A trained model of the kind that ``task`` names.
        forget: Examples to forget: a map-style data set of ``(input, label)``, tensors, or ``Examples``.
        retain: Training examples to keep, disjoint from ``forget``.
        holdout: Examples that the model was not trained on, for objectives that need them and for a budget, which
            splits them once: half of them steer, the others certify; with ``Budget(…, certify=False)`` all of them
            steer. Default: none.
        task: Kind of model: ``classification`` (default), ``regression``, ``multilabel``,
            ``diffusion`` for a class-conditional ``DDPM``, or ``stable_diffusion`` for a ``TextToImage``;
            ``expunge list tasks`` shows all.
        method: Name of a method (``expunge list methods``), a ``Method``, or ``auto`` (default): for classifiers
            neighbor labels under a budget controller, with a learning rate that is searched on control examples where
            there is a budget; for other tasks the method that did best in its study, with a learning rate that a range
            test finds where it has one.
        budget: How much worse the model may become on held-out retain examples, such as
            ``Budget(accuracy_points=1.0)``. The best iterate inside it is returned; ``Result.budget`` has the figures.
            Default: none.
        time_limit: Time for everything that ``auto`` does, search included: seconds, or text such as ``90s``. Default
            ``10min``. Where that is too little for a pass over all retained examples, fewer examples and fewer
            evaluations are used, though never less than one trial, 24 updates and three evaluations.
        seed: Seed of the order of examples, of draws and of dropout. Default 0.
        config: How the run computes, and what it keeps and reports. Default: ``RunConfig()``.
        callbacks: A ``Callback`` or several, called while the run goes on. Default: none.
        ledger: A file in which the request is recorded in keyed hashes once it is answered (``Result.ledger_entry``).
            Default: none, and nothing is recorded.
        **settings: Settings of the method, such as ``epochs``, ``lr`` and ``batch_size``.

    Raises:
        ExpungeError: If the request, the model, the data or a setting does not fit; before the first update.
        ModelError: If there is a budget and the model knows the data no better than chance.
        RequestError: If the ledger has an entry which answered this request for this model or one that it comes from,
            or knows examples to retain or hold out as forgotten.
        NotFiniteError: If a loss becomes NaN or infinite; its ``model`` is the last good iterate, unless the run
            changes the model in place.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> forget, retain = TensorExamples(x[:6], y[:6]), TensorExamples(x[6:], y[6:])
        >>> result = unlearn(nn.Linear(4, 3), forget=forget, retain=retain, method="rl", epochs=1)
        >>> len(result.history)
        1
    """
    started, config = time.perf_counter(), config or RunConfig()
    check_settings(settings)
    hooks, loggers = as_callback_list(callbacks), open_loggers(config.loggers)
    call = _Call(model, method, seed, config, settings, get_task(task), hooks, started + parse_time_limit(time_limit))
    job = _prepare_job(call, (forget, retain, holdout), budget, ledger)
    with (
        checkpoint_session(config.checkpoints, config.distributed) as checkpoints,
        loggers as open_group,
        show_updates(config) as bars,
    ):
        history = History([hooks.on_log, open_group.add_rows], None if checkpoints is None else checkpoints.folder)
        earlier = restore_checkpoint(checkpoints, job.fingerprint)
        on_step = CallbackList([*hooks.callbacks, *bars]).on_step
        options = replace(job.options, on_step=on_step, on_log=history.add, checkpoints=checkpoints)
        plan = plan_run(job.to_request(options, earlier), job.budget_options)
        working_model = validate_changeable(model) if config.inplace else clone_model(model)
        with rollback_on_failure(working_model, active=config.inplace):
            log_start(open_group, plan.method, job.record, call.family.name, plan.controller)
            outcome = _run_job(job, plan, working_model, options, history)
            if outcome is not None and plan.record is not None:
                elapsed = time.perf_counter() - started + earlier
                used = 1.0 if plan.cut_short else elapsed / parse_time_limit(time_limit)
                outcome = replace(outcome, time_fraction=used)
            outcome = compare_with_ledger(job.recorder, plan.controller, outcome)
            seconds, peak = job.meter.stop()
            log_end(open_group, seconds + earlier, len(history.rows), outcome)
    result = _build_result(job, plan, working_model, outcome, history, seconds + earlier, peak)
    hooks.on_end(result)
    return result


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the run among those of the method."""
    for name in settings:
        if name in RunConfig.__dataclass_fields__:
            raise ConfigError("settings of the method", f"'{name}'", f"pass it as config=RunConfig({name}=…)")
        if name in vars(Callback):
            raise ConfigError("settings of the method", f"'{name}'", f"pass callbacks=LambdaCallback({name}=…)")


@dataclass(frozen=True)
class _Call:
    """The arguments of a call that need no check of their own."""

    model: nn.Module
    method_argument: str | Method | None
    seed: int
    config: RunConfig
    settings: Mapping[str, Any]
    family: Task
    callbacks: CallbackList
    deadline: float

    @property
    def method_or_none(self) -> str | Method | None:
        """The method; None where it is to be chosen."""
        return None if self.method_argument == AUTO else self.method_argument


@dataclass(frozen=True)
class _Job:
    """A call whose data, model and method have been checked against each other."""

    call: _Call
    method: Method
    original: Predictor
    split: Split
    device_split: Split
    budget_options: BudgetOptions | None
    options: RunOptions
    exclusions: CallData
    fits: tuple[ModelFit, ...]
    recorder: CallLedgerRecorder | None
    meter: ResourceMeter

    @property
    def record(self) -> dict[str, Any]:
        """The configuration of the run, as the result keeps it."""
        return self.call.config.as_record(self.call.seed)

    def fingerprint(self) -> Any:
        """Return what a continued run has to agree with."""
        logged = self.record | {"log_gradients_every": self.call.config.log_gradients_every}
        return fingerprint_run(self.call.model, self.method, self.split, logged, self.budget_options)

    def to_request(self, options: RunOptions, earlier_seconds: float) -> UnlearnRequest:
        """Return what is planned from."""
        automatic, deadline = self.call.method_or_none is None, self.call.deadline - earlier_seconds
        settings = self.call.settings
        return UnlearnRequest(
            self.call.family, self.original, self.device_split, self.method, settings, options, deadline, automatic
        )


def _prepare_job(call: _Call, data: tuple[Any, Any, Any], budget: Budget | None, ledger: Path | str | None) -> _Job:
    """Return the job, after everything that can be refused has been."""
    model, family, config, settings = call.model, call.family, call.config, dict(call.settings)
    meter = ResourceMeter(device_of(model))
    options = adapt_to_task(validate_budget(budget, config.priority, settings, config.ema_decay), family)
    forget, retain = family.read_examples(data[0]), family.read_examples(data[1])
    holdout = None if data[2] is None else family.read_examples(data[2])
    opened_ledger = open_ledger(ledger)
    kept = prepare_call_data(model, retain, holdout, config.exclude, opened_ledger, family)
    forget, retain, holdout = family.prepare_examples(forget, kept.retain, kept.holdout)
    sides = (forget, retain)
    method = resolve_method(family, call.method_or_none, sides, settings, budgeted=options is not None)
    run_options = create_run_options(call)
    recipe = family.translate_recipe(family.validate_method(method).recipe(call.seed))
    original = family.make_predictor(model, config.logits)
    split = validate_split(original, *sides, holdout, count_classes=family.count_classes)
    split = kept.mark_forgotten_classes(split)
    family.check_memory(model, recipe, split, run_options, inplace=config.inplace)
    control_split = hold_out_control_half(split, options, call.seed)
    fits = judge_fit(family, original, control_split, has_budget=options is not None, strict=config.sanity_check)
    recorder = create_call_recorder(
        opened_ledger, config.force, model, split, call.method_argument, family, config.request
    )
    device_split = split_to_device(split, model, family, options)
    return _Job(call, method, original, split, device_split, options, run_options, kept, fits, recorder, meter)


def _run_job(
    job: _Job, plan: RunPlan, working_model: nn.Module, options: RunOptions, history: History
) -> BudgetResult | None:
    predict, early_stopping = job.call.family.make_predictor(working_model, job.call.config.logits), None
    if plan.controller is not None:
        plan.controller.on_evaluation = job.call.callbacks.on_evaluation
    elif plan.record is not None and "epochs" not in job.call.settings:
        early_stopping = EarlyStopping(job.call.family, plan.split, plan.record)
        options = early_stopping.attach(predict, options)
    # The names are those of the saved state.
    register_state(options.checkpoints, keeper=plan.controller, ending=early_stopping, history=history)
    return apply_misfit(run_plan(plan.controller, predict, plan.recipe, plan.split, options), job.fits)


def _build_result(
    job: _Job,
    plan: RunPlan,
    model: nn.Module,
    outcome: BudgetResult | None,
    history: History,
    seconds: float,
    peak_memory: int | None,
) -> Result:
    """Return the result, and record the request in the ledger."""
    entry = None if job.recorder is None else job.recorder.append_entry(model, plan.controller, outcome)
    return Result(
        model,
        plan.method,
        seconds,
        move_split_to_host(plan.split),
        history.rows if outcome is None else merge_evaluations(history.rows, outcome.evaluations),
        job.record,
        logits=job.call.config.logits,
        original=None if job.call.config.inplace else job.call.model,
        task=job.call.family.name,
        budget=outcome,
        search_history=plan.record,
        ledger_entry=entry,
        peak_memory=peak_memory,
        left_out=job.exclusions.build_exclusions(job.split),
        fit=job.fits,
    )


def create_run_options(call: _Call) -> RunOptions:
    """Return the options of a run, checked against the model and the machine."""
    config = call.config
    if config.distributed:
        check_unsharded(call.model)
    if config.compile:
        check_compiler(device_of(call.model))
    in_order = False if call.family.estimates_memory else None
    return validate_options(
        RunOptions(
            seed=call.seed,
            batch_norm=config.batch_norm,
            gradient_accumulation_steps=config.gradient_accumulation_steps,
            precision=config.precision,
            channels_last=in_order if config.channels_last is None else config.channels_last,
            compile=config.compile,
            log_gradients_every=config.log_gradients_every,
            distributed=config.distributed,
            ema_decay=config.ema_decay,
            on_step=call.callbacks.on_step,
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
    """Return a copy of a model that shares nothing with it."""
    try:
        return copy_model(model)
    except Exception as error:  # a module may hold anything, a file or a lock
        hint = "pass inplace=True to change the model itself"
        raise ModelError("a model that can be copied", format_exception(error), hint) from error
