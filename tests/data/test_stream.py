import hashlib
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.data import PairSampler
from expunge.errors import ConfigError
from expunge.pair import Pair

small = st.integers(1, 40)
widths = st.integers(1, 17)


def epoch(stream, number):
    return [stream.sample(number, step) for step in range(len(stream))]


def joined(draws, side):
    return torch.cat([getattr(draw, side) for draw in draws])


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths, st.integers(0, 3))
def test_an_epoch_of_pairs_meets_every_retained_example_once(n_f, n_r, b_f, b_r, seed):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "paired", seed)
    for number in (0, 1):
        draws = epoch(stream, number)
        assert joined(draws, "retain").sort().values.tolist() == list(range(n_r))
        assert [len(draw.retain) for draw in draws[:-1]] == [b_r] * (len(draws) - 1)


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths, st.integers(0, 3))
def test_forget_batches_cut_one_endless_row_of_whole_passes(n_f, n_r, b_f, b_r, seed):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "paired", seed)
    draws = [draw for number in range(4) for draw in epoch(stream, number)]
    for draw in draws:
        assert len(draw.forget) == len(draw.forget.unique()) == min(b_f, n_f)
    row = joined(draws, "forget")
    for start in range(0, len(row) - n_f + 1, n_f):
        assert row[start : start + n_f].sort().values.tolist() == list(range(n_f))


def test_passes_over_the_forget_set_are_reshuffled():
    # Defect 7 of public code: the first batch of a fresh loader at every step; an epoch never passes over the set.
    stream = PairSampler(Pair(64, 256), Pair(8, 32), "paired", 0)
    first, second = (joined(epoch(stream, number), "forget") for number in (0, 1))
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(64))
    assert not torch.equal(first, second)
    assert not torch.equal(joined(epoch(stream, 0), "retain"), joined(epoch(stream, 1), "retain"))


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths)
def test_a_mixed_epoch_is_one_pass_over_the_union(n_f, n_r, b_f, b_r):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "mixed", 1)
    draws = epoch(stream, 2)
    assert joined(draws, "forget").sort().values.tolist() == list(range(n_f))
    assert joined(draws, "retain").sort().values.tolist() == list(range(n_r))
    sizes = [len(draw.forget) + len(draw.retain) for draw in draws]
    assert sizes[:-1] == [b_f + b_r] * (len(draws) - 1)
    assert 0 < sizes[-1] <= b_f + b_r


@pytest.mark.parametrize("side", ["forget", "retain"])
def test_one_sided_modes_pass_over_one_set(side):
    other = "retain" if side == "forget" else "forget"
    sizes = Pair(11, 0) if side == "forget" else Pair(0, 11)
    draws = epoch(PairSampler(sizes, Pair(4, 4), side, 0), 3)
    assert joined(draws, side).sort().values.tolist() == list(range(11))
    assert [len(getattr(draw, side)) for draw in draws] == [4, 4, 3]
    assert len(joined(draws, other)) == 0


@pytest.mark.parametrize("mode", ["paired", "mixed", "forget", "retain"])
@settings(max_examples=25, deadline=None)
@given(n_f=small, n_r=small, b_f=widths, b_r=widths, data=st.data())
def test_a_resumed_stream_meets_what_a_straight_run_meets(mode, n_f, n_r, b_f, b_r, data):
    def make():
        return PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), mode, 7)

    straight = make()
    runs = [draw for number in range(6) for draw in epoch(straight, number)]
    place = data.draw(st.integers(0, len(runs) - 1))
    resumed = make().sample(*divmod(place, len(straight)))
    assert resumed.forget.equal(runs[place].forget)
    assert resumed.retain.equal(runs[place].retain)
    assert resumed.next_retain_half.equal(runs[place].next_retain_half)


def test_seeds_give_different_streams_and_sides_are_independent():
    draws = [PairSampler(Pair(50, 50), Pair(50, 50), "paired", seed).sample(0, 0) for seed in (0, 0, 1)]
    assert draws[0].retain.equal(draws[1].retain)
    assert not draws[0].retain.equal(draws[2].retain)
    assert not draws[0].forget.equal(draws[0].retain)


def test_the_order_is_that_of_a_seeded_generator_per_purpose_and_epoch():
    seed = int.from_bytes(hashlib.sha256(b"5/retain/2").digest()[:7], "little")
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    assert PairSampler(Pair(0, 9), Pair(1, 4), "retain", 5).sample(2, 1).retain.equal(order[4:8])


@pytest.mark.parametrize("mode", ["paired", "mixed", "retain"])
def test_the_probe_is_the_first_half_of_the_next_retain_batch(mode):
    stream = PairSampler(Pair(5, 23), Pair(3, 5), mode, 0)
    draws = epoch(stream, 0) + epoch(stream, 1)
    for this, following in pairwise(draws):
        assert this.next_retain_half.equal(following.retain[: (len(following.retain) + 1) // 2])
        if this.epoch == following.epoch:
            assert not torch.isin(this.next_retain_half, this.retain).any()


def test_the_probe_costs_nothing_until_it_is_asked_for(monkeypatch):
    stream = PairSampler(Pair(5, 23), Pair(3, 23), "retain", 0)
    shuffles = []
    plain = PairSampler._permute
    monkeypatch.setattr(PairSampler, "_permute", lambda self, *a: shuffles.append(a) or plain(self, *a))
    draw = stream.sample(0, 0)
    assert [made[1] for made in shuffles] == [0]
    assert len(draw.next_retain_half) == 12
    assert [made[1] for made in shuffles] == [0, 1]


@pytest.mark.parametrize("mode", ["paired", "mixed"])
def test_at_most_two_permutations_of_a_kind_are_kept(mode):
    stream = PairSampler(Pair(13, 29), Pair(5, 7), mode, 0)
    for number in range(9):
        for draw in epoch(stream, number):
            assert draw.next_retain_half.dtype == torch.int64
    kept = [purpose for purpose, _ in stream._permutations]
    assert max(kept.count(purpose) for purpose in kept) == 2


@pytest.mark.parametrize(
    ("sizes", "batch", "mode"),
    [
        (Pair(0, 4), Pair(2, 2), "paired"),
        (Pair(4, 4), Pair(2, 0), "paired"),
        (Pair(4, 0), Pair(2, 2), "mixed"),
        (Pair(0, 4), Pair(2, 2), "forget"),
        (Pair(4, 4), Pair(2, 2), "zipped"),
    ],
)
def test_streams_without_examples_are_refused(sizes, batch, mode):
    with pytest.raises(ConfigError):
        PairSampler(sizes, batch, mode, 0)


@pytest.mark.parametrize("place", [(0, 3), (-1, 0), (0, -1)])
def test_updates_outside_the_epoch_are_refused(place):
    with pytest.raises(ConfigError, match="step from 0 to 2"):
        PairSampler(Pair(4, 6), Pair(2, 2), "paired", 0).sample(*place)


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths)
def test_blocks_pass_over_one_set_and_then_over_the_other(n_f, n_r, b_f, b_r):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "blocks", 3)
    for number in (0, 1):
        draws = epoch(stream, number)
        border = -(-n_f // b_f)
        assert all(len(draw.forget) and not len(draw.retain) for draw in draws[:border])
        assert all(len(draw.retain) and not len(draw.forget) for draw in draws[border:])
        assert joined(draws, "forget").sort().values.tolist() == list(range(n_f))
        assert joined(draws, "retain").sort().values.tolist() == list(range(n_r))


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths, st.integers(1, 7))
def test_interleaved_forget_batches_come_before_every_few_retain_batches(n_f, n_r, b_f, b_r, ratio):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "interleaved", 3, ratio)
    draws = [draw for number in range(3) for draw in epoch(stream, number)]
    for number in range(3):
        own = epoch(stream, number)
        assert joined(own, "retain").sort().values.tolist() == list(range(n_r))
        assert [bool(len(draw.forget)) for draw in own] == [step % (ratio + 1) == 0 for step in range(len(own))]
        assert all(bool(len(draw.forget)) != bool(len(draw.retain)) for draw in own)
    row = joined(draws, "forget")
    for start in range(0, len(row) - n_f + 1, n_f):
        assert row[start : start + n_f].sort().values.tolist() == list(range(n_f))


@settings(max_examples=60, deadline=None)
@given(small, small, widths, widths)
def test_leading_updates_pass_over_the_forget_set_once(n_f, n_r, b_f, b_r):
    stream = PairSampler(Pair(n_f, n_r), Pair(b_f, b_r), "leading", 3)
    for number in range(2):
        own = epoch(stream, number)
        assert joined(own, "retain").sort().values.tolist() == list(range(n_r))
        assert all(len(draw.retain) for draw in own)
        passes = -(-n_f // b_f)
        assert [bool(len(draw.forget)) for draw in own] == [step < passes for step in range(len(own))]
        seen = joined(own, "forget").tolist()
        assert len(set(seen)) == len(seen) == min(n_f, b_f * len(own))


@pytest.mark.parametrize("mode", ["blocks", "interleaved"])
def test_the_probe_is_the_next_retain_batch_wherever_it_comes(mode):
    stream = PairSampler(Pair(5, 12), Pair(2, 4), mode, 0, 2)
    draws = [draw for number in range(2) for draw in epoch(stream, number)]
    for index, draw in enumerate(draws[:-4]):
        upcoming = next(other.retain for other in draws[index + 1 :] if len(other.retain))
        assert torch.equal(draw.next_retain_half, upcoming[:2])


def test_a_ratio_below_one_is_refused():
    with pytest.raises(ConfigError, match="ratio=0"):
        PairSampler(Pair(5, 12), Pair(2, 4), "interleaved", 0, 0)
