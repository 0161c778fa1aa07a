"""What it takes to start, in processor time, which a loaded machine does not stretch much; the best of several runs."""

import os
import resource
import subprocess
import sys

import pytest

HEAVY = "torch", "numpy", "scipy", "sklearn", "pydantic"


def seconds(code):
    """The least processor time of running a line of Python, of five times."""

    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env={**os.environ})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


COMMAND = "import sys; sys.argv = ['expunge', {}]; from expunge.cli import main; main()"


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_line_starts_without_what_computes(option):
    code = f"import sys, atexit; atexit.register(lambda: print(*sys.modules)); {COMMAND.format(repr(option))}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(HEAVY) & set(done.stdout.split()) == set()


def test_the_command_line_starts_in_half_a_second():
    assert seconds(COMMAND.format("'--version'")) < 0.5


def test_the_import_is_done_in_a_fifth_of_a_second():
    assert seconds("import expunge") - seconds("pass") < 0.2
