import pytest
import torch

from expunge.data import LabeledDataset, TensorExamples, find_dataset_folder
from expunge.errors import DataError

TRAIN = TensorExamples(torch.arange(100).float().unsqueeze(1), [0] * 60 + [1] * 30 + [2] * 10)
SOURCE = LabeledDataset(TRAIN, TRAIN, ("a", "b", "c"), "example", "none", (1, 1, 1))


@pytest.mark.parametrize(("n", "counts"), [(9, [3, 3, 3]), (30, [10, 10, 10]), (50, [20, 20, 10]), (100, [60, 30, 10])])
def test_a_subset_has_as_many_of_each_class_as_can_be(n, counts):
    part = SOURCE.subset(n, seed=2).train
    assert part.targets.bincount().tolist() == counts
    assert len(part.positions.unique()) == n
    assert part.positions.equal(part.positions.sort().values)


def test_a_subset_is_a_seeded_draw():
    positions = [SOURCE.subset(12, seed).train.positions.tolist() for seed in (0, 0, 1)]
    assert positions[0] == positions[1] != positions[2]
    chosen = {place for seed in range(60) for place in SOURCE.subset(12, seed).train.positions.tolist()}
    assert chosen == set(range(100))


@pytest.mark.parametrize("n", [0, -1, 101])
def test_a_subset_must_have_a_possible_size(n):
    with pytest.raises(DataError, match="from 1 to 100"):
        SOURCE.subset(n)


def test_the_folder_of_data_sets_is_the_argument_or_else_the_variable(tmp_path, monkeypatch):
    for place in ("given", "variable"):
        (tmp_path / place / "set").mkdir(parents=True)
    monkeypatch.setenv("EXPUNGE_DATA", str(tmp_path / "variable"))
    assert find_dataset_folder(None, "set") == tmp_path / "variable" / "set"
    assert find_dataset_folder(tmp_path / "given", "set") == tmp_path / "given" / "set"
    assert find_dataset_folder(tmp_path / "given", "other", "set") == tmp_path / "given" / "set"
    with pytest.raises(DataError, match=r"'missing'.*--data-dir.*EXPUNGE_DATA"):
        find_dataset_folder(None, "missing")


def test_without_any_folder_both_ways_are_named(monkeypatch):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    with pytest.raises(DataError, match=r"'set'.*--data-dir.*EXPUNGE_DATA"):
        find_dataset_folder(None, "set")
