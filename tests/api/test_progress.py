"""Progress bars: what has been done is all there is once the body is over, and not where it broke off."""

import io
import re

import pytest
from rich.console import Console

from expunge.api.progress import progress_bar
from expunge.surgery import Progress


def shown(body):
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with progress_bar(console, "Unlearning") as one:
        body(one)
    return re.findall(r"(\d+)/(\d+)", console.file.getvalue())[-1]


@pytest.mark.parametrize("made", [120, 200])
def test_a_run_that_ends_early_is_a_whole_one(made):
    assert shown(lambda one: one.update(Progress(made - 1, 200, 0))) == (str(made), str(made))


def test_a_body_without_work_is_left_at_nothing():
    assert shown(lambda one: None) == ("0", "1")


def test_a_run_that_broke_off_keeps_its_total():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)

    def broken(one):
        one.update(Progress(119, 200, 0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress_bar(console, "Unlearning") as one:
        broken(one)
    assert re.findall(r"(\d+)/(\d+)", console.file.getvalue())[-1] == ("120", "200")
