"""Examples that live on the model's device: the same batches, and nothing waits for them.

The meta device stands for an accelerator: it refuses to be read, and to be mixed with the CPU by most operations.
"""

import gc

import pytest
import torch
from travels import Travels

from expunge.batch import Split
from expunge.data import (
    DatasetExamples,
    Normalize,
    Subset,
    TensorExamples,
    crop_flip,
    device_cache,
    device_cache_limit,
    device_examples,
    move_split_to_device,
    move_split_to_host,
    none,
    to_device,
)
from expunge.data.device_examples import DeviceExamples
from expunge.errors import ConfigError

CPU, AWAY = torch.device("cpu"), torch.device("meta")


def pictures(count=20, **options):
    drawn = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorExamples(drawn, torch.arange(count) % 4, scale=Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), **options)


@pytest.fixture
def roomy(monkeypatch):
    monkeypatch.setattr(device_examples, "free_memory", lambda device: 2**40)


def words():
    return TensorExamples({"ids": torch.arange(40).view(20, 2), "mask": torch.ones(20, 2)}, [0, 1] * 10)


@pytest.mark.parametrize("examples", [pictures(), words(), TensorExamples(torch.rand(20, 5).double(), [0, 1] * 10)])
def test_batches_are_the_same_to_the_bit(examples):
    near, at = DeviceExamples(examples, CPU), torch.tensor([3, 19, 3, 0])
    one, other = examples.batch(at), near.batch(at)
    assert one.inputs.keys() == other.inputs.keys() if isinstance(one.inputs, dict) else True
    pairs = zip(tensors(one.inputs), tensors(other.inputs), strict=True)
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
    assert torch.equal(one.targets, other.targets)
    assert torch.equal(one.indices, other.indices)
    assert len(near) == 20


def tensors(inputs):
    return list(inputs.values()) if isinstance(inputs, dict) else [inputs]


def test_a_batch_is_made_and_augmented_away_without_waiting(roomy):
    near = to_device(Subset(pictures(), [4, 7, 9]), AWAY)
    with Travels() as travels:
        batch = near.batch(torch.tensor([2, 0]))
        images = crop_flip(batch.inputs, torch.Generator().manual_seed(0))
    assert {batch.inputs.device, batch.targets.device, batch.indices.device, images.device} == {AWAY}
    assert batch.inputs.dtype == torch.float32
    assert images.shape == (2, 3, 8, 8)
    assert near.targets.tolist() == [0, 3, 1]  # known where it was
    assert travels.waited == []


def test_the_watch_sees_a_copy_that_waits():
    with Travels() as travels:
        torch.ones(2).to(AWAY)
    assert len(travels.waited) == 1


def test_on_the_processor_examples_stay_as_they_are(roomy):
    examples = pictures()
    assert to_device(examples, CPU) is examples


@pytest.mark.parametrize("free", [None, 0, 4 * 20 * 3 * 8 * 8])
def test_what_does_not_fit_stays(monkeypatch, free):
    monkeypatch.setattr(device_examples, "free_memory", lambda device: free)
    examples = pictures()
    assert to_device(examples, AWAY) is examples


def test_the_share_of_free_memory_counts_bytes_and_labels(monkeypatch):
    examples = pictures()
    size = 20 * 3 * 8 * 8 + 20 * 8
    monkeypatch.setattr(device_examples, "free_memory", lambda device: 4 * size)
    near = to_device(examples, AWAY)
    assert isinstance(near, DeviceExamples)
    other = pictures()
    assert to_device(other, AWAY) is other  # what is there already takes its room
    assert to_device(examples, AWAY) is near
    del near
    assert isinstance(to_device(other, AWAY), DeviceExamples)


def test_the_limit_is_the_callers(roomy):
    examples = pictures()
    with device_cache_limit(0):
        assert to_device(examples, AWAY) is examples
        with device_cache_limit(1):
            assert to_device(examples, AWAY) is not examples
        assert to_device(examples, AWAY) is examples
    with pytest.raises(ConfigError, match="GiB"), device_cache_limit(-1):
        pass
    assert device_examples.max_cache_bytes(2**40) == 2 * 2**30


def test_no_memory_after_all(roomy, monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("none left")

    monkeypatch.setattr(device_examples, "DeviceExamples", refuse)
    examples = pictures()
    assert to_device(examples, AWAY) is examples


def test_augmentations_that_may_not_work_there_keep_examples_here(roomy):
    def own(images, generator):
        return images

    def anywhere(images, generator):
        return images

    anywhere.any_device = True
    for augment, moves in [(None, True), (none, True), (crop_flip, True), (own, False), (anywhere, True)]:
        examples = pictures(augment=augment)
        near = move_split_to_device(Split(examples, examples, 4), AWAY)
        assert (near.forget is not examples) == moves
        assert near.retain.augment is (augment or none)


def test_data_sets_that_are_read_item_by_item_stay(roomy):
    examples = DatasetExamples([(torch.zeros(2), 1), (torch.ones(2), 0)])
    assert to_device(examples, AWAY) is examples


def test_parts_of_one_data_set_are_moved_once_and_leave_with_the_last(roomy, monkeypatch):
    moved, make = [], DeviceExamples.__init__
    monkeypatch.setattr(DeviceExamples, "__init__", lambda self, *args: (moved.append(args), make(self, *args))[1])
    gc.collect()
    before = len(device_examples._cached_examples)
    examples, test = pictures(), pictures()
    split = Split(Subset(examples, [0, 1]), Subset(examples, [2, 3, 4]), 4, test)
    with device_cache(AWAY, examples, test):
        first, second = move_split_to_device(split, AWAY), move_split_to_device(split, AWAY)
        assert first.forget.root is first.retain.root is second.retain.root
        assert len(moved) == 2
        del first, second
        assert len(device_examples._cached_examples) == before + 2
    gc.collect()
    assert len(device_examples._cached_examples) == before


def test_another_tensor_in_the_place_of_the_inputs_is_moved_anew(roomy):
    examples = pictures()
    near = to_device(examples, AWAY)
    examples.inputs = examples.inputs.clone()
    assert to_device(examples, AWAY) is not near


@pytest.mark.parametrize(
    "change",
    [
        lambda examples: examples.inputs.fill_(7),
        lambda examples: setattr(examples, "scale", None),
        lambda examples: setattr(examples, "targets", examples.targets.flip(0)),
    ],
)
def test_examples_that_change_are_moved_anew(roomy, change):
    examples = pictures()
    before = to_device(examples, AWAY)
    assert to_device(examples, AWAY) is before
    change(examples)
    assert to_device(examples, AWAY) is not before


def test_a_split_comes_back_home(roomy):
    examples, listed = pictures(), DatasetExamples([(torch.zeros(3, 8, 8), 1)])
    split = Split(Subset(examples, [5, 1]), examples, 4, listed)
    back = move_split_to_host(move_split_to_device(split, AWAY))
    assert back.retain is examples
    assert back.holdout is listed
    assert back.forget.root is examples
    assert back.forget.positions.tolist() == [5, 1]
