import time
from pathlib import Path

import pytest
import torch
from torch import nn

from expunge.engine import ResourceMeter, cost, device_of


def test_seconds_are_those_between_start_and_stop():
    meter = ResourceMeter("cpu")
    time.sleep(0.05)
    first, second = meter.stop(), meter.stop()
    assert 0.05 <= first.seconds < 0.5
    assert second.seconds >= first.seconds


@pytest.mark.skipif(
    ResourceMeter("cpu").stop().peak_memory is None, reason="the system does not tell a process's memory"
)
def test_the_peak_is_what_was_held_beyond_the_start_even_if_it_is_given_back():
    megabytes = 200
    meter = ResourceMeter("cpu")
    held = torch.ones(megabytes * 2**18)
    del held
    peak = meter.stop().peak_memory
    assert 0.9 * megabytes * 2**20 < peak < 1.5 * megabytes * 2**20
    assert ResourceMeter("cpu").stop().peak_memory < 0.1 * megabytes * 2**20


@pytest.mark.parametrize("name", ["PROC_STATUS", "PROC_CLEAR_REFS"])
def test_a_system_that_does_not_tell_gives_no_peak(monkeypatch, name):
    monkeypatch.setattr(cost, name, Path("/nowhere/at/all"))
    assert ResourceMeter("cpu").stop().peak_memory is None


class Cuda:
    """A device that works while nobody waits, and remembers in which order it was asked."""

    def __init__(self, monkeypatch):
        self.asked, self.most = [], 0
        for name, answer in (("memory_allocated", 100), ("max_memory_allocated", 700)):
            monkeypatch.setattr(torch.cuda, name, lambda device, name=name, answer=answer: self.say(name, answer))
        for name in ("synchronize", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda device, name=name: self.say(name, None))

    def say(self, name, answer):
        self.asked.append(name)
        return answer


def test_an_accelerator_is_waited_for_before_and_after(monkeypatch):
    device = Cuda(monkeypatch)
    found = ResourceMeter("cuda").stop()
    assert found.peak_memory == 600
    assert device.asked == [
        "synchronize",
        "reset_peak_memory_stats",
        "memory_allocated",
        "synchronize",
        "max_memory_allocated",
    ]


def test_the_place_of_a_model_is_its_own_word_or_its_weights():
    class Pipeline:
        device = torch.device("meta")

    assert device_of(Pipeline()) == torch.device("meta")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == device_of(None) == torch.device("cpu")
