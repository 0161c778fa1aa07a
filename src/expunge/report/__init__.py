"""Results as people read them: one HTML file, tables in a terminal, a table in Markdown. Nothing is measured here."""

from __future__ import annotations

from expunge.report.document import SCHEMA, read_document
from expunge.report.figure_files import svg_figures
from expunge.report.html import render, write_report
from expunge.report.markdown import markdown_table
from expunge.report.terminal import print_tables

__all__ = ["SCHEMA", "markdown_table", "print_tables", "read_document", "render", "svg_figures", "write_report"]
