"""Two ranks that share the examples give what one process gives."""

import json

import pytest
from rank_costs import LAYERS, OUT
from two_ranks import COUNTED, SHARDS, WITHOUT, both, cases, refusals
from two_runs import REFUSED, RUNS

TOLERANCE, EXACT = 1e-5, 1e-10
LEFT = ("weights", "directions", "rows", "state")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Differences from one process by case, on both ranks: every case in one pair of processes."""
    return both(str(tmp_path_factory.mktemp("ranks")))


@pytest.mark.parametrize("name", cases())
def test_two_ranks_are_one_process(found, name):
    first, second = (rank[name] for rank in found)
    if "missing" in first:
        pytest.skip(first["missing"])
    assert first["fingerprint"] == second["fingerprint"]
    assert max(first[left] for left in LEFT) < TOLERANCE
    if "float64" in name:
        assert max(first["weights"], first["directions"]) < EXACT


@pytest.mark.parametrize("sentence", refusals())
def test_what_ranks_cannot_share_is_refused_on_every_rank_before_anything_moves(found, sentence):
    for rank in found:
        if "missing" in rank[sentence]:
            pytest.skip(rank[sentence]["missing"])
        assert sentence in rank[sentence]["refused"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_two_ranks_is_one_on_one(found, name):
    (first, alone), (second, _) = (rank[name] for rank in found)
    assert first == second
    assert first["buffers"] == alone["buffers"]
    for left in ("weights", "losses", "spent"):
        assert first[left] == pytest.approx(alone[left], abs=TOLERANCE)


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_run_that_ranks_cannot_share_is_refused(found, sentence):
    for rank in found:
        assert sentence in rank[sentence][0]["refused"]


@pytest.mark.parametrize("rule", COUNTED)
def test_collectives_are_those_of_the_committed_record(found, rule):
    recorded = json.loads(OUT.read_text(encoding="utf-8"))["rows"][rule]
    for rank in found:
        for how, counts in rank["collectives"][rule].items():
            assert counts == recorded[how]["collectives"]


def test_a_sum_reduces_its_gradient_once_and_an_explicit_rule_each_of_its_two(found):
    counts = found[0]["collectives"]
    assert [counts[rule]["ddp"]["gradients"] for rule in ("weighted_sum", "eupmu", "projection")] == [1, 1, 2]
    # Both losses travel together, and so do the three products of a Gram matrix.
    assert counts["weighted_sum"]["ddp"]["allreduce"] == 1 + 1
    if not SHARDS:
        pytest.skip(WITHOUT)
    assert counts["weighted_sum"]["fsdp"]["allreduce"] == 1
    assert counts["projection"]["fsdp"]["all_reduce"] == 1
    # Two sides, each gathered for its forward and its backward pass.
    assert counts["weighted_sum"]["fsdp"]["allgather_base"] == 4 * LAYERS
