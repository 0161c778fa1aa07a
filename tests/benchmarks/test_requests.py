"""The request files that benchmarks write are those of today."""

import crash
import pytest
import run_profile
import soak_stream
import torch

from expunge.request.config import load_request

TEXTS = {
    **{f"crash, {name}": crash.REQUEST + case for name, case in crash.CASES.items()},
    **{f"crash on ranks, {name}": crash.REQUEST + case for name, case in crash.SHARED.items()},
    "profile": run_profile.REQUEST.format(model="resnet8", subset=100, device="cpu"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_request_of_a_benchmark_is_read(tmp_path, text):
    file = tmp_path / "request.yaml"
    file.write_text(text + "\n")
    assert load_request(file).threads == 1


@pytest.mark.parametrize("kind", ["class", "indices"])
def test_a_request_of_the_soak_is_read(tmp_path, kind):
    stream = soak_stream.Stream(0, tmp_path)
    deletion = soak_stream.Deletion("run0", kind, torch.tensor([1, 2]), 3 if kind == "class" else None)
    stream.write_request(deletion)
    (tmp_path / "original.safetensors").touch()
    assert load_request(tmp_path / "run0.yaml").seed == 0
