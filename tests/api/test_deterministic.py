"""One seed on one machine gives the same bits; what could differ is written down."""

from __future__ import annotations

import json

import pytest
import torch
from small_requests import config

from expunge.api import run_request
from expunge.api.compute_context import describe_environment, deterministic_kernels


@pytest.mark.parametrize("strict", [False, True])
def test_the_same_request_gives_the_same_bits(folder, strict):
    places = [run_request(config(folder, out=name, deterministic=str(strict).lower())) for name in ("one", "two")]
    for name in ("unlearned.safetensors", "history.jsonl"):
        one, two = ((place / name).read_bytes() for place in places)
        assert one == two, name
    told = json.loads((places[0] / "config.json").read_text())
    assert told["deterministic"] is strict
    assert told["environment"]["deterministic"] is strict
    assert told["environment"]["threads"] == 1
    assert told["environment"]["torch"] == torch.__version__


def test_strict_kernels_are_for_the_body_alone():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        with pytest.raises(ValueError, match="uses_model_error"), deterministic_kernels(True):
            raise ValueError("uses_model_error")
        assert describe_environment(torch.device("cpu"))["deterministic"]
    assert not torch.are_deterministic_algorithms_enabled()
