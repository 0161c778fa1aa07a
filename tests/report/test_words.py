from __future__ import annotations

import io
import math

import pytest
from budgets import budget, look
from rich.console import Console

from expunge.report import print_tables
from expunge.report.budget_text import budget_statements
from expunge.report.document import read_document
from expunge.report.ranking import NoiseFloorVerdict, best_method, compare_with_noise_floor, smallest_gap_method
from expunge.report.summary import (
    NOT_SHOWN,
    build_summary,
    describe_forgetting,
    describe_request,
    describe_uncertainty,
    describe_utility,
)


def checked(document):
    return read_document(document).requests[0]


def rows_of(document):
    return {row["key"]: row for row in document["requests"][0]["rows"]}


def gap(document, mean, half, key="eupmu"):
    rows_of(document)[key]["scores"]["avg_gap"] = {"values": [mean], "mean": mean, "half_width": half}
    request = checked(document)
    return compare_with_noise_floor(request, next(row for row in request.methods if row.key == key))


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.4, 0.19, NoiseFloorVerdict.INSIDE),
        (0.4, 0.3, NoiseFloorVerdict.UNDECIDED),
        (0.1, None, NoiseFloorVerdict.UNDECIDED),
        (0.9, 0.1, NoiseFloorVerdict.UNDECIDED),
        (0.91, 0.1, NoiseFloorVerdict.OUTSIDE),
        (0.81, None, NoiseFloorVerdict.OUTSIDE),
        (50.0, 0.1, NoiseFloorVerdict.NO_CLOSER),
        (None, None, NoiseFloorVerdict.NO_GAP),
    ],
)
def test_standing_against_a_floor_of_0_6_and_0_2(document, mean, half, expected):
    assert gap(document, mean, half) is expected


def test_standing_without_floor_or_reference(document, bare):
    document["requests"][0]["noise_floor"] = None
    assert gap(document, 0.0, 0.0) is NoiseFloorVerdict.NO_FLOOR
    request = checked(bare(document))
    assert compare_with_noise_floor(request, request.methods[0]) is NoiseFloorVerdict.NO_REFERENCE


def test_forgotten_tells_the_paired_distance_and_not_that_of_the_means(document):
    # By seed 99, 100, 98 against 100, 100, 99: distances 1, 0, 1.
    request = checked(document)
    text = describe_forgetting(request, best_method(request))
    assert "EUPMU errs on 99.00 %" in text
    assert "the retrained model 99.67 %, the original 0.33 %" in text
    assert "0.67 points from retraining on average, 1.00 in the worst seed" in text
    assert "0.40 ± 0.10 points, not above the noise floor" in text


def test_forgotten_says_when_the_original_was_as_close(document):
    rows_of(document)["original"]["scores"]["ua"]["values"] = [100.0, 100.0, 99.0]
    request = checked(document)
    assert "so UA shows no forgetting" in describe_forgetting(request, best_method(request))


def test_forgotten_says_when_ua_can_show_little(document):
    rows_of(document)["original"]["scores"]["ua"]["values"] = [98.5, 98.5, 97.5]
    request = checked(document)
    assert "only 1.50 points away, so UA alone shows little" in describe_forgetting(request, best_method(request))


def test_forgotten_without_reference_says_what_is_not_known(document, bare):
    request = checked(bare(document))
    text = describe_forgetting(request, best_method(request))
    assert text.startswith("There is no retrained reference")
    assert "AUC of 0.507 ± 0.010 (0.5 is chance)" in text
    assert "retraining on average" not in text


def test_utility_gives_direction_and_size(document):
    request = checked(document)
    text = describe_utility(request, best_method(request))
    assert "Test accuracy fell by 1.00 points to 97.00 %; retrained 97.50 %." in text
    assert "Accuracy on the data to keep stayed at 99.00 %" in text
    rows_of(document)["eupmu"]["scores"]["ta"]["mean"] = 98.25
    request = checked(document)
    assert "rose by 0.25 points to 98.25 %" in describe_utility(request, best_method(request))


def test_sureness_with_one_two_and_three_seeds(document):
    texts = {}
    for seeds in ([0], [0, 1], [0, 1, 2]):
        document["requests"][0]["seeds"] = seeds
        request = checked(document)
        texts[len(seeds)] = describe_uncertainty(request, best_method(request))
    assert texts[1].startswith("One seed: no interval")
    assert "very wide" in texts[2]
    assert texts[3].startswith("3 seeds, each compared with its own retrained model")
    assert "±" not in texts[1]


def test_sureness_tells_that_choosing_flatters_and_who_overlaps(document):
    request = checked(document)
    assert "smallest of 2, which flatters it." in describe_uncertainty(request, best_method(request))
    assert "overlap" not in describe_uncertainty(request, best_method(request))
    gap(document, 0.55, 0.1, key="ga")
    request = checked(document)
    assert "The intervals of GA overlap with it." in describe_uncertainty(request, best_method(request))


def test_a_single_method_is_neither_best_nor_chosen(document):
    document["requests"][0]["rows"] = [row for row in document["requests"][0]["rows"] if row["key"] != "ga"]
    request = checked(document)
    assert smallest_gap_method(request) is None
    assert "shown because" not in describe_uncertainty(request, best_method(request))
    assert describe_request(request).endswith("120 of 1,200 training examples, one method.")


def test_no_method_at_all(document):
    document["requests"][0]["rows"] = [row for row in document["requests"][0]["rows"] if row["role"] != "method"]
    words = build_summary(checked(document))
    assert words.verdict == "No method was run"
    assert "nothing was forgotten" in words.answers[1].text


def test_nan_scores_never_lead(document):
    rows_of(document)["eupmu"]["scores"]["avg_gap"]["mean"] = math.nan
    request = checked(document)
    assert best_method(request).key == "ga"
    gap(document, math.nan, None, key="ga")
    request = checked(document)
    assert "not finite" in describe_forgetting(request, best_method(request))


def test_no_words_promise_what_cannot_be_shown(document, bare):
    for one in (document, bare(document)):
        words = build_summary(checked(one))
        said = " ".join([words.verdict, *(answer.text for answer in words.answers)]).lower()
        for claim in ("guarantee", "certif", "proves", "proof", "compliant", "completely", "successfully", "gdpr"):
            assert claim not in said
    assert any("approximate" in sentence for sentence in NOT_SHOWN)
    assert any("legal" in sentence for sentence in NOT_SHOWN)


@pytest.mark.parametrize(
    ("key", "told"), [("ga", "It keeps no budget."), ("eupmu", "Its budget was kept in 2 of 3 runs.")]
)
def test_a_comparison_says_how_often_a_budget_was_kept(document, key, told):
    row = next(row for row in checked(document).rows if row.key == key)
    assert describe_utility(checked(document), row).endswith("No budget was set.")
    runs = [{"seed": seed, "within_budget": seed > 0, "true_drop": 0.1} for seed in range(3)]
    document["requests"][0]["budgets"] = {"eupmu": runs}
    assert describe_utility(checked(document), row).endswith(told)


SHOWN = {
    "undecided": (
        "Whether it was cannot be decided.",
        "Cannot be decided with 25 examples. Not compared with retraining",
    ),
    "still distinguishable": ("AUC .7.", "Still distinguishable from held-out data. Not compared with retraining"),
    "not distinguishable": ("AUC .5.", "Not distinguishable from held-out data. Not compared with retraining"),
}


@pytest.mark.parametrize("verdict", SHOWN)
@pytest.mark.parametrize("budgeted", [False, True])
def test_the_headline_is_one_of_three_verdicts(document, bare, verdict, budgeted):
    sentence, headline = SHOWN[verdict]
    plain = bare(document)
    part = plain["requests"][0]
    part["rows"] = [row for row in part["rows"] if row["role"] != "method" or row["key"] == "eupmu"]
    held = {"verdict": verdict, "sentence": sentence, "examples": 25, "needed": 1400}
    if budgeted:
        looks = [look(0, 0.0, 0.1, auc=0.7), look(9, -0.5, auc=0.52, verdict="undecided", test=held)]
        part["budget"] = budget(evaluations=looks, chosen=1, target_met=None, verdict=verdict, pareto_indices=[1])
    else:
        next(row for row in part["rows"] if row["key"] == "eupmu")["evidence"] = [{"seed": 0, "held_out": held}]
    request = checked(plain)
    assert build_summary(request).verdict == headline
    if budgeted:
        told = {fact.name: fact.text for fact in budget_statements(request.budget)}
        assert told["Spent"].startswith("Nothing: 0.5 points were gained after update 9")
        assert sentence in told["When to stop"]
    else:
        assert sentence in describe_forgetting(request, best_method(request))
        file = io.StringIO()
        print_tables(plain, Console(file=file))
        assert f"On the test data: {sentence}" in " ".join(file.getvalue().split())
