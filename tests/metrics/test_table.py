import json

import numpy as np
import pytest

from expunge.errors import ConfigError, DataError
from expunge.metrics import (
    AVERAGE_GAP,
    SECONDS,
    Divergence,
    ModelScores,
    aggregate,
    compute_noise_floor,
    compute_noise_floors,
    evaluate_outputs,
    summarize,
)

METRICS = ["ua", "ra", "ta", "mia", "avg_gap", "auc"]


def trials_of(request, seeds=(0, 1, 2)):
    """An original, a retrained model and a method at every seed, each beside that seed's own retrained model."""
    found = []
    for seed in seeds:
        retrained = request(seed)
        common = {"seed": seed, "retrained": retrained, "metrics": METRICS}
        found += [
            ModelScores.from_outputs(
                request(seed, sharpness=9.0), key="original", label="Original", role="original", **common
            ),
            ModelScores.from_outputs(
                retrained, key="retrained", label="Retrain", role="retrained", seconds=3.0 + seed, **common
            ),
            ModelScores.from_outputs(
                request(seed + 30),
                key="eupmu",
                label="EUPMU",
                role="method",
                seconds=1.0,
                history=[{"step": seed}],
                settings={"epochs": 5},
                **common,
            ),
        ]
    return found


def rows_of(table):
    return {row["key"]: row for row in table["rows"]}


def test_rows_have_the_form_of_the_result_document(random_request):
    table = aggregate(trials_of(random_request), metrics=METRICS)
    assert list(table) == ["metrics", "noise_floor", "rows"]
    assert [metric["key"] for metric in table["metrics"]] == [*METRICS, "seconds"]
    assert all(list(metric) == ["key", "label", "unit", "definition", "direction"] for metric in table["metrics"])
    assert [row["role"] for row in table["rows"]] == ["original", "retrained", "method"]
    method = rows_of(table)["eupmu"]
    assert list(method) == ["key", "label", "role", "scores", "per_class", "history", "settings", "evidence"]
    assert method["history"] == [{"step": 0}]
    assert method["settings"] == {"epochs": 5}
    assert all(set(score) == {"values", "mean", "half_width"} for score in method["scores"].values())
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_each_seed_is_paired_with_its_own_retrained_model(random_request):
    gaps = [AVERAGE_GAP(random_request(seed + 30), random_request(seed)) for seed in range(3)]
    found = rows_of(aggregate(trials_of(random_request), metrics=METRICS))
    assert found["eupmu"]["scores"]["avg_gap"] == summarize(gaps).as_dict()
    assert found["retrained"]["scores"]["avg_gap"]["mean"] == 0.0
    assert found["retrained"]["scores"]["seconds"]["values"] == [3.0, 4.0, 5.0]


def test_without_a_retrained_model_its_columns_are_absent(random_request):
    trial = ModelScores.from_outputs(random_request(0), key="ft", label="FT", role="method", seed=0, seconds=1.0)
    table = aggregate([trial])
    assert {"avg_gap", "tow", "js_forget"}.isdisjoint(metric["key"] for metric in table["metrics"])
    assert {"avg_gap", "tow", "js_forget"}.isdisjoint(table["rows"][0]["scores"])
    assert table["noise_floor"] is None


def test_seconds_are_absent_where_nothing_was_timed(random_request):
    rows = rows_of(aggregate(trials_of(random_request), metrics=METRICS))
    assert "seconds" not in rows["original"]["scores"]
    assert "seconds" in rows["eupmu"]["scores"]


def test_values_stand_at_their_seed_when_a_run_is_missing(random_request):
    trials = [trial for trial in trials_of(random_request) if (trial.key, trial.seed) != ("eupmu", 1)]
    shuffled = [trials[index] for index in (7, 0, 3, 6, 1, 4, 2, 5)]
    values = rows_of(aggregate(shuffled, metrics=METRICS))["eupmu"]["scores"]["ua"]["values"]
    expected = [evaluate_outputs(random_request(seed + 30), metrics=["ua"])["ua"] for seed in (0, 2)]
    assert values == [expected[0], None, expected[1]]


def test_per_class_is_the_mean_over_seeds_with_the_forgotten_class(class_request):
    found = rows_of(aggregate(trials_of(class_request), metrics=METRICS))["eupmu"]["per_class"]
    for label in range(4):
        parts = [class_request(seed + 30).held_out for seed in range(3)]
        hits = [(part.logits.argmax(1) == label)[part.targets == label].float().mean() for part in parts]
        assert found[label] == pytest.approx(100 * float(np.mean(hits)), rel=1e-6)


def test_a_class_without_test_examples_is_null():
    trials = [ModelScores("ft", "FT", "method", seed, {}, per_class=[50.0 + seed, None]) for seed in (0, 2)]
    assert aggregate(trials)["rows"][0]["per_class"] == [51.0, None]


def test_the_noise_floor_stands_beside_the_rows(random_request):
    floor = compute_noise_floor([[random_request(seed), random_request(seed + 1)] for seed in (0, 20)])
    table = aggregate(trials_of(random_request), floor, METRICS)
    assert table["noise_floor"] == {"values": list(floor.values), "mean": floor.mean, "half_width": floor.half_width}


def test_trials_that_do_not_fit_together_are_refused():
    one = ModelScores("ft", "FT", "method", 0, {"ua": 1.0})
    with pytest.raises(DataError, match="at least one model"):
        aggregate([])
    with pytest.raises(DataError, match="two of one seed"):
        aggregate([one, one])
    with pytest.raises(DataError, match="one label and role"):
        aggregate([one, ModelScores("ft", "Fine-tuning", "method", 1, {"ua": 1.0})])
    with pytest.raises(ConfigError, match="'mine'"):
        aggregate([ModelScores("ft", "FT", "method", 0, {"mine": 1.0})])


def test_cost_is_stated_as_far_as_it_is_known(random_request):
    trial = lambda **known: ModelScores.from_outputs(  # noqa: E731
        random_request(0), key="a", label="A", role="method", seed=0, metrics=["ua"], **known
    )
    full = aggregate([trial(seconds=2.0, peak_bytes=3 * 2**20, retrain_seconds=10.0)], metrics=["ua"])
    assert {column["key"]: column["direction"] for column in full["metrics"]} == {
        "ua": "match",
        "seconds": "lower",
        "peak_memory": "lower",
        "speedup": "higher",
    }
    scores = full["rows"][0]["scores"]
    assert [scores[key]["mean"] for key in ("seconds", "peak_memory", "speedup")] == [2.0, 3.0, 5.0]
    assert trial(retrain_seconds=10.0).scores.keys() == {"ua"}
    assert trial(seconds=2.0).scores.keys() == {"ua", "seconds"}


def test_the_floor_of_every_distance_stands_beside_the_rows(random_request):
    floors = compute_noise_floors([[random_request(5), random_request(6)]])
    assert floors.keys() == {"avg_gap", "tow", "js_forget", "kl_forget"}
    assert (
        floors["js_forget"].mean
        == compute_noise_floor([[random_request(5), random_request(6)]], Divergence("js", "forget")).mean
        > 0
    )
    table = aggregate(trials_of(random_request), floors=floors)
    assert table["noise_floor"] == floors["avg_gap"].as_dict()
    assert table["noise_floors"] == {"avg_gap": table["noise_floor"]}, "columns that are not there have no floor"


def test_a_column_that_is_named_twice_is_there_once():
    trial = ModelScores("ft", "FT", "method", 0, {"ua": 1.0, "seconds": 2.0})
    table = aggregate([trial], metrics=["ua", SECONDS, "ua"])
    assert [column["key"] for column in table["metrics"]] == ["ua", "seconds"]
