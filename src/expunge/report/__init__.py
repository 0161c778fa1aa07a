"""Results as people read them: one HTML file, tables for screen and paper, figures. Nothing is measured here."""

from __future__ import annotations

from expunge.report.document import SCHEMA, read_document
from expunge.report.figure_files import svg_figures
from expunge.report.forms import FORMS, save_report, text_of, write_report
from expunge.report.fronts import front_figure, fronts_table
from expunge.report.html import render
from expunge.report.markdown import markdown_report, markdown_table
from expunge.report.terminal import print_tables

__all__ = [
    "FORMS",
    "SCHEMA",
    "front_figure",
    "fronts_table",
    "markdown_report",
    "markdown_table",
    "print_tables",
    "read_document",
    "render",
    "save_report",
    "svg_figures",
    "text_of",
    "write_report",
]
