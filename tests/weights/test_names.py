"""Names of weights: wrappers leave no trace in a file, and files of wrapped models load into the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from expunge.errors import CheckpointError
from expunge.weights import load_into, load_weights, save_weights, unwrap_state


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2)))


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_within() -> nn.Module:
    model = network()
    model[2] = compiled(model[2])
    return model


WRAPPED = {
    "DataParallel": lambda: nn.DataParallel(network()),
    "compiled": lambda: compiled(network()),
    "DataParallel of compiled": lambda: nn.DataParallel(compiled(network())),
    "compiled DataParallel": lambda: compiled(nn.DataParallel(network())),
    "averaged": lambda: AveragedModel(network()),
    "a part compiled": compiled_within,
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=list(WRAPPED))
def test_what_is_saved_has_the_names_of_the_model_inside(wrapped, tmp_path):
    path = save_weights(wrapped(), tmp_path / "a.safetensors")
    assert set(load_weights(path)) == set(network().state_dict())
    plain, again = network(), wrapped()
    with torch.no_grad():
        for model in (plain, again):
            for weight in model.parameters():
                weight.zero_()
    assert load_into(plain, path) == load_into(again, path) == ""
    for model in (plain, again):
        assert all(torch.equal(value, network().state_dict()[name]) for name, value in unwrap_state(model).items())


PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "state.model.",
    "_forward_module.",
]


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_that_all_names_share_is_taken_off_and_returned(prefix, averaged, tmp_path):
    own = network().state_dict()
    state = {prefix + name: value for name, value in own.items()} | (
        {"n_averaged": torch.tensor(3)} if averaged else {}
    )
    path, model = save_weights(state, tmp_path / "a.safetensors"), network()
    nn.init.zeros_(model[0].weight)
    assert load_into(model, path) == prefix
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_parts_that_only_wrappers_put_in_are_taken_off_at_any_depth(tmp_path):
    path = save_weights(dict(compiled_within().state_dict()), tmp_path / "a.safetensors")
    assert load_into(network(), path) == "_orig_mod."


def test_a_model_whose_own_names_share_a_prefix_keeps_it(tmp_path):
    outer = nn.ModuleDict({"model": network()})
    path = save_weights(outer, tmp_path / "a.safetensors")
    assert load_into(nn.ModuleDict({"model": network()}), path) == ""


def test_a_prefix_of_some_names_is_no_prefix_and_both_sides_are_shown(tmp_path):
    state = dict(network().state_dict())
    state["module.0.weight"] = state.pop("0.weight")
    path, model = save_weights(state, tmp_path / "a.safetensors"), network()
    with pytest.raises(CheckpointError, match=r"'0\.weight' missing from the file and 'module\.0\.weight' in the file"):
        load_into(model, path)


def test_a_mismatch_is_shown_without_the_prefix(tmp_path):
    state = {f"module.{name}": value for name, value in network().state_dict().items() if name != "0.bias"}
    path = save_weights({**state, "module.extra": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"'0\.bias' missing .*'extra' in .*\(without the prefix 'module\.'\)"):
        load_into(network(), path)


def test_shapes_of_both_sides_are_shown(tmp_path):
    path = save_weights(nn.Linear(3, 5), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"'weight' is float32 \(5, 3\) where the model has float32 \(4, 3\)"):
        load_into(nn.Linear(3, 4), path)


def test_names_that_would_become_one_keep_their_wrappers(tmp_path):
    class Twice(nn.DataParallel):
        def __init__(self):
            super().__init__(nn.Linear(2, 2))
            self.weight = nn.Parameter(torch.zeros(2, 2))

    assert set(unwrap_state(Twice())) == {"weight", "module.weight", "module.bias"}
