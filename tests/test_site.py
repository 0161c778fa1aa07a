"""The documentation site: it builds without a warning, and a link that leads nowhere is found."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

import expunge.api
import expunge.surgery

ROOT = Path(__file__).parent.parent
needs_mkdocs = pytest.mark.skipif(
    find_spec("mkdocstrings") is None, reason="mkdocstrings is not installed (extra 'docs'); `make docs` has it"
)


class Links(HTMLParser):
    """Where a page leads, and what on it can be led to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.targets += [found[name] for name in ("href", "src") if found.get(name)]
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}


def build(out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(Path(expunge.__file__).parent.parent)}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)


@needs_mkdocs
@pytest.mark.slow
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path):
    done = build(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page: Links(page) for page in (tmp_path / "site").rglob("*.html") if page.name != "404.html"}
    for page, links in pages.items():
        for target in links.targets:
            if "://" in target or target.startswith(("mailto:", "data:")):
                continue
            path, _, place = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), f"{page.name} leads to {target}"
            if place and there in pages:
                assert place in pages[there].places, f"{page.name} leads to {target}"
    text = (tmp_path / "site" / "reference" / "surgery.html").read_text(encoding="utf-8")
    missing = [name for name in expunge.surgery.__all__ if f'id="expunge.surgery.{name}"' not in text]
    assert missing == []
    verbs = (tmp_path / "site" / "reference" / "verbs.html").read_text(encoding="utf-8")
    assert [name for name in expunge.api.__all__ if f'.{name}"' not in verbs] == []


@pytest.mark.parametrize("path", ["mkdocs.yml", "docs/site_pages.py"])
def test_nothing_of_the_site_comes_from_elsewhere(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "http" not in text.replace('"://"', "")
