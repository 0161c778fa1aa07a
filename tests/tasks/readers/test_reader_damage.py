"""Files that are missing, cut off or corrupt: one sentence, never a traceback of a parser, never a large allocation."""

import functools
import gzip

import numpy as np
import pytest
from reader_files import cifar_records, encoded, idx_bytes, pictures, write_folder, write_idx, write_parquet, write_svhn

from expunge.errors import DataError
from expunge.tasks.classification.readers import _images, cifar10, cifar100, image_folder, mnist, svhn
from expunge.tasks.classification.readers._parquet import read_images

IMAGES = np.zeros((3, 28, 28), np.uint8)


def write_mnist(tmp_path):
    folder = tmp_path / "MNIST"
    write_idx(folder, "train", IMAGES, [0, 1, 2])
    write_idx(folder, "t10k", IMAGES, [0, 1, 2])
    return folder


packed = functools.partial(gzip.compress, mtime=0)
"""The same bytes at any time: they are part of a test's name, which every process has to find alike."""


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (3, 28, 28), IMAGES))[:-12], "whole idx file"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08", "idx"),
        ("train-images-idx3-ubyte.gz", b"not gzip at all", "whole idx file"),
        ("train-images-idx3-ubyte.gz", b"", "idx"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x801, (3, 28, 28), IMAGES)), "magic number 0x803"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (3, 28, 28), IMAGES[:2])), "fewer"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (2, 28, 28), IMAGES)), "more"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (3, 32, 32), IMAGES)), "sizes"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (4_000_000_000, 28, 28), IMAGES)), "sizes"),
        ("train-images-idx3-ubyte.gz", packed(idx_bytes(0x803, (0, 28, 28), [])), "sizes"),
        ("train-labels-idx1-ubyte.gz", packed(idx_bytes(0x801, (2,), [0, 1])), "3 labels"),
        ("train-labels-idx1-ubyte.gz", packed(idx_bytes(0x801, (3,), [0, 1, 10])), "labels from 0 to 9"),
    ],
)
def test_damaged_idx_files(tmp_path, name, content, sentence):
    (write_mnist(tmp_path) / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        mnist(tmp_path)


def test_missing_idx_files(tmp_path):
    (write_mnist(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="t10k-labels"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"", lambda data: data[:1] + b"\xff" + data[2:]]
)
def test_damaged_binary_files(tmp_path, change):
    folder = tmp_path / "cifar100"
    folder.mkdir()
    whole = cifar_records(pictures(2, 32), [1, 1], [2, 3])
    (folder / "test.bin").write_bytes(whole)
    with pytest.raises(DataError, match=r"'train\.bin'"):
        cifar100(tmp_path)
    (folder / "train.bin").write_bytes(whole)
    cifar100(tmp_path)
    (folder / "train.bin").write_bytes(change(whole))
    with pytest.raises(DataError):
        cifar100(tmp_path)


def test_parquet_files_cut_anywhere_or_with_a_flipped_byte_never_show_a_parsers_error(tmp_path):
    images = pictures(6, 32)
    path = tmp_path / "train-0.parquet"
    write_parquet(path, [encoded(picture, "WEBP", lossless=True) for picture in images], list(range(6)))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    failures = 0
    for trial in range(60):
        place = int(generator.integers(len(whole)))
        broken = whole[:place] if trial % 2 else whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        path.write_bytes(broken)
        try:
            pixels, labels = read_images(tmp_path, "train-*.parquet", 32, cache=False)
        except DataError:
            failures += 1
        else:
            assert pixels.shape[1:] == (3, 32, 32)
            assert len(pixels) == len(labels)
    assert failures >= 30, "every file that is cut off must be refused"


def test_parquet_files_of_another_form(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def read():
        return read_images(tmp_path, "train-*.parquet", 32, cache=False)

    with pytest.raises(DataError, match="none"):
        read()
    path = tmp_path / "train-0.parquet"
    for table, sentence in [
        (pa.table({"x": [1]}), "columns 'image' and 'label'"),
        (pa.table({"image": [1], "label": [1]}), "with 'bytes'"),
        (pa.table({"image": [{"bytes": b""}], "label": [0.5]}), "whole numbers"),
        (pa.table({"image": [{"bytes": b"x"}], "label": pa.array([None], pa.int64())}), "label for every picture"),
        (pa.table({"image": [{"bytes": b"x"}], "label": [1]}), "row 0"),
        (pa.table({"image": [{"bytes": None}], "label": [1]}), "row 0"),
        (pa.table({"image": [{"bytes": encoded(pictures(1, 31)[0])}], "label": [1]}), "31 x 31"),
    ]:
        pq.write_table(table, path)
        with pytest.raises(DataError, match=sentence):
            read()


def test_labels_without_a_class_are_refused(tmp_path):
    images = [encoded(picture) for picture in pictures(2, 32)]
    write_parquet(tmp_path / "cifar10" / "train-0.parquet", images, [0, 10])
    write_parquet(tmp_path / "cifar10" / "test-0.parquet", images, [0, -1])
    with pytest.raises(DataError, match="labels from 0 to 9"):
        cifar10(tmp_path, cache=False)


def test_matlab_files_cut_anywhere_or_with_flipped_bytes(tmp_path):
    write_svhn(tmp_path)
    path = tmp_path / "svhn" / "train_32x32.mat"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    failures = 0
    for trial in range(40):
        place = int(generator.integers(len(whole)))
        broken = whole[:place] if trial % 2 else whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        path.write_bytes(broken)
        try:
            source = svhn(tmp_path)
        except DataError:
            failures += 1
        else:
            assert trial % 2 == 0, "a file that is cut off must be refused"
            assert len(source.train) == 4
    assert failures >= 20
    path.unlink()
    with pytest.raises(DataError, match=r"'train_32x32\.mat'"):
        svhn(tmp_path)


def test_image_folders_that_are_not_whole(tmp_path):
    with pytest.raises(DataError, match="subfolder for each class"):
        image_folder(tmp_path)
    write_folder(tmp_path)
    with pytest.raises(DataError, match="size of at least 1"):
        image_folder(tmp_path, size=0)
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(DataError, match="'cow' besides"):
        image_folder(tmp_path)
    (tmp_path / "test" / "cow").rmdir()
    broken = tmp_path / "train" / "ape" / "0.png"
    for content in (b"", b"text", broken.read_bytes()[:45]):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"0\.png"):
            image_folder(tmp_path)


def test_enormous_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    write_folder(tmp_path)
    monkeypatch.setattr(_images, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="at most 100 pixels"):
        image_folder(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(_images, "MAX_BYTES", 3000)
    with pytest.raises(DataError, match="smaller size"):
        image_folder(tmp_path, size=32)
