"""The landing: its factors make half a cosine, alone and under a schedule, and end at nothing."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from expunge.api.steering.cooldown import Cooldown
from expunge.engine import LoopAction
from expunge.surgery import Progress


@pytest.mark.parametrize(
    ("after", "total", "end"), [(0, 10, 6), (3, 10, 9), (8, 10, 10), (9, 200, 20), (150, 200, 200)]
)
def test_factors_multiply_to_half_a_cosine_over_as_many_updates_as_were_made(after, total, end):
    landing = Cooldown.starting_after(Progress(after, total, 0), min_steps=5)
    assert landing == (after + 1, end)
    left = 1.0
    for step in range(after, end):
        left *= landing.lr_factor(Progress(step, total, 0))
        share = (step - after) / (end - after - 1)
        assert left == pytest.approx(0.5 * (1 + math.cos(math.pi * share)), abs=1e-9), step
    assert left == pytest.approx(0.0, abs=1e-12)


def test_a_landing_after_the_last_update_changes_nothing_before_it():
    assert Cooldown.starting_after(Progress(9, 10, 0), min_steps=5).lr_factor(Progress(9, 10, 0)) == 1.0


@pytest.mark.parametrize("schedule", [False, True])
def test_the_rate_of_a_run_goes_down_to_nothing_and_never_up(schedule):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.3)
    scheduler = CosineAnnealingLR(optimizer, T_max=50) if schedule else None
    landing, rates = Cooldown.starting_after(Progress(19, 50, 0), min_steps=30), []
    for step in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step >= 19:
            LoopAction().scale_lr(landing.lr_factor(Progress(step, 50, 0))).apply(optimizer)
        whole = 0.5 * (1 + math.cos(math.pi * (step + 1) / 50)) if schedule else 1.0
        landed = 0.5 * (1 + math.cos(math.pi * max(0, step - 19) / 30))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * whole * landed, rel=1e-9, abs=1e-12)
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)
    assert rates[-1] < 0.01 * rates[19]
