import os
import stat
import time

import numpy as np
import pytest

from expunge.data import file_hashes as module
from expunge.data.file_hashes import cache_folder, hash_file_contents, read_cached_array, write_cached_array

KEY = bytes(range(32))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three files that were written a while ago, and what is read of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "MIN_AGE_SECONDS", 0.0)
    paths = [tmp_path / f"{number}.bin" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)
    time.sleep(0.01)
    return paths


@pytest.fixture
def read(monkeypatch):
    paths, content_hash = [], module._hash_content
    monkeypatch.setattr(module, "_hash_content", lambda path, key: paths.append(path) or content_hash(path, key))
    return paths


def test_a_file_is_read_once_and_again_only_where_it_changed(files, read):
    first = hash_file_contents(files, KEY)
    assert read == files
    assert len(set(first.tolist())) == 3
    assert (hash_file_contents(files, KEY) == first).all()
    assert read == files
    files[1].write_bytes(b"x" * 1000)
    after = hash_file_contents(files, KEY)
    assert read == [*files, files[1]]
    assert (after == first).tolist() == [True, False, True]


def test_lists_of_files_of_one_folder_share_a_memory(files, read):
    hash_file_contents(files[:1], KEY)
    hash_file_contents(files[1:], KEY)
    read.clear()
    hash_file_contents(files[:1], KEY)
    hash_file_contents(files, KEY)
    assert read == []


def test_a_change_of_the_same_size_with_the_old_modification_time_is_noticed(files):
    first = hash_file_contents(files, KEY)
    times = files[1].stat()
    time.sleep(0.01)
    files[1].write_bytes(b"y" * 1000)
    os.utime(files[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (hash_file_contents(files, KEY) == first).tolist() == [True, False, True]


def test_a_touched_or_moved_file_has_its_old_hash(files, tmp_path):
    first = hash_file_contents(files, KEY)
    files[0].touch()
    moved = files[1].rename(tmp_path / "moved.bin")
    assert (hash_file_contents([files[0], moved, files[2]], KEY) == first).all()


def test_a_file_that_changed_just_now_is_not_remembered(files, read, monkeypatch):
    monkeypatch.setattr(module, "MIN_AGE_SECONDS", 60.0)
    hash_file_contents(files, KEY)
    hash_file_contents(files, KEY)
    assert read == 2 * files


def test_the_memory_is_the_owners_alone_and_names_no_path(files):
    hash_file_contents(files, KEY)
    (memory,) = cache_folder().iterdir()
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    assert stat.S_IMODE(memory.parent.stat().st_mode) == 0o700
    assert b"bin" not in memory.read_bytes()


def test_links_in_the_cache_are_neither_read_nor_written_through(files, read, tmp_path):
    hash_file_contents(files, KEY)
    (memory,) = cache_folder().iterdir()
    elsewhere = memory.rename(tmp_path / "elsewhere.npy")
    before = elsewhere.read_bytes()
    memory.symlink_to(elsewhere)
    hash_file_contents(files, KEY)
    assert read == 2 * files
    assert elsewhere.read_bytes() == before
    assert not memory.is_symlink()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:150], lambda data: b"x" * len(data)])
def test_a_damaged_memory_is_made_anew(files, damage):
    first = hash_file_contents(files, KEY)
    (memory,) = cache_folder().iterdir()
    memory.write_bytes(damage(memory.read_bytes()))
    assert (hash_file_contents(files, KEY) == first).all()


def test_an_array_of_another_kind_is_no_memory(files):
    first = hash_file_contents(files, KEY)
    (memory,) = cache_folder().iterdir()
    write_cached_array(memory, np.arange(5))
    assert read_cached_array(memory).tolist() == [0, 1, 2, 3, 4]
    assert (hash_file_contents(files, KEY) == first).all()


def test_without_a_cache_everything_is_read(files, tmp_path, monkeypatch):
    first = hash_file_contents(files, KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(files[0]))
    assert (hash_file_contents(files, KEY) == first).all()
