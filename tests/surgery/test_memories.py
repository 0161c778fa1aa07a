"""Surgeries that remember gradients."""

import pytest
import torch

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import GEM, Direction, GDRGMASurgery, Progress
from expunge.testing import ToyStep, linear

GENERATOR = torch.Generator().manual_seed(0)


def step_of(forget, retain, epoch=0):
    step = ToyStep([torch.zeros(8).double()], Pair(linear(forget), linear(retain)))
    step.progress = Progress(0, 10, epoch)
    return step


def random():
    return torch.randn(8, generator=GENERATOR, dtype=torch.float64)


def test_without_a_margin_the_projection_is_that_of_torchjd():
    """GEM's dual for one memory: TorchJD projects the first row on the cone of both, which is the same half space."""
    aggregation = pytest.importorskip("torchjd.aggregation")
    linalg = pytest.importorskip("torchjd.linalg")
    projector = linalg.QuadprogProjector(reg_eps=1e-9)
    for _ in range(20):
        surgery, memory, f, r = GEM(forget_weight=1.0, margin=0.0), random(), random(), random()
        first = step_of(memory, r)
        surgery(first)
        surgery.after_step(first)
        second = step_of(f, r)
        surgery(second)
        project = aggregation.DualProj(torch.tensor([1.0, 0.0], dtype=torch.float64), projector)
        torch.testing.assert_close(second.decision.pieces[0], project(torch.stack([f + r, memory])), rtol=0, atol=1e-6)


def test_the_memory_is_of_the_epochs_first_update_that_moved():
    surgery, f, g = GEM(), random(), random()
    surgery(step_of(f, random()))
    assert surgery.load_direction(0) is None
    for gradient, epoch, expected in ((f, 0, f), (g, 0, f), (g, 1, g)):
        step = step_of(gradient, random(), epoch)
        surgery(step)
        surgery.after_step(step)
        assert torch.equal(surgery.load_direction(0).pieces[0], expected)


def test_the_projection_is_made_at_every_kth_update_with_forget_examples():
    memory, retain = random(), random()
    for number, sizes, projected in ((1, (4, 4), True), (0, (4, 4), False), (3, (4, 4), True), (3, (0, 4), False)):
        surgery = GEM(forget_weight=1e-9, margin=0.0, project_every=2)
        surgery.store_direction(0, Direction([memory]))
        surgery.epoch.fill_(0)
        against = retain - memory * (retain @ memory + 1) / (memory @ memory)
        step = step_of(torch.zeros_like(memory), against)
        step.progress, step.sizes = Progress(number, 9, 0), Pair(*map(torch.tensor, sizes))
        surgery(step)
        harm = float(step.decision.pieces[0] @ memory)
        assert harm == pytest.approx(0.0 if projected else -1.0, abs=1e-9)


def test_the_bank_holds_the_last_gradients():
    surgery, seen = GDRGMASurgery(memory=3), [random() for _ in range(5)]
    for forget in seen:
        step = step_of(forget, random())
        surgery(step)
        surgery.after_step(step)
    held = {tuple(surgery.load_direction(slot).pieces[0].tolist()) for slot in range(3)}
    assert held == {tuple(gradient.tolist()) for gradient in seen[-3:]}
    again = GDRGMASurgery(memory=3)
    again.load_state_dict(surgery.state_dict())
    forget, retain = random(), random()
    steps = [step_of(forget, retain) for _ in range(2)]
    for rule, step in zip((surgery, again), steps, strict=True):
        rule(step)
    assert torch.equal(steps[0].decision.pieces[0], steps[1].decision.pieces[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: GEM(forget_weight=0.0),
        lambda: GEM(margin=-1.0),
        lambda: GEM(project_every=0),
        lambda: GDRGMASurgery(sharpness=0.0),
        lambda: GDRGMASurgery(memory=-1),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(SurgeryError, match="Expected"):
        make()
