"""Figures as files."""

from __future__ import annotations

import io
import re
import sys
import xml.etree.ElementTree as Tree

import pytest
from budgets import budget

from expunge.errors import MissingExtraError
from expunge.report import svg_figures
from expunge.report.drawing import LegendKey
from expunge.report.figure_files import LETTER_WIDTH, place_legend, render_png

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_of_the_page_is_a_file_with_title_legend_and_description(document):
    document["requests"][0]["budget"] = budget()
    found = svg_figures(document)
    steps = [name for name in found if "-steps-" in name]
    assert len(steps) == 6
    others = ("trade-off", "gaps", "classes", "budget-1", "budget-2")
    assert set(found) - set(steps) == {f"request-1-{name}" for name in others}
    for text in found.values():
        root = Tree.fromstring(text)
        title, description = root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text
        assert title
        assert len(description) > 20
        assert title.startswith(root.find(f"{SVG}text").text.rstrip("…"))
    keys = [
        one.text
        for one in Tree.fromstring(found["request-1-trade-off"]).iter(f"{SVG}text")
        if one.get("class") == "key"
    ]
    assert keys == ["original", "retrained", "method", "smallest gap"]


def test_a_file_needs_nothing_else(document):
    for text in svg_figures(document).values():
        assert "var(" not in text
        assert not re.search(r"@import|url\(|href|<script|<image", text)
        assert [
            found for found in re.findall(r"https?://[^\"\s]+", text) if found != "http://www.w3.org/2000/svg"
        ] == []


def test_a_long_legend_goes_on_in_the_next_line():
    keys = tuple(LegendKey("method", "m" * 30) for _ in range(4))
    placed, lines = place_legend(keys, 480)
    assert lines == 4 - 2
    assert all(x + 11 + LETTER_WIDTH * 30 <= 480 for _, x, _ in placed)
    assert len({(x, y) for _, x, y in placed}) == 4
    assert place_legend((), 480) == ([], 0)


def test_png_is_twice_the_size(document):
    pytest.importorskip("resvg_py")
    picture = render_png(svg_figures(document)["request-1-gaps"])
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    root = Tree.fromstring(svg_figures(document)["request-1-gaps"])
    size = [int.from_bytes(picture[place : place + 4]) for place in (16, 20)]
    assert size == [2 * int(root.get("width")), 2 * int(float(root.get("height")))]


def test_the_style_reaches_the_png(document):
    """The color of the best method is in the picture: the renderer understands the style sheet."""
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("PIL.Image")
    picture = image.open(io.BytesIO(render_png(svg_figures(document)["request-1-gaps"])))
    colors = {color for _, color in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0x0A, 0x5A, 0x94), (0xFD, 0xFD, 0xFB), (0xDF, 0xE3, 0xE6)} <= colors


def test_without_the_extra_the_install_line_is_named(document, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'expunge\[png\]'"):
        render_png("<svg/>")
