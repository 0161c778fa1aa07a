"""The request file: what is read from it, and the sentence for everything that may be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.data.device_examples import MAX_CACHE_GIB
from expunge.errors import ConfigError
from expunge.request import checks
from expunge.request.config import load_request
from expunge.request.validation_errors import list_keys
from expunge.tasks.classification.request import ClassificationConfig
from expunge.tasks.train_settings import TrainSettings

NAMES = {
    "models": ("resnet18", "resnet20", "small_cnn"),
    "readers": ("digits", "fashion_mnist", "image_folder"),
    "methods": ("eupmu", "finetune", "neggrad_plus"),
}
LINES = {
    "model": "resnet20",
    "checkpoint": "original.safetensors",
    "data": "digits",
    "forget": "{class: 0}",
    "method": "eupmu",
}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """A fixed table of names, so that these tests do not depend on what is registered."""
    monkeypatch.setattr(checks, "list_registered_names", NAMES.__getitem__)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "original.safetensors").touch()
    (tmp_path / "forget.txt").write_text("1\n2\n")
    (tmp_path / "images").mkdir()
    return tmp_path


def text(**changes: str | None) -> str:
    """The good request with other values; None leaves a key out. The keys stand on lines 1, 2, 3 …."""
    lines = {**LINES, **changes}
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None)


def load(folder: Path, content: str | bytes) -> ClassificationConfig:
    file = folder / "request.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_request(file)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_short_forms_and_defaults(folder):
    config = load(folder, text())
    assert (config.task, config.model.name, config.data.name, config.method.name) == (
        "classification",
        "resnet20",
        "digits",
        "eupmu",
    )
    assert (config.forget.kind, config.forget.class_) == ("class", 0)
    assert (config.model.options, config.data.options, config.method.settings) == ({}, {}, {})
    assert (config.retrained_model, config.train, config.holdout, config.seed, config.device) == (
        "none",
        None,
        None,
        0,
        "auto",
    )
    assert (config.threads, config.batch_norm, config.gradient_accumulation_steps, config.precision) == (
        None,
        None,
        1,
        "fp32",
    )
    assert (config.channels_last, config.device_cache_gib) == (None, MAX_CACHE_GIB)
    assert config.show_examples is False


def test_paths_are_relative_to_the_file(folder):
    config = load(folder, text(forget="{indices: forget.txt}", data="{name: image_folder, dir: images}"))
    assert config.checkpoint == folder / "original.safetensors"
    assert config.forget.indices == folder / "forget.txt"
    assert config.data.dir == folder / "images"
    assert config.out == folder / "runs" / "request"
    assert load(folder, text(out="elsewhere")).out == folder / "elsewhere"
    assert load(folder, text(out="/elsewhere")).out == Path("/elsewhere")


def test_long_forms(folder):
    content = text(
        model="{name: small_cnn, options: {width: 8}}",
        data="{factory: package.module:data, subset: 100, subset_seed: 3, augment: crop_flip}",
        forget="{fraction: 0.1, seed: 7}",
        method="{name: eupmu, epochs: 3, lr: 1e-3}",
        retrained_model="retrain",
        train="{epochs: 2, lr: 1e-2}",
        holdout="0.25",
        device="cuda:1",
    )
    config = load(folder, content)
    assert config.model.options == {"width": 8}
    assert (config.data.factory, config.data.subset, config.data.subset_seed) == ("package.module:data", 100, 3)
    assert (config.forget.kind, config.forget.fraction, config.forget.seed) == ("fraction", 0.1, 7)
    assert config.method.settings == {"epochs": 3, "lr": 0.001}
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (2, 0.01, 128)
    assert (config.retrained_model, config.holdout, config.device) == ("retrain", 0.25, "cuda:1")


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
def test_the_training_section_is_what_the_trainer_takes(folder, schedule):
    content = text(train=f"{{schedule: {schedule}, precision: bf16, warmup_epochs: 0.5, label_smoothing: 0.1}}")
    section = load(folder, content).train.model_dump()
    trainer = TrainSettings(**section)
    assert {name: getattr(trainer, name) for name in section} == section


def test_settings_know_their_line(folder):
    config = load(folder, text(method="\n  name: eupmu\n  epochs: 3"))
    assert config.where("method", "epochs") == "request.yaml line 7"
    assert config.where("method", "lr") == "request.yaml line 5"
    assert config.where("seed") == "request.yaml"


def test_what_is_written_out_can_be_read_again(folder):
    paths = {"forget": "{indices: forget.txt}", "retrained_model": "original.safetensors"}
    first = load(folder, text(method="{name: eupmu, epochs: 3}", seed="5", **paths))
    again = load(folder, json.dumps(first.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    assert again.model_dump() == first.model_dump()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1e-3", 0.001), ("1E2", 100.0), (".5", 0.5), ("5.", 5.0), ("10", 10.0), ("010", 10.0), ("0x10", 16.0)],
)
def test_numbers_are_read_as_people_write_them(folder, value, expected):
    assert load(folder, text(train=f"{{lr: {value}}}")).train.lr == expected


@pytest.mark.parametrize("value", ["no", "off", "yes", "2026-01-01", "1:30", "'7'"])
def test_what_yaml_1_1_would_convert_stays_a_text(folder, value):
    assert load(folder, text(forget=f"{{class: {value}}}")).forget.class_ == value.strip("'")


@pytest.mark.parametrize(
    "name", ["package.module:factory", "timm/vit_tiny", "transformers/google/vit-base", "ResNet20"]
)
def test_names_of_models_from_elsewhere_pass(folder, name):
    assert load(folder, text(model=name)).model.name == name


def test_a_model_from_python_needs_no_checkpoint(folder):
    assert load(folder, text(model="a.b:c", checkpoint=None)).checkpoint is None


def test_a_checkpoint_may_be_missing_if_it_is_still_to_be_trained(folder):
    config = load(folder, text(checkpoint="later.safetensors", train="{epochs: 1}"))
    assert config.checkpoint == folder / "later.safetensors"


ALL_KEYS = ", ".join(list_keys(ClassificationConfig))
SENTENCES = {
    "unknown key, near": (
        text(forget="{clas: 0}"),
        "request.yaml line 4: Expected one of class, indices, ids, id_column, fraction, predicate, seed, "
        "but found 'clas': did you mean 'class'.",
    ),
    "unknown key, far": (
        text(zzz="1"),
        f"request.yaml line 6: Expected one of {ALL_KEYS}, but found 'zzz': remove it or use one of them.",
    ),
    "misspelled key before the missing one": (
        text(model=None, modle="resnet20"),
        f"request.yaml line 5: Expected one of {ALL_KEYS}, but found 'modle': did you mean 'model'.",
    ),
    "missing key": (
        text(model=None),
        "request.yaml: Expected the key 'model', but found none: write for example `model: resnet20`.",
    ),
    "missing key of a section": (
        text(method="{epochs: 1}"),
        "request.yaml line 5: Expected the key 'name' in 'method', but found none: write for example `name: eupmu`.",
    ),
    "repeated key": (
        text(seed="1\nseed: 2"),
        "request.yaml line 7: Expected every key once, but found 'seed' again after line 6: keep one of them.",
    ),
    "misspelled method": (
        text(method="eumpu"),
        "request.yaml line 5: Expected one of the methods (auto, eupmu, finetune, neggrad_plus), but found 'eumpu': "
        "did you mean 'eupmu'.",
    ),
    "misspelled reader": (
        text(data="{name: digts}"),
        "request.yaml line 3: Expected one of the readers (digits, fashion_mnist, image_folder), but found 'digts': "
        "did you mean 'digits'.",
    ),
    "misspelled model": (
        text(model="vgg"),
        "request.yaml line 1: Expected one of the models (resnet18, resnet20, small_cnn), but found 'vgg': "
        "`expunge list models` shows all.",
    ),
    "model from nowhere": (
        text(model="a/b"),
        "request.yaml line 1: Expected a built-in name or timm/NAME or transformers/NAME or package.module:name, "
        "but found 'a/b': `expunge list models` shows the built-in names.",
    ),
    "wrong type": (
        text(seed="many"),
        "request.yaml line 6: Expected a whole number for 'seed', but found 'many': write for example `seed: 0`.",
    ),
    "truth value for a number": (
        text(seed="true"),
        "request.yaml line 6: Expected a whole number for 'seed', but found true: write for example `seed: 0`.",
    ),
    "number for a truth value": (
        text(show_examples="1"),
        "request.yaml line 6: Expected true or false for 'show_examples', but found 1: "
        "write for example `show_examples: false`.",
    ),
    "out of range": (
        text(holdout="1"),
        "request.yaml line 6: Expected a number less than 1 for 'holdout', but found 1: "
        "write for example `holdout: 0.1`.",
    ),
    "infinite": (
        text(train="{lr: .inf}"),
        "request.yaml line 6: Expected a finite number for 'train.lr', but found inf: write for example `lr: 0.1`.",
    ),
    "not one of the choices": (
        text(precision="bf61"),
        "request.yaml line 6: Expected one of fp32, bf16, fp16 for 'precision', but found 'bf61': did you mean 'bf16'.",
    ),
    "unknown device": (
        text(device="gpu"),
        "request.yaml line 6: Expected one of auto, cpu, cuda, cuda:N, mps, but found 'gpu': "
        "auto takes the best there is.",
    ),
    "list for a name": (
        text(method="[eupmu]"),
        "request.yaml line 5: Expected a name, or a mapping with the name in it, but found a list: "
        "write the name alone.",
    ),
    "value for a section": (
        text(forget="0"),
        "request.yaml line 4: Expected a mapping of keys to values for 'forget', but found 0: "
        "write for example `forget: {class: 0}`.",
    ),
    "two requests": (
        text(forget="{class: 0, fraction: 0.1}"),
        "request.yaml line 4: Expected exactly one of class, indices, ids, fraction, predicate, "
        "but found class and fraction: write one request per file.",
    ),
    "no request": (
        text(forget="{}"),
        "request.yaml line 4: Expected one of class, indices, ids, fraction, predicate, but found none of them: "
        "write for example `class: 0`.",
    ),
    "seed that nothing uses": (
        text(forget="{class: 0, seed: 1}"),
        "request.yaml line 4: Expected seed beside fraction only, but found it beside class: remove it.",
    ),
    "class of a wrong type": (
        text(forget="{class: 1.5}"),
        "request.yaml line 4: Expected the number or the name of a class, but found 1.5: "
        "put a name that YAML reads otherwise in quotes.",
    ),
    "no Python path": (
        text(forget="{predicate: a.b.c}"),
        "request.yaml line 4: Expected a Python path of the form package.module:name, but found 'a.b.c': "
        "put a colon before the last name.",
    ),
    "no data": (
        text(data="{subset: 10}"),
        "request.yaml line 3: Expected either a reader's name or python, but found neither: "
        "keep the one that holds the data.",
    ),
    "reference without training": (
        text(retrained_model="retrain"),
        "request.yaml line 6: Expected the section 'train' for retrained_model: retrain, but found none: "
        "add `train: {epochs: 20}`.",
    ),
    "weights from nowhere": (
        text(checkpoint=None),
        "request.yaml line 1: Expected the weights of the original, but found neither checkpoint nor train: "
        "add `checkpoint: original.safetensors`, or `train: {epochs: 20}` to train the original first.",
    ),
    "empty path": (
        text(checkpoint="''"),
        "request.yaml line 2: Expected a path, but found an empty text: name the file or folder, or remove the key.",
    ),
    "path of a wrong type": (
        text(out="5"),
        "request.yaml line 6: Expected a path for 'out', but found 5: write for example `out: runs/name`.",
    ),
    "empty file": (
        "",
        "request.yaml: Expected a mapping of keys to values, but found an empty file: write the request into it.",
    ),
    "comments alone": (
        "# later\n",
        "request.yaml: Expected a mapping of keys to values, but found an empty file: write the request into it.",
    ),
    "list": (
        "\n- a\n",
        "request.yaml line 2: Expected a mapping of keys to values, but found a list: begin with `model: …`.",
    ),
    "single value": (
        "hello",
        "request.yaml line 1: Expected a mapping of keys to values, but found a single value: begin with `model: …`.",
    ),
    "number as key": (
        text() + "1: x\n",
        "request.yaml line 6: Expected a text as key, but found '1': name the key, or put it in quotes.",
    ),
    "list as key": (
        text() + "? [a]\n: x\n",
        "request.yaml line 6: Expected a text as key, but found a list: name the key, or put it in quotes.",
    ),
    "Python object": (
        text(seed="!!python/object/apply:os.getcwd []"),
        "request.yaml line 6: Expected plain YAML values, but found the tag "
        "'tag:yaml.org,2002:python/object/apply:os.getcwd': remove the tag.",
    ),
    "wrong tag": (
        text(seed="!!int abc"),
        "request.yaml line 6: Expected a value of type int, but found 'abc': correct it.",
    ),
    "number without end": (
        text(seed="1" * 5000),
        f"request.yaml line 6: Expected a value of type int, but found '{'1' * 40}': correct it.",
    ),
    "bomb of aliases": (
        "l0: &l0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        "request.yaml line 1: Expected at most 10000 values, but found more, counting aliases: write it plainly.",
    ),
    "alias inside itself": (
        text(x="&a [*a]"),
        "request.yaml line 6: Expected at most 10000 values, but found more, counting aliases: write it plainly.",
    ),
    "unbounded depth": (
        text(x="[" * 100_000),
        "request.yaml line 6: Expected YAML, but found an error of syntax (nested more than 20 deep): "
        "check the indentation, colons and quotes there.",
    ),
    "tabulator": (
        "\tmodel: x",
        "request.yaml line 1: Expected YAML, but found an error of syntax "
        "(found character '\\t' that cannot start any token): check the indentation, colons and quotes there.",
    ),
    "wrong indentation": (
        "model: resnet20\n  data: digits\n",
        "request.yaml line 2: Expected YAML, but found an error of syntax (mapping values are not allowed here): "
        "check the indentation, colons and quotes there.",
    ),
    "second document": (
        text() + "---\nseed: 1\n",
        "request.yaml line 6: Expected YAML, but found an error of syntax (found another document): "
        "check the indentation, colons and quotes there.",
    ),
    "control character": (
        "model: a\nseed: \x07",
        "request.yaml line 2: Expected a request file, YAML in UTF-8, but found the control character '\\x07': "
        "remove it.",
    ),
}


@pytest.mark.parametrize(("content", "expected"), SENTENCES.values(), ids=SENTENCES.keys())
def test_sentences(folder, content, expected):
    assert refusal(folder, content) == expected


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"checkpoint": "gone.safetensors"}, 2),
        ({"data": "{name: digits, dir: gone}"}, 3),
        ({"forget": "{indices: gone.txt}"}, 4),
        ({"retrained_model": "gone.safetensors"}, 6),
    ],
)
def test_files_that_are_not_there(folder, changes, line):
    found = refusal(folder, text(**changes))
    assert found.startswith(f"request.yaml line {line}: Expected a f")
    assert f"none at '{folder / 'gone'}" in found


@pytest.mark.parametrize(("key", "line"), [("checkpoint", 2), ("retrained_model", 6)])
def test_pickled_weights_are_sent_to_the_one_door(folder, key, line):
    found = refusal(folder, text(**{key: "model.pth"}))
    assert found.startswith(f"request.yaml line {line}: Expected weights as safetensors")
    assert f"run `expunge convert {folder / 'model.pth'} {folder / 'model.safetensors'}`" in found


def test_files_that_cannot_be_read(folder):
    for path, reason in ((folder / "gone.yaml", "no such file"), (folder, "is a directory")):
        with pytest.raises(ConfigError, match=reason):
            load_request(path)
    assert "the byte 0xff at offset 7" in refusal(folder, b"model: \xff")
    assert "a larger one" in refusal(folder, b"#" * 1_000_001)


def test_a_byte_order_mark_is_no_error(folder):
    assert load(folder, b"\xef\xbb\xbf" + text().encode()).model.name == "resnet20"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.integers(0, len(text())))
def test_damaged_requests_end_in_a_sentence_or_are_read(folder, noise, place):
    content = text()[:place] + noise + text()[place:]
    try:
        load(folder, content.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        assert str(error).endswith(".")  # noqa: PT017


def test_nothing_heavy_is_imported(folder):
    file = folder / "request.yaml"
    file.write_text(text(model="a.b:c", data="{factory: a.b:c}", method="mispelt"))
    code = (
        "import sys\nfrom expunge.request.config import load_request\nfrom expunge.errors import ConfigError\n"
        "try:\n    load_request(sys.argv[1])\nexcept ConfigError:\n"
        "    print([name for name in ('torch', 'numpy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
