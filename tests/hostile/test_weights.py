"""Weights that somebody else wrote: headers that lie are refused before anything of their size is allocated."""

import json
import resource
import struct

import pytest
import torch
from hypothesis import strategies as st
from torch import nn

import hostile
from expunge.errors import CheckpointError
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples
from expunge.weights import load_into, load_weights, read_metadata, save_weights
from hostile import broken, mutated, numbers_of, tried

HEADER = {
    "__metadata__": {"format": "pt", "expunge.dim_order.weight": "1,0", "note": "x"},
    "bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
    "weight": {"dtype": "F32", "shape": [3, 2], "data_offsets": [12, 36]},
}
DTYPES = ("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "C64", "U16", "U64", "XX")
MOST_BYTES = 64 * 2**20


def weights_file(header, body: bytes = bytes(36), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape, offsets, dtype="F32"):
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


LIES = {
    "a header that is longer than the file": weights_file(HEADER, length=10**6),
    "a header of 2^63 bytes": weights_file(HEADER, length=2**63),
    "a header of all bytes that there are": weights_file(HEADER, b"", length=2**64 - 1),
    "an offset outside the file": weights_file(tensor([2**40], [0, 2**42])),
    "an end before the beginning": weights_file(tensor([9], [36, 0])),
    "a beginning before the file": weights_file(tensor([9], [-36, 0])),
    "two tensors that share bytes": weights_file(
        {name: {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]} for name in "ab"}
    ),
    "two tensors that overlap": weights_file(
        {name: {"dtype": "F32", "shape": [5], "data_offsets": [at, at + 20]} for name, at in (("a", 0), ("b", 16))}
    ),
    "a hole between tensors": weights_file(
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [at, at + 4]} for name, at in (("a", 0), ("b", 32))}
    ),
    "bytes that belong to no tensor": weights_file(tensor([1], [0, 4])),
    "a shape that is larger than its bytes": weights_file(tensor([10**9], [0, 36])),
    "a shape whose size overflows": weights_file(tensor([2**62, 8], [0, 36])),
    "a shape that overflows beside a nought": weights_file(tensor([2**62, 2**62, 0], [0, 0]), b""),
    "a size that no tensor can have": weights_file(tensor([2**63, 0], [0, 0]), b""),
    "a shape of fractions": weights_file(tensor([1.5], [0, 36])),
    "more dimensions than there can be": weights_file(tensor([1] * 5000, [0, 4]), bytes(4)),
    "JSON that never ends": weights_file(b'{"a":' * 5000),
    "a name twice": weights_file(b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "a": 1}', bytes(1)),
    "notes that are no texts": weights_file({"__metadata__": {"a": 1}, **tensor([9], [0, 36])}),
    "an order of dimensions that does not fit": weights_file(
        {"__metadata__": {"expunge.dim_order.x": "1,1,0"}, **tensor([9], [0, 36])}
    ),
    "an order of dimensions in no numbers": weights_file(
        {"__metadata__": {"expunge.dim_order.x": "9" * 5000}, **tensor([9], [0, 36])}
    ),
    "an unknown type": weights_file(tensor([9], [0, 36], "OBJECT")),
    "half a byte": weights_file(tensor([1], [0, 0], "F4"), b""),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_lies_are_refused_before_they_cost_memory(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (load_weights, lambda path: load_into(nn.Linear(2, 3), path)):
        with hostile.alarm(), hostile.Watch(), pytest.raises(CheckpointError) as error:
            read(path)
        assert str(error.value).isprintable()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES


def test_a_header_of_very_many_tensors_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    nothing = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    path.write_bytes(weights_file(("{" + ",".join(f'"{n}":{nothing}' for n in range(60_000)) + "}").encode(), b""))
    with hostile.alarm(), pytest.raises(CheckpointError, match="at most"):
        load_weights(path)


@numbers_of("weights")
def test_weights(cases, tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(nn.Linear(2, 3), path)
    good = path.read_bytes()
    values = hostile.junk() | st.sampled_from(DTYPES) | st.lists(st.integers(-1, 40), max_size=4)
    headers = mutated(HEADER, values).map(weights_file)

    def body(content):
        path.write_bytes(content)
        with hostile.Watch():
            read_metadata(path)
            state = load_weights(path)
            assert sum(each.untyped_storage().nbytes() for each in state.values()) <= len(content)
            load_into(nn.Linear(2, 3), path)

    tried(cases, body, content=headers | broken(good) | st.binary(max_size=40))


@numbers_of("latents")
def test_latents(cases, tmp_path):
    folder = tmp_path / "latents"
    PromptExamples(torch.zeros(2, 4, 2, 2), ["a", "b"]).save(folder)
    captions, latents = folder / "captions.json", folder / "latents.safetensors"
    whole = latents.read_bytes()

    def body(texts, content):
        captions.write_bytes(texts)
        latents.write_bytes(content)
        with hostile.Watch():
            found = PromptExamples.load(folder)
        assert all(isinstance(caption, str) for caption in found.captions)

    texts = mutated(["a", "b"]).map(hostile.as_json) | broken(b'["a", "b"]') | st.just(b"[" * 5000)
    tried(cases, body, texts=texts | st.just(b'["a", "b"]'), content=broken(whole) | st.just(whole))
