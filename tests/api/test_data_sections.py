"""What a data factory and the options of a reader may be; everything else is refused before anything is read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reader_files import encoded
from torch.utils.data import TensorDataset

from expunge.api.inputs import build_source, read_source
from expunge.data import LabeledDataset
from expunge.errors import ConfigError, DataError
from expunge.request.sections import DataChoice

PART = TensorDataset(torch.randn(6, 2), torch.arange(6) % 3)


def test_the_three_forms_of_a_factory():
    for made in (
        (PART, PART),
        {"train": PART, "test": PART},
        {"train": PART, "test": PART, "class_names": list("abc")},
    ):
        source = build_source(made, "mine:data")
        assert (len(source.train), len(source.test)) == (6, 6)
        assert source.class_names == (("a", "b", "c") if len(made) == 3 else ("0", "1", "2"))
    assert build_source(source, "mine:data") is source


@pytest.mark.parametrize(
    ("key", "cure"),
    [
        ("holdout", "the request's key `holdout` takes a share of the test examples"),
        ("class_name", "did you mean 'class_names'"),
        ("tests", "did you mean 'test'"),
        ("weights", "remove it"),
        (3, "remove it"),
    ],
)
def test_an_unknown_key_is_refused_with_a_cure(key, cure):
    with pytest.raises(DataError, match=f"train, test, class_names, ids alone, but found '{key}'.*{cure}"):
        build_source({"train": PART, "test": PART, key: PART}, "mine:data")


@pytest.mark.parametrize("names", ["abc", {"a": 0, "b": 1, "c": 2}, 3, iter("abc"), ["a", "b", "m\udcfcde"]])
def test_names_of_classes_are_a_list_of_texts(names):
    with pytest.raises(DataError, match="names"):
        build_source({"train": PART, "test": PART, "class_names": names}, "mine:data")


def test_a_source_has_names_that_can_be_written():
    examples = build_source((PART, PART), "mine:data").train
    with pytest.raises(DataError, match=r"written as UTF-8, but found 'm\\udcfcde'"):
        LabeledDataset(examples, examples, ("a", "b", "c"), "m\udcfcde", "none", (1, 1, 1))


@pytest.mark.parametrize(
    ("reader", "options"),
    [
        ("digits", {"test_share": "half_width"}),
        ("digits", {"test_share": [0.5]}),
        ("digits", {"test_share": True}),
        ("digits", {"test_share": 500}),
        ("digits", {"test_share": 0.0001}),
        ("digits", {"test_share": float("nan")}),
        ("digits", {"test_share": None}),
        ("digits", {"seed": 0.5}),
        ("digits", {"seed": -1}),
        ("digits", {"seed": 2**32}),
        ("digits", {"seed": 2**70}),
        ("digits", {"seed": "1"}),
        ("image_folder", {"size": "64"}),
        ("image_folder", {"size": 64.0}),
        ("image_folder", {"size": 0}),
        ("image_folder", {"size": True}),
        ("image_folder", {"size": 2**70}),
        ("image_folder", {"folder": 5}),
        ("image_folder", {"folder": ["a"]}),
        ("huggingface_datasets", {"image": 5}),
        ("huggingface_datasets", {"size": -3}),
        ("tiny_imagenet_20", {"cache": "no"}),
        ("tiny_imagenet_20", {"cache": 1}),
        ("cifar10", {"cache": 0}),
    ],
)
def test_options_of_a_wrong_type_or_size_are_refused(tmp_path, reader, options):
    for part in ("train", "test"):
        write_one(tmp_path / part / "ape")
    with pytest.raises((ConfigError, DataError)):
        read_source(section(name=reader, dir=str(tmp_path), options=options), None)


def write_one(folder):
    folder.mkdir(parents=True)
    (folder / "0.png").write_bytes(encoded(np.zeros((4, 4, 3), np.uint8)))


def section(**settings):
    """Return a request of which only the data are asked for."""
    return SimpleNamespace(data=DataChoice.model_validate(settings), id_column=None)


def test_a_reader_of_somebody_else_that_fails_is_one_sentence(monkeypatch):
    def reader(folder, *, depth=1):
        return 1 / depth

    monkeypatch.setattr("expunge.api.inputs.find_component", lambda kind, name: reader)
    with pytest.raises(DataError, match="data from 'digits', but found ZeroDivisionError"):
        read_source(section(name="digits", options={"depth": 0}), None)
