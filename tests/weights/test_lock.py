"""One process at a time in a folder, whatever became of the one before."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest
from lock_holder import holder

from expunge.errors import ConfigError
from expunge.weights import folder_lock
from expunge.weights.lock import LOCK_NAME


@pytest.fixture
def other(tmp_path):
    """A process at work in the folder."""
    process = holder(tmp_path)
    yield process
    with suppress(ProcessLookupError):
        kill(process)


def kill(process):
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def test_the_other_process_is_named(tmp_path, other):
    with pytest.raises(ConfigError, match=rf"found process {other} on '.+' at work in .*: wait for it"):
        folder_lock(tmp_path).__enter__()


def test_a_kill_leaves_nothing_that_blocks(tmp_path, other):
    kill(other)
    assert (tmp_path / LOCK_NAME).exists(), "what a kill leaves behind"
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_process_cannot_have_it_twice(tmp_path):
    with folder_lock(tmp_path), pytest.raises(ConfigError, match=f"process {os.getpid()} "):
        folder_lock(tmp_path).__enter__()
    with folder_lock(tmp_path):
        pass


def test_a_damaged_name_is_no_reason_to_fail(tmp_path):
    with folder_lock(tmp_path):
        (tmp_path / LOCK_NAME).write_bytes(b"\x00\xff[]")
        with pytest.raises(ConfigError, match="found another process at work"):
            folder_lock(tmp_path).__enter__()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="a folder that can be written"):
        folder_lock(tmp_path / "file").__enter__()


def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path):
    with folder_lock(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with folder_lock(tmp_path / "used"):
        (tmp_path / "used" / "kept").touch()
    assert (tmp_path / "used" / "kept").exists()
    (tmp_path / "empty").mkdir()
    with folder_lock(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir(), "the user's own"


@pytest.mark.parametrize("kind", ["link", "own text", "folder", "pipe"])
def test_a_file_of_the_users_under_the_name_of_the_lock_is_refused_and_stays(tmp_path, kind):
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    lay = {
        "link": lambda: (folder / LOCK_NAME).symlink_to(tmp_path / "precious"),
        "own text": lambda: (folder / LOCK_NAME).write_text("precious"),
        "folder": lambda: (folder / LOCK_NAME).mkdir(),
        "pipe": lambda: os.mkfifo(folder / LOCK_NAME),
    }
    lay[kind]()
    with pytest.raises(ConfigError, match=r"\.lock"):
        folder_lock(folder).__enter__()
    assert (folder / LOCK_NAME).is_symlink() or (folder / LOCK_NAME).exists()
    assert (tmp_path / "precious").read_text() == "precious"
    if kind == "own text":
        assert (folder / LOCK_NAME).read_text() == "precious"
