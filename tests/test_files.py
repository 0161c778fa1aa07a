"""Files: nothing is opened through a link, and what killed processes left is removed while the living write on."""

import os
import re
import signal
import time

import pytest

from expunge import files
from expunge.api.folder import clear_checkpoints
from expunge.engine import checkpoint_files
from expunge.errors import CheckpointError
from expunge.files import (
    list_partial,
    open_regular_file,
    read_regular_file,
    remove_matching,
    remove_partial,
    temporary_file,
    temporary_folder,
)
from expunge.weights import atomic_write


@pytest.mark.parametrize("mode", ["rb", "r+b", "wb", "ab"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_only_plain_files_are_opened(tmp_path, kind, mode):
    (tmp_path / "target").write_text("mine")
    path = tmp_path / "name"
    lay = {
        "link": lambda: path.symlink_to("target"),
        "dangling link": lambda: path.symlink_to("nowhere"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }
    lay[kind]()
    with pytest.raises(OSError):  # noqa: PT011
        open_regular_file(path, mode).close()
    assert (tmp_path / "target").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_reads_are_bounded(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_regular_file(tmp_path / "file", 4)


def killed_while_writing(write, path):
    """Leave what a process leaves that is killed in the middle of writing."""
    process = os.fork()
    if process == 0:
        with write(path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)


@pytest.mark.parametrize("write", [temporary_file, temporary_folder])
def test_what_a_killed_process_left_is_removed_when_the_name_is_written_again(tmp_path, write):
    killed_while_writing(write, tmp_path / "result")
    assert len(list_partial(tmp_path, ["result"])) == 1
    with write(tmp_path / "result") as temporary:
        assert list_partial(tmp_path, ["result"]) == [temporary if write is temporary_folder else temporary.parent]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [temporary_file, temporary_folder])
def test_what_a_living_process_writes_stays(tmp_path, write):
    process = os.fork()
    if process == 0:
        with write(tmp_path / "result"):
            time.sleep(30)
    try:
        while not list_partial(tmp_path, ["result"]):
            time.sleep(0.01)
        time.sleep(0.05)
        assert remove_partial(tmp_path, ["result"]) == []
        assert len(list_partial(tmp_path, ["result"])) == 1
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert len(remove_partial(tmp_path, ["result"])) == 1


def test_only_names_of_the_pattern_are_removed_and_never_through_links(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "state-1").write_text("mine")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("state-1", "notes.txt"):
        (folder / name).write_text("x")
    (folder / "state-2").symlink_to(tmp_path / "mine" / "state-1")
    assert remove_matching(folder, re.compile(r"state-\d")) == 2
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    remove_matching(folder, re.compile(r"state-\d"))
    assert not folder.exists()
    folder.symlink_to(tmp_path / "mine")
    assert remove_matching(folder, re.compile(r"state-\d")) == 0
    assert (tmp_path / "mine" / "state-1").read_text() == "mine"


def test_a_link_in_the_place_of_a_result_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "result").symlink_to(tmp_path / "mine")
    with atomic_write(tmp_path / "result", overwrite=True) as temporary:
        temporary.write_text("new")
    assert ((tmp_path / "mine").read_text(), (tmp_path / "result").read_text()) == ("mine", "new")
    assert not (tmp_path / "result").is_symlink()


def test_a_name_that_is_too_long_is_a_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="too long"), atomic_write(tmp_path / ("n" * 250)):
        pass


def test_what_a_library_left_in_a_half_written_checkpoint_goes_with_it(tmp_path):
    half = tmp_path / "checkpoints" / ".state-000001.safetensors.0123abcd.tmp"
    half.mkdir(parents=True)
    (half / ".tmpA1b2C3").write_bytes(b"weights")
    assert clear_checkpoints(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_the_next_run_removes_half_written_checkpoints_of_both_forms(tmp_path):
    (tmp_path / ".state-000001.safetensors.0123abcd.tmp").mkdir()
    (tmp_path / ".state-000001.safetensors.0123abcd.tmp" / ".tmpA1b2C3").write_bytes(b"weights")
    (tmp_path / ".state-000002.safetensors.0123abcd.tmp").write_bytes(b"half_width")
    checkpoint_files.remove_partial_states(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_that_another_process_clears_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    gone = []

    def clear(descriptor):
        if not gone:
            gone.extend(list_partial(tmp_path, ["result"]))
            gone[0].rmdir()

    monkeypatch.setattr(files, "lock_descriptor", clear)
    with temporary_file(tmp_path / "result") as temporary:
        assert temporary.is_file()
        assert temporary.parent != gone[0]
    assert list(tmp_path.iterdir()) == []
