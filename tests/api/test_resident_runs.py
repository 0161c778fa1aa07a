"""Runs whose examples live on the device end with the bits of runs whose examples do not.

No accelerator is needed: the processor is told to take examples as an accelerator does.
"""

import pytest
import torch
from flat_calls import flat_unlearn
from small_diffusion import image_split, small_model
from small_recipes import carried_out, figures, recipe_in
from small_requests import config, result_of

import expunge
from expunge import registry
from expunge.api import run_request
from expunge.budget import Budget
from expunge.data import Normalize, Subset, TensorExamples, crop_flip, device_examples
from expunge.errors import MissingExtraError
from expunge.shadows import Shadow, ShadowTraining, train_shadows
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.training import TrainSettings, train_classifier

METHODS = registry.list_entries("methods", "classification")


@pytest.fixture
def moving(monkeypatch):
    """Call to make the processor take examples; the list has what was taken."""
    taken, make = [], device_examples.DeviceExamples.__init__

    def begin():
        monkeypatch.setattr(device_examples, "is_cpu", lambda device: False)
        monkeypatch.setattr(device_examples, "free_memory", lambda device: 2**40)
        monkeypatch.setattr(
            device_examples.DeviceExamples, "__init__", lambda self, *a: (taken.append(a), make(self, *a))[1]
        )
        return taken

    return begin


def images(seed, count=48):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return TensorExamples(drawn, torch.arange(count) % 3, augment=crop_flip, scale=Normalize((0.0,), (1.0,)))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_cnn(classes=3, channels=1, width=4).eval()


def bits(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_from_scratch(moving):
    settings = TrainSettings(epochs=2, batch_size=16, lr=0.05)
    models = [network(), network()]
    records = [train_classifier(models[0], images(0), settings, augment=crop_flip)]
    taken = moving()
    records.append(train_classifier(models[1], images(0), settings, augment=crop_flip))
    assert len(taken) == 1
    assert_same(*map(bits, models))
    assert records[0].final_loss == records[1].final_loss


def unlearned(method, **options):
    train, held = images(0), images(1, 60)
    given = {"forget": Subset(train, range(6)), "retain": Subset(train, range(6, 48)), "holdout": held}
    result = flat_unlearn(network(), **given, method=method, **options)
    return result, train


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, moving):
    options = {"budget": Budget(loss_increase=1.0)} if method in ("random_labels_with_budget", "cumulative") else {}
    try:
        before, _ = unlearned(method, **options)
    except MissingExtraError as error:
        pytest.skip(str(error))
    taken = moving()
    after, train = unlearned(method, **options)
    assert len(taken) == 2  # the root of both sides, and the held-out examples
    assert_same(bits(before.model), bits(after.model))
    assert before.history == after.history
    assert after.split.forget.root is train  # what is handed back is the caller's


def test_a_callers_own_measure_reads_held_out_examples_where_they_were(moving):
    found = []

    def measure(predict, examples):
        found.append(type(examples.root))
        return 1.0

    moving()
    unlearned("random_labels_with_budget", budget=Budget(metric=measure, max_drop=0.5), lr=0.01, epochs=1)
    assert set(found) == {TensorExamples}


def test_evaluation(moving):
    result, _ = unlearned("ft", epochs=1)
    before = expunge.evaluate(result, test=images(2)).scores
    taken = moving()
    assert expunge.evaluate(result, test=images(2)).scores == before
    assert len(taken) == 2  # the training and the test examples, for two models


def test_a_request_is_answered_to_the_same_bits(tmp_path, moving):
    asked = {"checkpoint": None, "train": "{epochs: 2, batch_size: 20}", "retrained_model": "retrain"}
    asked["data"] = "{name: digits, subset: 120, augment: crop_flip, options: {test_share: 0.1}}"
    first = run_request(config(tmp_path, **asked, out="one"))
    taken = moving()
    second = run_request(config(tmp_path, **asked, out="two"))
    assert len(taken) == 2  # training and test examples, once for original, unlearning, reference and figures
    for name in ("original.safetensors", "unlearned.safetensors", "history.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert figures_of(first) == figures_of(second)


def figures_of(folder):
    rows = result_of(folder)["requests"][0]["rows"]
    return {(row["key"], name): row["scores"][name] for row in rows for name in ("ua", "ra", "ta", "mia", "auc")}


def test_a_bench_finds_the_same(tmp_path, moving):
    def made(name):
        (tmp_path / name).mkdir()
        carried_out(recipe_in(tmp_path / name, seeds="[0]", requests="[{class: 3}]"), tmp_path / name)
        return figures(tmp_path / name)

    before, taken = made("one"), moving()
    assert made("two") == before
    assert len(taken) == 2


def test_a_diffusion_model(moving):
    split = image_split()
    asked = {"forget": split.forget, "retain": split.retain, "task": "diffusion", "method": "eupmu", "epochs": 1}
    before, taken = flat_unlearn(small_model(), **asked), moving()
    after = flat_unlearn(small_model(), **asked)
    assert len(taken) == 2
    assert_same(bits(before.model), bits(after.model))


def test_shadow_models(moving):
    shadows = [Shadow(torch.arange(32), 0), Shadow(torch.arange(16, 48), 1)]

    def trained(way):
        settings = TrainSettings(epochs=1, batch_size=16)
        return train_shadows(ShadowTraining(network, images(0), settings, augment=crop_flip, parallelism=way), shadows)

    before = {way: trained(way) for way in ("loop", "together")}
    taken = moving()
    for way, models in before.items():
        for one, other in zip(models, trained(way), strict=True):
            assert_same(bits(one), bits(other))
    assert len(taken) == 2
