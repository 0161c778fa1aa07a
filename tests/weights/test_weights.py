"""Weights come back bit for bit, files that are not whole are refused, and nothing is overwritten by accident."""

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from expunge.errors import CheckpointError
from expunge.weights import check_is_safetensors, load_into, load_weights, read_metadata, save_weights


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def raw(tensor):
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def write_raw(path, header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def test_state_comes_back_with_its_keys_dtypes_shapes_and_bits(tmp_path):
    state = {
        "a.half": torch.tensor([1.5, float("nan"), -0.0], dtype=torch.float16),
        "b.bfloat": torch.randn(3, 2).bfloat16(),
        "c.count": torch.tensor(7),
        "d.flag": torch.tensor([True, False]),
        "e.empty": torch.zeros(0, 4),
        "f.double": torch.randn(2, 2, dtype=torch.float64),
    }
    back = load_weights(save_weights(state, tmp_path / "state.safetensors"))
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].shape == tensor.shape
        assert raw(back[name]) == raw(tensor)


def test_views_overlaps_and_permuted_tensors_come_back_with_their_values(tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    state = {"all": base, "rows": base[1:3], "columns": base[:, ::2], "turned": base.T, "again": base}
    back = load_weights(save_weights(state, tmp_path / "views.safetensors"))
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_channels_last_layout_comes_back(tmp_path):
    model = network().to(memory_format=torch.channels_last)
    back = load_weights(save_weights(model, tmp_path / "last.safetensors"))
    assert back["0.weight"].stride() == model[0].weight.stride() != (27, 9, 3, 1)
    assert torch.equal(back["0.weight"], model[0].weight)
    plain = network()
    load_into(plain, tmp_path / "last.safetensors")
    assert plain[0].weight.is_contiguous()
    assert torch.equal(plain[0].weight, model[0].weight)


def test_load_into_gives_the_same_bits_and_buffers(tmp_path):
    one, two = network().train(), network()
    one(torch.randn(6, 3, 3, 3))
    load_into(two, save_weights(one, tmp_path / "model.safetensors"))
    assert all(raw(a) == raw(b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("write", [save_weights, save_model], ids=["ours", "safetensors.save_model"])
def test_tied_weights_stay_tied_and_equal(tmp_path, write):
    one, two = Tied(), Tied()
    write(one, tmp_path / "tied.safetensors")
    load_into(two, tmp_path / "tied.safetensors")
    assert torch.equal(one.head.weight, two.head.weight)
    assert two.head.weight is two.embedding.weight


def test_a_missing_key_without_twin_is_not_excused_by_another_tie(tmp_path):
    model = Tied()
    save_weights({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"'embedding\.weight', 'head\.weight' missing from the file"):
        load_into(model, tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("3.bias"), "'3.bias' missing from the file"),
        (lambda s: s.update(extra=torch.zeros(1)), "'extra' in the file alone"),
        (
            lambda s: s.update({"3.bias": torch.zeros(9)}),
            r"float32 \(9,\) where the model has float32 \(2,\)",
        ),
        (lambda s: s.update({"3.bias": torch.zeros(2, dtype=torch.float64)}), "float64"),
        (lambda s: s.update({"3.bias": torch.zeros(2, dtype=torch.int64)}), "int64"),
    ],
    ids=["missing", "unexpected", "shape", "narrower", "integers"],
)
def test_another_models_weights_are_refused_and_the_model_is_untouched(tmp_path, change, message):
    model, state = network(), network().state_dict()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    change(state)
    path = save_weights(state, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_into(model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_half_precision_file_fits_a_single_precision_model_exactly(tmp_path):
    model, halved = nn.Linear(3, 2), nn.Linear(3, 2).half()
    load_into(model, save_weights(halved, tmp_path / "half.safetensors"))
    assert torch.equal(model.weight, halved.weight.float())


def test_many_differences_are_counted(tmp_path):
    path = save_weights({f"k{i}": torch.zeros(1) for i in range(9)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="'k0', 'k1', 'k2' and 6 more in the file alone"):
        load_into(nn.Identity(), path)


def test_metadata_is_kept_and_the_format_note_is_for_others(tmp_path):
    path = save_weights(network().to(memory_format=torch.channels_last), tmp_path / "m.safetensors", {"seed": "3"})
    assert read_metadata(path) == {"seed": "3"}
    assert b'"format":"pt"' in path.read_bytes()


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("mine")
    with pytest.raises(CheckpointError, match="not to exist yet"):
        save_weights(nn.Linear(1, 1), path)
    assert path.read_text() == "mine"
    save_weights(nn.Linear(1, 1), path, overwrite=True)
    assert load_weights(path).keys() == {"weight", "bias"}


def test_weights_that_were_loaded_can_replace_their_own_file(tmp_path):
    path = save_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")
    state = load_weights(path)
    doubled = {name: 2 * tensor for name, tensor in state.items()}
    kept = {name: tensor.clone() for name, tensor in state.items()}
    save_weights(doubled, path, overwrite=True)
    assert all(torch.equal(state[name], kept[name]) for name in state)
    assert all(torch.equal(load_weights(path)[name], doubled[name]) for name in state)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = save_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_weights(nn.Linear(2, 2), path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="create it first"):
        save_weights(nn.Linear(1, 1), tmp_path / "nowhere" / "model.safetensors")


@pytest.mark.parametrize(
    "value",
    [3, None, torch.zeros(2, 2).to_sparse(), torch.zeros(1, device="meta"), torch.zeros(1, dtype=torch.complex128)],
)
def test_what_is_not_a_dense_tensor_is_refused(tmp_path, value):
    with pytest.raises(CheckpointError, match="under 'strange'"):
        save_weights({"fine": torch.zeros(1), "strange": value}, tmp_path / "x.safetensors")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "bare pickle"])
@pytest.mark.parametrize("name", ["model.pth", "weights of mine.safetensors", "noname"])
def test_a_pickle_is_known_by_its_content_and_the_cure_names_the_door(tmp_path, monkeypatch, legacy, name):
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(1, 1).state_dict(), name, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError) as caught:
        load_weights(name)
    quoted = f"'{name}'" if " " in name else name
    stem = name.rpartition(".")[0] or name
    target = f"{stem}.converted.safetensors" if name.endswith(".safetensors") else f"{stem}.safetensors"
    assert f"`expunge convert {quoted} {repr(target) if ' ' in target else target}`" in str(caught.value)


def test_the_cure_is_the_documented_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({}, "model.pth")
    with pytest.raises(CheckpointError) as caught:
        check_is_safetensors("model.pth")
    assert caught.value.hint == "run `expunge convert model.pth model.safetensors`"


def test_a_safetensors_file_with_a_pickles_name_is_welcome(tmp_path):
    path = save_weights(nn.Linear(1, 1), tmp_path / "model.pth")
    assert load_weights(path).keys() == {"weight", "bias"}


def test_a_header_length_that_looks_like_a_pickle_is_not_one(tmp_path):
    text = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(0x280)
    path = write_raw(tmp_path / "odd.safetensors", text, struct.pack("<f", 2.0))
    assert path.read_bytes()[:2] == pickle.dumps(0, protocol=2)[:2]
    assert load_weights(path)["w"].item() == 2.0


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DAMAGED = {
    "empty": lambda p: p.write_bytes(b""),
    "seven bytes": lambda p: p.write_bytes(b"1234567"),
    "text": lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
    "header beyond the file": lambda p: write_raw(p, {"w": ENTRY}, bytes(8), length=10_000),
    "huge header": lambda p: write_raw(p, {"w": ENTRY}, bytes(8), length=2**62),
    "no json": lambda p: write_raw(p, b"{" * 40),
    "data cut off": lambda p: write_raw(p, {"w": ENTRY}, bytes(4)),
    "data too long": lambda p: write_raw(p, {"w": ENTRY}, bytes(12)),
    "shape and bytes disagree": lambda p: write_raw(p, {"w": {**ENTRY, "shape": [3]}}, bytes(8)),
    "unknown dtype": lambda p: write_raw(p, {"w": {**ENTRY, "dtype": "F33"}}, bytes(8)),
    "bad dimensions": lambda p: write_raw(p, {"__metadata__": {"expunge.dim_order.w": "1,7"}, "w": ENTRY}, bytes(8)),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    damage(path)
    with pytest.raises(CheckpointError, match="to be a whole safetensors file") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(0, 250, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path, cut):
    path = save_weights(nn.Linear(4, 5), tmp_path / "model.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with pytest.raises(CheckpointError):
        load_weights(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="a weights file"):
            load_weights(path)
