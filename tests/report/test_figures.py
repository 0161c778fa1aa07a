"""Figures show the figures of the document, on axes, in pages and in files."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as Tree

import pytest
from budgets import budget
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_pages import HOSTILE, Page, poison

from expunge.report import render_html, svg_figures
from expunge.report.document import read_document
from expunge.report.figures import (
    MAX_CLASSES,
    build_class_chart,
    build_gap_chart,
    build_history_charts,
    build_request_charts,
    thin_curve,
)
from expunge.report.svg import FIGURE_FORMATS, embed, render_figures
from expunge.report.templating import read_palette
from expunge.report.tradeoff import build_tradeoff_chart

SVG = "{http://www.w3.org/2000/svg}"
relaxed = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def checked(document):
    return read_document(document).requests[0]


def drawn(chart):
    return chart.make_axes(Figure)


def marks(axes):
    """What each mark says → its place."""
    lines = [line for line in axes.lines if line.get_gid() and len(line.get_xdata()) == 1]
    return {line.get_label()[1:]: (line.get_xdata()[0], line.get_ydata()[0]) for line in lines}


def names(axes):
    return [text.get_text() for text in axes.texts if text.get_text()]


def test_the_trade_off_has_every_model_at_its_figures(document):
    axes = drawn(build_tradeoff_chart(checked(document)))
    rows = document["requests"][0]["rows"]
    places = {words.split(":")[0]: place for words, place in marks(axes).items()}
    assert places == {
        row["label"]: (pytest.approx(row["scores"]["ua"]["mean"]), row["scores"]["ta"]["mean"]) for row in rows
    }
    assert sorted(names(axes)) == sorted(row["label"] for row in rows)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["original", "retrained", "method", "smallest gap"]


def test_class_requests_have_ua_across_and_others_the_distance_to_retraining(document, bare):
    def across(document):
        axes = drawn(build_tradeoff_chart(checked(document)))
        return {words.split(":")[0]: place[0] for words, place in marks(axes).items()}, axes.get_xlabel()

    document["requests"][0]["kind"] = "fraction"
    places, label = across(document)
    assert (places["EUPMU"], places["RETRAINED"]) == (pytest.approx(2 / 3), 0.0)
    assert label.startswith("|UA − UA of retrained|")
    places, label = across(bare(document))
    assert places["EUPMU"] == 99.0
    assert label.startswith("UA, %")


def test_a_crowd_gets_a_close_up_in_which_every_model_is_named_once(document):
    rows = document["requests"][0]["rows"]
    rows += [{**rows[3], "key": f"m{number}", "label": f"M{number}"} for number in range(6)]
    whole, close = (drawn(build_tradeoff_chart(checked(document), close_up=one)) for one in (False, True))
    assert sorted([*names(whole), *names(close)]) == sorted(row["label"] for row in rows)
    assert "GA" in names(whole)
    assert len(marks(close)) < len(marks(whole)) == len(rows)


def test_few_models_get_no_close_up_and_one_alone_no_figure(document):
    assert build_tradeoff_chart(checked(document), close_up=True) is None
    document["requests"][0]["rows"] = document["requests"][0]["rows"][:2]
    document["requests"][0]["rows"][0]["scores"].pop("ua")
    assert build_tradeoff_chart(checked(document)) is None


def box(text, scale):
    x, y = (text.axes.transData.transform(text.xy) * scale + text.get_position()).tolist()
    width, height = 3.1 * len(text.get_text()), 5.0
    return x - width, y - height, x + width, y + height


def overlap(one, two):
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=12))
@relaxed
def test_names_cover_neither_each_other_nor_marks(short, places):
    rows = [
        {"key": f"m{at}", "label": f"Method {at}", "role": "method", "scores": {"ua": {"mean": x}, "ta": {"mean": y}}}
        for at, (x, y) in enumerate(places)
    ]
    request = {**short["requests"][0], "rows": rows, "retrained": False}
    axes = drawn(build_tradeoff_chart(checked({**short, "requests": [request]})))
    scale = 72 / axes.figure.dpi
    boxes = [box(text, scale) for text in axes.texts]
    points = [axes.transData.transform(place) * scale for place in marks(axes).values()]
    assert not any(overlap(one, two) for one, two in itertools.combinations(boxes, 2))
    assert not any(overlap(one, (x - 3, y - 3, x + 3, y + 3)) for one in boxes for x, y in points)


def test_gaps_are_sorted_with_the_floor_as_a_band(document, bare):
    axes = drawn(build_gap_chart(checked(document)))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["EUPMU", "GA"]
    expected = {"EUPMU 0.40 ± 0.10": (0.4, 0), "GA 12.00 ± 0.10": (12.0, 1)}
    assert marks(axes) == {name: pytest.approx(place) for name, place in expected.items()}
    assert axes.get_xscale() == "log"
    (band,) = axes.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (pytest.approx(0.4), pytest.approx(0.8))
    document["requests"][0]["noise_floor"] = None
    assert not drawn(build_gap_chart(checked(document))).patches
    assert build_gap_chart(checked(bare(document))) is None


def test_classes_show_original_retrained_and_method_and_leave_out_what_is_absent(document):
    axes = drawn(build_class_chart(checked(document)))
    lines = [(line.get_label(), line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_gid()]
    first, second = "_zero: from 98.00, retrained 0.00, to 1.00", "_one: from 97.00, retrained 97.00"
    assert lines == [(first, 98.0, 0), (first, 0.0, 0), (first, 1.0, 0), (second, 97.0, 1), (second, 97.0, 1)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["original", "retrained", "EUPMU"]


def test_of_many_classes_the_most_moved_are_drawn(document):
    rows = document["requests"][0]["rows"]
    for row in rows:
        row["per_class"] = [90.0] * 100
    rows[3]["per_class"] = [90.0] * 99 + [10.0]
    chart = build_class_chart(checked(document))
    labels = [label.get_text() for label in drawn(chart).get_yticklabels()]
    assert len(labels) == MAX_CLASSES
    assert labels[-1] == "99"
    assert chart.note == f"The 24 classes that moved most; {100 - MAX_CLASSES} more are in the table below."


def test_a_class_without_any_figure_is_neither_drawn_nor_counted(document):
    for row in document["requests"][0]["rows"]:
        row["per_class"] = [None, *row["per_class"][1:]] if row.get("per_class") else []
    chart = build_class_chart(checked(document))
    assert [label.get_text() for label in drawn(chart).get_yticklabels()] == ["one"]
    assert chart.note == ""


def test_history_draws_only_what_a_method_has_with_its_values(document):
    charts = {row.label: build_history_charts(row) for row in checked(document).methods}
    assert [chart.title.split()[0] for chart in charts["GA"]] == ["Losses", "Cosine", "Share"]
    forget, retain = drawn(charts["GA"][0]).lines
    history = document["requests"][0]["rows"][2]["history"]
    assert list(forget.get_xdata()) == [row["step"] for row in history]
    assert list(forget.get_ydata()) == [row["forget_loss"] for row in history]
    assert set(retain.get_ydata()) == {1.0}
    assert forget.get_label() == "_forget starts at 0 and ends at 0.4, between 0 and 0.4"


def test_names_of_curves_stay_apart(document):
    history = [{"step": step, "forget_loss": 1.0, "retain_loss": 1.0} for step in range(9)]
    document["requests"][0]["rows"][3]["history"] = history
    axes = drawn(build_history_charts(checked(document).rows[3])[0])
    first, second = (axes.transData.transform((0, text.xyann[1]))[1] * 72 / axes.figure.dpi for text in axes.texts)
    assert abs(first - second) >= 10


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=2000), st.integers(10, 300))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_order_ends_and_extremes(heights, limit):
    points = [(float(step), height) for step, height in enumerate(heights)]
    kept = thin_curve(points, limit)
    assert len(kept) <= limit
    assert kept == sorted(kept)
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert max(height for _, height in kept) == max(heights)
    assert min(height for _, height in kept) == min(heights)


def test_in_a_page_colors_are_variables_and_values_stand_in_titles(document):
    for chart in build_request_charts(checked(document)):
        svg = str(embed(chart, "here").svg)
        root = Tree.fromstring(svg)
        assert "#" not in re.sub(r'(href|clip-path)="(url\()?#here-', "", svg), "a color of one theme"
        used = set(re.findall(r"var\(--(\w+)\)", svg))
        assert {"ink", "soft", "grid"} <= used <= set(read_palette())
        assert not any("style" in element.attrib for element in root.iter())
        titles = [element.text for element in root.iter("title")]
        assert titles[0] == chart.title
        assert {*titles[1:]} == {line.get_label()[1:] for line in explained(drawn(chart))}
        assert all(words in root.find("desc").text for words in titles[1:])
        assert [element.text for element in root.iter("text")]


def explained(axes):
    return [artist for artist in axes.get_children() if artist.get_gid()]


def test_ids_of_a_page_are_unique_and_every_reference_has_one(document):
    page = Page(render_html(document))
    assert len(page.ids) == len(set(page.ids))
    wanted = {link[1:] for link in page.links if link.startswith("#")}
    wanted |= {attrs["clip-path"][5:-1] for _, attrs in page.tags if "clip-path" in attrs}
    assert wanted <= set(page.ids)


def test_every_figure_of_the_page_is_a_file_with_title_legend_and_description(document):
    document["requests"][0]["budget"] = budget()
    files = svg_figures(document)
    steps = [name for name in files if "-history-" in name]
    assert len(steps) == 6
    others = ("trade-off", "gaps", "classes", "budget-spent", "budget-auc")
    assert set(files) - set(steps) == {f"request-1-{name}" for name in others}
    for text in files.values():
        root = Tree.fromstring(text)
        title, description = root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text
        assert title in [element.text for element in root.iter(f"{SVG}text")]
        assert len(description) > 20
    texts = [element.text for element in Tree.fromstring(files["request-1-trade-off"]).iter(f"{SVG}text")]
    assert {"original", "retrained", "method", "smallest gap"} <= set(texts)


def test_a_file_needs_nothing_else(document):
    for text in svg_figures(document).values():
        assert "var(" not in text
        assert not re.search(r"@import|url\((?!#)|href=\"(?!#)|<script|<style|<image", text)
        assert set(re.findall(r"https?://[^\"\s]+", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("file_format", FIGURE_FORMATS)
def test_the_same_document_gives_the_same_bytes(short, file_format):
    short["requests"][0]["rows"].pop(2)
    first, second = render_figures(short, file_format), render_figures(short, file_format)
    assert first == second
    start = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF"}[file_format]
    assert all(content.startswith(start) for content in first.values())


def test_words_of_others_are_no_formulas_and_no_markup(short):
    poisoned = poison(short)
    poisoned["requests"][0]["rows"][3]["label"] = "$\\frac{1}{$ _x"
    for text in svg_figures(poisoned).values():
        tags = {element.tag.rpartition("}")[2] for element in Tree.fromstring(text).iter()}
        assert tags <= {"svg", "title", "desc", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    everything = "".join("".join(Tree.fromstring(text).itertext()) for text in svg_figures(poisoned).values())
    assert HOSTILE[:20] in everything
    assert "$\\frac{1}{$ _x" in everything
