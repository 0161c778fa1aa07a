"""The forms that a report can take, and writing it in one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from expunge.errors import CheckpointError, ConfigError, escape_controls
from expunge.paths import check_replaceable, error_reason
from expunge.report.csv_rows import csv_report
from expunge.report.html import render_html
from expunge.report.latex import latex_report
from expunge.report.markdown import markdown_report
from expunge.report.model_card import render_model_card
from expunge.report.svg import FIGURE_FORMATS, render_figures
from expunge.type_checks import check_argument_types
from expunge.weights import atomic_write

TEXT_FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "html": render_html,
    "md": markdown_report,
    "tex": latex_report,
    "csv": csv_report,
    "card": render_model_card,
}
"""The forms that are one text."""
FORMATS = (*TEXT_FORMATS, *FIGURE_FORMATS)
REPLACEABLE_SUFFIXES = {
    "html": (".html", ".htm"),
    "md": (".md", ".markdown"),
    "tex": (".tex",),
    "csv": (".csv",),
    "card": (".md",),
}
"""Endings of files that a form replaces; anything else that is there stays."""
SUFFIX_FORMATS = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".tex": "tex", ".csv": "csv"}


@check_argument_types
def render_text(document: Mapping[str, Any], file_format: str) -> str:
    """Return a report as one text, without control characters and halves of characters: somebody may show it as it is.

    Args:
        document: The result document (schema 2).
        file_format: One of ``TEXT_FORMATS``.

    Raises:
        DataError: If the document has another schema or lacks something.
        ConfigError: If there is no such form, or the document does not suit it.
    """
    if file_format not in TEXT_FORMATS:
        raise ConfigError(
            f"one of {', '.join(TEXT_FORMATS)}", f"'{file_format}'", "name one of them, or a folder for figures"
        )
    return escape_controls(TEXT_FORMATS[file_format](document))


@check_argument_types
def save_report(document: Mapping[str, Any], path: str | os.PathLike[str], file_format: str | None = None) -> Path:
    """Write a report, whole or not at all, and return its path.

    Args:
        document: The result document (schema 2).
        path: The file, or with the forms ``svg``, ``png`` and ``pdf`` the folder of the figures; missing folders are
            made, and an older file is replaced if it ends as the form's files do.
        file_format: One of ``FORMATS``. Default: what the path's suffix says (``.html``, ``.md``, ``.tex``, ``.csv``).

    Raises:
        DataError: If the document has another schema or lacks something.
        ConfigError: If there is no such form, the suffix says none, or another kind of file is there.
        CheckpointError: If a file cannot be written.

    Examples:
        >>> save_report({}, "report.doc")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a file that ends in .html, .htm, .md, .markdown, .tex, .csv, or a form, \
but found 'report.doc': name one of the forms html, md, tex, csv, card, svg, png, pdf.
    """
    target = Path(path)
    chosen = infer_format(target) if file_format is None else file_format
    if chosen in FIGURE_FORMATS:
        for name, content in render_figures(document, chosen).items():
            check_replaceable(target / f"{name}.{chosen}", f".{chosen}")
            _write(target / f"{name}.{chosen}", content)
    else:
        check_replaceable(target, *REPLACEABLE_SUFFIXES.get(chosen, ()))
        _write(target, render_text(document, chosen).encode())
    return target


def write_report(document: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the page to ``path``, whatever its suffix, whole or not at all, and return the path.

    Args:
        document: The result document (schema 2).
        path: The HTML file; its folder is made if there is none, an older file is replaced.

    Raises:
        DataError: If the document has another schema or lacks something; ``path`` is then left as it was.
        CheckpointError: If the file cannot be written.
    """
    return save_report(document, path, "html")


def infer_format(path: Path) -> str:
    """Return the form that a file's suffix says."""
    file_format = SUFFIX_FORMATS.get(path.suffix.lower())
    if file_format is None:
        expected = f"a file that ends in {', '.join(SUFFIX_FORMATS)}, or a form"
        raise ConfigError(expected, f"'{path}'", f"name one of the forms {', '.join(FORMATS)}")
    return file_format


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "name another, or make room for it"
        raise CheckpointError(f"to make the folder '{target.parent}'", error_reason(error), hint) from error
    with atomic_write(target, overwrite=True) as temporary:
        temporary.write_bytes(content)
