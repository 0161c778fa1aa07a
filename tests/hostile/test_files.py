"""Files that somebody else wrote: index files, results, ledgers, prompts, keys."""

import io
import json
import shutil
import sqlite3
from contextlib import closing, suppress
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import strategies as st
from ledgers import KEY, stream, tamper
from typer.testing import CliRunner
from whole_results import whole_result

import hostile
from expunge.api.purge import purge
from expunge.cli import app
from expunge.data import ByIndices, TensorExamples
from expunge.errors import DataError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.tasks.diffusion.evaluation.prompt_file import read_prompts
from hostile import as_json, broken, junk, mutated, numbers_of, tried

EXAMPLES = TensorExamples(np.zeros((20, 2), np.float32), [0, 1] * 10)


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, np.arange(3))
    return stream.getvalue()


def npy_with_header(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


INDEX_FILES = {
    ".npy": (npy(np.arange(8)), npy(np.array([2**64 - 1], np.uint64)), npy(np.array([1.5])), npz()),
    ".json": (b"[1, 2, 3]", b"[" * 3000, b"[" + b"9" * 4000 + b"]", b"[1e3]", b'{"a": 1}', b"[true, null]"),
    ".txt": (b"1\n2 # two\n\n3\n", b"\xff\xfe1", b"-1", b"1\x002", "١\n".encode(), b"9" * 4000),
}


@numbers_of("index files")
def test_index_files(cases, tmp_path):
    kinds = st.sampled_from([(suffix, one) for suffix, every in INDEX_FILES.items() for one in every])
    bent = kinds.flatmap(lambda kind: st.tuples(st.just(kind[0]), st.just(kind[1]) | broken(kind[1])))
    lists = st.lists(junk(), max_size=4).map(lambda values: (".json", as_json(values)))

    def body(file):
        path = tmp_path / f"ids{file[0]}"
        path.write_bytes(file[1])
        with hostile.Watch():
            found = ByIndices(path).select(EXAMPLES)
        assert set(found.tolist()) <= set(range(20))

    tried(cases, body, file=bent | lists)


@pytest.mark.parametrize(
    "content",
    [
        npz(),
        npy(np.array([{}], object)),
        npy_with_header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (" + b"9" * 30 + b",)}"),
        npy_with_header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (4, }"),
        npy_with_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
        npy_with_header(b"(" * 300),
        npy_with_header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1,)" + b"L" * 40),
        b"\x80\x04]\x94.",
    ],
)
def test_arrays_that_are_none(tmp_path, content):
    path = tmp_path / "ids.npy"
    path.write_bytes(content)
    with hostile.Watch(), pytest.raises(RequestError):
        ByIndices(path).load_indices()


class Tags(HTMLParser):
    """The names of a page's elements and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        self.found |= {f"src {value[:20]}" for name, value in attrs if name in ("src", "href") and value[:1] != "#"}


@numbers_of("results")
def test_results(cases, tmp_path):
    good, path, page = whole_result(), tmp_path / "result.json", tmp_path / "page.html"
    plain = Tags(rendered(good)).found

    def body(result, form):
        path.write_bytes(as_json(result))
        page.unlink(missing_ok=True)
        with hostile.Watch(tmp_path):
            for options in (["--out", str(page)], ["--format", form]):
                done = CliRunner().invoke(app, ["report", str(path), *options])
                if done.exit_code not in (0, 2):
                    raise AssertionError(done.output) from done.exception
                assert "\x1b" not in done.output
        if page.exists():
            new = Tags(page.read_text(encoding="utf-8")).found - plain
            assert not {tag for tag in new if tag.startswith(("script", "iframe", "object", "src", "base", "form"))}, (
                new
            )
            assert not {tag for tag in new if " on" in tag}, new

    tried(cases, body, result=mutated(good), form=st.sampled_from(("md", "tex", "csv", "card")))


def rendered(result) -> str:
    from expunge.report.html import render_html

    return render_html(result)


@numbers_of("purges")
def test_purges_touch_nothing_outside_their_folder(cases, tmp_path):
    good, place = whole_result(), tmp_path / "run"
    told = {"checkpoint": "/etc/hostname", "latents": {"cache": "/etc"}, "model": "../x", "cache": ["a"]}
    outside = tmp_path / "outside.safetensors"
    outside.write_text("stays")

    def body(result, config):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / "result.json").write_bytes(as_json(result))
        (place / "config.json").write_bytes(as_json(config))
        (place / "original.safetensors").symlink_to(outside)
        with hostile.Watch(place):
            purge(place)
        assert not (place / "original.safetensors").is_symlink()

    tried(cases, body, result=mutated(good) | st.just(good), config=mutated(told))
    assert outside.read_text() == "stays"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    stream(path, 3)
    return path


def look(path):
    """Do with a ledger whatever reads it."""
    for command in ("show", "verify"):
        done = CliRunner().invoke(app, ["ledger", command, str(path)])
        if done.exit_code not in (0, 1, 2):
            raise AssertionError(done.output) from done.exception
        assert "\x1b" not in done.output
    for act in (Ledger(path).verify, Ledger(path).entries):
        with hostile.ours():
            act()


@numbers_of("ledgers")
def test_ledgers(cases, tmp_path, ledger):
    path, whole = tmp_path / "ledger.sqlite", ledger.read_bytes()

    def body(content):
        path.write_bytes(content)
        with hostile.Watch(path, tmp_path / "ledger.sqlite-journal"):
            look(path)

    tried(cases, body, content=broken(whole) | st.binary(max_size=200))


@numbers_of("ledger rows")
def test_ledger_rows(cases, tmp_path, ledger):
    """Whatever SQLite lets into the columns, and texts that are nearly those of an entry."""
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(ledger)) as connection:
        header, content = connection.execute("SELECT header, content FROM entries WHERE number = 2").fetchone()
    texts = mutated(json.loads(header)).map(json.dumps) | mutated(json.loads(content)).map(json.dumps)
    texts |= st.sampled_from(("[" * 3000, "null", "{}", "9" * 5000, "\x00", '{"a": NaN}'))
    values = texts | st.binary(max_size=40) | st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats()

    def body(column, value):
        shutil.copy(ledger, path)
        tamper(path)  # takes the triggers off and puts them back: the file stays a ledger
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TRIGGER no_change")
            with suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE entries SET {column} = ? WHERE number = 2", (value,))
        restore(path)
        look(path)

    columns = st.sampled_from(("number", "header", "commitment", "hash", "salt", "content"))
    tried(cases, body, column=columns, value=values)


def restore(path):
    from expunge.ledger.store import SCHEMA

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(SCHEMA[3])


def test_a_ledger_with_a_program_in_its_schema_is_no_ledger(tmp_path, ledger):
    path = tmp_path / "ledger.sqlite"
    shutil.copy(ledger, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE VIEW more AS SELECT load_extension('x')")
    with pytest.raises(DataError, match="another kind"):
        Ledger(path).entries()


@numbers_of("prompt files")
def test_prompt_files(cases, tmp_path):
    path = tmp_path / "prompts.csv"
    good = b'case_number,prompt,evaluation_seed,guidance\n0,"a cat, asleep",17,7.5\n1,"a ""dog""",3,\n'
    cells = st.sampled_from(hostile.PAYLOADS).map(lambda text: text.encode("utf-8", "surrogatepass"))

    def body(content):
        path.write_bytes(content)
        with hostile.Watch():
            read_prompts(path)

    tried(cases, body, content=broken(good) | cells.map(lambda cell: good + b'2,"' + cell + b'",' + cell + b",\n"))


@numbers_of("keys")
def test_key_files(cases, tmp_path, monkeypatch):
    path = tmp_path / "key"
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(path))

    def body(content):
        path.write_bytes(content)
        with hostile.Watch():
            load_or_create_key()

    tried(cases, body, content=st.binary(max_size=80) | broken(KEY))
