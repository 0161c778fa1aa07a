"""``torchrun -m expunge run`` and ``accelerate launch``: the processes of a launcher share one request."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

REQUEST = """
model: {{name: small_cnn, options: {{width: 4}}}}
checkpoint: {folder}/original.safetensors
data: {{name: digits, subset: 300, options: {{test_share: 0.2}}}}
forget: {{class: 3}}
method: {{name: rl, epochs: 1, lr: 0.01, batch_size: 33}}
train: {{epochs: 1}}
sanity_check: false
threads: 1
retrained_model: none
out: {folder}/run
"""


def launch(*command, env=None):
    found = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=500, env=os.environ | (env or {})
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def figures(folder):
    (part,) = json.loads((folder / "result.json").read_text())["requests"]
    return [(row["role"], {name: row["scores"][name]["mean"] for name in ("ua", "ra", "ta")}) for row in part["rows"]]


LAUNCHERS = {
    "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    "accelerate": (
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_write_one_folder_with_the_figures_of_one(launcher, tmp_path):
    if launcher == "accelerate":
        pytest.importorskip("accelerate")
    request = tmp_path / "request.yaml"
    request.write_text(REQUEST.format(folder=tmp_path))
    said = launch(*LAUNCHERS[launcher], "-m", "expunge", "run", str(request), env={"OMP_NUM_THREADS": "1"})
    assert said.count("Ranks:   2") == 1
    assert said.count("Weights:") == 1
    alone = launch("expunge", "run", str(request), "--out", str(tmp_path / "alone"))
    assert "Ranks:" not in alone
    first, second = (load_file(tmp_path / name / "unlearned.safetensors") for name in ("run", "alone"))
    assert max(float((first[key].double() - second[key].double()).abs().max()) for key in first) < 1e-5
    assert figures(tmp_path / "run") == figures(tmp_path / "alone")


@pytest.mark.slow
def test_a_signal_to_the_launcher_lets_every_process_save(tmp_path):
    request = tmp_path / "request.yaml"
    # A machine that others use may need longer than the usual 30 seconds to end a process.
    environment = {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "300"}
    wanted = REQUEST.format(folder=tmp_path).replace("epochs: 1, lr", "epochs: 4, lr")
    request.write_text(wanted + "checkpoint_every: {steps: 1}\n")
    command = ["-m", *LAUNCHERS["torchrun"], "-m", "expunge", "run", str(request)]
    launch(*command[1:], "--out", str(tmp_path / "straight"), env=environment)
    both = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    while not list(tmp_path.glob("run/checkpoints/rank-1-of-2/state-*")):
        assert both.poll() is None
        time.sleep(0.05)
    both.send_signal(signal.SIGTERM)
    said = both.communicate(timeout=400)[1]
    assert "`expunge run request.yaml --resume` on 2 processes goes on from there." in said
    assert "Process 1 stopped." in said
    assert not (tmp_path / "run" / "result.json").exists()
    launch(*command[1:], "--resume", env=environment)
    found, expected = ((tmp_path / name / "unlearned.safetensors").read_bytes() for name in ("run", "straight"))
    assert found == expected
    assert not (tmp_path / "run" / "checkpoints").exists()
