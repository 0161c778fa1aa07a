"""Forward passes of users' models: one example under batch normalization, checkpointing, sparse gradients, max_norm."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from flat_calls import flat_unlearn
from torch import nn
from torch.utils.checkpoint import checkpoint

import expunge
from expunge.batch import Predictor
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ModelError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import WeightedSum
from expunge.tasks.classification.training import train_classifier
from expunge.tasks.train_settings import TrainSettings

INPUTS, LABELS = torch.randn(43, 6, generator=torch.Generator().manual_seed(0)), torch.arange(43) % 3


def seeded(make) -> nn.Module:
    torch.manual_seed(1)
    return make()


def normalized(layer=None) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), layer or nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))


def examples(first: int, last: int, inputs=INPUTS) -> TensorExamples:
    return TensorExamples(inputs[first:last], LABELS[first:last])


def unlearned(model, inputs=INPUTS, forget=10, **settings) -> nn.Module:
    given = {"method": "rl", "epochs": 1, "batch_size": 8, **settings}
    return flat_unlearn(model, forget=examples(0, forget, inputs), retain=examples(forget, 43, inputs), **given).model


def weights(model) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


CASES = [
    ("retrain", {}),
    ("msg", {}),
    ("scissor_hands", {}),
    ("l1_sparse", {"batch_norm": "joint"}),
    ("neighbor_labels", {"batch_norm": "separate"}),
    ("explicit", {"batch_norm": "separate", "gradient_accumulation_steps": 3}),
]


@pytest.mark.parametrize(("method", "settings"), CASES)
def test_a_last_batch_of_one_example_goes_through_batch_normalization(method, settings):
    """33 retained examples in batches of 8, and a forget set of one."""
    for forget in (10, 1):
        model = normalized()
        answer = unlearned(model, forget=forget, method=method, **settings)
        assert torch.isfinite(weights(answer)).all()
        assert all(layer._forward_pre_hooks == layer._forward_hooks == {} for layer in answer.modules())


def test_one_example_is_normalized_by_the_running_statistics_and_more_by_their_own():
    model = normalized().train()
    still, moving = copy.deepcopy(model).eval(), copy.deepcopy(model)
    assert torch.equal(Predictor(model)(INPUTS[:1]), still(INPUTS[:1]))
    assert model[1].training
    assert int(model[1].num_batches_tracked) == 0
    assert torch.equal(Predictor(model)(INPUTS[:2]), moving(INPUTS[:2]))
    assert int(model[1].num_batches_tracked) == 1


def test_one_picture_has_statistics_of_its_own():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()).train()
    twin = copy.deepcopy(model)
    picture = torch.rand(1, 1, 5, 5)
    assert torch.equal(Predictor(model)(picture), twin(picture))
    assert torch.equal(model[1].running_mean, twin[1].running_mean)


def test_training_has_a_last_batch_of_one_example():
    record = train_classifier(normalized(), examples(0, 3), TrainSettings(epochs=1, batch_size=2))
    assert record.epochs == 1


def test_a_layer_without_running_statistics_cannot_take_one_example():
    layer = nn.BatchNorm1d(8, track_running_stats=False)
    with pytest.raises(ModelError, match=r"several values per channel .* batch size that leaves no batch of one"):
        unlearned(normalized(layer))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.a, self.reentrant = nn.Linear(6, 8), reentrant
        self.b = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.2))
        self.c = nn.Linear(8, 3)

    def inner(self, hidden):
        return hidden if self.reentrant is None else checkpoint(self.b, hidden, use_reentrant=self.reentrant)

    def forward(self, inputs):
        if self.reentrant is None:
            return self.c(self.b(self.a(inputs)))
        # The inputs need no gradient, and one checkpoint is inside another.
        return checkpoint(
            lambda x: self.c(checkpoint(self.b, self.a(x), use_reentrant=self.reentrant)),
            inputs,
            use_reentrant=self.reentrant,
        )


@pytest.mark.parametrize("method", ["rl", "explicit", "eupmu", "iu", "salun", "sfr_on"])
def test_reentrant_checkpoints_change_nothing(method):
    settings = {"method": method} | ({} if method == "iu" else {"epochs": 2})
    found, expected = (
        flat_unlearn(
            seeded(lambda kind=kind: Checkpointed(kind)), forget=examples(0, 10), retain=examples(10, 43), **settings
        )
        for kind in (True, None)
    )
    assert torch.equal(weights(found.model), weights(expected.model))


def test_reentrant_checkpoints_have_second_derivatives():
    settings = {"method": "custom", "surgery": "lookahead(mode=exact)"}
    found, expected = (unlearned(seeded(lambda kind=kind: Checkpointed(kind)), **settings) for kind in (True, None))
    assert torch.equal(weights(found), weights(expected))


class Words(nn.Module):
    def __init__(self, **settings) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 6, **settings), nn.Linear(6, 3)

    def forward(self, words):
        return self.head(self.embedding(words).mean(1))


WORDS = torch.randint(0, 9, (43, 4), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["rl", "explicit", "salun", "iu", "msg", "sfr_on"])
def test_sparse_embeddings_are_changed_as_dense_ones(method):
    settings = {"method": method} | ({} if method == "iu" else {"epochs": 1})
    found, expected = (
        flat_unlearn(
            seeded(lambda sparse=sparse: Words(sparse=sparse)),
            forget=examples(0, 10, WORDS),
            retain=examples(10, 43, WORDS),
            **settings,
        )
        for sparse in (True, False)
    )
    assert torch.equal(weights(found.model), weights(expected.model))
    assert found.model.embedding.sparse


def test_an_embedding_with_a_largest_norm_is_left_as_it_was():
    model = seeded(lambda: Words(max_norm=0.5))
    before = weights(model).clone()
    unlearned(model, WORDS)
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, INPUTS[:2])])
@pytest.mark.parametrize("inplace", [False, True])
def test_scripted_modules_are_unlearned_as_plain_ones(make, inplace):
    plain = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    expected = weights(unlearned(copy.deepcopy(plain)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = make(plain)
    before = weights(scripted).clone()
    answer = unlearned(scripted, inplace=inplace)
    assert torch.allclose(weights(answer), expected, atol=1e-6)
    assert torch.equal(weights(scripted), before) is not inplace


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return nn.Linear(6, 3)


def partly_on_meta() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3).to("meta"))


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(inputs).detach()


def made_for_inference() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class Expanded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(6, 1).expand(6, 3)), nn.Linear(6, 3)

    def forward(self, inputs):
        return inputs @ self.weight + self.head(inputs)


REFUSED = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 3)), {}, "lazy '0.weight': pass one batch"),
    "meta": (on_meta, {}, "'weight' on the meta device: load the weights"),
    "partly meta": (partly_on_meta, {}, r"'1\.weight' on the meta device"),
    "cut off": (Cut, {}, r"cut off from its weights: take detach\(\)"),
    "inference": (made_for_inference, {"inplace": True}, "made under torch.inference_mode: leave out inplace"),
    "expanded": (Expanded, {"inplace": True}, r"an expanded tensor: .*clone\(\)"),
    "quantized": (
        lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 3)), {nn.Linear}),
        {},
        "pass the model as it was before it was quantized",
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "settings", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_models_that_cannot_be_changed_are_refused_with_a_cure(make, settings, sentence):
    with pytest.raises(ModelError, match=sentence):
        unlearned(make(), **settings)


@pytest.mark.parametrize("make", [made_for_inference, Expanded])
def test_a_copy_of_them_can_be_changed(make):
    assert torch.isfinite(weights(unlearned(make()))).all()


@pytest.mark.parametrize("method", ["rl", "retrain", "iu"])
def test_gradients_are_computed_without_being_asked_for(method):
    settings = {"method": method} | ({} if method == "iu" else {"epochs": 1})
    call = lambda: flat_unlearn(normalized(), forget=examples(0, 10), retain=examples(10, 43), **settings)  # noqa: E731
    expected = weights(call().model)
    with torch.no_grad():
        assert torch.equal(weights(call().model), expected)


def test_inference_mode_is_named():
    with torch.inference_mode(), pytest.raises(ConfigError, match=r"torch\.inference_mode: make the call outside"):
        unlearned(nn.Linear(6, 3))


def stepper(model=None, optimizer=torch.optim.SGD, surgery=None, objectives=None, mask=None, **settings):
    model = nn.Linear(6, 3) if model is None else model
    rate = {} if optimizer in (torch.optim.LBFGS,) else {"lr": 0.1}
    made = optimizer(list(model.parameters()), **rate) if isinstance(optimizer, type) else optimizer
    pair = Pair(RandomLabel(), CrossEntropy()) if objectives is None else objectives
    return expunge.Stepper(model, made, WeightedSum() if surgery is None else surgery, pair, mask, **settings)


NOT_FIT = {
    "LBFGS": ({"optimizer": torch.optim.LBFGS}, "step needs no closure, but found LBFGS: use for example"),
    "SparseAdam": ({"optimizer": torch.optim.SparseAdam}, "dense gradients, but found SparseAdam"),
    "CrossEntropyLoss": (
        {"objectives": Pair(RandomLabel(), nn.CrossEntropyLoss())},
        r"on the retain side, but found CrossEntropyLoss: use CrossEntropy\(\)",
    ),
    "a function": ({"objectives": Pair(RandomLabel(), len)}, "on the retain side, but found builtin"),
    "one objective": ({"objectives": RandomLabel()}, "but found"),
    "a class": ({"objectives": Pair(RandomLabel, CrossEntropy())}, "found the class RandomLabel"),
    "surgery": ({"surgery": "unilateral"}, "but found"),
    "surgery class": ({"surgery": WeightedSum}, "but found"),
    "mask": ({"mask": "saliency"}, "but found"),
    "optimizer": ({"optimizer": "sgd"}, "but found"),
}


@pytest.mark.parametrize(("settings", "sentence"), NOT_FIT.values(), ids=list(NOT_FIT))
def test_a_stepper_names_what_does_not_fit(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        stepper(**settings)


def test_an_optimizer_of_another_model_is_refused():
    other = torch.optim.SGD(nn.Linear(6, 3).parameters(), lr=0.1)
    with pytest.raises(ModelError, match=r"none of them: make the optimizer of model\.parameters\(\)"):
        stepper(optimizer=other)


def test_a_stepper_moves_weights_under_no_grad():
    model = nn.Linear(6, 3)
    before = weights(model).clone()
    with torch.no_grad():
        assert stepper(model)((INPUTS[:8], LABELS[:8]), (INPUTS[8:16], LABELS[8:16])).stepped
    assert not torch.equal(weights(model), before)


def test_empty_weights_and_single_numbers_in_a_rule_that_estimates_noise():
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.none, self.head = nn.Parameter(torch.empty(0, 3)), nn.Linear(6, 3)
            self.scale = nn.Parameter(torch.tensor(1.5))

        def forward(self, inputs):
            return self.scale * self.head(inputs) + self.none.sum()

    assert torch.isfinite(weights(unlearned(Empty(), method="custom", surgery="noise_aware"))).all()
