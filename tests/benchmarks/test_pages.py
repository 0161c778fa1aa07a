"""What the result pages show is what the committed results say."""

import xml.etree.ElementTree as Tree
from pathlib import Path

import pages
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert pages.rewritten(text) == text, "run python benchmarks/pages.py"


def test_every_result_is_shown_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for result in (ROOT / "docs" / "results").glob("*.json"):
        assert result.name in text, result.name


def texts(svg):
    """All that a figure says, its values among it; bytes differ from one version of matplotlib to the next."""
    return [text.strip() for text in Tree.fromstring(svg).itertext() if text.strip()]


def test_figures_are_those_of_the_results():
    drawn = pages.drawings()
    for path, text in drawn.items():
        assert texts(path.read_text(encoding="utf-8")) == texts(text), f"{path.name}: run python benchmarks/pages.py"
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"images/{path.name}" in shown for path in drawn)
