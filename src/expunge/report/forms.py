"""The forms that a report can take, and writing it in one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from expunge.errors import CheckpointError, ConfigError, printable
from expunge.kinds import kinds_checked
from expunge.paths import check_replaceable, reason_of
from expunge.report.card import model_card
from expunge.report.csv_rows import csv_report
from expunge.report.figure_files import png, svg_figures
from expunge.report.html import render
from expunge.report.latex import latex_report
from expunge.report.markdown import markdown_report
from expunge.weights import replacing

TEXTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "html": render,
    "md": markdown_report,
    "tex": latex_report,
    "csv": csv_report,
    "card": model_card,
}
"""The forms that are one text."""
FIGURES: dict[str, Callable[[str], bytes]] = {"svg": lambda text: text.encode(), "png": png}
"""The forms that are a folder of figures: what makes a file's content of an SVG text."""
FORMS = (*TEXTS, *FIGURES)
ENDINGS = {"html": (".html", ".htm"), "md": (".md", ".markdown"), "tex": (".tex",), "csv": (".csv",), "card": (".md",)}
"""Endings of files that a form replaces; anything else that is there stays."""
SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".tex": "tex", ".csv": "csv"}


@kinds_checked
def text_of(document: Mapping[str, Any], form: str) -> str:
    """Return a report as one text, without control characters and halves of characters: somebody may show it as it is.

    Args:
        document: The result document (schema 1).
        form: One of ``TEXTS``.

    Raises:
        DataError: If the document has another schema or lacks something.
        ConfigError: If there is no such form, or the document does not suit it.
    """
    if form not in TEXTS:
        raise ConfigError(f"one of {', '.join(TEXTS)}", f"'{form}'", "name one of them, or a folder for figures")
    return printable(TEXTS[form](document))


@kinds_checked
def save_report(document: Mapping[str, Any], path: str | os.PathLike[str], form: str | None = None) -> Path:
    """Write a report, whole or not at all, and return its path.

    Args:
        document: The result document (schema 1).
        path: The file, or with the forms ``svg`` and ``png`` the folder of the figures; missing folders are made, and
            an older file is replaced if it ends as the form's files do.
        form: One of ``FORMS``. Default: what the path's suffix says (``.html``, ``.md``, ``.tex``, ``.csv``).

    Raises:
        DataError: If the document has another schema or lacks something.
        ConfigError: If there is no such form, the suffix says none, or another kind of file is there.
        MissingExtraError: If PNG files are asked for and the extra ``png`` is not installed.
        CheckpointError: If a file cannot be written.

    Examples:
        >>> save_report({}, "report.doc")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a file that ends in .html, .htm, .md, .markdown, .tex, .csv, or a form, \
but found 'report.doc': name one of the forms html, md, tex, csv, card, svg, png.
    """
    target = Path(path)
    chosen = form_of(target) if form is None else form
    if chosen in FIGURES:
        contents = {f"{name}.{chosen}": FIGURES[chosen](text) for name, text in svg_figures(document).items()}
        for name, content in contents.items():
            check_replaceable(target / name, f".{chosen}")
            _write(target / name, content)
    else:
        check_replaceable(target, *ENDINGS.get(chosen, ()))
        _write(target, text_of(document, chosen).encode())
    return target


def write_report(document: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the page to ``path``, whatever its suffix, whole or not at all, and return the path.

    Args:
        document: The result document (schema 1).
        path: The HTML file; its folder is made if there is none, an older file is replaced.

    Raises:
        DataError: If the document has another schema or lacks something; ``path`` is then left as it was.
        CheckpointError: If the file cannot be written.
    """
    return save_report(document, path, "html")


def form_of(path: Path) -> str:
    """Return the form that a file's suffix says.

    Raises:
        ConfigError: If it says none.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        expected = f"a file that ends in {', '.join(SUFFIXES)}, or a form"
        raise ConfigError(expected, f"'{path}'", f"name one of the forms {', '.join(FORMS)}")
    return found


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = "name another, or make room for it"
        raise CheckpointError(f"to make the folder '{target.parent}'", reason_of(error), cure) from error
    with replacing(target, overwrite=True) as temporary:
        temporary.write_bytes(content)
