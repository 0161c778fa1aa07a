"""Shadow models: training at once equals training one by one, and what is made is made once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.batch import Predictor
from expunge.data import Subset, TensorExamples
from expunge.errors import CheckpointError, ConfigError, DataError, ModelError, NotFiniteError
from expunge.metrics import collect_outputs
from expunge.shadows import (
    Shadow,
    ShadowStore,
    ShadowTraining,
    ShadowTrainingConfig,
    draw_complementary_halves,
    hash_values,
    measure_speed,
    speed_test,
    train_shadows,
    train_stacked,
)
from expunge.shadows import train as train_module
from expunge.shadows.speed_test import SpeedTest
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.training import TrainSettings, train_classifier

SETTINGS = TrainSettings(epochs=3, batch_size=8, lr=0.05, schedule="one_cycle", label_smoothing=0.1)


def images(count=48, size=8):
    generator = torch.Generator().manual_seed(7)
    return TensorExamples(torch.randn(count, 1, size, size, generator=generator), torch.arange(count) % 3)


def drawn(count=48, models=4, size=21):
    generator = torch.Generator().manual_seed(3)
    return [Shadow(torch.randperm(count, generator=generator)[:size], 11 + k) for k in range(models)]


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 3))


def normalized():
    return small_cnn(3, 1, width=3)


def grouped():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


def partly_frozen():
    model = normalized()
    model.conv1.weight.requires_grad_(False)
    return model


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 64), nn.Linear(64, 3)
        self.second = nn.Linear(64, 64)
        self.second.weight = self.first.weight

    def forward(self, x):
        return {"scores": self.head(self.second(self.first(x.flatten(1)).tanh()))}


def dropping():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Dropout(0.5), nn.Linear(12, 3))


def flip(inputs, generator):
    return torch.where(torch.rand(len(inputs), 1, 1, 1, generator=generator) < 0.5, inputs.flip(3), inputs)


def scores(output):
    return output["scores"]


def alone(make, examples, shadow, settings=SETTINGS, **extra):
    """One network, by the ordinary way of training one."""
    torch.manual_seed(shadow.seed)
    model = make()
    train_classifier(model, Subset(examples, shadow.positions), replace(settings, seed=shadow.seed), **extra)
    return model


def assert_alike(one, other, tolerance=2e-5):
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("make", "extra"),
    [
        (plain, {}),
        (normalized, {}),
        (grouped, {"augment": flip}),
        (normalized, {"augment": flip}),
        (partly_frozen, {}),
        (Tied, {"logits": scores}),
    ],
)
def test_training_at_once_equals_training_one_by_one(make, extra):
    examples, shadows = images(), drawn()
    training = ShadowTraining(make, examples, SETTINGS, parallelism="together", **extra)
    for model, shadow in zip(train_shadows(training, shadows), shadows, strict=True):
        expected = alone(make, examples, shadow, **extra)
        assert_alike(model, expected)
        assert not model.training


def test_batch_statistics_are_each_models_own():
    """A model that is trained beside others on other data has the statistics of its own data."""
    examples = TensorExamples(torch.cat([images(24).inputs, 50 + 9 * images(24).inputs]), torch.arange(48) % 3)
    shadows = [Shadow(torch.arange(24), 1), Shadow(torch.arange(24, 48), 2)]
    low, high = train_shadows(ShadowTraining(normalized, examples, SETTINGS, parallelism="together"), shadows)
    assert low.bn1.num_batches_tracked == high.bn1.num_batches_tracked == 9
    assert high.bn1.running_var.mean() > 10 * low.bn1.running_var.mean()


def test_the_loop_gives_the_bits_of_fit():
    examples, shadows = images(), drawn(models=2)
    models = train_shadows(ShadowTraining(normalized, examples, SETTINGS, parallelism="loop"), shadows)
    for model, shadow in zip(models, shadows, strict=True):
        assert_alike(model, alone(normalized, examples, shadow), 0.0)


def test_models_differ_where_only_the_seed_does():
    examples, positions = images(), torch.arange(20)
    one, other = train_shadows(ShadowTraining(plain, examples, SETTINGS), [Shadow(positions, 0), Shadow(positions, 1)])
    assert not torch.equal(one[1].weight, other[1].weight)


def test_the_callers_random_state_is_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_shadows(ShadowTraining(normalized, images(), SETTINGS, parallelism="together"), drawn(models=2))
    assert torch.equal(torch.rand(3), expected)


def test_models_with_other_numbers_of_examples_are_trained_in_groups_of_their_own():
    examples = images()
    shadows = [*drawn(size=21, models=2), *drawn(size=16, models=1), *drawn(size=21, models=3)[2:]]
    training = ShadowTraining(plain, examples, SETTINGS, parallelism="together", group_size=2)
    for model, shadow in zip(train_shadows(training, shadows), shadows, strict=True):
        assert_alike(model, alone(plain, examples, shadow))


def test_what_cannot_be_trained_at_once_is_refused_in_a_sentence_and_left_to_the_loop():
    examples, shadows = images(), drawn(models=2)
    with pytest.raises(ModelError, match=r"trained at once, but found .*random.*parallelism='loop'"):
        train_shadows(ShadowTraining(dropping, examples, SETTINGS, parallelism="together"), shadows)
    training = ShadowTraining(dropping, examples, SETTINGS)
    models = train_shadows(training, shadows)
    assert [found.strategy for found in training.speed_tests] == ["loop"]
    assert "random" in training.speed_tests[0].reason
    assert_alike(models[1], alone(dropping, examples, shadows[1]), 0.0)


def test_other_refusals():
    models, examples = [plain(), plain()], images()
    with pytest.raises(DataError, match=r"as many examples for each model .* found 5, 6"):
        train_stacked(
            models, [Shadow(torch.arange(5), 0), Shadow(torch.arange(6), 0)], ShadowTrainingConfig(examples, SETTINGS)
        )
    with pytest.raises(ModelError, match="precision bf16"):
        train_stacked(models, drawn(models=2), ShadowTrainingConfig(examples, replace(SETTINGS, precision="bf16")))
    with pytest.raises(ModelError, match="trained at once"):
        train_stacked([plain(), grouped()], drawn(models=2), ShadowTrainingConfig(examples, SETTINGS))
    with pytest.raises(NotFiniteError, match="finite training losses"):
        train_stacked(models, drawn(models=2), ShadowTrainingConfig(examples, replace(SETTINGS, lr=1e30)))
    with pytest.raises(ConfigError, match="for parallelism"):
        ShadowTraining(plain, examples, SETTINGS, parallelism="both")
    with pytest.raises(ConfigError, match="a group_size of 1 or more"):
        ShadowTraining(plain, examples, SETTINGS, group_size=0)


def test_the_calibration_leaves_the_models_as_they_are_and_measures_both():
    models, shadows = [normalized(), normalized()], drawn(models=2)
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    found = measure_speed(models, shadows, ShadowTrainingConfig(images(), SETTINGS))
    assert min(found.together, found.loop, found.ratio) > 0
    assert (found.strategy == "together") == (found.ratio > 1.05)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("ratio", "way"), [(1.04, "loop"), (1.06, "together"), (0.5, "loop")])
def test_a_load_that_comes_and_goes_does_not_decide(ratio, way, monkeypatch):
    """Other work slows down some rounds, and one way of one of them; what both ways met alike decides."""
    loads = [(1.0, 1.0), (10.0, 10.0), (10.0, 1.0), (1.0, 10.0), (3.0, 3.0)]
    clock = iter([time for one, other in loads for time in (one, other * ratio)])
    monkeypatch.setattr(speed_test, "measure_seconds", lambda *_: next(clock))
    found = measure_speed([plain(), plain()], drawn(models=2), ShadowTrainingConfig(images(), SETTINGS))
    assert (found.strategy, found.ratio) == (way, pytest.approx(ratio))


@pytest.mark.parametrize("way", ["together", "loop"])
def test_the_calibration_decides(way, monkeypatch):
    used = []
    monkeypatch.setattr(train_module, "measure_speed", lambda *args: SpeedTest(way, 1.0, 2.0, 3, 2.0))
    monkeypatch.setattr(train_module, "train_stacked", lambda *args: used.append("together"))
    monkeypatch.setattr(train_module, "train_alone", lambda *args: used.append("loop"))
    train_shadows(ShadowTraining(plain, images(), SETTINGS), drawn(models=3))
    assert used == ([way] if way == "together" else [way] * 3)


def never(*args):
    raise AssertionError("trained again")


def test_what_is_in_the_store_is_not_trained_again(tmp_path, monkeypatch):
    examples, shadows = images(), drawn()
    training = ShadowTraining(
        normalized, examples, SETTINGS, store=ShadowStore(tmp_path / "cache"), parallelism="together"
    )
    first = train_shadows(training, shadows)
    monkeypatch.setattr(train_module, "train_group", never)
    counts = []
    for way in ("loop", "auto"):
        again = train_shadows(
            ShadowTraining(normalized, examples, SETTINGS, store=ShadowStore(tmp_path / "cache"), parallelism=way),
            shadows,
            lambda *found: counts.append(found),
        )
        for one, other in zip(first, again, strict=True):
            assert_alike(one, other, 0.0)
            assert not other.training
    assert counts == [(4, 4), (4, 4)]


def test_everything_that_determines_a_model_is_in_its_name():
    examples, shadow = images(), drawn()[0]
    usual = ShadowTraining(normalized, examples, SETTINGS)
    changed_image = images()
    changed_image.inputs[40] += 1e-6
    changed_label = images()
    changed_label.targets[40] = (changed_label.targets[40] + 1) % 3
    others = [
        ShadowTraining(normalized, changed_image, SETTINGS).key(shadow),
        ShadowTraining(normalized, changed_label, SETTINGS).key(shadow),
        ShadowTraining(lambda: small_cnn(3, 1, width=4), examples, SETTINGS).key(shadow),
        ShadowTraining(normalized, examples, replace(SETTINGS, lr=0.04)).key(shadow),
        ShadowTraining(normalized, examples, SETTINGS, augment=flip).key(shadow),
        ShadowTraining(partly_frozen, examples, SETTINGS).key(shadow),
        usual.key(Shadow(shadow.positions, shadow.seed + 1)),
        usual.key(Shadow(shadow.positions.flip(0), shadow.seed)),
        usual.key(Shadow(shadow.positions[:-1], shadow.seed)),
    ]
    assert len({usual.key(shadow), *others}) == len(others) + 1
    assert ShadowTraining(normalized, images(), replace(SETTINGS, seed=9), parallelism="loop").key(shadow) == usual.key(
        shadow
    )


def test_nothing_in_the_store_names_examples(tmp_path):
    training = ShadowTraining(plain, images(), SETTINGS, store=ShadowStore(tmp_path), parallelism="loop")
    (shadow,) = drawn(models=1)
    train_shadows(training, [shadow])
    about = training.store.load_metadata(training.key(shadow))
    assert about.keys() == {"settings", "seed", "examples", "strategy", "seconds"}
    assert about["examples"] == 21


def test_a_training_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    shadows, train_alone = drawn(), train_module.train_alone

    def stopped(training, model, shadow):
        if shadow is shadows[2]:
            raise KeyboardInterrupt
        train_alone(training, model, shadow)

    monkeypatch.setattr(train_module, "train_alone", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_shadows(
            ShadowTraining(plain, images(), SETTINGS, parallelism="loop", store=ShadowStore(tmp_path)), shadows
        )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    monkeypatch.undo()
    counts = []
    training = ShadowTraining(plain, images(), SETTINGS, parallelism="loop", store=ShadowStore(tmp_path), group_size=1)
    models = train_shadows(training, shadows, lambda *found: counts.append(found))
    assert counts == [(2, 4), (3, 4), (4, 4)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for model, shadow in zip(models, shadows, strict=True):
        assert_alike(model, alone(plain, images(), shadow), 0.0)


def test_a_damaged_file_is_refused_and_one_without_its_story_is_not(tmp_path):
    store = ShadowStore(tmp_path)
    store.save("one", {"x": torch.arange(3)}, {"seconds": 1.0})
    (tmp_path / "one.json").write_text("{")
    assert torch.equal(store.load("one")["x"], torch.arange(3))
    assert store.load_metadata("one") == {}
    (tmp_path / "one.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match="whole safetensors file"):
        store.load("one")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a cache folder"):
        ShadowStore(tmp_path / "file" / "folder").save("one", {"x": torch.ones(1)}, {})


def test_halves_are_balanced_and_drawn_from_the_seed():
    inside = draw_complementary_halves(9, 8, seed=2)
    assert torch.equal(inside.sum(0), torch.full((9,), 4))
    assert torch.equal(inside[0::2], ~inside[1::2])
    assert set(inside.sum(1).tolist()) == {4, 5}
    assert torch.equal(inside, draw_complementary_halves(9, 8, seed=2))
    assert not torch.equal(inside, draw_complementary_halves(9, 8, seed=3))
    with pytest.raises(ConfigError, match="an even number of shadow models"):
        draw_complementary_halves(9, 5)
    with pytest.raises(ConfigError, match="at least 2 candidates"):
        draw_complementary_halves(1, 4)


def test_hashes_know_the_order_of_lists_but_not_of_keys():
    assert hash_values([1, 2]) != hash_values([2, 1])
    assert hash_values({"a": 1}, 2) != hash_values({"a": 2}, 1)


def test_a_shadow_model_has_learnt_its_own_examples():
    """Labels at random can only be known by heart: a model knows its own examples and not the others."""
    generator = torch.Generator().manual_seed(0)
    examples = TensorExamples(torch.randn(60, 64, generator=generator), torch.randint(0, 3, (60,), generator=generator))
    inside = draw_complementary_halves(60, 2)
    shadows = [Shadow(row.nonzero().flatten(), k) for k, row in enumerate(inside)]
    settings = TrainSettings(epochs=40, batch_size=10, weight_decay=0.0)
    for row, model in zip(inside, train_shadows(ShadowTraining(plain, examples, settings), shadows), strict=True):
        right = collect_outputs(Predictor(model), examples).logits.argmax(1) == examples.targets
        assert right[row].all()
        assert right[~row].float().mean() < 0.7
