"""Same-seed grids: the pixels are the models', the file says what it shows, the report lets nothing else through."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from expunge.api.generative.grids import PADDING, make_sample_grid, sample_same_seed_grid
from expunge.errors import CheckpointError, DataError, NotFiniteError
from expunge.report import read_document, render_html

SPAN = (-1.0, 1.0)


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture
def rows():
    rng = torch.Generator().manual_seed(0)
    return {"Original": torch.rand(3, 3, 12, 16, generator=rng) * 2 - 1, "EUPMU <b>": torch.zeros(3, 3, 12, 16)}


@pytest.fixture
def document():
    row = {"key": "original", "label": "Original", "role": "original"}
    request = {
        "id": "a",
        "description": "Forget",
        "kind": "class",
        "sizes": {"forget": 1},
        "seeds": [0],
        "retrained": False,
        "metrics": [{"key": "generated_ua", "label": "UA"}],
        "rows": [row],
    }
    return {"schema": 2, "title": "T", "requests": [request]}


def test_the_file_shows_every_image_at_its_place(rows):
    factor, size = 4, (12, 16)
    pixels = opened(make_sample_grid(rows, ["a", "b", "c"], span=SPAN).png())
    assert pixels.shape == ((2 * 12 + PADDING) * factor, (3 * 16 + 2 * PADDING) * factor, 3)
    for down, images in enumerate(rows.values()):
        for across, image in enumerate(images):
            top, left = (number * (side + PADDING) * factor for number, side in zip((down, across), size, strict=True))
            cut = pixels[top : top + 12 * factor : factor, left : left + 16 * factor : factor]
            expected = ((image + 1) / 2 * 255).round().permute(1, 2, 0).numpy()
            assert np.abs(cut.astype(float) - expected).max() <= 1
    assert (pixels[:, 16 * factor : (16 + PADDING) * factor] == 255).all()


def test_no_image_is_stretched_to_its_own_range():
    dark = torch.full((1, 1, 8, 8), 0.2)
    dark[..., 0, 0] = 0.3
    part = make_sample_grid({"a": dark}, ["x"], span=(0, 1)).as_dict()
    pixels = opened(base64.b64decode(part["rows"][0]["images"][0].split(",")[1]))
    assert pixels.shape == (48, 48)
    assert set(np.unique(pixels)) == {51, 76}


def test_the_file_names_its_rows_and_columns(rows, tmp_path):
    path = make_sample_grid(rows, ["0, seed 1", "b", "ü"], span=SPAN, title="Before").write(tmp_path / "grid.png")
    with Image.open(path) as picture:
        picture.load()
        assert picture.text["Description"] == "Before. Rows: Original; EUPMU <b>. Columns: 0, seed 1; b; ü."
    with pytest.raises(CheckpointError, match="the folder"):
        make_sample_grid(rows, ["a", "b", "c"], span=SPAN).write(tmp_path / "none" / "grid.png")


def test_every_model_is_asked_for_the_same_with_the_same_seeds():
    heard = {}

    def sampler(name):
        def sample(asked, seeds):
            heard[name] = (list(asked), list(seeds))
            return torch.tensor([[10.0 * a + s] for a, s in zip(asked, seeds, strict=True)]).view(-1, 1, 1, 1) / 100

        return sample

    grid = sample_same_seed_grid({"a": sampler("a"), "b": sampler("b")}, [1, 2], [7, 9], span=(0, 1), names={1: "coat"})
    assert heard["a"] == heard["b"] == ([1, 1, 2, 2], [7, 9, 7, 9])
    assert grid.columns == ("coat, seed 7", "coat, seed 9", "2, seed 7", "2, seed 9")
    assert grid.rows["a"].flatten().tolist() == pytest.approx([0.17, 0.19, 0.27, 0.29])
    with pytest.raises(DataError, match="a model, a request and a seed"):
        sample_same_seed_grid({"a": sampler("a")}, [1], [], span=(0, 1))


def test_rows_that_do_not_fit_are_refused(rows):
    with pytest.raises(DataError, match="2 columns and rows of shape"):
        make_sample_grid(rows, ["a", "b"], span=SPAN)
    with pytest.raises(DataError, match="one form"):
        make_sample_grid({"a": torch.zeros(1, 1, 4, 4), "b": torch.zeros(1, 1, 4, 5)}, ["x"], span=SPAN)
    with pytest.raises(DataError, match="shape none"):
        make_sample_grid({}, ["x"], span=SPAN)
    with pytest.raises(NotFiniteError, match="row 'b': Expected finite images"):
        make_sample_grid({"b": torch.full((1, 1, 4, 4), float("nan"))}, ["x"], span=SPAN)


class Pictures(HTMLParser):
    """Collects images and the tags in a page."""

    def __init__(self):
        super().__init__()
        self.sources, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(dict(attrs))


def test_the_report_shows_the_grid_and_escapes_its_words(document, rows):
    part = make_sample_grid(rows, ["<i>x</i>", "b", "c"], span=SPAN, title="Same seeds").as_dict()
    part["rows"][1]["images"][2] = "javascript:alert(1)"
    document["requests"][0]["grids"] = [part]
    page = render_html(document)
    found = Pictures()
    found.feed(page)
    assert [one["src"] for one in found.sources] == [*part["rows"][0]["images"], *part["rows"][1]["images"][:2]]
    assert found.sources[3]["alt"] == "EUPMU <b>, <i>x</i>"
    assert "i" not in found.tags
    assert "javascript:" not in page


def test_a_grid_with_holes_is_no_document(document, rows):
    part = make_sample_grid(rows, ["a", "b", "c"], span=SPAN).as_dict()
    part["rows"][0]["images"].pop()
    document["requests"][0]["grids"] = [part]
    with pytest.raises(DataError, match="one picture for each column"):
        read_document(document)
