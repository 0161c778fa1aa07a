import hashlib
import random

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from expunge.data import (
    Subset,
    TensorExamples,
    as_examples,
    combine_hashes,
    get_ids,
    hash_cache,
    hash_example_ids,
    hash_examples,
    is_repeatable,
    to_device,
)
from expunge.data.hashing import hash_ids
from expunge.errors import DataError

KEY = bytes(range(32))


def rows(count=6, seed=0, **options):
    inputs = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return TensorExamples(inputs, torch.arange(count) % 2, **options)


def test_the_hash_of_an_example_is_blake2b_of_type_shape_values_and_label():
    inputs = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    made = hash_examples(TensorExamples(inputs, [5, 6]), KEY)
    known = hashlib.blake2b(digest_size=16, key=KEY, person=b"expunge example")
    known.update(b" torch.uint8 (2,)\0" + (6).to_bytes(8, "little") + bytes([3, 4]))
    assert made[1:].tobytes() == known.digest()
    assert made.dtype == "S16"


@pytest.mark.parametrize(
    "other",
    [
        TensorExamples(torch.ones(1, 3), [0]),
        TensorExamples(torch.zeros(1, 3), [1]),
        TensorExamples(torch.zeros(1, 3, dtype=torch.float64), [0]),
        TensorExamples(torch.zeros(1, 1, 3), [0]),
        TensorExamples({"x": torch.zeros(1, 3)}, [0]),
    ],
    ids=["values", "label", "type", "shape", "name"],
)
def test_another_example_has_another_hash(other):
    assert not np.isin(hash_examples(TensorExamples(torch.zeros(1, 3), [0]), KEY), hash_examples(other, KEY)).any()


def test_the_key_decides():
    assert not np.isin(hash_examples(rows(), KEY), hash_examples(rows(), bytes(32))).any()


def test_an_example_is_known_through_any_data_set_object():
    examples = rows()
    made = hash_examples(examples, KEY)
    pairs = [(examples.inputs[i], int(examples.targets[i])) for i in (3, 1)]
    for same in (
        Subset(examples, [3, 1]),
        as_examples(TensorDataset(examples.inputs[[3, 1]], examples.targets[[3, 1]])),
        as_examples(pairs),
        as_examples((examples.inputs.numpy()[[3, 1]], examples.targets.numpy()[[3, 1]])),
        to_device(Subset(examples, [3, 1]), torch.device("cpu")),
    ):
        assert (hash_examples(same, KEY) == made[[3, 1]]).all()


def test_texts_of_one_length_differ():
    def text(words):
        return as_examples([({"text": word, "tokens": torch.zeros(2)}, 0) for word in words])

    ours, others = hash_examples(text(["ab", "cd"]), KEY), hash_examples(text(["cd", "ef"]), KEY)
    assert np.isin(ours, others).sum() == 1
    assert combine_hashes(ours, KEY) != combine_hashes(others, KEY)


def test_a_set_has_one_hash_in_any_order_and_counts_its_repeats():
    made = hash_examples(rows(), KEY)
    assert combine_hashes(made, KEY) == combine_hashes(made[::-1], KEY)
    assert combine_hashes(made, KEY) != combine_hashes(made[1:], KEY)
    assert combine_hashes(made, KEY) != combine_hashes(np.concatenate([made, made[:1]]), KEY)
    assert np.isin(made[:4], made[2:]).sum() == 2


class Flipping:
    """Pictures that are turned at random whenever they are read."""

    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.arange(4.0) + index + self.draw(), index % 2


@pytest.mark.parametrize(
    "draw", [random.random, np.random.rand, lambda: torch.rand(())], ids=["python", "numpy", "torch"]
)
def test_random_transforms_are_read_the_same_in_any_order_and_disturb_nothing(draw):
    examples = as_examples(Flipping(draw))
    assert len(examples.targets) == 20  # reading the labels draws too
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    made = hash_examples(examples, KEY)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert len(np.unique(made)) == len(made)
    assert (hash_examples(Subset(examples, [7, 2]), KEY) == made[[7, 2]]).all()


def test_of_a_data_set_with_its_own_randomness_the_position_counts():
    generator = np.random.default_rng(0)
    examples = as_examples(Flipping(generator.random))
    assert not is_repeatable(examples)
    assert (hash_examples(Subset(examples, [7, 2]), KEY) == hash_examples(examples, KEY)[[7, 2]]).all()


def test_hashes_are_remembered_inside_a_context_alone():
    read = []

    class Counting(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    examples = as_examples(Counting((torch.full((2,), float(i)), i) for i in range(6)))
    first = hash_examples(examples, KEY)
    with hash_cache():
        hash_examples(Subset(examples, [1, 2]), KEY)
        read.clear()
        with hash_cache():
            assert (hash_examples(Subset(examples, [2, 1]), KEY) == first[[2, 1]]).all()
        assert read == []
        assert (hash_examples(examples, KEY) == first).all()
    hash_examples(examples, KEY)
    assert read


def test_a_changed_number_in_memory_is_noticed():
    examples = rows()
    before = hash_examples(examples, KEY)
    examples.inputs[2, 0] += 1
    assert np.isin(before, hash_examples(examples, KEY)).sum() == 5


def test_ids_are_known_by_their_text():
    examples = rows()
    assert hash_example_ids(examples, KEY) is None
    examples.ids = [10, 11, 12, 13, 14, 15]
    made = hash_example_ids(Subset(examples, [3, 1]), KEY)
    assert (made == hash_ids(["13", "11"], KEY)).all()
    examples.ids = [1]
    with pytest.raises(DataError, match="1 ids for 6 examples"):
        hash_example_ids(examples, KEY)


class Column:
    """A column of a table whose rows kept the numbers that they had before the table was split."""

    def __init__(self, values):
        self.values = dict(zip(range(len(values) - 1, -1, -1), values, strict=True))

    def __len__(self):
        return len(self.values)

    def __getitem__(self, label):
        return self.values[label]

    def tolist(self):
        return list(self.values.values())


@pytest.mark.parametrize(
    "form", [torch.tensor, np.array, Column, lambda ids: np.array(ids)[:, None], lambda ids: tuple(map(str, ids))]
)
def test_ids_of_every_form_are_taken_by_place(form):
    examples = rows()
    examples.ids = form([10, 11, 12, 13, 14, 15])
    part = Subset(examples, [3, 1])
    assert get_ids(part) == ["13", "11"]
    assert (hash_example_ids(part, KEY) == hash_ids(["13", "11"], KEY)).all()


@pytest.mark.parametrize("ids", ["abcdef", 6, {"a": 1}, iter("abcdef"), np.array(6)])
def test_ids_that_are_no_list_are_refused(ids):
    examples = rows()
    examples.ids = ids
    with pytest.raises(DataError, match="ids as a list"):
        hash_example_ids(examples, KEY)


def test_no_examples_have_no_hashes():
    assert hash_examples(Subset(rows(), []), KEY).shape == (0,)
    assert len(combine_hashes(hash_examples(Subset(as_examples([(torch.zeros(1), 0)]), []), KEY), KEY)) == 64


class Folder:
    """Stands for torchvision's folder of pictures: it knows its files, and decoding them is dear."""

    def __init__(self, samples):
        self.samples, self.targets, self.read = samples, [label for _, label in samples], []

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.read.append(index)
        return torch.rand(3, 8, 8), self.targets[index]


class Array(Folder):
    """Stands for torchvision's data sets in memory."""

    def __init__(self, data, targets):
        super().__init__([("", label) for label in targets])
        self.data = data
        del self.samples

    def __len__(self):
        return len(self.data)


@pytest.fixture
def torchvision_stand_in(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for kind in (Folder, Array):
        monkeypatch.setattr(kind, "__module__", "torchvision.datasets.folder")


def test_a_folder_of_torchvision_is_known_by_its_files_and_nothing_is_decoded(torchvision_stand_in, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"picture %d" % (number // 2))
    folder = Folder([(str(tmp_path / f"{number}.png"), number % 2) for number in range(4)])
    examples = as_examples(folder)
    assert len(examples.targets) == 4
    folder.read.clear()
    made = hash_examples(examples, KEY)
    assert folder.read == []
    assert len(set(made.tolist())) == 4
    assert (hash_examples(Subset(examples, [2, 0]), KEY) == made[[2, 0]]).all()
    (tmp_path / "3.png").write_bytes(b"another")
    assert (hash_examples(examples, KEY) == made).tolist() == [True, True, True, False]
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"a file that can be read, but found .*3\.png"):
        hash_examples(examples, KEY)


def test_an_array_of_torchvision_is_known_by_its_rows(torchvision_stand_in):
    pictures = np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 2, 2)
    examples = as_examples(Array(pictures, [0, 1, 0, 1]))
    made = hash_examples(Subset(examples, [3, 1]), KEY)
    assert (made == hash_examples(TensorExamples(torch.from_numpy(pictures[[3, 1]]), [1, 1]), KEY)).all()
