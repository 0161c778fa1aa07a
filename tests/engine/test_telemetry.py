"""The recorded diagnostics against plain gradients."""

import pytest
import torch
from numpy.testing import assert_allclose
from small_networks import POLICIES, batch, ce, flat, gradients, mlp, normalized, stepper, weights

from expunge.engine import HISTORY_FIELDS
from expunge.pair import Pair
from expunge.surgery import (
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
    EUPMUSurgery,
    GramianWeighting,
    LURSurgery,
    Projection,
    WeightedSum,
)

C = 1e-8


def projection(f, r, *_):
    return max(0.0, -float(f @ r) / float(r @ r))


TABLE = {
    "fixed": (lambda: WeightedSum(0.4, 2.0), lambda *_: 5.0),
    "unilateral": (Projection, projection),
    "implicit": (lambda: EUPMUSurgery(initial_multiplier=0.7), lambda *_: 0.7),
    "implicit log": (
        lambda: EUPMUSurgery(initial_multiplier=0.7, log_loss=True),
        lambda f, r, lf, lr: 0.7 * (lf + C) / (lr + C),
    ),
    "lookahead": (lambda: LURSurgery(0.05, weight=0.5), lambda *_: 2.0),
    "lookahead, mirrored": (lambda: LURSurgery(0.05, weight=0.5, inner="forget"), lambda *_: 2.0),
    "fast": (lambda: EUPMUFastSurgery(initial_multiplier=0.7), lambda *_: 0.7 * 11 / 5),
    "published": (
        lambda: EUPMUOfficialSurgery("log", initial_weight=0.7),
        # l = share · mean loss; shares 5/16 and 11/16
        lambda f, r, lf, lr: 0.7 * (11 / 16) / (11 / 16 * lr + C) * (5 / 16 * lf + C) / (5 / 16),
    ),
}


def plain(model, forget, retain):
    losses = [ce(model, some) for some in (forget, retain)]
    return *(flat(gradients(model, loss)) for loss in losses), *(float(loss.detach()) for loss in losses)


def opposed():
    """A retain batch that shows the forget inputs under other labels: the gradients conflict."""
    retain = batch(0, 11)
    retain.inputs[:5] = batch(0, 5).inputs
    retain.targets.copy_((mlp()(retain.inputs).argmin(1)) % 3)
    forget = batch(0, 5)
    forget.targets.copy_(mlp()(forget.inputs).argmax(1))
    return forget, retain


@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 3}, {"scaler": 512.0}], ids=["plain", "parts", "scaler"]
)
@pytest.mark.parametrize("name", TABLE)
def test_rows_are_those_of_the_plain_gradients(name, options):
    make, rule = TABLE[name]
    if "scaler" in options:
        options = {"scaler": torch.amp.GradScaler("cpu", init_scale=options["scaler"])}
    forget, retain = opposed()
    model = mlp()
    f, r, lf, lr = plain(model, forget, retain)
    multiplier = rule(f, r, lf, lr)
    cosine = float(f @ r / (f.norm() * r.norm()))
    removed = min(1.0, max(0.0, -multiplier * float(f @ r / (f @ f))))
    assert cosine < -0.1
    row = stepper(model, make(), **options)(forget, retain, log_gradients=True).row
    assert_allclose(row.tolist(), [lf, lr, cosine, multiplier, removed, 1.0], rtol=2e-5)


@pytest.mark.parametrize("name", [name for name in TABLE if "lookahead" not in name])
def test_the_multiplier_is_that_of_the_decision_not_of_the_next(name):
    """Three updates: each row's λ explains that update's displacement as g_f + λ g_r, up to a factor."""
    make, model = TABLE[name][0], mlp()
    step = stepper(model, make(), lambda p: torch.optim.SGD(p, lr=0.5))
    for index in range(3):
        forget, retain = batch(2 * index, 5), batch(2 * index + 1, 11)
        f, r, *_ = plain(model, forget, retain)
        before = weights(model)
        row = dict(zip(HISTORY_FIELDS, step(forget, retain).row.tolist()[:-1], strict=True))
        moved, expected = before - weights(model), f + row["multiplier"] * r
        torch.testing.assert_close(moved / moved.norm(), expected / expected.norm(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", TABLE)
def test_looking_changes_no_bit(name, policy):
    found = []
    for observe in (False, True):
        model = normalized(torch.float32)
        step = stepper(model, TABLE[name][0](), batch_norm=policy)
        for index in range(3):
            move = step(batch(index, dtype=torch.float32), batch(index + 5, dtype=torch.float32), log_gradients=observe)
        found.append((weights(model), flat(model.buffers()), move.row[:2]))
    # A loss that the rule does not need is known where it was looked at, and nowhere else.
    known = ~found[0][2].isnan()
    for one, other in zip(*((weights_, buffers, losses[known]) for weights_, buffers, losses in found), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("surgery", "pair", "known"),
    [
        (WeightedSum(1.0, 0.0), Pair(batch(0), batch(1)), {"forget_loss", "multiplier"}),
        (WeightedSum(0.0, 1.0), Pair(batch(0), batch(1)), {"retain_loss"}),
        (WeightedSum(), Pair(None, batch(1)), {"retain_loss", "multiplier"}),
        (Projection(), Pair(batch(0), None), {"forget_loss", "multiplier"}),
        (Projection(), Pair(batch(0), batch(1)), set(HISTORY_FIELDS)),
        (GramianWeighting(), Pair(batch(0), batch(1)), set(HISTORY_FIELDS)),
    ],
)
def test_what_is_unknown_is_nan(surgery, pair, known):
    row = stepper(mlp(), surgery)(*pair, log_gradients=True).row
    found = {name for name, value in zip(HISTORY_FIELDS, row.tolist()[:-1], strict=True) if value == value}
    assert found - {"projected_fraction"} == known - {"projected_fraction"}
    assert found >= known - {"projected_fraction"}
    assert float(row[-1]) == 1.0


def test_without_observation_the_gradients_are_unknown():
    row = stepper(mlp(), Projection())(batch(0), batch(1)).row
    known = dict(zip(HISTORY_FIELDS, row.isfinite().tolist()[:-1], strict=True))
    assert [name for name, value in known.items() if not value] == ["cosine", "projected_fraction"]
