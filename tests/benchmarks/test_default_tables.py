"""The table of the default beside the other rows: paired by seed, and honest about what is missing."""

import pytest
from default_tables import beside_default

GAPS = {"auto": [1.0, 2.0, None], "rl": [2.0, 4.0, 9.0], "eupmu": [0.5, 2.5, 1.0]}


def row(key):
    return {"key": key, "label": key.upper(), "role": "method", "scores": {"avg_gap": {"values": GAPS[key]}}}


def document(**changes):
    promise = {
        "seed": 0,
        "within_budget": True,
        "target_met": False,
        "bound": 1.5,
        "true_drop": 0.5,
        "search": {"lr": 0.01},
    }
    promises = [promise, {**promise, "seed": 1, "true_drop": 2.5}, {**promise, "seed": 2, "bound": None} | changes]
    return {"requests": [{"id": "tenth", "rows": [*map(row, GAPS)], "budgets": {"auto": promises}}]}


def test_differences_are_of_the_seeds_that_both_rows_have():
    lines = beside_default(document()).splitlines()
    # −1 and −2: a mean of −1.5, half an interval of 12.7 (one degree of freedom) times .5.
    assert "| tenth | RL | -1.50 ± 6.35 | 4.85 |" in lines
    assert "| tenth | EUPMU | 0.00 ± 6.35 | 6.35 |" in lines
    assert not any("AUTO" in line for line in lines)


COUNTED = "Of 2 runs with a certificate 1 (95 % interval 1.3 to 98.7 %) lost"


@pytest.mark.parametrize(("changes", "words"), [({}, COUNTED), ({"bound": 0.1}, "Of 3 runs")])
def test_promises_are_those_of_every_seed_and_broken_bounds_are_counted(changes, words):
    text = beside_default(document(**changes))
    assert "| tenth | 1 | 0.01 | 2.50 | 1.50 | yes | no |" in text
    assert words in text.splitlines()[-1]


def test_what_was_not_met_is_shown_beside_what_forgot_most():
    spent_and_auc = [(0.0, 0.8), (0.4, 0.75), (9.0, 0.66), (3.0, 0.7)]
    evaluations = [{"spent": spent, "auc": auc} for spent, auc in spent_and_auc]
    text = beside_default(document(evaluations=evaluations, chosen=1))
    assert text.splitlines()[-1] == "| tenth | 2 | 0.4 | 0.75 | 9 | 0.66 |"
    assert "not met" not in beside_default(document(evaluations=evaluations, chosen=1, target_met=True))
