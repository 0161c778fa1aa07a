"""Replayed randomness: the numbers of torch.manual_seed, without touching devices that are not in use."""

from __future__ import annotations

import pytest
import torch

from expunge.engine import seeded_rng

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", [0, 7, 2**62 + 2**21])
def test_the_numbers_are_those_of_manual_seed(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = torch.rand(5), torch.randn(3)
    with seeded_rng(seed, CPU):
        found = torch.rand(5), torch.randn(3)
    assert all(map(torch.equal, found, expected))


def test_other_devices_are_not_seeded(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("every device would be seeded"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("every GPU would be seeded"))
    with seeded_rng(3, CPU):
        torch.rand(())


def failing():
    torch.rand(())
    raise RuntimeError("inside")


def test_the_generator_is_put_back_after_a_failure():
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="inside"), seeded_rng(3, CPU):
        failing()
    assert torch.equal(torch.get_rng_state(), before)
