"""The bar of ``unlearn``: in a terminal alone, and only where it is wanted."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from torch import nn

from expunge import RunConfig, unlearn
from expunge.api import progress
from expunge.callbacks import LambdaCallback
from expunge.data import TensorExamples


@pytest.fixture
def run():
    def run(config=None, callbacks=()):
        x, y = torch.randn(60, 4), torch.arange(60) % 3
        sides = {"forget": TensorExamples(x[:6], y[:6]), "retain": TensorExamples(x[6:], y[6:])}
        return unlearn(nn.Linear(4, 3), **sides, method="rl", epochs=2, config=config, callbacks=callbacks)

    return run


@pytest.fixture
def terminal(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, force_interactive=True, width=80)
    monkeypatch.setattr(progress, "SafeConsole", lambda: console)
    return screen


def test_a_terminal_shows_every_update_and_the_callbacks_still_hear_of_them(run, terminal):
    steps = []
    result = run(callbacks=LambdaCallback(on_step=lambda update: steps.append(update.step)))
    total = len(result.history)
    assert "Unlearning" in terminal.getvalue()
    assert f"{total}/{total}" in terminal.getvalue()
    assert steps == list(range(total))


def test_no_bar_where_it_is_off(run, terminal):
    run(RunConfig(progress=False))
    assert terminal.getvalue() == ""


def test_a_pipe_gets_nothing(run, capfd):
    run()
    assert capfd.readouterr() == ("", "")
