"""What is said of a budget: the verdict, the reason that is the one that failed, and advice that fits what happened."""

from dataclasses import replace
from math import inf

import pytest

from expunge.budget import Budget, BudgetResult, ControlEvaluation
from expunge.metrics import run_recognition_test
from expunge.metrics.held_out import HeldOutTest

FIGURES = {"auc": 0.529, "auc_low": 0.51, "auc_high": 0.548, "gap": 0.08, "gap_low": 0.05, "gap_high": 0.11}
MET = HeldOutTest("not distinguishable", 4000, 4000, **FIGURES, reasons=("auc", "accuracy"))
APART = HeldOutTest("still distinguishable", 4000, 4000, **FIGURES, reasons=("accuracy",))
FEW = HeldOutTest("undecided", 25, 190, **FIGURES, reasons=("auc", "accuracy"), needed=1400)


def look(step, spent, missing=0.07, test=APART):
    return ControlEvaluation(
        step, 0.3, 90.0, None, spent, 0.1, missing, auc=None if test is None else test.auc, test=test
    )


def spending(*looks, allowed=6.0, **changes):
    """A run of which the last reading is handed over."""
    looks = (look(0, 0.0), *looks)
    ends = {"chosen": len(looks) - 1, "within_budget": True, "pareto_indices": tuple(range(1, len(looks)))}
    ends |= {"target_met": looks[-1].target_met, **changes}
    return BudgetResult(Budget(accuracy_points=allowed), "budget", looks, **ends)


def test_a_third_verdict_says_how_many_would_decide():
    found = spending(look(20, 0.0, test=FEW), time_fraction=0.01)
    assert (found.verdict, found.target_met) == ("undecided", None)
    assert found.as_dict()["verdict"] == "undecided"
    assert found.as_dict()["evaluations"][-1]["test"]["needed"] == 1400
    assert found.summary.startswith(
        "The budget of 6 points was kept, but whether the request was met cannot be decided with 25 examples; "
        "about 1,400 would be needed at this spread (AUC 0.529 (0.510 to 0.548), accuracy +8.0 points"
    )
    assert "tells" not in found.summary
    assert found.summary.endswith(
        "More forgotten and held-out examples would decide it; a larger budget or more time would not."
    )
    outside = replace(found, within_budget=False)
    assert "was not kept. Whether the model forgets as asked cannot be decided with 25" in outside.summary


def test_the_reason_named_is_the_one_that_failed():
    """An AUC of .529 lies inside its band; the accuracies are apart."""
    words = spending(look(20, 3.0)).summary
    assert "the request was not met: accuracy +8.0 points from that of held-out ones (+5.0 to +11.0); 3" in words
    assert "AUC" not in words
    gone = spending(look(20, 3.0, test=run_recognition_test(94, 100))).summary
    assert "the request was not met: 94 % of the class are still recognized; 3 points spent" in gone


def test_what_is_shown_is_met_and_needs_no_advice():
    words = spending(look(20, 3.0, test=MET)).summary
    assert "was kept, and the request was met: AUC 0.529" in words
    assert "would" not in words
    assert "may be enough" not in words


@pytest.mark.parametrize(
    ("spent", "time_share", "advice"),
    [
        (0.0, 0.01, "The run used 0 % of the budget and did not lack time: try more `epochs`, a larger `lr`,"),
        (0.0, None, "The run used 0 % of the budget: try more `epochs`, a larger `lr`, or another method;"),
        (0.6, 0.01, "The run used 10 % of the budget and did not lack time:"),
        (-3.0, 0.01, "The run used 0 % of the budget and did not lack time:"),
        (5.5, 0.01, "A larger budget may be enough; `expunge estimate-retrain`"),
        (0.0, 0.9, "More time (`time_limit`) may be enough; `expunge estimate-retrain`"),
        (5.9, 1.0, "A larger budget or more time (`time_limit`) may be enough;"),
    ],
)
def test_advice_is_made_of_what_the_run_lacked(spent, time_share, advice):
    words = spending(look(20, spent), time_fraction=time_share).summary
    assert advice in words
    assert words.endswith("`expunge estimate-retrain` tells what retraining would cost.")


def test_a_budget_that_other_iterates_broke_was_the_limit():
    assert "A larger budget may be enough" in spending(look(10, 9.0), look(20, 0.1)).summary


def test_what_was_forgotten_too_far_is_not_to_be_trained_on():
    far = replace(APART, auc=0.3, auc_low=0.2, auc_high=0.4, reasons=("auc",))
    assert (
        "the forgetting went too far: try a smaller `lr` or fewer `epochs`" in spending(look(9, 0.1, test=far)).summary
    )


def test_a_model_that_is_handed_back_needs_a_budget_or_a_smaller_rate():
    words = spending(look(20, 90.0), chosen=0, target_met=False).summary
    assert "A larger budget or a smaller `lr` may be enough" in words
    assert "more time" not in words


@pytest.mark.parametrize(
    ("spent", "said"), [(-12.7, "12.7 points gained"), (0.0, "0 points spent"), (1.0, "1 point spent")]
)
def test_a_gain_is_called_one(spent, said):
    words = spending(look(20, spent, test=MET)).summary
    assert f"; {said} after update 20." in words
    assert "-" not in words.replace("held-out", "").replace("estimate-retrain", "")


def test_the_cheapest_iterate_may_have_gained():
    met = look(10, -2.0, 0.0, test=MET)
    assert "The cheapest iterate that forgot as asked gained 2 points." in spending(met, look(20, 3.0)).summary
    assert "No iterate forgot as asked." in spending(look(20, 3.0)).summary


def test_readings_come_back_from_plain_values():
    from dataclasses import asdict

    for found in (look(3, 0.5, test=FEW), look(3, 0.5, test=None)):
        assert ControlEvaluation.from_dict(asdict(found)) == found


def test_a_metric_that_failed_at_every_reading_spent_nothing_that_is_known():
    failed = replace(look(20, float("inf"), test=FEW), failed="expected a finite number, but found nan")
    back = spending(failed, chosen=0).summary
    assert "could not be kept: what the iterates spent is not known. The model is handed back" in back
    assert "larger budget" not in back
    assert back.endswith(
        "Let the metric return a finite number for every model, or choose another unit for the budget."
    )
    forced = spending(failed, within_budget=False).summary
    assert forced.startswith("Whether the budget of 6 points was kept is not known. Whether the model forgets as asked")
    mixed = spending(failed, look(40, 9.0, test=FEW), chosen=0).summary
    assert "could not be kept: every iterate spent more." in mixed


def test_where_the_test_data_decide_no_more_examples_are_asked_for():
    found = replace(spending(look(20, 0.0, test=FEW)), on_test="still distinguishable").with_needed(None)
    assert "cannot be decided with 25 examples (AUC" in found.summary
    assert found.summary.endswith(
        "The test data decide it: the forgotten examples are still distinguishable from held-out data."
    )
    assert "would" not in found.summary


def test_an_unknown_cost_is_no_number():
    met = look(20, inf, missing=0.0, test=MET)
    words = spending(met, look(40, 2.0), pareto_indices=(1, 2)).summary
    assert "What the iterates that forgot as asked spent is not known." in words
    assert "inf" not in words


def test_a_share_of_the_budget_too_small_to_print_is_no_power_of_ten():
    words = spending(look(20, 3.7e-9), time_fraction=0.01).summary
    assert "The run used < 0.01 % of the budget" in words
    assert "e-0" not in words


def test_a_metric_without_a_name_is_called_one():
    asked = Budget(metric=lambda *_: 0.5, max_drop=0.1)
    found = replace(spending(look(20, -0.0, test=MET)), budget=asked)
    assert found.as_dict()["limit"]["metric"] == "the metric"
    assert "; 0 of the metric spent after update 20" in found.summary
