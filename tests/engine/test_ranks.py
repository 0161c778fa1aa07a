"""Two ranks that share the examples give what one process gives."""

import pytest
from two_ranks import both, cases, refusals

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
        assert sentence in rank[sentence]["refused"]
