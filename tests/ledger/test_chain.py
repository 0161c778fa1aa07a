"""The chain: what was written verifies, and every way of tampering is found or known to be out of reach."""

import hashlib
import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import KEY, content, digest, rows, serve, stream, tamper

from expunge.errors import DataError, RequestError
from expunge.key import key_id
from expunge.ledger import Content, Ledger, ModelHashes
from expunge.ledger.entry import serialize
from expunge.ledger.hash_chain import GENESIS_HASH, compute_entry_hash, compute_seal
from expunge.ledger.head_file import head_path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """A ledger of four requests, the second one redacted."""
    place = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    stream(place).redact(2, key=KEY)
    return place


@pytest.fixture
def copy(untouched, path):
    shutil.copy(untouched, path)
    return path


def test_what_was_written_is_read_back_and_sound(path):
    ledger = stream(path)
    entries = ledger.entries()
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert [entry.content for entry in entries] == [content(f"ids {number}") for number in range(4)]
    found = ledger.verify(KEY)
    assert (found.count, found.head, found.problems, found.seal_holds) == (4, entries[-1].hash, (), True)
    assert ledger.verify().seal_holds is None


def test_the_hashes_are_what_the_documentation_says(untouched):
    """An independent way to every hash of the file, with hashlib alone."""
    *entries, (count, last, _) = rows(untouched)
    previous = bytes(32)
    for number, header, commitment, stored, salt, text in entries:
        if text is not None:
            assert commitment == hashlib.sha256(b"expunge ledger content\0" + salt + text.encode()).hexdigest()
        parts = b"expunge ledger entry\0", previous, number.to_bytes(8, "big"), bytes.fromhex(commitment)
        previous = hashlib.sha256(b"".join(parts) + header.encode()).digest()
        assert stored == previous.hex()
    assert (count, last) == (len(entries), previous.hex())


def test_a_ledger_that_is_not_there_is_empty_and_stays_so(path):
    assert Ledger(path).entries() == []
    Ledger(path).check_writable(KEY)
    with pytest.raises(DataError, match="none at"):
        Ledger(path).verify()
    assert not path.exists()


def test_redaction_erases_the_content_and_keeps_the_chain(path):
    ledger = stream(path)
    secret, salt = serialize(content("ids 1")).encode(), rows(path)[1][4]
    assert secret in path.read_bytes()
    before = ledger.verify(KEY).head
    entry = ledger.redact(2, key=KEY)
    assert (entry.number, entry.header.kind, entry.header.of) == (5, "redaction", 2)
    found = ledger.verify(KEY, before)
    assert (found.is_valid, found.seal_holds, found.redacted) == (True, True, (2,))
    assert ledger.entries()[1].content is None
    left = path.read_bytes()
    assert secret not in left
    assert digest("ids 1").encode() not in left
    assert salt not in left, "with the salt one could try contents out against the commitment"
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.head"]


@pytest.mark.parametrize("number", [0, 2, 5, 6, 2**70])
def test_what_cannot_be_redacted_is_refused_and_nothing_is_added(copy, number):
    before = rows(copy)
    with pytest.raises(DataError):
        Ledger(copy).redact(number, key=KEY)
    assert rows(copy) == before


COLUMNS = ("header", "commitment", "hash", "salt", "content")


@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["lower(hex(randomblob(32)))", "randomblob(32)", "'{}'", "17", "NULL"])
def test_a_change_of_any_column_of_any_entry_is_found(copy, number, column, value):
    before = rows(copy)
    try:
        tamper(copy, f"UPDATE entries SET {column} = {value} WHERE number = {number}")
    except sqlite3.IntegrityError:  # the schema refuses it already
        assert value == "NULL"
        return
    assert rows(copy) != before
    assert not Ledger(copy).verify().is_valid
    with pytest.raises(DataError, match="nothing was added"):
        serve(Ledger(copy), "more", "x", "y")


SWAP = "UPDATE entries SET number = CASE number WHEN 1 THEN -3 WHEN 3 THEN -1 END WHERE number IN (1, 3)"
TAMPERING = {
    "reordered": (SWAP, "UPDATE entries SET number = -number WHERE number < 0"),
    "one left out": ("DELETE FROM entries WHERE number = 3",),
    "one left out, closed up": (
        "DELETE FROM entries WHERE number = 3",
        "UPDATE entries SET number = number - 1 WHERE number > 3",
        "UPDATE head SET count = 4",
    ),
    "the first left out": ("DELETE FROM entries WHERE number = 1",),
    "one twice": (
        "INSERT INTO entries SELECT 6, header, commitment, hash, salt, content FROM entries WHERE number = 4",
    ),
    "tail cut off": ("DELETE FROM entries WHERE number = 5",),
    "everything cut off": ("DELETE FROM entries",),
    "no head": ("DELETE FROM head",),
    "another head": ("UPDATE head SET hash = (SELECT hash FROM entries WHERE number = 4)",),
    "another count": ("UPDATE head SET count = 4",),
    "erased in silence": ("UPDATE entries SET salt = NULL, content = NULL WHERE number = 1",),
    "contents exchanged": (
        "UPDATE entries SET content = (SELECT content FROM entries WHERE number = 3) WHERE number = 1",
    ),
}


@pytest.mark.parametrize("statements", TAMPERING.values(), ids=TAMPERING)
def test_tampering_is_found_without_the_key(copy, statements):
    tamper(copy, *statements)
    assert not Ledger(copy).verify().is_valid


CUT = (
    "DELETE FROM entries WHERE number = 5",
    "DELETE FROM entries WHERE number = 4",
    "UPDATE head SET count = 3, hash = (SELECT hash FROM entries WHERE number = 3)",
)


def test_a_tail_cut_off_with_a_mended_head_is_found_with_the_key_or_a_known_head(path):
    ledger = stream(path, 5)
    known = ledger.verify().head
    tamper(path, *CUT)
    assert not ledger.verify().is_valid, "the head file knows"
    head_path(path).unlink()
    assert ledger.verify().is_valid, "nobody can tell without the key or a head from elsewhere"
    assert not ledger.verify(KEY).is_valid
    assert not ledger.verify(expected_head=known).is_valid
    with pytest.raises(DataError, match="nothing was added"):
        serve(ledger, "more", "x", "y")


def test_an_earlier_copy_of_the_file_is_found_with_a_known_head_alone(path):
    ledger = stream(path, 2)
    earlier = path.read_bytes()
    noted = ledger.verify().head
    serve(ledger, "ids 2", 2, 3)
    known = ledger.verify().head
    assert ledger.verify(KEY, noted).is_valid, "a head that was noted earlier stays good while the ledger grows"
    path.write_bytes(earlier)
    assert not ledger.verify(KEY).is_valid, "the head file knows"
    head_path(path).unlink()
    assert ledger.verify(KEY).is_valid
    assert not ledger.verify(KEY, known).is_valid


def test_a_chain_rewritten_without_the_key_is_found_by_its_seal(copy):
    """Somebody changes a header and computes all hashes anew, as anybody can."""
    forged, previous = [], GENESIS_HASH
    for number, header, commitment, *_ in rows(copy)[:-1]:
        changed = header.replace("2", "1", 1) if number == 1 else header
        previous = compute_entry_hash(previous, number, commitment, changed)
        forged.append((changed, previous, number))
    tamper(copy)
    statements = [f"UPDATE entries SET header = '{h}', hash = '{d}' WHERE number = {n}" for h, d, n in forged]
    tamper(copy, *statements, f"UPDATE head SET hash = '{previous}', seal = '{compute_seal(bytes(32), 5, previous)}'")
    assert Ledger(copy).verify().is_valid
    assert Ledger(copy).verify(KEY).problems == (
        "The seal was not made with this key: the chain was rewritten, or its tail cut off.",
    )


def test_entries_added_with_another_key_are_found(copy):
    """Somebody without the key adds an entry as an honest program would, but for its check of the key."""
    *entries, _ = rows(copy)
    header = entries[-1][1].replace(f'"{key_id(KEY)}"', f'"{key_id(bytes(32))}"').replace('"of":2', '"of":1')
    salt, commitment, text = entries[-1][4], entries[-1][2], entries[-1][5]
    last = compute_entry_hash(entries[-1][3], 6, commitment, header)
    values = f"6, '{header}', '{commitment}', '{last}', x'{salt.hex()}', '{text}'"
    head = f"UPDATE head SET count = 6, hash = '{last}', seal = '{compute_seal(bytes(32), 6, last)}'"
    erased = "UPDATE entries SET salt = NULL, content = NULL WHERE number = 1"
    tamper(copy, f"INSERT INTO entries VALUES ({values})", head, erased)
    assert Ledger(copy).verify().problems == (
        f"The entries are under different keys, {key_id(KEY)} and {key_id(bytes(32))}.",
    )


def test_a_redacted_content_that_is_put_back_is_found(path):
    ledger = stream(path, 1)
    salt, text = rows(path)[0][4:]
    ledger.redact(1, key=KEY)
    tamper(path, f"UPDATE entries SET salt = x'{salt.hex()}', content = '{text}' WHERE number = 1")
    assert "there again" in ledger.verify().problems[0]


def test_another_key_neither_judges_nor_adds(copy):
    other = bytes(32)
    (problem,) = Ledger(copy).verify(other).problems
    assert problem.startswith(f"The ledger is under key {key_id(KEY)}, and the key at hand is {key_id(other)}: ")
    with pytest.raises(DataError, match="EXPUNGE_KEY_FILE"):
        Ledger(copy).append("purge", Content(), key=other, of=1)
    assert Ledger(copy).verify(KEY).count == 5


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_byte_flipped_anywhere_is_found_or_changes_nothing(untouched, path, place, flip):
    data = bytearray(untouched.read_bytes())
    data[int(place * len(data))] ^= flip
    path.write_bytes(data)
    try:
        sound = Ledger(path).verify(KEY).is_valid
    except DataError:
        return
    assert not sound or rows(path) == rows(untouched)


def test_the_triggers_keep_an_honest_program_from_changing_entries(copy):
    with closing(sqlite3.connect(copy)) as connection:
        for statement in ("DELETE FROM entries", "UPDATE entries SET header = ''", "UPDATE entries SET salt = x'00'"):
            with pytest.raises(sqlite3.IntegrityError, match="entries of the ledger stay"):
                connection.execute(statement)


@pytest.mark.parametrize("statements", [("DELETE FROM entries", "DELETE FROM head"), ("DELETE FROM entries",)])
@pytest.mark.parametrize("head_file", [True, False])
def test_an_emptied_ledger_is_not_sound_and_nothing_is_added_to_it(path, statements, head_file):
    ledger = stream(path)
    tamper(path, *statements)
    if not head_file:
        head_path(path).unlink()
    assert not ledger.verify().is_valid
    assert not ledger.verify(KEY).is_valid
    with pytest.raises(DataError, match="nothing was added"):
        serve(ledger, "more", "x", "y")


def test_a_chain_rewritten_under_another_key_is_not_sound_where_the_right_key_is_at_hand(path):
    stream(path)
    path.unlink()
    head_path(path).unlink()
    forger, other = Ledger(path), bytes(32)
    for number in (1, 3):
        forger.append(
            "request", content(f"ids {number}"), key=other, models=ModelHashes(digest(number), digest(number + 1))
        )
    assert not forger.verify(KEY).is_valid
    assert forger.verify().is_valid, "nobody can tell without the key"


@pytest.mark.parametrize("left", ["an empty file", "an earlier copy"])
def test_a_ledger_that_went_back_is_noticed_by_its_head_file(path, left):
    ledger = stream(path, 2)
    earlier = path.read_bytes()
    serve(ledger, "ids 2", 2, 3)
    assert head_path(path).read_text() == f"{ledger.verify(KEY).head}\n"
    path.write_bytes(b"" if left == "an empty file" else earlier)
    for add in (lambda: serve(ledger, "more", "x", "y"), lambda: ledger.check_writable(KEY)):
        with pytest.raises(DataError, match="head file"):
            add()
    if left == "an earlier copy":
        assert "earlier copy" in ledger.verify(KEY).problems[0]
    head_path(path).unlink()
    ledger = Ledger(path)
    serve(ledger, "more", "x", "y")
    assert ledger.verify(KEY).has_head_file


def test_a_head_file_that_is_behind_is_no_problem_and_catches_up(path):
    """A process may be killed between the entry and its head file."""
    ledger = stream(path, 1)
    behind = head_path(path).read_bytes()
    serve(ledger, "ids 1", 1, 2)
    head_path(path).write_bytes(behind)
    assert ledger.verify(KEY).is_valid
    serve(ledger, "ids 2", 2, 3)
    assert head_path(path).read_text().strip() == ledger.verify(KEY).head


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.sqlite.head", "ledger.sqlite-journal"])
def test_a_ledger_is_not_opened_through_a_link(path, name):
    stream(path)
    target = path.with_name("elsewhere")
    path.with_name("ledger.sqlite").replace(target) if name == path.name else target.write_bytes(b"mine")
    before = target.read_bytes()
    path.with_name(name).unlink(missing_ok=True)
    path.with_name(name).symlink_to(target)
    with pytest.raises(DataError, match="a link"):
        serve(Ledger(path), "more", "x", "y")
    with pytest.raises(DataError, match="a link"):
        Ledger(path).verify(KEY)
    assert target.read_bytes() == before


def test_what_speaks_against_an_entry_is_asked_while_nobody_else_can_add_one(path):
    ledger = stream(path, 1)

    def refuse(entries):
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")
        raise RequestError("another", f"{len(entries)}", "none")

    with pytest.raises(RequestError, match="found 1"):
        ledger.append("request", content("x"), key=KEY, models=ModelHashes(digest(1), digest(2)), precheck=refuse)
    assert len(ledger.entries()) == 1


def test_a_ledger_that_was_moved_away_is_begun_anew_with_a_warning(path):
    """Keeping an old ledger elsewhere and beginning another is a user's right; a theft is said."""
    stream(path, 2)
    path.rename(path.with_name("old"))
    Ledger(path).check_writable(KEY)
    with pytest.warns(UserWarning, match="was removed or moved since its head"):
        serve(Ledger(path), "more", "x", "y")
    found = Ledger(path).verify(KEY)
    assert (found.is_valid, found.count, found.has_head_file) == (True, 1, True)


def test_an_entry_whose_head_cannot_be_noted_is_added_nevertheless(path, monkeypatch):
    def refuses(ledger, head):
        raise DataError("a head file that can be written", f"'{ledger}.head' (no space left)", "free the disk")

    monkeypatch.setattr("expunge.ledger.ledger.write_head", refuses)
    with pytest.warns(UserWarning, match="Entry 1 was added. Expected a head file that can be written"):
        stream(path, 1)
    monkeypatch.undo()
    assert [entry.number for entry in Ledger(path).entries()] == [1]
    assert Ledger(path).verify(KEY).is_valid


def test_a_file_that_no_entry_was_added_to_is_a_ledger_without_entries(path):
    path.write_bytes(b"")
    assert Ledger(path).entries() == []
    Ledger(path).check_writable(KEY)
    stream(path, 1)
    assert Ledger(path).verify(KEY).is_valid


def test_a_ledger_that_is_removed_with_its_head_while_somebody_works_is_begun_anew_with_a_warning(path):
    stream(path, 1)
    book = Ledger(path)
    book.check_writable(KEY)
    book.entries()
    path.unlink()
    path.with_name(f"{path.name}.head").unlink()
    with pytest.warns(UserWarning, match="was removed or moved since its head"):
        book.append("request", Content(method="rl"), key=KEY, models=ModelHashes("a" * 64, "b" * 64))
