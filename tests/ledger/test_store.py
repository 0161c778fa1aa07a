"""The file: foreign ones are refused, two processes share one, and a killed one leaves whole entries alone."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import KEY, content, rows, serve, stream

import expunge
from expunge.errors import DataError
from expunge.ledger import Ledger
from expunge.ledger import store as room


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def foreign(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


FOREIGN = {
    "a table of somebody else": lambda path: foreign(path, "CREATE TABLE people (name TEXT)"),
    "text": lambda path: path.write_text("a text that is no database\n" * 100),
    "a folder": lambda path: path.mkdir(),
    "half a ledger": lambda path: (stream(path), path.write_bytes(path.read_bytes()[:5000])),
    "another version": lambda path: (stream(path), foreign(path, "PRAGMA user_version = 2")),
    "a trigger more": lambda path: (
        stream(path),
        foreign(path, "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM head; END"),
    ),
    "a view in place of a table": lambda path: (
        stream(path),
        foreign(path, "DROP TABLE head", "CREATE VIEW head AS SELECT 1 AS one, 4 AS count, 'x' AS hash, 'y' AS seal"),
    ),
    "a trigger less": lambda path: (stream(path), foreign(path, "DROP TRIGGER no_deletion")),
    "an enormous value": lambda path: (
        stream(path),
        foreign(path, "INSERT INTO entries VALUES (5, 'h', 'c', 'h', NULL, hex(zeroblob(9000000)))"),
    ),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_another_kind_is_refused_and_left_alone(path, make):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for act in (Ledger(path).verify, Ledger(path).entries, lambda: serve(Ledger(path), "a", "b", "c")):
        with pytest.raises(DataError):
            act()
    assert before is None or path.read_bytes() == before


def test_a_file_too_large_is_not_opened(path, monkeypatch):
    stream(path)
    monkeypatch.setattr(room, "MAX_FILE_BYTES", 1000)
    with pytest.raises(DataError, match="more than"):
        Ledger(path).entries()


def test_names_of_files_are_names_and_no_options(tmp_path):
    path = tmp_path / "a?mode=memory#b%41 c.sqlite"
    stream(path, 2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.head"]
    assert Ledger(path).verify(KEY).is_valid


def test_a_file_that_may_not_be_written_can_be_read(path):
    ledger = stream(path)
    path.chmod(0o400)
    assert ledger.verify(KEY).is_valid
    if os.geteuid():
        with pytest.raises(DataError, match="readonly"):
            serve(ledger, "a", "b", "c")
        with pytest.raises(DataError, match="readonly"):
            ledger.check_writable(KEY)


def test_a_check_changes_nothing(path):
    ledger = stream(path)
    before = path.read_bytes()
    ledger.check_writable(KEY)
    assert path.read_bytes() == before


def test_a_ledger_in_write_ahead_mode_becomes_one_file_again(path):
    ledger = stream(path, 2)
    foreign(path, "PRAGMA journal_mode = WAL")
    serve(ledger, "more", 2, 3)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.head"]
    assert ledger.verify(KEY).count == 3


WRITER = """
import sys
from ledgers import serve
from expunge.ledger import Ledger
for number in range(int(sys.argv[2])):
    serve(Ledger(sys.argv[1]), (sys.argv[3], number), number, number + 1)
    print(number, flush=True)
"""


def writer(path, count, name):
    here = Path(__file__).parents[1] / "support", Path(expunge.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, here))}
    command = [sys.executable, "-c", WRITER, str(path), str(count), name]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_wait_for_each_other(path):
    processes = [writer(path, 8, name) for name in "ab"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    entries = Ledger(path).entries()
    assert Ledger(path).verify(KEY).is_valid
    assert {entry.content for entry in map(plain, entries)} == {
        plain_content((name, number)) for name in "ab" for number in range(8)
    }


def plain(entry):
    return type("Plain", (), {"content": entry.content.asked.forgotten})


def plain_content(what):
    return content(what).asked.forgotten


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_writer_leaves_whole_entries_alone(path):
    process = writer(path, 10_000, "a")
    for _ in range(5):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    found = Ledger(path).verify(KEY)
    assert found.is_valid
    assert found.count >= 5
    serve(Ledger(path), "next", "x", "y")
    assert Ledger(path).verify(KEY).count == found.count + 1


def test_an_append_that_fails_midway_adds_nothing(path, monkeypatch):
    ledger = stream(path, 2)
    before = rows(path)
    monkeypatch.setattr("expunge.ledger.ledger.insert", halfway)
    with pytest.raises(DataError):
        ledger.redact(1, key=KEY)
    assert rows(path) == before


def halfway(connection, row, head):
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, NULL, NULL)", (row.number, row.header, "c", "h"))
    connection.execute("INSERT INTO nowhere VALUES (1)")


@pytest.mark.parametrize("place", ["file/ledger.sqlite", "file/deep/ledger.sqlite", "n" * 300])
def test_a_folder_that_cannot_be_made_is_one_of_our_errors(tmp_path, place):
    (tmp_path / "file").write_text("")
    for use in (lambda ledger: serve(ledger, "a", "b", "c"), lambda ledger: ledger.verify()):
        with pytest.raises(DataError, match="ledger"):
            use(Ledger(tmp_path / place))
