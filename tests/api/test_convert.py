"""The one door for pickles: tensors pass with their bits, everything else ends in one sentence and nothing runs."""

import os
import pickle
import signal

import numpy as np
import pytest
import torch
from torch import nn

from expunge.api import _convert_worker as worker
from expunge.api.convert import convert
from expunge.errors import CheckpointError
from expunge.files import list_partial
from expunge.weights import check_is_safetensors, load_into, load_weights, save_weights


class Intruder:
    """Unpickling it the unguarded way creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_checkpoint_passes_with_its_bits_and_ties(tmp_path):
    one, two = nn.Linear(3, 2), nn.Linear(3, 2)
    one.register_buffer("twin", one.weight.detach())
    two.register_buffer("twin", two.weight.detach().clone())
    torch.save({"epoch": 3, "model": one.state_dict()}, tmp_path / "model.pth")
    assert convert(tmp_path / "model.pth", tmp_path / "model.safetensors") == 3
    check_is_safetensors(tmp_path / "model.safetensors")
    load_into(two, tmp_path / "model.safetensors")
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(two.twin, two.weight)
    assert sorted(os.listdir(tmp_path)) == ["model.pth", "model.safetensors"]


def test_a_malicious_pickle_does_not_run(tmp_path):
    trap, trace = tmp_path / "trap.pth", tmp_path / "ran"
    torch.save({"weight": torch.zeros(1), "intruder": Intruder(trace)}, trap)
    with pytest.raises(CheckpointError, match="to hold tensors only") as caught:
        convert(trap, tmp_path / "out.safetensors")
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "open" in caught.value.actual
    assert os.listdir(tmp_path) == ["trap.pth"]
    torch.load(trap, weights_only=False)["intruder"].close()  # the trap is a real one
    assert trace.exists()


def test_the_door_does_not_overwrite_and_starts_no_process_for_nothing(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(1)}, tmp_path / "model.pth")
    (tmp_path / "out.safetensors").write_text("mine")
    monkeypatch.setattr("subprocess.run", lambda *args, **options: pytest.fail("a process was started"))
    with pytest.raises(CheckpointError, match="not to exist yet"):
        convert(tmp_path / "model.pth", tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="a checkpoint at"):
        convert(tmp_path / "none.pth", tmp_path / "other.safetensors")
    assert (tmp_path / "out.safetensors").read_text() == "mine"


def test_a_process_that_takes_too_long_is_ended(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"no end after 0\.01 s"):
        convert(tmp_path / "model.pth", tmp_path / "out.safetensors", limit_s=0.01)
    assert os.listdir(tmp_path) == ["model.pth"]


def test_what_a_killed_conversion_leaves_goes_when_the_name_is_written_again(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(1)}, tmp_path / "model.pth")
    if os.fork() == 0:
        monkeypatch.setattr("subprocess.run", lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))
        convert(tmp_path / "model.pth", tmp_path / "out.safetensors")
    os.wait()
    assert list_partial(tmp_path, ["out.safetensors"]) == [path for path in tmp_path.iterdir() if path.is_dir()] != []
    convert(tmp_path / "model.pth", tmp_path / "out.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["model.pth", "out.safetensors"]


def test_a_process_that_dies_is_a_sentence(tmp_path, monkeypatch):
    dying = tmp_path / "dying.py"
    dying.write_text("import os; os._exit(9)")
    monkeypatch.setattr("expunge.api.convert._WORKER", dying)
    with pytest.raises(CheckpointError, match="ended with code 9"):
        convert(dying, tmp_path / "out.safetensors")


def ask(tmp_path, capsys, content, *key):
    """Run the worker's program in this process: what it answers and the file that it wrote, if any."""
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    if isinstance(content, bytes):
        source.write_bytes(content)
    else:
        torch.save(content, source)
    code = worker.main([str(source), str(target), *key])
    assert code == (0 if target.exists() else 1)
    return capsys.readouterr().out, load_weights(target) if target.exists() else None


@pytest.fixture(autouse=True)
def _path_is_restored(monkeypatch):
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))


W = torch.tensor([1.0, 2.0])


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"w": W}, []),
        ({"state_dict": {"w": W}, "epoch": 1}, []),
        ({"model": {"w": W}, "optimizer": {"lr": 0.1}}, []),
        ({"model_state_dict": {"w": W}}, []),
        ({"net": {"w": W}, "acc": 93.1}, []),
        ({"ema": {"w": W}, "model": {"w": 5 * W}}, ["ema"]),
        ({"net": {"module.w": W}}, []),
        ({"w": nn.Parameter(W)}, []),
    ],
    ids=["plain", "state_dict", "model", "model_state_dict", "net", "key", "module. prefix", "parameter"],
)
def test_common_wrappings_are_found(tmp_path, capsys, content, key):
    _, state = ask(tmp_path, capsys, content, *key)
    assert state.keys() == {"w"}
    assert torch.equal(state["w"], W)


def test_a_prefix_that_not_all_keys_share_stays(tmp_path, capsys):
    _, state = ask(tmp_path, capsys, {"module.w": W, "head": W})
    assert state.keys() == {"module.w", "head"}


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"w": W, "epoch": 3}, [], "int under 'epoch'"),
        ({"ema": {"w": W}, "step": 3}, [], "choose one of the keys ema"),
        ({"ema": {"w": W}}, ["swa"], "under the key 'swa'"),
        ({}, [], "no tensor at all"),
        ([W, W], [], 'found": "list'),
        (W, [], "Tensor"),
        (nn.Linear(1, 1), [], "Linear"),
        ({"w": np.ones(2)}, [], "numpy"),
        (pickle.dumps({"w": 1}), [], "Unsupported operand"),
        (b"PK\x03\x04 nothing more", [], "cannot be read"),
        (b"", [], "cannot be read"),
        (b"plain text", [], "to hold tensors only"),
    ],
)
def test_what_is_not_tensors_is_refused(tmp_path, capsys, content, key, message):
    out, state = ask(tmp_path, capsys, content, *key)
    assert state is None
    assert message in out
    assert out.count("\n") == 1
    assert "Traceback" not in out


def test_a_safetensors_file_needs_no_door(tmp_path):
    path = save_weights({"w": W}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="use it as it is"):
        convert(path, tmp_path / "again.safetensors")
