"""Numbers beyond 64 bits: one sentence of our own errors, or a number that means the same and fits."""

from __future__ import annotations

import pytest
import torch
from small_requests import config
from torch import nn

import expunge
from expunge.api import run_request
from expunge.data import ByClass, ByFraction, ByIndices, LabeledDataset, Subset, TensorExamples
from expunge.errors import ConfigError, DataError, ExpungeError, RequestError

INPUTS = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
EXAMPLES = TensorExamples(INPUTS, torch.arange(90) % 3)
PARTS = [Subset(EXAMPLES, range(low, low + 30)) for low in (0, 30, 60)]
LARGE = [2**63, 2**64, 2**70, -(2**70), 10**400]


def calls(number):
    sides = {"forget": PARTS[0], "retain": PARTS[1]}
    model = nn.Linear(4, 3)
    source = LabeledDataset(EXAMPLES, EXAMPLES, ("a", "b", "c"), "example", "none", (1, 1, 1))
    return {
        "a class": (RequestError, lambda: ByClass(number).select(EXAMPLES)),
        "a class as text": (RequestError, lambda: ByClass(str(number)).select(EXAMPLES)),
        "an index": (RequestError, lambda: ByIndices([number]).select(EXAMPLES)),
        "the seed of a fraction": (ConfigError, lambda: ByFraction(0.5, seed=number).select(EXAMPLES)),
        "a size": (DataError, lambda: source.subset(number)),
        "the seed of a part": (ConfigError, lambda: source.subset(5, seed=number)),
        "a label": (DataError, lambda: TensorExamples(INPUTS[:1], [number])),
        "the seed of an audit": (
            ConfigError,
            lambda: expunge.audit(model, model, **sides, test=PARTS[2], seed=number),
        ),
    }


@pytest.mark.parametrize("number", LARGE, ids=["2^63", "2^64", "2^70", "-2^70", "10^400"])
@pytest.mark.parametrize("name", calls(0))
def test_a_number_beyond_64_bits_is_refused(name, number):
    error, call = calls(number)[name]
    with pytest.raises(error):
        call()


def test_a_class_of_five_thousand_digits_is_a_name_that_does_not_occur():
    with pytest.raises(RequestError, match="the name of a class"):
        ByClass("9" * 5000).select(EXAMPLES)


def test_a_batch_size_beyond_all_examples_takes_all_and_one_beyond_64_bits_is_refused():
    model, parts = nn.Linear(4, 3), dict(zip(("forget", "retain", "test"), PARTS, strict=True))
    assert expunge.evaluate(model, **parts, batch_size=2**62).scores == expunge.evaluate(model, **parts).scores
    for number in (2**63, 10**400):
        with pytest.raises(ConfigError, match="a whole number for 'batch_size'"):
            expunge.evaluate(model, **parts, batch_size=number)


@pytest.mark.parametrize("number", [10**400, -(10**400)], ids=["10^400", "-10^400"])
@pytest.mark.parametrize("name", ["accuracy_points", "loss_increase"])
def test_a_budget_of_no_float_is_refused(name, number):
    with pytest.raises(ConfigError, match="finite number"):
        expunge.Budget(**{name: number})


@pytest.mark.parametrize(
    "line",
    [
        "seed: {}",
        "threads: {}",
        "holdout: {}",
        "forget: {{class: {}}}",
        "forget: {{fraction: 0.1, seed: {}}}",
        "data: {{name: digits, subset: {}}}",
        "data: {{name: digits, subset: 300, subset_seed: {}}}",
        "data: {{name: digits, options: {{seed: {}}}}}",
        "model: {{name: small_cnn, options: {{width: {}}}}}",
        "train: {{epochs: 1, lr: {}}}",
        "gradient_accumulation_steps: -{}",
        "checkpoint_every: -{}",
    ],
)
@pytest.mark.parametrize("number", [str(2**63), "1" + 400 * "0", "1" + 5000 * "0"], ids=["2^63", "10^400", "10^5000"])
def test_a_request_with_a_large_number_is_refused(tmp_path, line, number):
    key, _, value = line.format(number).partition(": ")
    if key == "train" and len(number) < 100:
        pytest.skip("a rate may be any float")
    with pytest.raises(ExpungeError):
        run_request(config(tmp_path, **({"checkpoint": None, "train": "{epochs: 1}"} | {key: value})))
    assert not (tmp_path / "run").exists()
