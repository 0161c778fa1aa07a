"""Request files that somebody else wrote: refused in one sentence, or understood; nothing is written, nothing runs."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st
from typer.testing import CliRunner
from whole_requests import CLASSIFIER, DIFFUSION, PROMPTS, RECIPE

import hostile
from expunge.benchmark.recipe import load_recipe
from expunge.cli import app
from expunge.errors import ConfigError, ExpungeError
from expunge.key import load_or_create_key
from expunge.request.config import load_request
from expunge.request.document import read_document
from expunge.weights import save_weights
from hostile import broken, mutated, numbers_of, tried

REQUESTS = (CLASSIFIER, DIFFUSION, PROMPTS)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
NASTY = (
    BOMB,
    "a: &a [*a]\n",
    "[" * 5000,
    "{a: " * 5000,
    "- " * 5000,
    "? " * 5000,
    "!!python/object/apply:os.system [touch outside]\n",
    "model: !!python/name:os.system\n",
    "model: !<tag:yaml.org,2002:binary> aGk=\n",
    "%YAML 9.9\n---\na: 1\n",
    "a: 1\n---\nb: 2\n",
    "<<: {model: x}\n",
    'model: "\\0"\nout: "\\uD800"\n',
    "model: 0o9\nseed: 0x\n",
    f"seed: {'9' * 5000}\n",
    f"? {'a' * 2000}\n: 1\n",
    "a: '" + "x" * 900_000 + "'\n",
    "\ufeffmodel: small_cnn\n",
)


def read(path):
    """Read a request and whatever hangs on it."""
    config = load_request(path)
    config.where("method", "name"), config.run_config(), config.model_dump_json()


@numbers_of("request texts")
def test_texts(cases, tmp_path):
    path = tmp_path / "request.yaml"
    texts = st.sampled_from([yaml.safe_dump(one).encode() for one in REQUESTS] + [one.encode() for one in NASTY])

    def body(content):
        path.write_bytes(content)
        with hostile.Watch():
            read(path)

    tried(cases, body, content=texts.flatmap(broken) | st.binary(max_size=60))


@numbers_of("request values")
def test_values(cases, tmp_path):
    path = tmp_path / "request.yaml"

    def body(request):
        path.write_text(json.dumps(request))  # what JSON is, YAML is too
        with hostile.Watch():
            read(path)

    tried(cases, body, request=st.sampled_from(REQUESTS).flatmap(mutated))


@numbers_of("recipes")
def test_recipes(cases, tmp_path):
    path = tmp_path / "recipe.yaml"

    def body(content):
        path.write_bytes(content)
        with hostile.Watch():
            load_recipe(path)

    tried(cases, body, content=mutated(RECIPE).map(hostile.as_json) | broken(yaml.safe_dump(RECIPE).encode()))


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:12])
def test_what_yaml_is_feared_for(tmp_path, text):
    path = tmp_path / "request.yaml"
    path.write_text(text)
    with hostile.alarm(), hostile.Watch(), pytest.raises(ConfigError) as error:
        load_request(path)
    assert len(str(error.value)) < 2000


def test_an_alias_may_be_used_but_not_multiply(tmp_path):
    path = tmp_path / "request.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_document(path).data["b"] == [[1, 2], [1, 2]]
    path.write_text(BOMB)
    with pytest.raises(ConfigError, match="at most 10000 values"):
        read_document(path)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with the weights that the request names."""
    from expunge.tasks.build import build_model

    folder = tmp_path_factory.mktemp("original")
    save_weights(build_model("small_cnn", classes=10, channels=1, width=4), folder / "original.safetensors")
    return folder


QUICK = st.sampled_from(
    (None, True, 0, -1, 1, 2, 0.5, 1e-30, 1e30, "auto", "x", "../x", [], [1], {}, {"a": 1}, "\ud800")
)


@numbers_of("runs")
def test_runs_write_nothing_outside_their_folder(cases, tmp_path, original, monkeypatch):
    """Through the command line: exit code 0 or 2, and no file but in the run folder and the ledger beside it."""
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # PyTorch makes the folder by itself
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "place"
    load_or_create_key()

    def body(request):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original, place)
        (place / "request.yaml").write_text(json.dumps(request))
        allowed = [place / "run", tmp_path / "torch"]
        with contextlib.suppress(ExpungeError):
            config = load_request(place / "request.yaml")
            allowed += [
                config.out,
                *((config.ledger, f"{config.ledger}-journal", f"{config.ledger}.head") if config.ledger else ()),
            ]
        with hostile.Watch(*map(Path, allowed)):
            done = CliRunner().invoke(app, ["run", str(place / "request.yaml")])
        if done.exit_code not in (0, 2):
            raise AssertionError(done.output) from done.exception

    small = {key: value for key, value in CLASSIFIER.items() if key not in ("train", "budget", "priority", "holdout")}
    tried(cases, body, request=mutated(small, QUICK))


def test_the_cases_are_as_many_as_they_should_be():
    assert sum(many for _, many in hostile.CASES.values()) >= 2000
    assert sum(few for few, _ in hostile.CASES.values()) >= 300
