from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.report.class_figure import MAX_CLASSES, build_class_figure
from expunge.report.document import read_document
from expunge.report.drawing import Scale, downsample, nice_ticks, pad_range
from expunge.report.gap_figure import build_gap_figure
from expunge.report.labels import Box, marker_box, place_labels
from expunge.report.scatter import build_plot_data, scatter_panels
from expunge.report.training_curves import build_panel_rows


def checked(document):
    return read_document(document).requests[0]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=2000), st.integers(4, 300))
@settings(max_examples=60, deadline=None)
def test_thinning_keeps_order_ends_and_extremes(heights, limit):
    points = [(float(step), height) for step, height in enumerate(heights)]
    kept = downsample(points, limit)
    assert len(kept) <= max(limit, 1)
    assert kept == sorted(kept)
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert max(height for _, height in kept) == max(heights)
    assert min(height for _, height in kept) == min(heights)


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e6), st.integers(2, 8))
@settings(max_examples=400, deadline=None)
def test_ticks_lie_inside_in_equal_steps(low, width, most):
    values = [value for value, _ in nice_ticks(low, low + width, most)]
    assert len({text for _, text in nice_ticks(low, low + width, most)}) == len(values)
    assert len(values) <= most
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in values)
    steps = [after - before for before, after in itertools.pairwise(values)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-5) if steps else True


def test_scale_keeps_marks_in_the_frame():
    scale = Scale(0, 10, 100, 200)
    assert (scale(-5), scale(5), scale(99)) == (100, 150, 200)


def test_span_of_equal_values_has_width():
    low, high = pad_range([7.0, 7.0])
    assert low < 7 < high


@given(st.lists(st.tuples(st.floats(60, 450), st.floats(20, 300)), min_size=1, max_size=11))
@settings(max_examples=40, deadline=None)
def test_labels_cover_neither_each_other_nor_marks_nor_the_border(points):
    frame = Box(50, 14, 468, 314)
    labels = place_labels(points, [f"Method {index}" for index in range(len(points))], frame)
    boxes = [label.box for label in labels]
    assert all(frame.contains(box) for box in boxes)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))
    assert not any(box.overlaps(marker_box(point)) for box in boxes for point in points)


def test_class_requests_have_ua_across_and_others_the_distance_to_retraining(document, bare):
    spots = {spot.name: spot for spot in build_plot_data(checked(document)).points}
    assert (spots["EUPMU"].x, spots["RETRAINED"].x) == (99.0, pytest.approx(299 / 3))
    document["requests"][0]["kind"] = "fraction"
    spots = {spot.name: spot for spot in build_plot_data(checked(document)).points}
    assert (spots["EUPMU"].x, spots["RETRAINED"].x) == (pytest.approx(2 / 3), 0.0)
    assert {spot.name: spot.x for spot in build_plot_data(checked(bare(document))).points}["EUPMU"] == 99.0


def test_a_crowd_gets_a_close_up_in_which_every_model_is_named_once(document):
    rows = document["requests"][0]["rows"]
    for number in range(6):
        copy = {**rows[3], "key": f"m{number}", "label": f"M{number}"}
        rows.append(copy)
    whole, close = scatter_panels(checked(document))
    named = [label.text for label in (*whole.labels, *close.labels)]
    assert sorted(named) == sorted(row["label"] for row in rows)
    assert whole.window is not None
    assert "GA" in [label.text for label in whole.labels]


def test_few_models_get_one_panel(document):
    (panel,) = scatter_panels(checked(document))
    assert len(panel.labels) == len(panel.marks) == 4
    assert "EUPMU at 99.00 and 97.00" in panel.description


def test_gaps_are_sorted_with_the_floor_as_a_band(document, bare):
    figure = build_gap_figure(checked(document))
    assert [bar.name for bar in figure.bars] == ["EUPMU", "GA"]
    assert figure.bars[0].x < figure.band[0] < figure.band[1] < figure.band[2] < figure.bars[1].x or figure.logarithmic
    assert figure.logarithmic
    document["requests"][0]["noise_floor"] = None
    assert build_gap_figure(checked(document)).band is None
    assert build_gap_figure(checked(bare(document))) is None


def test_classes_leave_out_what_is_absent_and_keep_the_table_whole(document):
    figure = build_class_figure(checked(document))
    assert figure.method == "EUPMU"
    assert [line.after is None for line in figure.lines] == [False, True]
    assert dict(figure.figures)["EUPMU"] == ("1.0", "–")


def test_of_many_classes_the_most_moved_are_drawn(document):
    rows = document["requests"][0]["rows"]
    for row in rows:
        row["per_class"] = [90.0] * 100
    rows[3]["per_class"] = [90.0] * 99 + [10.0]
    figure = build_class_figure(checked(document))
    assert len(figure.lines) == MAX_CLASSES
    assert figure.left_out == 100 - MAX_CLASSES
    assert figure.lines[-1].name == "99"
    assert all(len(values) == 100 for _, values in figure.figures)


def test_telemetry_draws_only_what_a_method_has(document):
    strips = {strip.label: strip for strip in build_panel_rows(checked(document))}
    assert [panel.title.split()[0] for panel in strips["GA"].panels] == ["Losses", "Cosine", "Share"]
    assert strips["EUPMU"].steps == 700
    losses = strips["EUPMU"].panels[0]
    assert [curve.name for curve in losses.curves] == ["forget", "retain"]
    assert "forget starts at 0 and ends at 69.9" in losses.description


def test_names_of_curves_stay_apart(document):
    document["requests"][0]["rows"][3]["history"] = [
        {"step": step, "forget_loss": 1.0, "retain_loss": 1.0} for step in range(9)
    ]
    losses = {strip.label: strip for strip in build_panel_rows(checked(document))}["EUPMU"].panels[0]
    first, second = (curve.name_y for curve in losses.curves)
    assert abs(first - second) >= 11


def test_a_class_without_any_figure_is_neither_drawn_nor_counted(document):
    for row in document["requests"][0]["rows"]:
        row["per_class"] = [None, *row["per_class"][1:]] if row.get("per_class") else []
    figure = build_class_figure(checked(document))
    assert [line.name for line in figure.lines] == [figure.names[1]]
    assert (figure.left_out, figure.note) == (0, "")
