import hashlib
import hmac
import json
import os
import stat
import struct
import threading
from datetime import datetime

import numpy as np
import pytest
import torch

import expunge
from expunge.data import (
    ByFraction,
    ByIndices,
    Subset,
    TensorExamples,
    as_examples,
    build_manifest,
    combine_hashes,
    fingerprint,
    hash_examples,
    load_or_create_key,
    split_request,
)
from expunge.errors import DataError

KEY = bytes(range(32))


def slow_digest(indices, key):
    return hmac.new(key, b"".join(struct.pack("<q", index) for index in sorted(indices)), hashlib.sha256).hexdigest()


def make(request, examples, key=KEY):
    return build_manifest(request, *split_request(examples, request), "example", examples, key)


def test_a_manifest_is_json_and_says_what_can_be_said():
    examples = TensorExamples(torch.zeros(20, 1), torch.arange(20) % 4)
    record = json.loads(json.dumps(make(ByFraction(0.25, 9), examples)))
    assert record["kind"] == "fraction"
    assert record["seed"] == 9
    assert record["sizes"] == {"forget": 5, "retain": 15, "all": 20}
    forget = ByFraction(0.25, 9).select(examples).tolist()
    assert record["digest"]["forget"] == slow_digest(forget, KEY)
    assert record["digest"]["retain"] == slow_digest(set(range(20)) - set(forget), KEY)
    assert record["digest"]["key"] == hashlib.sha256(KEY).hexdigest()[:8]
    hashes = hash_examples(examples, KEY)
    assert record["contents"]["forget"] == combine_hashes(hashes[forget], KEY)
    assert record["contents"]["retain"] == combine_hashes(np.delete(hashes, forget), KEY)
    assert record["dataset"] == {"name": "example", "fingerprint": combine_hashes(hashes, KEY)}
    assert record["expunge"] == expunge.__version__
    assert datetime.fromisoformat(record["created"]).utcoffset().total_seconds() == 0


def test_digests_are_of_root_indices_and_depend_on_the_key():
    root = TensorExamples(torch.zeros(20, 1), torch.zeros(20).long())
    part = Subset(root, [13, 7, 2])
    record = make(ByIndices([13]), part)
    assert record["digest"]["forget"] == slow_digest([13], KEY)
    assert "seed" not in record
    assert make(ByIndices([13]), part, bytes(32))["digest"]["forget"] != record["digest"]["forget"]


def test_a_manifest_holds_no_index_and_no_path(tmp_path):
    path = tmp_path / "secret-people.txt"
    path.write_text("987654\n")
    examples = TensorExamples(torch.zeros(10**6, 1, dtype=torch.uint8), torch.zeros(10**6).long())
    text = json.dumps(make(ByIndices(path), examples))
    assert "987654" not in text
    assert "people" not in text


def test_the_fingerprint_is_of_the_set_whatever_its_order_and_changes_with_any_value():
    examples = TensorExamples(torch.arange(50.0).view(50, 1), torch.arange(50) % 5)
    shuffled = TensorExamples(examples.inputs.flip(0), examples.targets.flip(0))
    other = TensorExamples(examples.inputs.clone(), examples.targets)
    other.inputs[7] = 0.5
    assert fingerprint(shuffled, KEY) == fingerprint(examples, KEY) != fingerprint(other, KEY)
    assert fingerprint(examples, bytes(32)) != fingerprint(examples, KEY)


def test_two_texts_of_one_length_have_different_fingerprints():
    first, second = ([({"input_ids": torch.tensor([word, 2]), "text": text}, 0)] for word, text in ((1, "a"), (1, "b")))
    assert fingerprint(as_examples(first), KEY) != fingerprint(as_examples(second), KEY)


def test_the_fingerprint_changes_with_any_label(key_file):
    labels = torch.arange(50) % 5
    other = labels.clone()
    other[-1] = 0
    assert fingerprint(TensorExamples(torch.zeros(50, 1), labels)) != fingerprint(
        TensorExamples(torch.zeros(50, 1), other)
    )


@pytest.fixture
def key_file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "key"
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(path))
    return path


def test_the_key_is_made_once_for_its_owner_alone(key_file):
    first = load_or_create_key()
    assert len(first) == 32
    assert load_or_create_key() == first == key_file.read_bytes()
    assert [path.name for path in key_file.parent.iterdir()] == ["key"]
    if os.name == "posix":
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_the_key_lies_in_the_home_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("EXPUNGE_KEY_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert (tmp_path / ".config" / "expunge" / "key").exists() is False
    assert load_or_create_key() == (tmp_path / ".config" / "expunge" / "key").read_bytes()


def test_first_users_at_the_same_time_share_one_key(key_file):
    barrier, keys = threading.Barrier(8), []

    def use():
        barrier.wait()
        keys.append(load_or_create_key())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_key_file_of_another_length_is_refused_and_kept(key_file, content):
    key_file.parent.mkdir()
    key_file.write_bytes(content)
    with pytest.raises(DataError, match="32 bytes"):
        load_or_create_key()
    assert key_file.read_bytes() == content


def test_a_key_that_cannot_be_made_is_an_error_with_a_cure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "file" / "key"))
    with pytest.raises(DataError, match="EXPUNGE_KEY_FILE"):
        load_or_create_key()
