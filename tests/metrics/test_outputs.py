import pytest
import torch
from torch import nn

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics import ModelOutputs, Outputs, collect_model_outputs, collect_outputs


class Images:
    def __init__(self, count=10, seed=0):
        self.inputs = torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        self.targets = torch.arange(count) % 3

    def __len__(self):
        return len(self.targets)

    def batch(self, indices):
        return Batch(self.inputs[indices], self.targets[indices], indices)


class Counter(nn.Module):
    """Keeps state even in eval mode, as some users' models do: one buffer in place, one by assignment."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, inputs):
        self.calls += 1
        self.last = inputs.mean()
        return inputs


def network():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5)
    layers = (nn.Conv2d(1, 5, 3), norm, Counter(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(20, 3))
    model = nn.Sequential(*layers)
    model.train()
    norm.eval()
    return model


def test_logits_are_those_of_eval_mode_and_do_not_depend_on_the_batch_size():
    model, images = network(), Images()
    found = collect_outputs(Predictor(model), images, batch_size=3)
    direct = model.eval()(images.inputs).detach()
    torch.testing.assert_close(found.logits, direct)
    torch.testing.assert_close(collect_outputs(Predictor(model), images, batch_size=100).logits, direct)
    assert found.targets.tolist() == images.targets.tolist()
    assert (found.logits.dtype, found.logits.requires_grad) == (torch.float32, False)


def test_the_model_is_left_as_it_was_to_the_bit():
    model, images = network(), Images()
    flags = [module.training for module in model.modules()]
    buffers = dict(model.named_buffers())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    collect_outputs(Predictor(model), images, batch_size=3)
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_flags_come_back_when_the_model_fails():
    model = network()
    flags = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError):
        collect_outputs(Predictor(model), Images(), device="meta")
    assert [module.training for module in model.modules()] == flags


def test_half_precision_logits_become_float32():
    found = collect_outputs(Predictor(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), lambda out: out.half()), Images())
    assert found.logits.dtype == torch.float32


def test_a_diverged_model_is_refused_and_an_excluded_class_is_not():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model[1].bias.data[1] = -torch.inf
    assert torch.isneginf(collect_outputs(Predictor(model), Images()).logits[:, 1]).all()
    model[1].bias.data[1] = torch.nan
    with pytest.raises(NotFiniteError, match="10 of 10 examples"):
        collect_outputs(Predictor(model), Images())


def test_bad_input_is_refused_before_the_model_is_called():
    predict = Predictor(network())
    with pytest.raises(DataError, match="at least one example"):
        collect_outputs(predict, Images(0))
    with pytest.raises(ConfigError, match="batch size"):
        collect_outputs(predict, Images(), batch_size=0)
    with pytest.raises(DataError, match="labels"):
        Outputs(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))


def test_outputs_of_keeps_the_parts_apart():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    split = Split(Images(4, seed=1), Images(7, seed=2), 3)
    found = collect_model_outputs(Predictor(model), split, Images(5, seed=3))
    for part, seed in ((found.forget, 1), (found.retain, 2), (found.held_out, 3)):
        torch.testing.assert_close(part.logits, model(Images(len(part), seed).inputs).detach())


def test_a_class_request_tests_on_the_other_classes_and_compares_with_its_own(class_request):
    outputs = class_request(0)
    assert outputs.forgotten_classes.tolist() == [3]
    assert set(outputs.test.targets.tolist()) == {0, 1, 2}
    assert set(outputs.test_same_classes.targets.tolist()) == {3}
    assert len(outputs.test) + len(outputs.test_same_classes) == len(outputs.held_out)
    at = outputs.held_out.targets == 3
    assert torch.equal(outputs.test_same_classes.logits, outputs.held_out.logits[at])


def test_a_random_request_tests_on_everything(random_request):
    outputs = random_request(0)
    assert outputs.forgotten_classes.tolist() == []
    assert len(outputs.test) == len(outputs.test_same_classes) == len(outputs.held_out)


def test_held_out_examples_of_other_classes_are_not_alike():
    part = Outputs(torch.eye(3), torch.tensor([0, 1, 2]))
    outputs = ModelOutputs(part.only(torch.tensor([1])), part, part)
    assert outputs.forgotten_classes.tolist() == []
    assert outputs.test_same_classes.targets.tolist() == [1]


def test_a_split_without_forget_examples_is_refused(random_request):
    whole = random_request(0)
    none = whole.forget.only(torch.tensor([99]))
    with pytest.raises(DataError, match="forget"):
        ModelOutputs(none, whole.retain, whole.held_out)
