"""``unlearn``: make a model forget some of its training examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.admission import check_changeable, checked_split
from expunge.api.call_chain import call_chain
from expunge.api.call_recording import call_ledger, call_recording, compare_with_ledger
from expunge.api.history import History
from expunge.api.request.names import AUTO
from expunge.api.request.time_limit import WITHIN, seconds_of
from expunge.api.result import Result, family_of
from expunge.api.sanity import doubted, judge_fit
from expunge.api.sitting import attached, gone_on, sitting, subject
from expunge.api.snapshot import restored_on_failure
from expunge.api.steering.deciding import Call, decided
from expunge.api.steering.looks import with_readings
from expunge.api.steering.ranging import Ending
from expunge.api.steering.wanted import checked_conditions, method_for
from expunge.api.steering.wish import Wish, checked_wish, steering, suited
from expunge.api.steering.within import carried_out
from expunge.api.tracking import begin, end, followed
from expunge.batch import Split
from expunge.budget import Budget, Preference
from expunge.data import as_examples, remembered_hashes, resident_split, split_at_home
from expunge.engine import Conditions, Format, Meter, Row, Savepoints, place_of
from expunge.engine.compiled import refuse_without_compiler
from expunge.engine.conditions import ignore
from expunge.engine.shareable import refuse_sharded
from expunge.errors import ModelError
from expunge.forward import copy_model
from expunge.kinds import kinds_checked
from expunge.methods import Method
from expunge.surgery import Progress
from expunge.tasks.classification.libraries import sentence
from expunge.tasks.family import Family

DEFAULT_POLICY = "frozen"


@kinds_checked
@remembered_hashes()
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
    on_step: Callable[[Progress], None] = ignore,
    on_rows: Callable[[list[Row]], None] = ignore,
    resume: Path | str | Savepoints | None = None,
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
        resume: A folder of the run's own, where its state is saved every minute, or ``Savepoints`` that say otherwise.
            What an earlier call with the same arguments left there is gone on with, to the same bits. The state holds
            the original's weights: remove the folder once the result is saved. With ``shared=True`` every process
            names the same folder and has one of its own in it; as many have to go on as began. Default: nothing is
            saved.
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
    began, following, family = time.perf_counter(), followed(track), family_of(task)
    meter, wish = Meter(place_of(model)), suited(checked_wish(budget, prefer, settings, average), family)
    sides, held = (as_examples(forget), as_examples(retain)), None if holdout is None else as_examples(holdout)
    opened = call_ledger(ledger)
    chain = call_chain(model, sides[1], held, exclude, opened, family)
    sides, held = (sides[0], chain.retain), chain.holdout
    named, deadline = None if method == AUTO else method, began + seconds_of(within)
    chosen = method_for(family, named, sides, settings, budgeted=wish is not None)
    plain: dict[str, Any] = {
        "seed": seed,
        "normalisation": normalisation or DEFAULT_POLICY,
        "micro_batches": micro_batches,
        "precision": precision,
        **({} if average is None else {"average": average}),
        **({"shared": True} if shared else {}),
        **({} if channels_last is None else {"channels_last": channels_last}),
        **({"compile": True} if compile else {}),
    }
    if shared:
        refuse_sharded(model)
    if compile:
        refuse_without_compiler(place_of(model))
    usual: dict[str, Any] = {"channels_last": False if family.accounted else None}
    conditions = checked_conditions(Conditions(**{**usual, **plain}, observe_every=observe_every, on_step=on_step))
    recipe = family.recipe(family.admit(chosen).recipe(seed))
    original = family.predictor(model, logits)
    split = chain.name_gone_classes(checked_split(original, *sides, held, known=family.classes))
    family.afford(model, recipe, split, conditions, inplace=inplace)
    fits = judge_fit(family, original, steering(split, wish, seed), budgeted=wish is not None, strict=sanity_check)
    recording = call_recording(opened, again, model, split, method, family, request)
    near = nearby(split, model, family, wish)
    with sitting(resume, shared) as points, following as tracks:
        history = History([on_rows, tracks.rows], None if points is None else points.folder)
        earlier = gone_on(points, lambda: subject(model, chosen, split, plain | {"observe_every": observe_every}, wish))
        deadline -= earlier
        conditions = replace(conditions, on_rows=history.add, savepoints=points)
        call = Call(family, original, near, chosen, settings, conditions, deadline, named is None)
        course = decided(call, wish)
        chosen, near, record, keeper = course.method, course.split, course.record, course.keeper
        work = check_changeable(model) if inplace else copied(model)
        with restored_on_failure(work, active=inplace):
            begin(tracks, chosen, plain, family.name, keeper)
            predict, ending = family.predictor(work, logits), None
            if keeper is None and record is not None and "epochs" not in settings:
                ending = Ending(family, near, record)
                conditions = ending.watching(predict, conditions)
            attached(points, keeper=keeper, ending=ending, history=history)
            spending = doubted(carried_out(keeper, predict, course.recipe, near, conditions), fits)
            if spending is not None and record is not None:
                lasted = time.perf_counter() - began + earlier
                spending = replace(spending, time_share=1.0 if course.hurried else lasted / seconds_of(within))
            spending = compare_with_ledger(recording, keeper, spending)
            seconds, peak = meter.stop()
            seconds += earlier
            end(tracks, seconds, len(history.rows), spending)
        rows = history.rows if spending is None else with_readings(history.rows, spending.looks)
    entry = None if recording is None else recording.close(work, keeper, spending)
    before = None if inplace else model
    told = (spending, record, entry, peak, chain.left_out(split), fits)
    return Result(work, chosen, seconds, split_at_home(near), rows, plain, logits, before, family.name, *told)


def nearby(split: Split, model: nn.Module, family: Family, wish: Wish | None) -> Split:
    """Return the split with its examples where the model is, as far as they fit there beside it."""
    if family.accounted:
        return split
    near = resident_split(split, place_of(model))
    # The caller's own measure reads the held-out examples where the caller left them.
    return near if wish is None or wish.budget.metric is None else replace(near, holdout=split.holdout)


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares nothing with it.

    Raises:
        ModelError: If it cannot be copied.
    """
    try:
        return copy_model(model)
    except Exception as error:  # a module may hold anything, a file or a lock
        cure = "pass inplace=True to change the model itself"
        raise ModelError("a model that can be copied", sentence(error), cure) from error
