"""The authors' forms of EUPMU against a slow loop of plain torch, and against one another."""

import copy

import pytest
import torch
from small_networks import batch, ce, mlp, sgd, stepper, weights

from expunge.batch import Batch
from expunge.errors import ConfigError, ObjectiveError, SurgeryError
from expunge.methods import EUPMU, build_method
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery

FORMS = ("release", "raw", "log", "ddpm", "stable_diffusion")
CLIPS = {"release": 0.1, "raw": None, "log": None, "ddpm": 0.1, "stable_diffusion": 0.1}
SETTINGS = {"margin": 0.02, "dual_rate": 0.3, "decay": 0.01, "initial_weight": 0.5}
SIZES = (5, 11)
ALPHA = 0.1


def batches(index):
    """A forget side that its labels are wrong for, and a retain side of another size."""
    return batch(2 * index, SIZES[0]), batch(2 * index + 1, SIZES[1])


def slow_loop(form, steps=20):
    """The authors' loop, as spelled out: model, Adam on w, zero_grad and clip where the form has them."""
    model, weight = mlp(), torch.nn.Parameter(torch.tensor(SETTINGS["initial_weight"], dtype=torch.float64))
    optimizer = sgd(model.parameters())
    adam = torch.optim.Adam([weight], lr=SETTINGS["dual_rate"], weight_decay=SETTINGS["decay"])
    share_f, share_r = {"ddpm": (1, 1), "stable_diffusion": (1, ALPHA)}.get(form, (5 / 16, 11 / 16))
    c = 1e-10 if form == "ddpm" else 1e-8
    for index in range(steps):
        forget, retain = batches(index)
        w = float(weight.detach())
        if form != "release":
            optimizer.zero_grad()
        if form == "release":
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPS[form])
        l_f, l_r = share_f * ce(model, forget), share_r * ce(model, retain)
        if form in ("release", "raw"):
            loss = l_f + max(w, 0) * l_r
        elif form in ("log", "ddpm"):
            loss = (l_f + c).log() + max(w, 0) * (l_r + c).log()
        else:
            loss = (l_f + w * l_r) / (1 + w)
        loss.backward()
        if form in ("ddpm", "stable_diffusion"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPS[form])
        optimizer.step()
        with torch.no_grad():
            before, after = l_r, share_r * ce(model, retain)
            raw = form == "stable_diffusion"
            gain = before - after if raw else (before + c).log() - (after + c).log()
            weight.grad = gain - SETTINGS["margin"]
        adam.step()
        if form == "log":
            weight.data.clamp_(min=0)
    return weights(model), float(weight.detach())


def ours(form, steps=20, objectives=None, **options):
    scale = {"retain_scale": ALPHA} if form == "stable_diffusion" else {}
    # In the network's precision: in float32 w alone differs by 1e-6 after twenty of Adam's steps.
    model, surgery = mlp(), EUPMUOfficialSurgery(form, **SETTINGS, **scale).double()
    step = stepper(model, surgery, objectives=objectives, **{"max_grad_norm": CLIPS[form]} | options)
    for index in range(steps):
        step(*batches(index))
    return weights(model), float(surgery.weight)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 3}], ids=["whole", "parts"])
@pytest.mark.parametrize("form", FORMS)
def test_twenty_updates_are_those_of_the_slow_loop(form, options):
    (found, weight), (expected, slow_weight) = ours(form, **options), slow_loop(form)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert weight == pytest.approx(slow_weight, abs=1e-5)
    assert float((expected - weights(mlp())).abs().max()) > 0.1, "the weights have moved"


def test_release_and_raw_part_at_the_second_update():
    plain = {"max_grad_norm": None}
    assert torch.equal(ours("release", 1, **plain)[0], ours("raw", 1, **plain)[0])
    assert float((ours("release", 2, **plain)[0] - ours("raw", 2, **plain)[0]).abs().max()) > 1e-3


def test_the_clip_of_release_is_for_what_has_accumulated():
    """It cannot touch the first update; after it, it makes a difference."""
    assert not torch.equal(ours("release", 2, max_grad_norm=1e-3)[0], ours("raw", 2)[0])
    assert torch.equal(ours("release", 1, max_grad_norm=1e-3)[0], ours("raw", 1)[0])
    torch.testing.assert_close(ours("release", 5, max_grad_norm=1e-9)[0], ours("raw", 5)[0], rtol=0, atol=1e-6)


class Scaled(CrossEntropy):
    def __call__(self, model, batch):
        return 3.0 * super().__call__(model, batch)


@pytest.mark.parametrize("form", FORMS)
def test_a_constant_on_the_retain_loss_cancels_in_the_logarithms_alone(form):
    scaled = ours(form, 10, objectives=Pair(CrossEntropy(), Scaled()))[0]
    difference = float((scaled - ours(form, 10)[0]).abs().max())
    assert (difference < 1e-6) == (form in ("log", "ddpm")), difference


def test_only_log_cuts_its_weight_off_at_zero():
    found = {}
    for form in ("raw", "log", "ddpm"):
        surgery = EUPMUOfficialSurgery(form, margin=-1.0, dual_rate=1.0)
        step = stepper(mlp(), surgery)
        for index in range(3):
            step(*batches(index))
        found[form] = float(surgery.weight)
    assert found["log"] == 0.0
    assert found["raw"] < -1
    assert found["ddpm"] < -1


@pytest.mark.parametrize("clip", [None, 0.1])
def test_what_has_accumulated_is_resumed_to_the_bit(clip):
    """With SGD that has no memory of its own, so that the gradients are all there is to lose."""

    def plain(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def go(model, step, first, last):
        for index in range(first, last):
            step(*batches(index))
        return weights(model)

    model = mlp(torch.float64)
    step = stepper(model, EUPMUOfficialSurgery(), plain, max_grad_norm=clip)
    go(model, step, 0, 4)
    saved, network = copy.deepcopy(step.state_dict()), copy.deepcopy(model.state_dict())
    expected = go(model, step, 4, 8)
    again = mlp(torch.float64)
    again.load_state_dict(network)
    other = stepper(again, EUPMUOfficialSurgery(), plain, max_grad_norm=clip)
    other.load_state_dict(saved)
    assert torch.equal(go(again, other, 4, 8), expected)
    forgotten = mlp(torch.float64)
    forgotten.load_state_dict(network)
    lost = stepper(forgotten, EUPMUOfficialSurgery(), plain, max_grad_norm=clip)
    saved["optimizer"]["state"] = {}
    lost.load_state_dict(saved)
    assert not torch.equal(go(forgotten, lost, 4, 8), expected)


def test_a_skipped_update_does_not_spoil_what_has_accumulated():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    model = mlp(torch.float32)
    step = stepper(model, EUPMUOfficialSurgery(), scaler=scaler)
    forget, retain = batch(0, 5, torch.float32), batch(1, 11, torch.float32)
    assert step(forget, retain).stepped
    before = weights(model)
    huge = Batch(retain.inputs * 1e38, retain.targets, retain.indices)
    assert not step(huge, retain).stepped
    assert torch.equal(weights(model), before)
    assert step(forget, retain).stepped
    assert bool(weights(model).isfinite().all())


def slow_fast(steps):
    """EUPMU-fast: w moves first, by Adam, along the fall of log l_r since the batch before; 1 + w divides."""
    model, weight = mlp(), torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer, previous = sgd(model.parameters()), None
    adam = torch.optim.Adam([weight], lr=0.3, weight_decay=0.01)
    for index in range(steps):
        optimizer.zero_grad()
        forget, retain = batches(index)
        l_f, l_r = 5 / 16 * ce(model, forget), 11 / 16 * ce(model, retain)
        log_loss = (l_r.detach() + 1e-8).log()
        if previous is not None:
            weight.grad = previous - log_loss - 0.02
            adam.step()
            weight.data.clamp_(min=0)
        previous = log_loss
        w = float(weight.detach())
        ((l_f + w * l_r) / (1 + w)).backward()
        optimizer.step()
    return weights(model), float(weight.detach())


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 3}], ids=["whole", "parts"])
def test_fast_is_its_slow_loop(options):
    model, surgery = mlp(), EUPMUFastSurgery(margin=0.02, dual_rate=0.3).double()
    step = stepper(model, surgery, **options)
    for index in range(20):
        step(*batches(index))
    expected, weight = slow_fast(20)
    torch.testing.assert_close(weights(model), expected, rtol=0, atol=1e-6)
    assert float(surgery.multiplier) == pytest.approx(weight, abs=1e-5)


@pytest.mark.parametrize(
    ("form", "refused"),
    [
        ("release", (-1.0,)),
        ("raw", (-1.0,)),
        ("log", (-1.0, 1.0)),
        ("ddpm", (-1.0, 1.0)),
        ("stable_diffusion", ()),
    ],
)
def test_a_form_refuses_the_losses_that_it_takes_logarithms_of(form, refused):
    """Each pair has one negative loss: the retain one for -1, the forget one for 1."""
    for sign in (-1.0, 1.0):
        losses = Pair(-0.5 * sign, 0.5 * sign)
        if sign in refused:
            with pytest.raises(ObjectiveError):
                EUPMUOfficialSurgery(form).check_losses(losses)
        else:
            EUPMUOfficialSurgery(form).check_losses(losses)


def test_what_a_form_does_not_have_is_refused():
    with pytest.raises(SurgeryError, match="a form of release, raw, log"):
        EUPMUOfficialSurgery("published")
    with pytest.raises(SurgeryError, match="retain_scale"):
        EUPMUOfficialSurgery("raw", retain_scale=0.1)
    with pytest.raises(ConfigError, match="form=log without as_published"):
        EUPMU(form="log")


def test_each_preset_names_its_form():
    found = {name: (preset["form"], preset.get("retain_scale", 1.0)) for name, preset in EUPMU.presets.items()}
    assert found.pop("ddpm") == ("ddpm", 1.0)
    assert found.pop("stable-diffusion") == ("stable_diffusion", 0.01)
    assert set(found.values()) == {("release", 1.0)}
    assert build_method("eupmu_fast").recipe().stages[0].pairing == "mixed"
