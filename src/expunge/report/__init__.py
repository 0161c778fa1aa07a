"""Results as people read them: one HTML file, tables for screen and paper, figures. Nothing is measured here."""

from __future__ import annotations

from expunge.report.document import SCHEMA, read_document
from expunge.report.formats import FORMATS, render_text, save_report, write_report
from expunge.report.html import render_html
from expunge.report.markdown import markdown_report, markdown_table
from expunge.report.notebook import render_cell, summarize
from expunge.report.pareto import pareto_table
from expunge.report.svg import pareto_figure, svg_figures
from expunge.report.terminal import print_tables

__all__ = [
    "FORMATS",
    "SCHEMA",
    "markdown_report",
    "markdown_table",
    "pareto_figure",
    "pareto_table",
    "print_tables",
    "read_document",
    "render_cell",
    "render_html",
    "render_text",
    "save_report",
    "summarize",
    "svg_figures",
    "write_report",
]
