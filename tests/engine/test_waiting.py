"""No update waits for the device: nothing is read from it, and no number is copied to it."""

import pytest
import torch
from small_networks import batch, normalized, stepper
from torch.utils._python_dispatch import TorchDispatchMode

from expunge import registry
from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.errors import MissingExtraError
from expunge.masks import KeepUnlessHarmful, ProbabilisticAgreement
from expunge.objectives import (
    AdaptiveAscent,
    CrossEntropy,
    Distillation,
    HoldoutDistillation,
    L1Penalty,
    NearestWrongLabel,
    NegativeCrossEntropy,
    NegativeKL,
    RandomLabel,
    RandomTeacher,
    UniformTarget,
)
from expunge.pair import Pair
from expunge.surgery import (
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
    EUPMUSurgery,
    Projection,
    RobustProjection,
    Surgery,
    WeightedSum,
)

READS = {"aten._local_scalar_dense", "aten.item", "aten.is_nonzero", "aten.equal", "aten.nonzero", "aten.masked_select"}


class Watched(TorchDispatchMode):
    """Lists what waits: values that are read, and boolean look-ups, whose size must be known."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function.overloadpacket)
        looks_up = name in {"aten.index", "aten.index_put_"} and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS or looks_up:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


class Everything(Surgery):
    """Uses every verb."""

    def forward(self, step):
        first = step.gradient("retain")
        with step.perturbed(first * (-step.lr)):
            second = step.gradient("forget")
        step.set_direction(second + step.hessian_vector_product("retain", first) * step.loss("forget"))


def examples(seed, size):
    return TensorExamples(batch(seed, size).inputs, batch(seed, size).targets)


SPLIT = Split(examples(0, 30), examples(1, 30), 3, examples(2, 30))
MASKS = {name: entry.target for name, entry in registry.list_entries("masks").items()} | {
    "soft": lambda: ProbabilisticAgreement(soft=True, bf16=True),
    "refreshed": lambda: KeepUnlessHarmful(refresh_every=1, decay=None),
}
SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()} | {
    "implicit log": lambda: EUPMUSurgery(log_loss=True),
    "everything": Everything,
}


def further(of, number):
    return batch(100 + 2 * number + (of == "retain"))


def waits(surgery, forget, updates=1, **options):
    step = stepper(normalized(), surgery, objectives=Pair(forget, CrossEntropy()), max_grad_norm=1.0, **options)
    for index in range(updates):
        step(batch(index), batch(1), extra_batches=further)  # the first update reads the losses on purpose
    with Watched() as watched:
        step(batch(2), batch(3), lambda: batch(4), log_gradients=True, extra_batches=further)
        step(batch(5), None, log_gradients=False, extra_batches=further)
    return watched.found


@pytest.mark.parametrize("make", SURGERIES.values(), ids=SURGERIES)
@pytest.mark.parametrize("policy", ["frozen", "joint", "separate"])
def test_surgeries_wait_if_they_say_so_alone(make, policy):
    if make is Everything and policy == "joint":
        policy = "frozen"
    try:
        make()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert bool(waits(make(), RandomLabel(), batch_norm=policy)) == make().requires_sync
    assert bool(waits(make(), RandomLabel(), batch_norm=policy, gradient_accumulation_steps=3)) == make().requires_sync


OBJECTIVES = [
    AdaptiveAscent(),
    NegativeCrossEntropy(),
    NearestWrongLabel(),
    NegativeKL(),
    Distillation(ce_weight=0.5),
    HoldoutDistillation(),
    RandomTeacher(),
    RandomLabel(exclude_true=True),
    L1Penalty(),
    UniformTarget(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_objectives_do_not_wait(objective):
    objective.prepare(Predictor(normalized().eval()), SPLIT)
    assert waits(WeightedSum(), objective) == []


def test_a_surgery_that_learns_noise_does_not_wait_once_it_has():
    assert waits(RobustProjection(), RandomLabel(), updates=4) == []


@pytest.mark.parametrize("make", MASKS.values(), ids=MASKS)
def test_masks_do_not_wait(make):
    mask = make()
    mask.prepare(Predictor(normalized().eval()), SPLIT)
    assert waits(Projection(), RandomLabel(), mask=mask) == []


def test_the_watch_sees_what_waits():
    class Impatient(WeightedSum):
        def after_step(self, step):
            float(step.loss("retain"))

    assert "aten._local_scalar_dense" in waits(Impatient(), RandomLabel())


def traced(surgery, updates=4):
    """Return what waits by the trace of torch's own profiler, which sees what no Python watch does."""
    step = stepper(normalized(), surgery, objectives=Pair(RandomLabel(), CrossEntropy()), max_grad_norm=1.0)
    for index in range(4):
        step(batch(index), batch(1), extra_batches=further)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        for index in range(updates):
            step(
                batch(2 + index),
                batch(30 + index),
                lambda: batch(4),
                log_gradients=index % 2 == 0,
                extra_batches=further,
            )
    names = [event.name.replace("::", ".") for event in trace.events()]
    assert names.count("aten.convolution") >= 2 * updates or names.count("aten.linear") >= 2 * updates, "it was traced"
    return [name for name in names if name in READS]


@pytest.mark.parametrize("make", SURGERIES.values(), ids=SURGERIES)
def test_the_profilers_trace_has_no_reads(make):
    try:
        made = make()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert bool(traced(made)) == made.requires_sync


def test_the_profilers_trace_shows_a_read():
    class Impatient(WeightedSum):
        def after_step(self, step):
            float(step.loss("retain"))

    assert traced(Impatient(), updates=3).count("aten._local_scalar_dense") == 3


@pytest.mark.parametrize("make", [WeightedSum, Projection, EUPMUSurgery, EUPMUFastSurgery, EUPMUOfficialSurgery])
def test_no_number_travels_to_the_device(make, monkeypatch):
    """``torch.tensor`` and ``as_tensor`` with a device copy from the host and wait; ``full`` fills in place."""
    step = stepper(normalized(), make(), objectives=Pair(RandomLabel(), CrossEntropy()))
    step(batch(0), batch(1))
    original = torch.tensor

    def refused(*args, **options):
        assert options.get("device") is None, "a tensor made of host numbers on a device"
        return original(*args, **options)

    monkeypatch.setattr(torch, "tensor", refused)
    step(batch(2), batch(3), log_gradients=True)
