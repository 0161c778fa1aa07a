"""Compiled passes: the same results, a model that keeps no trace of them, and refusals in one sentence.

The backend is the one that traces and differentiates and writes no C++, so that the tests take seconds.
"""

import copy

import pytest
import torch
from flat_calls import flat_unlearn
from small_networks import mlp, normalized

import expunge
from expunge.api.run import run_request
from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import MethodRecipe, OptimizerConfig, RunOptions, TrainStage, run_recipe
from expunge.engine import compiled as module
from expunge.engine.compiled import check_compiler, compiled, is_compiled
from expunge.errors import ConfigError, ModelError, SurgeryError
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.request.config import load_request
from expunge.surgery import LURSurgery


@pytest.fixture(autouse=True)
def tracing(monkeypatch):
    monkeypatch.setattr(module, "COMPILE_BACKEND", "aot_eager")
    yield
    torch._dynamo.reset()


def sides():
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(40) % 3
    return {"forget": TensorExamples(inputs[:8], targets[:8]), "retain": TensorExamples(inputs[8:], targets[8:])}


@pytest.mark.parametrize("method", ["eupmu", "lur", "scrub"])
def test_results_names_and_copies_are_those_without(method):
    model = normalized(torch.float32)
    before = copy.deepcopy(model.state_dict())
    plain, other = (
        flat_unlearn(model, **sides(), method=method, epochs=2, batch_size=16, config=expunge.RunConfig(compile=chosen))
        for chosen in (False, True)
    )
    assert list(other.model.state_dict()) == list(before)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(other.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert not is_compiled(other.model)
    assert not is_compiled(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert other.run_config["compile"] is True
    assert "compile" not in plain.run_config


def test_the_passes_are_compiled(monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(module, "COMPILE_BACKEND", backend)
    model = mlp()
    with compiled(model, True):
        assert is_compiled(model)
        assert not is_compiled(copy.deepcopy(model))
        model(torch.zeros(2, 6, dtype=torch.float64))
    assert len(traced) == 1
    with compiled(model, False):
        assert not is_compiled(model)


def test_what_cannot_be_compiled_is_told_in_a_sentence_and_left_as_it_was(monkeypatch):
    def backend(graph, inputs):
        raise ValueError("too odd")

    monkeypatch.setattr(module, "COMPILE_BACKEND", backend)
    model = normalized(torch.float32)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=r"torch.compile takes.*too odd.*leave compile out"):
        flat_unlearn(model, **sides(), method="ft", epochs=1, config=expunge.RunConfig(compile=True, inplace=True))
    assert not is_compiled(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_second_derivatives_need_a_plain_pass():
    pair, split = Pair(CrossEntropy(), CrossEntropy()), Split(**sides(), num_classes=3)
    stage = TrainStage(pair, LURSurgery(mode="exact"), OptimizerConfig(0.01), 1, Pair(8, 16))
    with pytest.raises(SurgeryError, match="plain pass"):
        run_recipe(Predictor(mlp(torch.float32)), MethodRecipe((stage,)), split, RunOptions(compile=True))


def test_without_a_compiler_nothing_is_begun(monkeypatch, tmp_path):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler.*leave compile out"):
        check_compiler(torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        flat_unlearn(mlp(torch.float32), **sides(), method="ft", epochs=1, config=expunge.RunConfig(compile=True))
    file = tmp_path / "request.yaml"
    file.write_text(
        "model: {name: small_cnn, options: {width: 4}}\ntrain: {epochs: 1}\ndata: {name: digits, subset: 60}\n"
        "forget: {class: 3}\ncompile: true\nout: run\n"
    )
    with pytest.raises(ConfigError, match=r"line 5: .*C\+\+ compiler"):
        run_request(load_request(file))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Triton"):
        check_compiler(torch.device("cuda"))


def test_several_processes_and_compiled_passes_are_refused_together():
    with pytest.raises(ConfigError, match="one process"):
        flat_unlearn(
            mlp(torch.float32), **sides(), method="ft", config=expunge.RunConfig(compile=True, distributed=True)
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method")
def test_the_real_compiler(monkeypatch):
    monkeypatch.setattr(module, "COMPILE_BACKEND", "inductor")
    test_results_names_and_copies_are_those_without("eupmu")
