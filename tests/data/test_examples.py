import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, TensorDataset
from torch.utils.data import Subset as TorchSubset

from expunge.data import (
    DatasetExamples,
    Normalize,
    Subset,
    TensorExamples,
    as_examples,
    get_root_indices,
    none,
    num_classes,
)
from expunge.errors import DataError

IMAGES = torch.arange(5 * 3 * 2 * 2, dtype=torch.uint8).reshape(5, 3, 2, 2)
LABELS = torch.tensor([2, 0, 1, 0, 2])


def image(index):
    return IMAGES[index].float() / 255


class Pictures(Dataset):
    """A map-style data set that counts how often it is read."""

    def __init__(self, **attributes):
        self.reads = 0
        self.__dict__.update(attributes)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        self.reads += 1
        return image(index), int(LABELS[index])


class Mappings(Pictures):
    def __getitem__(self, index):
        return {"pixels": image(index), "labels": int(LABELS[index])}


def test_bytes_become_normalized_floats_and_stay_bytes_in_memory():
    scale = Normalize((0.1, 0.2, 0.3), (0.5, 0.25, 0.125))
    examples = TensorExamples(IMAGES, LABELS, scale=scale)
    wanted = torch.tensor([3, 0])
    batch = examples.batch(wanted)
    for row, index in enumerate(wanted.tolist()):
        for channel in range(3):
            slow = (IMAGES[index, channel].double() / 255 - scale.mean[channel]) / scale.std[channel]
            assert torch.allclose(batch.inputs[row, channel].double(), slow, atol=1e-6)
    assert batch.inputs.dtype == torch.float32
    assert examples.inputs.dtype == torch.uint8
    assert batch.targets.tolist() == [0, 2]
    assert batch.indices.equal(wanted)


def test_an_augmentation_is_carried_and_never_applied_when_reading():
    examples = TensorExamples(IMAGES, LABELS, augment=lambda inputs, generator: inputs * 0)
    assert examples.batch(torch.tensor([4])).inputs.equal(IMAGES[4:])
    assert Subset(examples, [1]).augment is examples.augment
    assert TensorExamples(IMAGES, LABELS).augment is none
    assert DatasetExamples(Pictures()).augment is none


def test_bytes_without_a_scale_are_yielded_as_they_are():
    batch = TensorExamples(IMAGES, LABELS).batch(torch.tensor([3, 0]))
    assert batch.inputs.dtype == torch.uint8
    assert batch.inputs.equal(IMAGES[[3, 0]])


@pytest.mark.parametrize(
    "form",
    [
        lambda: TensorDataset(IMAGES, LABELS),
        lambda: TorchSubset(TensorDataset(IMAGES, LABELS), range(5)),
        lambda: TorchSubset(TorchSubset(TensorDataset(IMAGES, LABELS), range(5)), range(5)),
        lambda: type("Own", (TensorDataset,), {})(IMAGES, LABELS),
        lambda: ConcatDataset([TensorDataset(IMAGES[:2], LABELS[:2]), TensorDataset(IMAGES[2:], LABELS[2:])]),
        lambda: (IMAGES, LABELS),
        lambda: (IMAGES.numpy(), LABELS.numpy()),
        lambda: (IMAGES.numpy()[::-1][::-1], LABELS.numpy().astype(">i4")),
        lambda: (IMAGES, LABELS[:, None]),
        lambda: list(zip(IMAGES, LABELS, strict=True)),
        lambda: [(IMAGES[i].numpy(), LABELS[i : i + 1].numpy()) for i in range(5)],
        lambda: [{"pixels": IMAGES[i], "label": int(LABELS[i])} for i in range(5)],
    ],
)
def test_every_form_of_a_data_set_gives_what_it_yields(form):
    batch = as_examples(form()).batch(torch.tensor([4, 1]))
    inputs = batch.inputs["pixels"] if isinstance(batch.inputs, dict) else batch.inputs
    assert inputs.dtype == torch.uint8
    assert inputs.equal(IMAGES[[4, 1]])
    assert batch.targets.equal(LABELS[[4, 1]])


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "i2", "u2", "i4", "i8", "?", ">f4"])
def test_every_type_of_number_keeps_its_values_and_its_type(kind):
    values = np.array([[0], [1], [100]], kind)
    batch = as_examples((values, np.array([0, 1, 0]))).batch(torch.tensor([2, 1]))
    assert batch.inputs.numpy().dtype == np.dtype(kind).newbyteorder("=")
    assert batch.inputs.numpy().tolist() == values[[2, 1]].tolist()


def test_floats_and_numbers_of_tokens_are_left_alone():
    values = torch.tensor([[-3.5], [700.0]])
    assert TensorExamples(values, [0, 1]).batch(torch.tensor([1, 0])).inputs.equal(values.flip(0))
    tokens = {"ids": torch.tensor([[5, 6], [7, 8]]), "mask": torch.ones(2, 2)}
    assert TensorExamples(tokens, [0, 1]).batch(torch.tensor([1])).inputs["ids"].tolist() == [[7, 8]]


@pytest.mark.parametrize("dataset", [Pictures(), [(image(i), int(LABELS[i])) for i in range(5)]])
def test_any_map_style_data_set_gives_the_batch_that_memory_gives(dataset):
    wanted = torch.tensor([4, 0, 2])
    slow, fast = DatasetExamples(dataset).batch(wanted), TensorExamples(IMAGES.float() / 255, LABELS).batch(wanted)
    assert slow.inputs.equal(fast.inputs)
    assert slow.targets.equal(fast.targets)
    assert slow.indices.equal(wanted)


def test_mappings_keep_their_other_entries_as_inputs():
    examples = DatasetExamples(Mappings())
    assert examples.targets.equal(LABELS)
    batch = examples.batch(torch.tensor([3]))
    assert list(batch.inputs) == ["pixels"]
    assert batch.inputs["pixels"].equal(image(3)[None])


@pytest.mark.parametrize("name", ["targets", "labels"])
@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_labels_come_from_an_attribute_without_a_pass_over_the_items(name, form):
    dataset = Pictures(**{name: form(LABELS.tolist())})
    dataset.__class__ = type("Long", (Pictures,), {"__len__": lambda self: 500, "__getitem__": Pictures.__getitem__})
    dataset.__dict__[name] = form(LABELS.tolist() * 100)
    dataset.__class__.__getitem__ = lambda self, index: Pictures.__getitem__(self, index % 5)
    assert DatasetExamples(dataset).targets.equal(LABELS.repeat(100))
    assert dataset.reads <= 8


@pytest.mark.parametrize("attribute", [[9, 9, 9, 9, 9], ["a", "b"], [2, 0, 1], None])
def test_an_attribute_that_is_not_what_the_items_say_is_not_believed(attribute):
    assert DatasetExamples(Pictures(targets=attribute)).targets.equal(LABELS)


def test_given_targets_replace_those_of_the_items():
    examples = DatasetExamples(Pictures(), targets=[4, 3, 2, 1, 0])
    assert examples.batch(torch.tensor([1, 4])).targets.tolist() == [3, 0]
    unlabeled = DatasetExamples([image(0), image(1)], targets=[1, 0])
    assert unlabeled.batch(torch.tensor([1])).inputs.equal(image(1)[None])


def test_items_with_another_label_than_the_attribute_said_are_refused():
    late = Pictures(targets=LABELS.tolist())
    examples = DatasetExamples(late)
    assert examples.targets.equal(LABELS)
    late.__class__ = type("Late", (Pictures,), {"__getitem__": lambda self, index: (image(index), 1)})
    with pytest.raises(DataError, match="1 of 2 items with another"):
        examples.batch(torch.tensor([2, 0]))


@pytest.mark.parametrize("examples", [TensorExamples(IMAGES, LABELS), DatasetExamples(Pictures())])
def test_no_indices_give_an_empty_batch_of_the_same_form(examples):
    batch = examples.batch(torch.empty(0, dtype=torch.int64))
    assert len(batch) == 0
    assert batch.inputs.shape == (0, 3, 2, 2)
    assert batch.targets.shape == (0,)


def test_an_example_has_the_same_index_wherever_it_is_met():
    root = TensorExamples(IMAGES, LABELS)
    part = Subset(Subset(root, [4, 2, 0]), torch.tensor([2, 0]))
    assert part.root is root
    assert get_root_indices(part).tolist() == [0, 4]
    assert part.targets.tolist() == LABELS[[0, 4]].tolist()
    batch = part.batch(torch.tensor([1]))
    assert batch.indices.tolist() == [4]
    assert batch.inputs.equal(root.batch(torch.tensor([4])).inputs)


def test_as_examples_knows_what_it_is_given():
    root = TensorExamples(IMAGES, LABELS)
    assert as_examples(root) is root
    assert isinstance(as_examples(TensorDataset(IMAGES, LABELS)), TensorExamples)
    assert as_examples((IMAGES.numpy(), LABELS.numpy())).batch(torch.tensor([2])).inputs.equal(IMAGES[2:3])
    assert isinstance(as_examples(Pictures()), DatasetExamples)
    part = as_examples(TorchSubset(TensorDataset(IMAGES, LABELS), [3, 1]))
    assert part.batch(torch.tensor([0])).indices.tolist() == [3]


def test_wrapping_does_not_read_a_data_set():
    dataset = Pictures()
    as_examples(as_examples(dataset))
    assert dataset.reads == 0


def test_the_number_of_classes_is_the_greatest_label_plus_one():
    assert num_classes(TensorExamples(IMAGES, [0, 6, 1, 0, 0])) == 7
    with pytest.raises(DataError):
        num_classes(TensorExamples(torch.empty(0, 2), []))


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()

    def __len__(self):
        return 3


@pytest.mark.parametrize("thing", [Stream(), DataLoader(Pictures()), iter([1]), (value for value in ())])
def test_what_can_only_be_iterated_is_refused(thing):
    with pytest.raises(DataError, match="map-style"):
        as_examples(thing)


@pytest.mark.parametrize(
    "labels",
    [
        [0.0, 1.0, 2.0, 1.0, 0.0],
        [0.0, 1.0, 0.5, 1.0, 0.0],
        [0, 1],
        torch.eye(5).long(),
        ["a"] * 5,
        [0, -1, 0, 0, 0],
        [0, 1, 2, 3, 2**70],
        [0, 1, 2, 3, 2**62],
        np.array([0, 1, 2, 3, 2**63 + 5], np.uint64),
        torch.arange(5).to_sparse(),
        torch.zeros(5, dtype=torch.int64, device="meta"),
    ],
)
def test_labels_must_be_one_whole_number_per_example(labels):
    with pytest.raises(DataError):
        TensorExamples(IMAGES, labels)


@pytest.mark.parametrize(
    "inputs",
    [
        np.array([None, 1, 2, 3, 4]),
        np.array(["a"] * 5),
        np.array(["2020-01-01"] * 5, "datetime64[D]"),
        np.ma.masked_equal(np.arange(5.0), 3),
        torch.eye(5).to_sparse(),
        torch.tensor(3.0),
        torch.empty(5, 2, device="meta"),
        "words",
        {"ids": [[1], [2], [3, 4]]},
    ],
)
def test_inputs_that_are_no_arrays_of_numbers_are_refused(inputs):
    with pytest.raises(DataError, match="inputs"):
        TensorExamples(inputs, LABELS)


class Column:
    """A column of a table whose rows kept the numbers that they had before the table was split, as in pandas."""

    def __init__(self, values):
        self.values = values
        self.shape = values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, label):
        raise KeyError(label)

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_tables_and_their_columns_are_taken_by_place():
    made = as_examples((Column(IMAGES.numpy()), Column(LABELS.numpy())))
    assert made.targets.equal(LABELS)
    assert made.batch(torch.tensor([3])).inputs.equal(IMAGES[3:4])


@pytest.mark.parametrize("label", [np.array([3]), np.array([[3]], np.uint8), np.int16(3), torch.tensor([3]), 3])
def test_an_array_of_one_whole_number_is_a_label(label):
    examples = DatasetExamples([(image(0), label)])
    assert examples.targets.tolist() == [3]
    assert examples.batch(torch.tensor([0])).targets.tolist() == [3]


def test_the_labels_of_an_attribute_may_be_arrays_of_one_number():
    dataset = Pictures(labels=LABELS.numpy()[:, None])
    assert DatasetExamples(dataset).targets.equal(LABELS)
    assert dataset.reads <= 8


@pytest.mark.parametrize(
    "item",
    [
        image(0),
        (image(0),),
        (image(0), "cat"),
        (image(0), 0.5),
        {"pixels": 1},
        (1, np.array(1.7)),
        (1, np.array([1, 0])),
        (1, [3]),
    ],
)
def test_items_without_a_whole_label_are_refused(item):
    with pytest.raises(DataError, match="label"):
        _ = DatasetExamples([item]).targets


class Failing(Pictures):
    def __getitem__(self, index):
        raise KeyError("no such file") if index == 3 else IndexError(index)


class Short(Pictures):
    def __getitems__(self, indices):
        return [self[index] for index in indices[1:]]


def test_a_data_set_that_fails_is_one_sentence_with_its_own_error_behind_it():
    with pytest.raises(DataError, match="items that can be read by number, but found IndexError") as caught:
        _ = DatasetExamples(Failing()).targets
    assert isinstance(caught.value.__cause__, IndexError)
    with pytest.raises(DataError, match=r"KeyError .'no such file'.: mend the data set"):
        DatasetExamples(Failing(), targets=LABELS).batch(torch.tensor([3]))
    with pytest.raises(DataError, match="2 items from the data set, but found 1"):
        DatasetExamples(Short(), targets=LABELS).batch(torch.tensor([3, 4]))


class Endless(Pictures):
    def __len__(self):
        raise TypeError("no length")


def test_a_length_that_fails_and_items_without_data_are_refused():
    with pytest.raises(DataError, match=r"a data set with a length, but found TypeError .no length.: mend"):
        len(as_examples(Endless()))
    with pytest.raises(DataError, match="inputs with data"):
        as_examples([(torch.empty(2, device="meta"), 0)]).batch(torch.tensor([0]))


def test_inputs_that_cannot_be_stacked_are_refused():
    with pytest.raises(DataError, match="stack"):
        DatasetExamples([(torch.ones(2), 0), (torch.ones(3), 1)]).batch(torch.tensor([0, 1]))
    with pytest.raises(DataError, match="stack"):
        DatasetExamples([(np.ones(2, ">f4"), 0)]).batch(torch.tensor([0]))
    with pytest.raises(DataError, match="stack"):
        DatasetExamples([(object(), 0)]).batch(torch.tensor([0]))


@pytest.mark.parametrize(
    "positions", [[5], [-1], [0.5], [[0, 1]], [True, False, True, False, True], [2**70], [-(2**70)], [None], "0", None]
)
def test_positions_outside_the_data_are_refused(positions):
    with pytest.raises(DataError):
        Subset(TensorExamples(IMAGES, LABELS), positions)
