"""Training learns, gives the same bits for the same seed, and equals a plain loop that is written out."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from expunge.batch import Batch
from expunge.errors import ConfigError, DataError, ModelError, NotFiniteError
from expunge.tasks.build import build_model
from expunge.tasks.classification.training import TrainSettings, train_classifier


class Stored:
    """Examples in memory; notes the indices that were asked for."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets, self.asked = inputs, targets, []

    def __len__(self):
        return len(self.targets)

    def batch(self, indices):
        self.asked.append(indices.tolist())
        return Batch(self.inputs[indices], self.targets[indices], indices)


def blobs(n=30):
    generator = torch.Generator().manual_seed(5)
    targets = torch.arange(n) % 3
    return Stored(torch.randn(n, 4, generator=generator) + 2 * torch.eye(3, 4)[targets], targets)


def linear():
    torch.manual_seed(1)
    return nn.Linear(4, 3)


def bits(model):
    return [tensor.clone() for tensor in model.state_dict().values()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def digits():
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    targets, order = torch.tensor(data.target), torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    return Stored(images[order[:900]], targets[order[:900]]), images[order[900:]], targets[order[900:]]


def test_digits_are_learned_and_the_same_seed_gives_the_same_bits():
    train, images, targets = digits()
    states = []
    for noise in (0, 99):
        torch.manual_seed(3)
        model = build_model("small_cnn", classes=10, channels=1)
        torch.manual_seed(noise)  # what the caller's generator is at must not matter
        record = train_classifier(model, train, TrainSettings(epochs=8, seed=4))
        states.append(bits(model))
    assert equal(*states)
    assert not model.training
    with torch.no_grad():
        assert (model(images).argmax(1) == targets).float().mean() > 0.95
        inside = model(train.inputs)
    assert record.train_accuracy == (inside.argmax(1) == train.targets).double().mean().item()
    assert record.final_loss == pytest.approx(cross_entropy(inside, train.targets).item(), rel=1e-4)
    assert record.epochs == 8


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_fit_equals_the_loop_written_out(smoothing):
    data, ours, plain = blobs(), linear(), linear()
    settings = TrainSettings(epochs=3, batch_size=10, lr=0.3, label_smoothing=smoothing, seed=7)
    train_classifier(ours, data, settings)

    order = torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    for _ in range(3):
        for part in torch.randperm(30, generator=order).split(10):
            optimizer.zero_grad()
            loss = cross_entropy(plain(data.inputs[part]), data.targets[part], label_smoothing=smoothing)
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(ours.weight, plain.weight, rtol=1e-6, atol=1e-6)


def test_every_epoch_uses_every_example_once_in_parts_that_differ_by_one_at_most():
    data = blobs(25)
    train_classifier(linear(), data, TrainSettings(epochs=2, batch_size=12))
    epochs = [data.asked[:3], data.asked[3:6]]
    for parts in epochs:
        assert sorted(index for part in parts for index in part) == list(range(25))
        assert sorted(map(len, parts)) == [8, 8, 9]
    assert epochs[0] != epochs[1]


def test_another_seed_gives_another_order_and_the_callers_generator_stays():
    one, two = linear(), linear()
    before = torch.get_rng_state()
    train_classifier(one, blobs(), TrainSettings(epochs=1, batch_size=5, seed=0))
    assert torch.equal(torch.get_rng_state(), before)
    train_classifier(two, blobs(), TrainSettings(epochs=1, batch_size=5, seed=1))
    assert not torch.equal(one.weight, two.weight)


def test_dropout_is_under_the_seed():
    states = []
    for noise in (0, 1):
        model = nn.Sequential(nn.Dropout(0.5), linear())
        torch.manual_seed(noise)
        train_classifier(model, blobs(), TrainSettings(epochs=2))
        states.append(bits(model))
    assert equal(*states)


def test_augmentation_is_drawn_from_the_seed_for_updates_only():
    seen, states = [], []

    def shift(inputs, generator):
        seen.append(torch.rand((), generator=generator).item())
        return inputs + seen[-1]

    for _ in range(2):
        model = linear()
        record = train_classifier(
            model, blobs(), TrainSettings(epochs=2, batch_size=15, augment="shift"), augment=shift
        )
        states.append(bits(model))
    assert seen[:4] == seen[4:]
    assert len(set(seen)) == 4
    assert equal(*states)
    data = blobs()
    assert record.final_loss == pytest.approx(cross_entropy(model(data.inputs), data.targets).item(), rel=1e-5)
    with pytest.raises(ConfigError, match="pass augment="):
        train_classifier(linear(), blobs(), TrainSettings(augment="shift"))


def test_progress_is_told_after_every_epoch():
    told = []
    train_classifier(linear(), blobs(), TrainSettings(epochs=3, lr=0.1), on_epoch=lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(1, 3), (2, 3), (3, 3)]
    with torch.no_grad():
        first = cross_entropy(linear()(blobs().inputs), blobs().targets).item()
    assert told[0][2] == pytest.approx(first, rel=1e-5)  # one update per epoch: the loss before the first move
    assert told[2][2] < told[0][2]


def test_bf16_computes_in_bf16_and_keeps_float32_weights():
    seen = []

    class Watched(nn.Linear):
        def forward(self, inputs):
            seen.append(super().forward(inputs).dtype)
            return super().forward(inputs)

    model = Watched(4, 3)
    train_classifier(model, blobs(), TrainSettings(epochs=1, precision="bf16"))
    assert set(seen) == {torch.bfloat16}
    assert model.weight.dtype == torch.float32


def test_frozen_weights_do_not_move():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    model[0].requires_grad_(False)
    before = bits(model[0])
    train_classifier(model, blobs(), TrainSettings(epochs=2))
    assert equal(bits(model[0]), before)


def test_outputs_that_are_no_tensor_are_read_by_the_adapter():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, inputs):
            return {"scores": self.inner(inputs)}

    wrapped, plain = Wrapped(), linear()
    train_classifier(wrapped, blobs(), TrainSettings(epochs=2), logits=lambda output: output["scores"])
    train_classifier(plain, blobs(), TrainSettings(epochs=2))
    assert torch.equal(wrapped.inner.weight, plain.weight)


def test_a_loss_that_is_nan_at_once_ends_before_the_first_move():
    data, model = blobs(), linear()
    data.inputs[:] = math.nan
    before = bits(model)
    with pytest.raises(NotFiniteError, match="at the first update"):
        train_classifier(model, data, TrainSettings())
    assert equal(bits(model), before)


def test_a_loss_that_becomes_nan_later_ends_with_its_epoch():
    data = blobs()
    data.inputs[torch.randperm(30, generator=torch.Generator().manual_seed(0))[-1]] = math.inf
    with pytest.raises(NotFiniteError, match="at epoch 1"):
        train_classifier(linear(), data, TrainSettings(batch_size=10))


def test_nothing_to_train_on_or_with_is_refused():
    with pytest.raises(DataError, match="examples to train on"):
        train_classifier(linear(), Stored(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)), TrainSettings())
    with pytest.raises(ModelError, match="trainable"):
        train_classifier(linear().requires_grad_(False), blobs(), TrainSettings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": math.nan},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"schedule": "cosin"},
        {"warmup_epochs": 31},
        {"label_smoothing": 1.0},
        {"precision": "fp64"},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_sentences(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"Expected {name} to be"):
        TrainSettings(**wrong)


def test_schedules():
    cosine = TrainSettings(epochs=5, lr=2.0, warmup_epochs=1)
    rates = [cosine.lr_at(update, 4) for update in range(20)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:] == pytest.approx([1 + math.cos(math.pi * k / 16) for k in range(16)])
    cycle = TrainSettings(epochs=5, lr=1.0, schedule="one_cycle")
    rates = [cycle.lr_at(update, 4) for update in range(20)]
    assert rates[:6] == pytest.approx([k / 6 for k in range(1, 7)])
    assert rates[6:] == pytest.approx([1 - k / 14 for k in range(14)])
    constant = TrainSettings(epochs=2, lr=0.1, schedule="constant")
    assert {constant.lr_at(update, 3) for update in range(6)} == {0.1}
