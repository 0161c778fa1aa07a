import json

import numpy as np
import pytest
import torch

from expunge.data import (
    ByClass,
    ByFraction,
    ByIndices,
    ByPredicate,
    Subset,
    TensorExamples,
    check_labels,
    split_request,
)
from expunge.errors import ExpungeError, RequestError

NAMES = ("cat", "dog", "fox")
EXAMPLES = TensorExamples(torch.arange(12).float().unsqueeze(1), [0, 1, 2, 1] * 3)


def is_large(index, inputs, label):
    return bool(inputs.item() > 8)


not_a_function = 3


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (ByClass(1), [1, 3, 5, 7, 9, 11]),
        (ByClass("fox"), [2, 6, 10]),
        (ByClass("2"), [2, 6, 10]),
        (ByIndices([7, 0, 3]), [0, 3, 7]),
        (ByIndices(torch.tensor([4])), [4]),
        (ByIndices(np.array([4, 2])), [2, 4]),
        (ByPredicate(is_large), [9, 10, 11]),
        (ByPredicate(f"{__name__}:is_large"), [9, 10, 11]),
        (ByPredicate(lambda index, inputs, label: torch.tensor(label == 2 and index > 2)), [6, 10]),
    ],
)
def test_a_request_chooses_sorted_positions_and_the_rest_is_retained(request_, wanted):
    forget, retain = split_request(EXAMPLES, request_, NAMES)
    assert forget.tolist() == wanted
    assert retain.tolist() == sorted(set(range(12)) - set(wanted))
    assert forget.dtype == retain.dtype == torch.int64


def test_a_predicate_sees_every_example_of_a_large_set_with_its_index_and_label():
    many = TensorExamples(torch.arange(600).float().unsqueeze(1), torch.arange(600) % 7)
    seen = []

    def odd(index, inputs, label):
        seen.append((index, int(inputs.item()), label))
        return index % 2 == 1

    assert ByPredicate(odd).select(many).tolist() == list(range(1, 600, 2))
    assert seen == [(index, index, index % 7) for index in range(600)]


def test_a_fraction_is_a_seeded_draw_without_replacement_that_leaves_the_global_generator_alone():
    many = TensorExamples(torch.zeros(1000, 1), torch.zeros(1000, dtype=torch.int64))
    before = torch.get_rng_state()
    draws = [ByFraction(0.1, seed).select(many) for seed in (0, 0, 1)]
    assert torch.get_rng_state().equal(before)
    assert draws[0].equal(draws[1])
    assert not draws[0].equal(draws[2])
    assert [len(draw.unique()) for draw in draws] == [100, 100, 100]
    counts = torch.zeros(1000)
    for seed in range(200):
        counts[ByFraction(0.1, seed).select(many)] += 1
    # Each example is drawn Binomial(200, 0.1) times: variance 18; a draw that prefers places would spread far more.
    assert 14 < counts.var() < 22


def test_indices_are_those_of_the_root_data_set():
    part = Subset(EXAMPLES, [10, 4, 7])
    assert ByIndices([7, 10]).select(part).tolist() == [0, 2]
    assert ByPredicate(lambda index, inputs, label: index == 4).select(part).tolist() == [1]
    with pytest.raises(RequestError, match="1 of 2 outside"):
        ByIndices([7, 5]).select(part)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", b"# to forget\n7\n\n 0 # the first\n3\r\n"),
        ("ids.json", b"[7, 0, 3]"),
        ("ids", b"\xef\xbb\xbf7\n0\n3"),
    ],
)
def test_index_files_are_read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert ByIndices(path).select(EXAMPLES).tolist() == [0, 3, 7]
    assert ByIndices(str(path)).select(EXAMPLES).tolist() == [0, 3, 7]


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32, np.uint64])
def test_numpy_index_files_are_read(tmp_path, kind):
    np.save(tmp_path / "ids.npy", np.array([7, 0, 3], kind))
    assert ByIndices(tmp_path / "ids.npy").select(EXAMPLES).tolist() == [0, 3, 7]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"1\n2.5\n", "'2.5' on line 2"),
        (b"1\n\n# x\nseven\n", "'seven' on line 4"),
        (b"1 2\n", "'1 2' on line 1"),
        (b"1_0\n", "on line 1"),
        (b"9" * 5000, "on line 1"),
        (b"\xff\xfe\x00", "index file"),
        (b"# nothing\n", "at least one example to forget"),
        (b"3\n12\n", "indices from 0 to 11"),
        (b"-1\n", "indices from 0 to 11"),
        (b"999999999999999999\n", "indices from 0 to 11"),
        (b"3\n4\n3\n", "1 named more than once"),
    ],
)
def test_bad_text_files_end_with_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=sentence):
        split_request(EXAMPLES, ByIndices(path))


@pytest.mark.parametrize("content", ['{"a": 1}', "[1, 2.5]", "[true]", '["1"]', "[1,", "", "[" * 2000, "[null]"])
def test_bad_json_files_end_with_one_sentence(tmp_path, content):
    path = tmp_path / "ids.json"
    path.write_text(content)
    with pytest.raises(RequestError):
        ByIndices(path).select(EXAMPLES)


@pytest.mark.parametrize("values", [np.array([0.5]), np.array([[1, 2]]), np.array([True])])
def test_numpy_files_of_other_things_are_refused(tmp_path, values):
    np.save(tmp_path / "ids.npy", values)
    with pytest.raises(RequestError, match="integer array of one dimension"):
        ByIndices(tmp_path / "ids.npy").select(EXAMPLES)


def test_pickles_and_lying_headers_are_refused(tmp_path):
    path = tmp_path / "ids.npy"
    np.save(path, np.array([{1: 2}], object), allow_pickle=True)
    with pytest.raises(RequestError):
        ByIndices(path).select(EXAMPLES)
    np.save(path, np.arange(100))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(100,), }          ", b"(100000000000,), } "))
    assert path.read_bytes() != content
    with pytest.raises(RequestError):
        ByIndices(path).select(EXAMPLES)
    path.write_bytes(content[:40])
    with pytest.raises(RequestError):
        ByIndices(path).select(EXAMPLES)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (ByClass("dgo"), "did you mean 'dog'"),
        (ByClass(7), "class that occurs"),
        (ByClass("elephant"), "name of a class"),
        (ByClass(True), "name of a class"),
        (ByIndices([]), "at least one example to forget"),
        (ByIndices(range(12)), "at least one example to retain"),
        (ByIndices([1, 1]), "every index once"),
        (ByIndices([12]), "from 0 to 11"),
        (ByIndices([-3]), "from 0 to 11"),
        (ByIndices([0.5]), "whole numbers"),
        (ByIndices([True]), "whole numbers"),
        (ByIndices("missing.txt"), "can be read"),
        (ByFraction(0.0), "greater than 0 and less than 1"),
        (ByFraction(1.0), "greater than 0 and less than 1"),
        (ByFraction(float("nan")), "greater than 0 and less than 1"),
        (ByFraction(0.01), "at least one example"),
        (ByFraction(0.99), "at least one example to retain"),
        (ByPredicate(lambda *_: False), "at least one example to forget"),
        (ByPredicate(lambda *_: 1), "type int"),
        (ByPredicate(lambda *_: 1 / 0), "ZeroDivisionError"),
        (ByPredicate(lambda *_: torch.ones(2)), "answers True or False"),
        (ByPredicate("no.such.module:name"), "Python module"),
        (ByPredicate("json"), "a Python path"),
        (ByPredicate("json:nothing"), "no such name"),
        (ByPredicate(f"{__name__}:not_a_function"), "which is int"),
    ],
)
def test_bad_requests_end_with_one_sentence(request_, sentence):
    with pytest.raises(ExpungeError, match=sentence) as caught:
        split_request(EXAMPLES, request_, NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("retain", "sentence"),
    [
        ([1, 2, 3], "1 to be forgotten and retained"),
        ([], "at least one example to retain"),
        ([2, 2], "once"),
        ([40], "0"),
    ],
)
def test_a_bad_retain_side_ends_with_one_sentence(retain, sentence):
    with pytest.raises(RequestError, match=sentence):
        split_request(EXAMPLES, ByIndices([0, 1]), retain=retain)


def test_the_retain_side_may_be_given(tmp_path):
    (tmp_path / "keep.json").write_text(json.dumps([9, 5]))
    for retain in ([9, 5], torch.tensor([5, 9]), tmp_path / "keep.json", ByIndices([5, 9])):
        assert split_request(EXAMPLES, ByIndices([1]), retain=retain).retain.tolist() == [5, 9]


class Careless:
    kind = "careless"

    def __init__(self, positions):
        self.positions = positions

    def select(self, examples, class_names=None):
        return self.positions


@pytest.mark.parametrize(
    "positions",
    [torch.tensor([3, 3]), torch.tensor([12]), torch.tensor([-1]), torch.tensor([[1]]), torch.tensor([0.5])],
)
def test_a_third_partys_request_is_checked_too(positions):
    with pytest.raises(RequestError):
        split_request(EXAMPLES, Careless(positions))


def test_labels_outside_the_head_are_refused():
    check_labels(EXAMPLES, 3)
    with pytest.raises(RequestError, match=r"labels from 0 to 1.* found 2"):
        check_labels(EXAMPLES, 2)


def test_sentences_are_plain_and_hold_no_index():
    secret = 987654
    assert ByClass(1).describe(NAMES) == "all examples of the class 'dog'"
    assert ByClass("dog").describe(NAMES) == "all examples of the class 'dog'"
    assert ByClass(1).describe() == "all examples of class 1"
    assert ByFraction(0.1, 4).describe() == "a random 10 % of the examples (seed 4)"
    assert ByPredicate(is_large).describe() == "all examples that the predicate 'is_large' picks"
    listed = ByIndices([secret])
    assert str(secret) not in listed.describe() + repr(listed)
    with pytest.raises(RequestError) as caught:
        split_request(TensorExamples(torch.zeros(10**6, 1), torch.zeros(10**6).long()), ByIndices([secret, secret]))
    assert str(secret) not in str(caught.value)
