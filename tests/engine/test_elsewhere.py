"""An update with weights and examples on another device: nothing is read from it, and no copy to it waits.

The meta device stands for an accelerator. Its tensors have no values: whatever would wait for one fails.
"""

import pytest
import torch
from small_networks import batch, normalized, sgd
from travels import Travels

from expunge import registry
from expunge.engine import Stepper, randomness
from expunge.errors import MissingExtraError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import WeightedSum

SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()}
AWAY = torch.device("meta")


@pytest.fixture(autouse=True)
def without_generator(monkeypatch):
    """The meta device has no generator of its own."""
    monkeypatch.setattr(randomness, "default_generators", lambda device: [torch.default_generator])


def made(make):
    try:
        return make()
    except MissingExtraError as error:
        pytest.skip(str(error))


def copies_of(surgery, policy="frozen"):
    """The copies that wait in two updates after the first, which reads its losses on purpose."""
    model = normalized(torch.float32).to(AWAY)
    step = Stepper(model, sgd(model.parameters()), surgery, Pair(RandomLabel(), CrossEntropy()), batch_norm=policy)
    step.updates = 1
    further = lambda of, number: batch(100 + number, dtype=torch.float32)  # noqa: E731
    with Travels() as copies:
        for observe in (True, False):
            sides = batch(1, dtype=torch.float32), batch(2, dtype=torch.float32)
            step(*sides, lambda: batch(3, dtype=torch.float32), log_gradients=observe, extra_batches=further)
    return copies.waited


@pytest.mark.parametrize("policy", ["frozen", "joint", "separate"])
@pytest.mark.parametrize("name", SURGERIES)
def test_no_surgery_waits(name, policy):
    surgery = made(SURGERIES[name])
    if surgery.requires_sync:
        pytest.skip("it says that it does")
    assert copies_of(surgery, policy) == []


def test_what_waits_is_seen():
    class Reading(WeightedSum):
        def after_step(self, step):
            float(step.loss("retain"))

    class Sending(WeightedSum):
        def after_step(self, step):
            torch.ones(1).to(AWAY)

    with pytest.raises(RuntimeError, match="meta"):
        copies_of(Reading())
    assert len(copies_of(Sending())) == 2
