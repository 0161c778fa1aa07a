"""A state on disk comes back as it was, or not at all."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.errors import CheckpointError
from expunge.weights import load_state, save_state
from expunge.weights.state import DIGEST_KEY, TREE_KEY

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=20,
)


@settings(max_examples=20, deadline=None)
@given(state=st.dictionaries(st.text(), PLAIN))
def test_plain_values_come_back(state, tmp_path_factory):
    assert load_state(save_state(state, tmp_path_factory.mktemp("state") / "a.safetensors")) == state


KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tensors_come_back_to_the_bit(kind, tmp_path):
    many = torch.randn(3, 4, 5, 6).mul(7).to(kind)
    state = {
        "many": many,
        "one": many[0, 0, 0, 0],
        "none": many[:0],
        "channels last": many.contiguous(memory_format=torch.channels_last),
        "a part": many[:, 1],
        "again": [many, many],
    }
    found = load_state(save_state(state, tmp_path / "a.safetensors"))
    assert torch.equal(found["again"][1], many)
    for name in ("many", "one", "none", "channels last", "a part"):
        assert torch.equal(found[name], state[name]), name
        assert found[name].dtype == kind
    assert found["channels last"].is_contiguous(memory_format=torch.channels_last)


def test_many_permuted_tensors_come_back_in_their_order(tmp_path):
    state = {"all": [torch.randn(3, 4, 5, 6).contiguous(memory_format=torch.channels_last) for _ in range(12)]}
    found = load_state(save_state(state, tmp_path / "a.safetensors"))
    for one, other in zip(found["all"], state["all"], strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_what_is_not_a_number_comes_back(tmp_path):
    state = {"plain": [math.nan, math.inf, -0.0], "tensor": torch.tensor([math.nan, -math.inf]), "key": np.arange(3)}
    found = load_state(save_state(state, tmp_path / "a.safetensors"))
    assert math.isnan(found["plain"][0])
    assert (found["plain"][1], math.copysign(1, found["plain"][2])) == (math.inf, -1.0)
    assert torch.equal(found["tensor"].isnan(), torch.tensor([True, False]))
    assert isinstance(found["key"], np.ndarray)
    assert found["key"].tolist() == [0, 1, 2]


def test_an_object_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="plain values and tensors"):
        save_state({"a": object()}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    return save_state({"a": torch.arange(64.0), "b": {"c": 3}}, tmp_path / "a.safetensors")


def test_every_cut_is_found(saved):
    whole = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_state(saved)


def test_every_flipped_bit_is_found(saved):
    """In the body and in the digested text; other parts of the header are what the parser compares."""
    whole = saved.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = whole[8 : 8 + length]
    tree = header.index(b'\\"c\\"')
    for place in [
        8 + tree + 2,
        8 + header.index(DIGEST_KEY.encode()) + len(DIGEST_KEY) + 5,
        *range(8 + length, len(whole), 37),
    ]:
        broken = bytearray(whole)
        broken[place] ^= 1
        saved.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"digest|whole"):
            load_state(saved)


def test_weights_are_no_state(tmp_path):
    from expunge.weights import save_weights

    path = save_weights({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="digest"):
        load_state(path)


def test_a_made_up_tree_ends_in_our_error(tmp_path):
    """Whoever can compute a digest can write any text: it is refused, and never run."""
    from expunge.weights import save_weights
    from expunge.weights.state import compute_digest

    for tree in ("", "{", '{"$": "tensor", "of": "9"}', '{"$": "call", "of": []}', "[1]", '{"of": 1}', "[" * 10**5):
        path = save_weights(
            {}, tmp_path / "a.safetensors", {TREE_KEY: tree, DIGEST_KEY: compute_digest(tree, {})}, overwrite=True
        )
        with pytest.raises(CheckpointError):
            load_state(path)
    assert json.loads('{"a": 1}') == {"a": 1}
