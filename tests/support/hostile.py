"""Hostile input: how many cases, what they are made of, an alarm for what hangs, a watch over every file written."""

import copy
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from expunge.errors import ExpungeError

CASES = {
    "request texts": (40, 400),
    "request values": (40, 400),
    "recipes": (30, 200),
    "runs": (3, 25),
    "index files": (40, 400),
    "results": (8, 50),
    "purges": (5, 40),
    "ledgers": (10, 50),
    "ledger rows": (8, 40),
    "weights": (50, 500),
    "pictures": (30, 300),
    "data files": (20, 200),
    "prompt files": (20, 200),
    "model folders": (4, 20),
    "latents": (20, 100),
    "keys": (10, 60),
}
"""What is tried → cases of the quick tests and of the slow ones."""
HALF = re.compile(r"\.([^/]+)\.[0-9a-f]{8}\.tmp(/.*)?$")
"""The folder that a file is written in, whose name has the file's own in it, and what is in that folder."""
SECONDS = 30.0
"""Of the processor's time, after which a case hangs; the slowest takes one."""

PAYLOADS = (
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "{% raw %}", "javascript:alert(1)"),
    *(
        "../../outside",
        "/etc/passwd",
        "~root/x",
        "a\0b",
        "\x1b]0;title\x07\x1b[2J",
        "\u202etxt.exe",
        "\ud800",
        "\n\r\u2028",
    ),
    *("!!python/object/apply:os.system [id]", "*x", "&x", "<<", "=1+1", "$(id)", "`id`", "[/]", "[bold", "%s%n", ""),
    *("auto", "none", "true", "nan", "1e999", "9" * 400, "x" * 5000),
)
NUMBERS = (0, -1, 1, 2, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 0.5, 1e-300, 1e308, -1e308)
NUMBERS += (float("inf"), float("-inf"), float("nan"))


def leaves() -> st.SearchStrategy[Any]:
    """Single values that somebody might try."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(PAYLOADS),
        st.sampled_from(NUMBERS),
        st.text(max_size=8),
        st.integers(),
    )


def junk() -> st.SearchStrategy[Any]:
    """Values of any JSON form."""
    keys = st.sampled_from(PAYLOADS) | st.text(max_size=5)
    return st.recursive(
        leaves(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=4
    )


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every part of a document."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*above, key)
        yield from places(value[key], (*above, key))


@st.composite
def mutated(draw: Callable[..., Any], document: Any, values: st.SearchStrategy[Any] | None = None) -> Any:
    """A document of which one to three parts are replaced, removed or joined by others."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(found))
        if not every:
            return found
        *above, last = draw(st.sampled_from(every))
        inside = found
        for key in above:
            inside = inside[key]
        what = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add", "copy")))
        if what == "remove":
            del inside[last]
        elif what == "add" and isinstance(inside, dict):
            inside[draw(st.sampled_from(PAYLOADS))] = draw(junk() if values is None else values)
        elif what == "copy":
            inside[last] = copy.deepcopy(found)
        else:
            inside[last] = draw(junk() if values is None else values)
    return found


@st.composite
def broken(draw: Callable[..., Any], content: bytes) -> bytes:
    """Bytes with one to four places overwritten, cut, doubled or torn out."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = int(draw(st.floats(0, 1, exclude_max=True)) * len(found))
        what = draw(st.sampled_from(("flip", "flip", "write", "write", "cut", "double", "tear")))
        if what == "flip" and found:
            found[place] ^= draw(st.integers(1, 255))
        elif what == "write":
            new = draw(st.binary(max_size=8) | st.sampled_from((b"\xff" * 8, b"\0" * 8, b"9" * 20, b"(" * 300)))
            found[place : place + len(new)] = new
        elif what == "cut":
            del found[place:]
        elif what == "double":
            found[place:place] = found[place : place + 200]
        else:
            del found[place : place + draw(st.integers(1, 64))]
    return bytes(found)


def numbers_of(what: str) -> pytest.MarkDecorator:
    """Run a test with the quick number of cases, and as a slow test with the large one."""
    few, many = CASES[what]
    slow = pytest.param(many, marks=pytest.mark.slow, id=str(many))
    return pytest.mark.parametrize("cases", [pytest.param(few, id=str(few)), slow])


def tried(cases: int, body: Callable[..., None], **strategies: st.SearchStrategy[Any]) -> None:
    """Call ``body`` with as many cases; only our own errors, in one printable line, may come out of it."""
    seen = 0

    def once(**values: Any) -> None:
        nonlocal seen
        seen += 1
        with alarm(), ours():
            body(**values)

    checks = settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    checks(given(**strategies)(once))()
    assert seen >= cases, f"only {seen} different cases"


@contextmanager
def ours() -> Iterator[None]:
    """Let the body raise our own errors, in words that a terminal can show."""
    try:
        yield
    except ExpungeError as error:
        if not str(error).isprintable():
            raise AssertionError(repr(str(error))) from error


@contextmanager
def alarm() -> Iterator[None]:
    """End the body with an error if it takes too long, where the system has such alarms."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError("a case that does not end")

    # On a loaded machine the clock says little; the processor's time catches what computes, the clock what waits.
    alarms = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, 20 * SECONDS))
    before = [signal.signal(kind, ring) for kind, _, _ in alarms]
    for _, timer, seconds in alarms:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (kind, timer, _), handler in zip(alarms, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(kind, handler)


class Watch:
    """Notes what the interpreter writes outside some folders, every process that it starts and every connection.

    Args:
        allowed: The folders.
    """

    CHANGES = frozenset(
        f"os.{name}" for name in ("rename", "remove", "mkdir", "rmdir", "symlink", "link", "truncate", "chmod", "chown")
    )
    STARTS = frozenset(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class")
    )
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

    def __init__(self, *allowed: Path) -> None:
        self.allowed = tuple(str(folder.resolve()) for folder in allowed)
        self.found: list[str] = []

    def __enter__(self) -> "Watch":
        _watches.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watches.remove(self)
        assert not self.found, self.found

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Judge one event of the interpreter."""
        if event == "open":
            path, mode, flags = arguments
            writes = flags & self.WRITING if isinstance(flags, int) else set(mode or "r") & set("wax+")
            if writes:
                self.judge(event, path)
        elif event in self.CHANGES:
            inside = arguments[-1] if event != "os.truncate" else -1  # a folder that is open, names are relative to it
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike):
                    place = os.readlink(f"/proc/self/fd/{inside}") if isinstance(inside, int) and inside >= 0 else ""
                    self.judge(event, os.path.join(place, os.fsdecode(path)))
        elif event in self.STARTS and arguments[0] != "uname":  # how Python finds the processor's name
            self.found.append(f"{event} {arguments}")

    def judge(self, event: str, path: object) -> None:
        """Note a path that is outside; caches of compiled modules and the system's doors are nobody's."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(path))  # what is removed or renamed is a link itself, not what it leads to
        folder, name = os.path.split(path)
        real = os.path.realpath(path) if event == "open" else os.path.join(os.path.realpath(folder), name)
        real = HALF.sub(r"\1", real)
        within = any(real == folder or real.startswith(folder + os.sep) for folder in self.allowed)
        within |= event == "os.mkdir" and any(folder.startswith(real + os.sep) for folder in self.allowed)
        system = real in (os.devnull, f"/proc/{os.getpid()}/clear_refs")  # the second begins to count memory anew
        if not (within or "__pycache__" in real or system):
            self.found.append(f"{event} {real}")


_watches: list[Watch] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watches:
        watch.see(event, arguments)


sys.addaudithook(_hook)  # there is no way to take it off again; without a watch it does nothing


def as_json(value: Any) -> bytes:
    """A value as JSON text, whatever is in it."""
    return json.dumps(value).encode()
