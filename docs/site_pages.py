"""Hooks of the documentation site: pages from the files of the repository's root, and the reference from ``__all__``.

The README is the home page, notebooks become pages. Links to files outside ``docs`` are turned towards the site, or
into plain words where the site has no such page: they lead somewhere in the repository alone.
"""

from __future__ import annotations

import json
import posixpath
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from expunge import api

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ("CONTRIBUTING", "SECURITY", "CHANGELOG")
PAGES = {"README.md": "index.md", **{f"{name}.md": f"{name.lower()}.md" for name in PROJECT}}
"""Files of the root → their pages."""
ROOMS = {
    "surgery": "Surgeries: the rules that turn a pair of gradients into one update",
    "objectives": "Objectives: what is descended",
    "masks": "Masks: which weights may move",
    "methods": "Methods: named compositions",
    "budget": "Budgets and certificates",
    "engine": "The engine",
    "data": "Data and requests",
    "metrics": "Metrics",
    "weights": "Weights on disk",
    "ledger": "The ledger",
    "report": "Reports",
    "plot": "Figures",
    "loggers": "Loggers",
    "testing": "Conformance tests for your own parts",
    "errors": "Errors",
}
"""Room → title of its page of the reference."""
LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
PICTURE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"(^ *```.*?^ *```\s*?$)", re.DOTALL | re.MULTILINE)


GUIDES = ("rows", "class", "text", "image-folder", "regression", "multilabel", "diffusion", "stable-diffusion")
GUIDES += ("budget", "several-requests", "report", "figures", "own-loop", "own-method", "own-objective", "own-task")
"""The guides in the order of the navigation; the others follow in the order of their names."""


def list_pages(folder: str, first: tuple[str, ...] = ()) -> list[str]:
    """Return the pages of a folder of ``docs``: its index, those that come first, then the others by name."""
    names = {path.stem: path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / folder).glob("*.md")}
    order = [name for name in ("index", *first) if name in names]
    return [names[name] for name in [*order, *sorted(names.keys() - set(order))]]


def on_config(config: Any) -> Any:
    """Set the navigation."""
    config.nav = [
        {"Expunge": "index.md"},
        {"Quick start": "quickstart.md"},
        {"Which method?": "which-method.md"},
        {"Guides": [*list_pages("guides", GUIDES), "scale.md", "speed.md"]},
        {"Tutorials": [f"tutorials/{path.stem}.md" for path in notebooks()]},
        {"Concepts": ["concepts.md", "metrics.md", "faq.md"]},
        {"Reference": [f"reference/{name}.md" for name in ("verbs", *ROOMS)]},
        {"Results": list_pages("results")},
        {"Research": list_pages("research")},
        {"Design": [*list_pages("design"), "dependencies.md"]},
        {"Project": [page for page in PAGES.values() if page != "index.md"]},
    ]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are no files of ``docs``."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for path in notebooks():
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=read_notebook(path)))
    for name, text in reference().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Point links at pages of the site."""
    source = next((name for name, path in PAGES.items() if path == page.file.src_uri), f"docs/{page.file.src_uri}")

    def point(match: re.Match[str]) -> str:
        target = place(match["target"], source, page.file.src_uri, files)
        if target is None:
            return match["text"]
        return match[0].replace(f"]({match['target']}", f"]({target}")

    parts = FENCE.split(markdown)
    parts[::2] = [PICTURE.sub(point, LINK.sub(point, part)) for part in parts[::2]]
    return "".join(parts)


def place(target: str, source: str, page: str, files: Any) -> str | None:
    """Return a link's target as seen from a page of the site; None if the site does not have it."""
    if not target or "://" in target or target.startswith("mailto:"):
        return target
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    inside = PAGES.get(whole) or (whole.removeprefix("docs/") if whole.startswith("docs/") else None)
    if inside is None or files.get_file_from_path(inside) is None:
        if not (ROOT / whole).exists():
            raise FileNotFoundError(f"{source} links to {target}, which is not there")
        return None
    return posixpath.relpath(inside, posixpath.dirname(page) or ".")


def notebooks() -> list[Path]:
    """Return the tutorials."""
    return sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def read_notebook(path: Path) -> str:
    """Return a notebook as Markdown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join([*parts, f"[The notebook]({path.name})"]) + "\n"


def reference() -> dict[str, str]:
    """Return the pages of the reference."""
    verbs = [*(f"::: {api._HOMES[name]}.{name}\n\n" for name in api.__all__), entry("engine", "Stepper")]
    found = {"verbs": "# The verbs of the package\n\n" + "".join(verbs)}
    for room, title in ROOMS.items():
        names = getattr(import_module(f"expunge.{room}"), "__all__", ())
        found[room] = f"# {title}\n\n" + ("".join(entry(room, name) for name in names) or f"::: expunge.{room}\n")
    return found


def entry(room: str, name: str) -> str:
    """Return the line that asks for the reference of one name."""
    return f"::: expunge.{room}.{name}\n\n"
