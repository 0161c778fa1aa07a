"""What reports say of a budget: the picture, the words, and the plain failure."""

from __future__ import annotations

import io
import math

import pytest
from budgets import broken, budget, look, search
from matplotlib.figure import Figure
from report_pages import HOSTILE, Page, poison
from rich.console import Console

from expunge.errors import DataError
from expunge.report import markdown_table, print_tables, read_document, render_html
from expunge.report.budget_text import budget_statements, frontier_table
from expunge.report.figures import build_budget_charts
from expunge.report.search_text import search_table
from expunge.report.templating import read_palette


def part(raw, document):
    document["requests"][0]["budget"] = raw
    return read_document(document).requests[0].budget


def said(raw, document):
    return {fact.name: fact.text for fact in budget_statements(part(raw, document))}


def test_an_older_document_has_no_section_and_says_that_no_budget_was_set(document):
    page = Page(render_html(document))
    text = "".join(page.text)
    assert "No budget was set." in text
    assert text.lower().count("budget") == 1
    assert "request-1-budget" not in page.ids
    assert read_document(document).requests[0].budget is None


def test_the_section_shows_sentence_panels_and_certificate(document):
    document["requests"][0]["budget"] = budget()
    page = Page(render_html(document))
    text = "".join(page.text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "request-1-budget" in page.ids
    assert text.count("The budget of 1 point was kept, and the request was met.") == 2
    assert "Was the budget kept" in text
    assert "allowed: 1 point" in text
    assert "at most 0.65 points; Tango's bound, approximate, is 0.51." in text
    assert "Certify half" in text
    assert "The frontier" not in text


def marks(axes):
    """What each mark says, its place and its color."""
    lines = [line for line in axes.lines if line.get_gid()]
    return [(line.get_label()[1:], line.get_xdata()[0], line.get_ydata()[0], line.get_mfc()) for line in lines]


def panels(raw, document):
    return [chart.make_axes(Figure) for chart in build_budget_charts(part(raw, document))]


def test_panels_mark_the_allowed_amount_the_band_and_the_choice(document):
    color = read_palette()
    spent, auc = panels(budget(), document)
    assert [mark[1:] for mark in marks(spent)] == [
        (0, 0.0, color["paper"]),
        (10, 2.5, color["mute"]),
        (20, 0.5, color["accent"]),
    ]
    assert [mark[2] for mark in marks(auc)] == [0.7, 0.5, 0.52]
    (limit,) = [line for line in spent.lines if line.get_linestyle() == "--"]
    assert set(limit.get_ydata()) == {1.0}
    assert not [line for line in auc.lines if line.get_linestyle() == "--"]
    (band,) = auc.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.45, 0.55))
    spent, recognized = panels(broken(), document)
    assert [mark[3] for mark in marks(spent)] == [color["accent"], color["mute"], color["mute"]]
    assert [text.get_text() for text in recognized.texts] == ["asked: at most 0.5 %"]
    assert [mark[2] for mark in marks(recognized)] == [100.0, 20.5, 0.0]
    assert marks(recognized)[1][0] == "update 10: 20.5"


def test_every_mark_stays_inside_its_panel(document):
    looks = [look(step, spent, recognized=0.3) for step, spent in enumerate((0.0, -40.0, 1e6, 0.1))]
    for axes in panels(budget(evaluations=looks, pareto_indices=[]), document):
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert all(left < x < right and low < y < high for _, x, y, _ in marks(axes))


def test_a_reading_that_is_not_finite_is_left_out_of_the_picture(document):
    looks = [look(0, 0.0, 0.9, recognized=1.0), look(5, math.inf, math.inf), look(9, 0.2, recognized=0.0)]
    raw = budget(evaluations=looks)
    assert [len(marks(axes)) for axes in panels(raw, document)] == [2, 2]
    text = "".join(Page(render_html(document)).text)
    assert "nan" not in text.lower()
    assert "inf;" not in text


def test_words_say_what_was_counted_and_what_it_bounds(document):
    words = said(budget(), document)
    assert words["Allowed"].startswith("1 point, on held-out examples of the classes that stay.")
    assert words["Allowed"].endswith("the budget comes first.")
    assert words["Spent"].startswith("0.5 points after update 20, on the 1,501 control examples")
    assert "Of 1,500 examples that nothing was chosen by, opened once, 4 were right before" in words["Certificate"]
    assert words["Certificate"].endswith("That is inside the budget.")
    assert words["Smallest drop that can be certified"].startswith("0.246 points")
    assert "within 0.45 and 0.55: it is 0.520. Two one-sided tests" in words["When to stop"]
    assert words["When to stop"].endswith("equivalent, which the test shows. By these estimates the request is met.")


@pytest.mark.parametrize("verdict", ["undecided", "remembered", "over-forgotten"])
def test_a_test_that_shows_nothing_is_told_as_such(document, verdict):
    looks = [look(0, 0.0, 0.15, auc=0.7, verdict="remembered"), look(9, 0.2, 0.07, auc=0.62, verdict=verdict)]
    words = said(budget(evaluations=looks, chosen=1, target_met=False, pareto_indices=[1]), document)["When to stop"]
    assert verdict in words
    assert words.endswith("The request is not met, by 0.07.")


def test_a_bound_beyond_the_budget_was_not_certified(document):
    assert said(budget(certified=False), document)["Certificate"].endswith("it was not certified.")
    assert "budget" not in said(budget(certified=None), document)["Certificate"]


def test_a_budget_that_could_not_be_kept_is_said_plainly_with_its_frontier(document):
    words = said(broken(), document)
    assert words["Spent"] == "Nothing: the model is handed back as it came."
    assert words["Certificate"] == "None: the certify half stayed closed."
    assert words["Smallest drop that can be certified"].startswith("0.246 points")
    assert "100 % are. The request is not met, by 0.995." in words["When to stop"]
    found = frontier_table(part(broken(), document))
    assert found.heads == ("Update", "Spent, points", "Still recognized, %", "Missing", "Budget kept", "Request met")
    assert found.rows == (("10", "3", "20.5", "0.2", "no", "no"), ("20", "9", "0", "0", "no", "yes"))
    text = "".join(Page(render_html(document)).text)
    assert "The frontier that was reached" in text
    assert "could not be kept: every iterate spent more" in text


OTHER = {"lost": None, "gained": None, "approximate": None, "smallest": None}


def certificate(kind, **more):
    """Of another unit than points."""
    exact = kind == "bounded mean"
    return {"kind": kind, "exact": exact, "examples": 1500, "delta": 0.05, "drop": 0.01, "bound": 0.04} | OTHER | more


def test_a_loss_is_bounded_in_percent_and_approximately(document):
    found = budget(limit={"loss_increase": 0.1}, certificate=certificate("mean"), certified=None, smallest=None)
    words = said(found, document)
    assert words["Certificate"].startswith("Of 1,500 examples that nothing was chosen by, opened once, each was")
    assert (
        "With about 95 % confidence the loss on fresh examples like these rose by at most 4 %." in words["Certificate"]
    )
    assert "That is inside the budget. This is approximate, by a paired bootstrap" in words["Certificate"]
    assert "Smallest drop that can be certified" not in words
    found["limit"] = {"loss_increase": 0.03}
    assert "That is more than the budget. This is approximate" in said(found, document)["Certificate"]


def test_a_metric_of_known_range_is_bounded_exactly_in_its_own_unit(document):
    asked, exact = {"metric": "recall", "max_drop": 0.1}, certificate("bounded mean", smallest=0.002)
    words = said(budget(limit=asked, certificate=exact, certified=True), document)
    bound = "With 95 % confidence recall on fresh examples like these became worse by at most 0.04."
    assert words["Certificate"].endswith(f"{bound} That is inside the budget.")
    assert words["Smallest drop that can be certified"].startswith("0.002 of recall: what the certificate says where")
    words = said(budget(limit=asked, certificate=certificate("whole set"), certified=None), document)
    assert "by a jackknife over ten parts" in words["Certificate"]


def test_a_half_that_says_nothing_is_told_with_the_reason(document):
    words = said(
        budget(certificate=None, certified=None, no_certificate_reason="expected 30 examples, found 9"), document
    )
    assert words["Certificate"] == (
        "None: the certify half was opened and says nothing, expected 30 examples, found 9."
    )


def test_accuracy_is_not_certified_without_its_counts(document):
    document["requests"][0]["budget"] = budget(certificate=certificate("accuracy"))
    with pytest.raises(DataError, match="'lost' and 'gained'"):
        render_html(document)


@pytest.mark.parametrize(
    ("asked", "allowed", "paid"),
    [
        ({"loss_increase": 0.1}, "10 % of the held-out loss", "50 % of the held-out loss after update 20"),
        ({"metric": "recall", "max_drop": 0.1}, "0.1 of recall", "0.5 of recall after update 20"),
    ],
)
def test_other_units_are_told_in_their_own_words(document, asked, allowed, paid):
    words = said(budget(limit=asked, certified=None, within_budget=False, priority="forgetting"), document)
    assert words["Allowed"].startswith(allowed)
    assert words["Allowed"].endswith("forgetting comes first.")
    assert words["Spent"].startswith(paid)
    assert allowed in panels(budget(limit=asked), document)[0].texts[0].get_text()


def test_markdown_has_the_same_and_escapes_it(document):
    request = document["requests"][0]
    request["budget"] = broken(summary="A | <b>budget</b>", limit={"metric": "my|metric", "max_drop": 0.1})
    text = markdown_table(request)
    assert r"**Budget.** A \| \<b\>budget\</b\>" in text
    assert r"- Allowed: 0.1 of my\|metric" in text
    assert r"| Update | Spent, of my\|metric | Still recognized, % |" in text
    assert "| 20 | 9 | 0 | 0 | no | yes |" in text
    request["budget"] = None
    assert "Budget" not in markdown_table(request)


def test_a_terminal_gets_the_sentence_in_80_columns(document):
    document["requests"][0]["budget"] = budget(summary="The budget of 1 point was kept, [red]and \x1b[31m" * 4)
    file = io.StringIO()
    print_tables(document, Console(file=file))
    assert "The budget of 1 point was kept, [red]and" in file.getvalue()
    assert "\x1b" not in file.getvalue()
    assert max(map(len, file.getvalue().splitlines())) <= 80


def test_hostile_strings_stay_text(document):
    fixed = {"priority": "budget"}
    hostile = poison({**broken(), "limit": {"metric": HOSTILE, "max_drop": 0.1}}) | fixed
    plain = Page(render_html(document))
    document["requests"][0]["budget"] = hostile
    page = Page(render_html(document))
    assert page.count("script") == plain.count("script") == 1
    assert page.count("img") == plain.count("img")
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert "".join(page.text).count(HOSTILE) >= 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chosen": 3}, "indices of evaluations"),
        ({"pareto_indices": [-1]}, "indices of evaluations"),
        ({"evaluations": []}, "budget.evaluations"),
        ({"limit": {"accuracy_points": 1.0, "loss_increase": 0.1}}, "exactly one of accuracy_points"),
        ({"limit": {"metric": "recall"}}, "exactly one of accuracy_points"),
        ({"limit": {}}, "exactly one of accuracy_points"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(document, changes, words):
    document["requests"][0]["budget"] = budget(**changes)
    with pytest.raises(DataError, match=words):
        render_html(document)


def test_what_was_tried_is_a_small_table_with_the_rate_that_was_taken(document):
    found = search_table(part(budget(search=search()), document))
    assert found.text.startswith("The learning rate 0.01 was chosen by 5 short runs in 12.3 seconds")
    heads = ("Rate", "Share of the data", "Spent, points", "Recognized beyond what is permitted, %", "Distance, points")
    assert found.trials.heads == heads
    assert found.trials.rows[0] == ("0.005", "1/32", "0.4", "30", "3.21")
    assert found.trials.rows[2] == ("0.02", "1/32", "diverged", "–", "–")
    assert found.trials.rows[4][:2] == ("0.01", "1/16")
    page = Page(render_html(document))
    assert page.open == []
    assert "".join(page.text).count("What was tried first") == 1
    assert r"| 0.02 | 1/32 | diverged | – | – |" in markdown_table(document["requests"][0])


@pytest.mark.parametrize("given", [{}, {"search": None}, {"search": search(rounds=[])}])
def test_where_nothing_was_tried_nothing_is_said_of_it(document, given):
    assert search_table(part(budget(**given), document)) is None
    assert "tried first" not in render_html(document)


def test_relative_budgets_are_tried_in_percent(document):
    found = search_table(part(budget(search=search(), limit={"loss_increase": 0.1}, certified=None), document))
    assert found.trials.heads[2] == "Spent, % of the held-out loss"
    assert found.trials.rows[0][2] == "40"


def test_hostile_trials_are_refused(document):
    document["requests"][0]["budget"] = budget(search=search(lr=HOSTILE))
    with pytest.raises(DataError, match=r"search\.lr"):
        render_html(document)


def test_the_stop_criterion_names_both_kinds_of_closeness(document):
    asked = {"max_recognized": 0.005, "margin": 0.05, "max_accuracy_gap": 0.01}
    words = said(budget(criterion=asked), document)["When to stop"]
    assert "Their accuracy may differ from that of the held-out ones by at most 1 point. By these" in words
    asked["max_accuracy_gap"] = 0.02
    assert "by at most 2 points." in said(budget(criterion=asked), document)["When to stop"]
    assert "accuracy may differ" not in said(budget(), document)["When to stop"], "older documents know of one"
    assert "accuracy may differ" not in said(broken(criterion=asked), document)["When to stop"]


def test_the_model_that_is_handed_over_is_in_the_table_of_the_frontier(document):
    looks = [look(0, 0.0, 0.2, auc=0.7), look(21, 0.1, 0.0331, auc=0.583), look(1208, 0.2, 0.0359, auc=0.551)]
    found = frontier_table(part(budget(evaluations=looks, pareto_indices=[1], chosen=2, target_met=None), document))
    assert [row[:2] for row in found.rows] == [("21", "0.1"), ("1,208, handed over", "0.2")]


def test_a_gain_of_a_relative_budget_is_a_lower_loss(document):
    asked = {"accuracy_points": None, "loss_increase": 0.2, "metric": None, "max_drop": None}
    looks = [look(0, 0.0), look(142, -0.00285)]
    words = said(budget(limit=asked, evaluations=looks, chosen=1, certificate=None, pareto_indices=[1]), document)
    assert words["Spent"].startswith("Nothing: the held-out loss is 0.285 % lower after update 142, on the 1,501")


def test_a_share_too_small_to_print_is_no_power_of_ten(document):
    looks = [look(0, 0.0), look(20, 3.7e-9, recognized=4e-9)]
    words = said(budget(evaluations=looks, chosen=1, certificate=None, pareto_indices=[1]), document)
    assert words["Spent"].startswith("< 0.0001 points after update 20")
    assert "may still be recognized: < 0.01 % are." in words["When to stop"]
    assert "e-0" not in " ".join(words.values())
