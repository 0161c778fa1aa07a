"""Channels last and fused steps: the same results, and a model that never shows them."""

import pytest
import torch
from flat_calls import flat_unlearn
from small_networks import sgd
from torch import nn

import expunge
from expunge import registry
from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import (
    CheckpointManager,
    MethodRecipe,
    OptimizerConfig,
    RunOptions,
    SaveInterval,
    StageRunner,
    Stepper,
    TrainStage,
    channels_last,
    optimizers,
    run_recipe,
)
from expunge.engine.channels_last import channels_last_memory
from expunge.engine.optimizers import build_optimizer
from expunge.errors import MissingExtraError
from expunge.methods import build_method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import EUPMUSurgery, Projection
from expunge.surgery.direction import piece_inner_product
from expunge.tasks.classification.models import resnet20, small_cnn
from expunge.tasks.classification.training import TrainSettings, train_classifier

METHODS = registry.list_entries("methods", "classification")
SURGERIES = registry.list_entries("surgeries")
MASKS = registry.list_entries("masks")


def images(seed, count=40, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return TensorExamples(torch.randn(count, 3, 8, 8, generator=generator).to(dtype), torch.arange(count) % 4)


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def network(dtype=torch.float64):
    model = seeded(lambda: small_cnn(classes=4, channels=3, width=4)).to(dtype)
    model(images(9, dtype=dtype).inputs)  # statistics to be frozen
    return model.eval()


def split(dtype=torch.float64):
    return Split(images(0, 8, dtype), images(1, 40, dtype), 4, images(2, 40, dtype))


def assert_close(one, other, tolerance=1e-9):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=tolerance, atol=tolerance, msg=name)
        assert value.stride() == other[name].stride(), name


def last(weight):
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


def test_weights_come_back_to_their_own_memory_with_what_was_done_to_them():
    model = seeded(lambda: resnet20(classes=4, channels=3))
    before = [(weight, weight.data_ptr(), weight.stride()) for weight in model.parameters()]
    convolutions = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    expected = [weight.detach() + 1 for weight in convolutions]

    @torch.no_grad()
    def change():
        with channels_last_memory(model, True):
            assert all(last(weight) for weight in convolutions if weight.shape[1] > 1 and weight.shape[2] > 1)
            for weight in convolutions:
                weight.add_(1)
            raise KeyError

    with pytest.raises(KeyError):
        change()
    assert [(weight, weight.data_ptr(), weight.stride()) for weight in model.parameters()] == before
    assert all(torch.equal(weight, value) for weight, value in zip(convolutions, expected, strict=True))


def test_on_a_processor_nothing_is_moved_by_itself(monkeypatch):
    model = network()
    with channels_last_memory(model):
        assert not any(map(last, model.parameters()))
    monkeypatch.setattr(channels_last, "CHANNELS_LAST_DEVICES", ("cpu",))
    with channels_last_memory(model):
        assert any(map(last, model.parameters()))
    with channels_last_memory(model, False):
        assert not any(map(last, model.parameters()))


def test_weights_in_a_format_or_memory_of_the_callers_stay():
    own = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    tied = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    shared = torch.randn(2, 3, 3, 3, 3)
    tied[0].weight.data, tied[1].weight.data = shared[0], shared[1]
    pointers = [own.weight.data_ptr(), tied[0].weight.data_ptr()]
    for model in (own, tied, nn.Linear(2, 2)):
        with channels_last_memory(model, True):
            assert [own.weight.data_ptr(), tied[0].weight.data_ptr()] == pointers
    assert last(own.weight)


def test_inner_products_do_not_depend_on_the_order_in_memory():
    left, right = (torch.randn(4, 3, 5, 5, dtype=torch.float64) for _ in range(2))
    known = (left * right).sum()
    rows = torch.channels_last
    for a in (left, left.contiguous(memory_format=rows), left.transpose(0, 3)):
        for b in (right, right.contiguous(memory_format=rows)):
            if a.shape == b.shape:
                torch.testing.assert_close(piece_inner_product(a, b), known)
    torch.testing.assert_close(piece_inner_product(left.transpose(0, 3), right.transpose(0, 3)), known)


def unlearned(method, channels_last):
    model = network()
    run_recipe(
        Predictor(model),
        build_method(method, epochs=1, batch_size=16).recipe(),
        split(),
        RunOptions(channels_last=channels_last),
    )
    return model.state_dict()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_with_the_same_weights(method):
    try:
        expected = unlearned(method, False)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert_close(unlearned(method, True), expected)


def test_training_and_unlearning_from_outside():
    settings = TrainSettings(epochs=2, batch_size=16, lr=0.05)
    models = [network(), network()]
    for model, chosen in zip(models, (False, True), strict=True):
        seen = []
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_pre_hook(
            lambda module, _, seen=seen: seen.append((module.training, last(module.weight)))
        )
        train_classifier(model, images(0, dtype=torch.float64), settings, channels_last=chosen)
        assert {laid for training, laid in seen if training} == {chosen}
    assert_close(*(model.state_dict() for model in models), 1e-6)  # the loss is computed in float32
    sides = {"forget": images(0, 8), "retain": images(1)}
    plain, other = (
        flat_unlearn(
            network(torch.float32), **sides, method="eupmu", epochs=2, config=expunge.RunConfig(channels_last=chosen)
        )
        for chosen in (None, True)
    )
    assert_close(plain.model.state_dict(), other.model.state_dict(), 1e-4)
    assert "channels_last" not in plain.run_config
    assert other.run_config["channels_last"] is True


@pytest.fixture
def fusing(monkeypatch):
    """The processor is told to fuse steps, as an accelerator does."""
    monkeypatch.setattr(optimizers, "FUSED_DEVICES", ("cpu",))


def is_fused(optimizer):
    return optimizer.param_groups[0].get("fused") is True


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_where_steps_are_fused(name, monkeypatch):
    weights, settings = [nn.Parameter(torch.ones(3))], OptimizerConfig(0.1, name)
    assert not is_fused(build_optimizer(weights, settings))
    monkeypatch.setattr(optimizers, "FUSED_DEVICES", ("cpu",))
    assert is_fused(build_optimizer(weights, settings))
    assert not is_fused(build_optimizer(weights, settings, has_scaler=True))
    whole = [nn.Parameter(torch.ones(3, dtype=torch.complex64))]
    assert not is_fused(build_optimizer(whole, settings))


def descended(surgery=Projection, mask=None, name="sgd", **conditions):
    model, optimizer = network(), OptimizerConfig(0.01, name, weight_decay=0.1)
    pair = Pair(RandomLabel(), CrossEntropy())
    stage = TrainStage(pair, surgery(), optimizer, 2, Pair(8, 16), mask=None if mask is None else mask())
    run_recipe(Predictor(model), MethodRecipe((stage,)), split(), RunOptions(**conditions))
    return model.state_dict()


def installed(make):
    try:
        make()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", SURGERIES)
def test_fused_steps_after_every_surgery(name, monkeypatch):
    surgery = SURGERIES[name].target
    installed(surgery)
    expected = descended(surgery)
    monkeypatch.setattr(optimizers, "FUSED_DEVICES", ("cpu",))
    assert_close(descended(surgery), expected)
    assert_close(descended(surgery, channels_last=True), expected)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fused_steps_under_every_mask(name, optimizer, monkeypatch):
    mask = MASKS[name].target
    expected = descended(mask=mask, name=optimizer)
    monkeypatch.setattr(optimizers, "FUSED_DEVICES", ("cpu",))
    assert_close(descended(mask=mask, name=optimizer, channels_last=True), expected, 1e-7)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_numbers_meet_their_own_weights_whatever_the_order_in_memory(name, fusing):
    weights = [nn.Parameter(torch.randn(4, 3, 5, 5, dtype=torch.float64)) for _ in range(2)]
    with torch.no_grad():
        weights[1].copy_(weights[0])
    weights[1].data = weights[1].data.contiguous(memory_format=torch.channels_last)
    pair = [build_optimizer([weight], OptimizerConfig(0.1, name, weight_decay=0.1)) for weight in weights]
    for turn in range(3):
        slope = torch.randn(4, 3, 5, 5, dtype=torch.float64)
        for weight, optimizer in zip(weights, pair, strict=True):
            weight.grad = slope.clone()  # of one order for both
            optimizer.step()
        if turn == 1:  # memory that was saved and read again has lost the order of its weight
            state = pair[1].state_dict()
            state["state"] = {
                number: {key: value.contiguous() for key, value in found.items()}
                for number, found in state["state"].items()
            }
            pair[1].load_state_dict(state)
    assert last(weights[1])
    torch.testing.assert_close(weights[1], weights[0], check_stride=False)


def test_a_run_that_is_gone_on_with_has_the_same_bits(tmp_path, fusing):
    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.step == 3:
            raise Killed

    def saved():
        points = CheckpointManager(tmp_path, SaveInterval(seconds=1e9, steps=1))
        points.open({"what": "test"})
        return points

    expected = descended(EUPMUSurgery, channels_last=True)
    with pytest.raises(Killed):
        descended(EUPMUSurgery, channels_last=True, checkpoints=saved(), on_step=kill)
    found = descended(EUPMUSurgery, channels_last=True, checkpoints=saved())
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_scaler_and_the_callers_own_optimizer_are_left_alone(fusing):
    stage = TrainStage(Pair(RandomLabel(), CrossEntropy()), Projection(), OptimizerConfig(0.01), 1, Pair(8, 16))
    for precision, fused in [("fp32", True), ("bf16", True), ("fp16", False)]:
        descent = StageRunner(Predictor(network()), stage, split(), RunOptions(precision=precision))
        assert is_fused(descent.stepper.optimizer) == fused
    model = network()
    step = Stepper(model, sgd(model.parameters()), Projection(), stage.objectives)
    assert not is_fused(step.optimizer)
