"""Halves of characters and names in another encoding: one sentence before the work, or written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from whole_results import whole_result

import expunge
from expunge.api.documents import build_document
from expunge.api.folder import check_folder
from expunge.data import TensorExamples
from expunge.errors import ConfigError, DataError
from expunge.report import save_report
from expunge.weights import load_weights, save_weights

HALF = "a \ud800 b"


@pytest.mark.parametrize("form", ["html", "md", "tex", "csv", "card"])
@pytest.mark.parametrize("place", ["title", "key", "deep"])
def test_a_document_that_cannot_be_written_is_refused_in_every_form(tmp_path, form, place):
    raw = whole_result()
    if place == "deep":
        raw["requests"][0]["description"] = HALF
    else:
        raw[HALF if place == "key" else "title"] = HALF
    with pytest.raises(DataError, match=r"written as UTF-8, but found 'a \\ud800 b'"):
        save_report(raw, tmp_path / "report", form)
    assert not list(tmp_path.iterdir())


def test_what_we_write_ourselves_shows_such_names_escaped():
    made = build_document("run", HALF, f"expunge run {HALF}.yaml", "none", [{"names": (HALF,)}], [])
    assert made["title"] == r"a \ud800 b"
    assert made["requests"][0]["names"] == (r"a \ud800 b",)


@pytest.mark.parametrize("names", ["abc", 3, [0, 1, 2], ["a", "b"]])
def test_names_of_classes_are_checked_before_anything_is_measured(names):
    parts = [TensorExamples(torch.randn(9, 4), torch.arange(9) % 3) for _ in range(3)]
    with pytest.raises(ConfigError, match=r"class.names"):
        expunge.evaluate(nn.Linear(4, 3), forget=parts[0], retain=parts[1], test=parts[2], class_names=names)


def test_paths_that_safetensors_cannot_open_are_refused_before_the_work(tmp_path):
    odd = tmp_path / "m\udcfcde"
    with pytest.raises(ConfigError, match=r"a run folder whose path is UTF-8, but found .*m\\udcfcde"):
        check_folder(odd, overwrite=False)
    with pytest.raises(ConfigError, match="no name in UTF-8"):
        save_weights(nn.Linear(1, 1), odd.with_suffix(".safetensors"))
    kept = save_weights(nn.Linear(1, 1), tmp_path / "kept.safetensors")
    try:
        kept.rename(odd.with_suffix(".safetensors"))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(ConfigError, match="no name in UTF-8"):
        load_weights(odd.with_suffix(".safetensors"))
