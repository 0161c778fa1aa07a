"""What several processes of a launcher refuse together: one sentence, once, and no traceback of ours."""

import json
import subprocess
import sys

import pytest
from whole_requests import CLASSIFIER

from expunge.tasks.build import build_model
from expunge.weights import save_weights

SMALL = {key: CLASSIFIER[key] for key in ("model", "data", "forget", "method", "threads")}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"threads": "x"}, id="before they meet", marks=pytest.mark.slow),
        pytest.param({"forget": {"class": 30}}, id="after they have met"),
    ],
)
def test_a_refusal_is_said_once(wrong, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))
    save_weights(build_model("small_cnn", classes=10, channels=1, width=4), tmp_path / "w.safetensors")
    request = {**SMALL, "checkpoint": "w.safetensors", "sanity_check": False, **wrong}
    (tmp_path / "r.yaml").write_text(json.dumps(request))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "expunge", "run", "r.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "Expected" in line]
    assert (len(said), done.returncode != 0) == (1, True), done.stderr
    assert not any(f"[rank{number}]" in done.stderr for number in range(2))
