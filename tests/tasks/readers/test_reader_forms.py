"""Readers on small files of the true form: what they return is what was written."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from reader_files import cifar_records, encoded, pictures, write_folder, write_idx, write_parquet, write_svhn

from expunge.errors import CheckpointError, DataError, MissingExtraError
from expunge.tasks.classification.readers import (
    _cache,
    _parquet,
    cifar10,
    cifar100,
    huggingface_datasets,
    image_folder,
    mnist,
    svhn,
    tiny_imagenet_20,
)


def channels_last(examples):
    return examples.inputs.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("folder", ["MNIST", "MNIST/raw"])
def test_idx_files_plain_or_compressed(tmp_path, compressed, folder):
    images = pictures(6, 28)[..., 0]
    write_idx(tmp_path / folder, "train", images[:4], [1, 2, 3, 9], compressed)
    write_idx(tmp_path / folder, "t10k", images[4:], [0, 5], compressed)
    source = mnist(tmp_path)
    assert np.array_equal(source.train.inputs[:, 0].numpy(), images[:4])
    assert source.test.targets.tolist() == [0, 5]


def test_cifar100_binary(tmp_path):
    images = pictures(7, 32)
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(cifar_records(images[:4], [19, 0, 0, 0], [99, 0, 53, 7]))
    (folder / "test.bin").write_bytes(cifar_records(images[4:], [1, 2, 3], [5, 6, 4]))
    source = cifar100(tmp_path)
    assert np.array_equal(channels_last(source.train), images[:4])
    assert source.train.targets.tolist() == [99, 0, 53, 7]
    assert source.test.targets.tolist() == [5, 6, 4]
    assert [source.class_names[label] for label in (0, 53, 99)] == ["apple", "orange", "worm"]
    assert len(set(source.class_names)) == 100


def test_cifar10_binary(tmp_path):
    images = pictures(12, 32)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number in range(5):
        part = images[2 * number : 2 * number + 2]
        (folder / f"data_batch_{number + 1}.bin").write_bytes(cifar_records(part, [number, 9]))
    (folder / "test_batch.bin").write_bytes(cifar_records(images[10:], [3, 8]))
    source = cifar10(tmp_path)
    assert np.array_equal(channels_last(source.train), images[:10])
    assert source.train.targets.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert source.test.targets.tolist() == [3, 8]


def write_cifar10(tmp_path, images):
    def lossless(part):
        return [encoded(picture, "WEBP", lossless=True) for picture in part]

    folder = tmp_path / "cifar10"
    write_parquet(folder / "train-00000-of-00002.parquet", lossless(images[:5]), [0, 1, 2, 3, 4])
    write_parquet(folder / "train-00001-of-00002.parquet", lossless(images[5:8]), [9, 8, 7])
    write_parquet(folder / "test-00000-of-00001.parquet", lossless(images[8:]), [6, 5])
    return folder


def test_cifar10_shards_keep_pixels_and_order(tmp_path):
    images = pictures(10, 32)
    write_cifar10(tmp_path, images)
    source = cifar10(tmp_path)
    assert np.array_equal(channels_last(source.train), images[:8])
    assert np.array_equal(channels_last(source.test), images[8:])
    assert source.train.targets.tolist() == [0, 1, 2, 3, 4, 9, 8, 7]


def test_decoded_pixels_are_kept_and_found_again_unless_refused(tmp_path, monkeypatch):
    images = pictures(10, 32)
    folder = write_cifar10(tmp_path, images)
    first = cifar10(tmp_path)
    kept = sorted(path.name for path in _cache.cache_folder().glob("cifar10-*"))
    assert len(kept) == 2
    assert all(name.endswith(".npy") for name in kept)

    decoded = []
    monkeypatch.setattr(_parquet, "decode_exact", lambda *a: decoded.append(a) or np.zeros((3, 32, 32), np.uint8))
    again = cifar10(tmp_path)
    assert again.train.inputs.equal(first.train.inputs)
    assert decoded == []
    cifar10(tmp_path, cache=False)
    assert len(decoded) == 10

    write_parquet(folder / "test-00000-of-00001.parquet", [encoded(picture) for picture in images[:2]], [6, 5])
    assert int(cifar10(tmp_path).test.inputs.sum()) == 0, "a changed file must be decoded anew"


def test_pictures_that_change_in_the_middle_of_a_file_of_one_size_are_decoded_anew(tmp_path):
    images = pictures(60, 32)
    path = write_cifar10(tmp_path, images[:10]) / "train-00000-of-00002.parquet"
    raw = [encoded(picture, "BMP") for picture in images]
    write_parquet(path, raw, [0] * 60, compression="NONE", use_dictionary=False)
    content, one, other = path.read_bytes(), raw[24], raw[30]
    assert 2**16 < content.index(one) < content.index(other) < len(content) - 2**16
    first = cifar10(tmp_path).train.inputs
    gap = b"\xff" * len(one)
    path.write_bytes(content.replace(one, gap).replace(other, one).replace(gap, other))
    second = cifar10(tmp_path).train.inputs
    assert second[24].equal(first[30])
    assert second[30].equal(first[24])


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"", lambda data: b"x" * len(data)])
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    images = pictures(10, 32)
    write_cifar10(tmp_path, images)
    cifar10(tmp_path)
    for path in _cache.cache_folder().glob("cifar10-*"):
        path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(channels_last(cifar10(tmp_path).train), images[:8])
    assert all(path.stat().st_size > 3072 for path in _cache.cache_folder().glob("cifar10-*"))


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    images = pictures(10, 32)
    write_cifar10(tmp_path, images)
    assert np.array_equal(channels_last(cifar10(tmp_path).train), images[:8])


def test_tiny_imagenet_20_turns_gray_pictures_into_color(tmp_path):
    folder = tmp_path / "tiny-imagenet-20"
    gray = np.full((64, 64), 77, np.uint8)
    write_parquet(folder / "train-00000-of-00001.parquet", [encoded(gray, "JPEG")] * 2, [3, 19])
    write_parquet(folder / "val-00000-of-00001.parquet", [encoded(gray)], [0])
    entries = [{"label": label, "wnid": "n0", "words": f"thing {label}, other"} for label in range(20)]
    (folder / "classes.json").write_text(json.dumps(entries[::-1]))
    source = tiny_imagenet_20(tmp_path)
    assert source.class_names[19] == "thing 19"
    assert source.shape == (3, 64, 64)
    assert (source.test.inputs == 77).all()
    (folder / "classes.json").write_text(json.dumps(entries[:3]))
    with pytest.raises(DataError, match="labels 0 to 19"):
        tiny_imagenet_20(tmp_path)


def test_svhn_files_call_the_digit_zero_ten(tmp_path):
    images = write_svhn(tmp_path)
    source = svhn(tmp_path)
    assert np.array_equal(channels_last(source.train), images)
    assert source.test.targets.tolist() == [0, 1, 9, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"X": np.zeros((32, 32, 3, 4))},
        {"X": np.zeros((32, 32, 4), np.uint8)},
        {"y": np.array([1, 2, 3], np.uint8)},
        {"y": np.array([0, 1, 2, 3], np.uint8)},
        {"y": np.array([1.5, 1, 1, 1])},
    ],
)
def test_svhn_files_of_another_form_are_refused(tmp_path, changes):
    write_svhn(tmp_path, **changes)
    with pytest.raises(DataError, match="train_32x32"):
        svhn(tmp_path)


@pytest.mark.parametrize("test", ["test", "val"])
def test_image_folder(tmp_path, monkeypatch, test):
    write_folder(tmp_path, test)
    (tmp_path / "train" / "ape" / "notes.txt").write_text("not a picture")
    (tmp_path / "train" / ".hidden").mkdir()
    source = image_folder(tmp_path, size=8)
    assert source.class_names == ("ape", "bee")
    assert source.shape == (3, 8, 8)
    assert source.train.targets.tolist() == [0, 0, 1, 1]
    assert source.train.inputs[:, 0, 0, 0].tolist() == [0, 1, 50, 51]
    values = np.array([0, 1, 50, 51]) / 255
    wanted = (values - values.mean()) / values.std()
    assert np.allclose(source.train.batch(torch.arange(4)).inputs[:, 2, 3, 3], wanted, atol=1e-5)
    assert image_folder(tmp_path.parent, folder=tmp_path.name, size=8).train.inputs.equal(source.train.inputs)


def test_image_folder_keeps_the_upright_center_square(tmp_path):
    from PIL import Image

    write_folder(tmp_path)
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:8] = 255  # the center square is columns 4 to 11: white, then black
    (tmp_path / "train" / "ape" / "0.png").write_bytes(encoded(wide))
    orientation = Image.Exif()
    orientation[0x0112] = 6  # to be turned clockwise by a quarter for display
    (tmp_path / "train" / "ape" / "1.png").write_bytes(encoded(wide, exif=orientation))
    plain, turned = image_folder(tmp_path, size=8).train.inputs[:2, 0]
    assert plain.tolist() == [[255] * 4 + [0] * 4] * 8
    assert turned.tolist() == [[255] * 8] * 4 + [[0] * 8] * 4


class Split(list):
    """Rows with the few features of a saved split that the reader uses."""

    column_names = ("image", "label")

    @property
    def features(self):
        return {"label": types.SimpleNamespace(names=["ape", "bee"]), "image": sys.modules["datasets"].Image()}

    def cast_column(self, name, kind):
        assert (name, kind.decode) == ("image", False)
        return self

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)


def test_hugging_face_rows(tmp_path, monkeypatch):
    class Image:
        def __init__(self, decode=True):
            self.decode = decode

    colors = [encoded(np.full((8, 8, 3), (40 * n, 0, 0), np.uint8)) for n in range(3)]
    rows = Split({"image": {"bytes": one, "path": None}, "label": n % 2} for n, one in enumerate(colors))
    saved = {"train": rows, "validation": Split(rows[:1])}
    made = types.SimpleNamespace(load_from_disk=lambda path: saved, Image=Image)
    monkeypatch.setitem(sys.modules, "datasets", made)
    source = huggingface_datasets(tmp_path, size=4)
    assert source.class_names == ("ape", "bee")
    assert source.train.targets.tolist() == [0, 1, 0]
    assert source.train.inputs[:, 0, 1, 1].tolist() == [0, 40, 80]
    assert len(source.test) == 1
    with pytest.raises(DataError, match="'picture'"):
        huggingface_datasets(tmp_path, image="picture")
    rows[1]["image"] = {"bytes": None, "path": "/etc/passwd"}
    with pytest.raises(DataError, match="none in row 1"):
        huggingface_datasets(tmp_path)
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../outside.arrow"}]}')
    with pytest.raises(CheckpointError, match="names of files beside it"):
        huggingface_datasets(tmp_path)


def test_hugging_face_data_sets_from_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    images = pictures(5, 8)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ape", "bee"])})
    table = {"image": [Image.fromarray(picture) for picture in images], "label": [0, 1, 1, 0, 1]}
    part = datasets.Dataset.from_dict(table, features=features)
    datasets.DatasetDict({"train": part, "test": part.select([3])}).save_to_disk(str(tmp_path / "saved"))
    source = huggingface_datasets(tmp_path, folder="saved", size=8)
    assert np.array_equal(channels_last(source.train), images)
    assert source.test.targets.tolist() == [0]
    assert source.class_names == ("ape", "bee")


@pytest.mark.parametrize(
    ("part", "changes", "sentence"),
    [
        ("train", {"image": [None, 1, 2]}, "a picture in every row of the column 'image', but found none in row 0"),
        ("test", {"label": [0, None, 1]}, "a label for every picture in the split 'test', but found none in row 1"),
        ("test", {"label": [-1, -1, -1]}, "a label for every picture in the split 'test', but found the label -1"),
        ("test", {"label": [0, 1, 2]}, "labels from 0 to 1 in the split 'test', but found 0 to 2"),
        ("train", {"label": [0, 1, 2**62]}, "whole numbers from 0"),
        ("test", {"image": [], "label": []}, "at least one picture in every split, but found none in 'test'"),
        ("train", {"image": [], "label": []}, "at least one picture in every split, but found none in 'train'"),
    ],
)
def test_rows_and_splits_of_hugging_face_sets_that_lack_something(tmp_path, part, changes, sentence):
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    table = {"image": [0, 1, 2], "label": [0, 1, 0]}
    parts = {"train": table, "test": table, part: table | changes}
    for name, rows in parts.items():
        images = [None if row is None else Image.fromarray(np.full((4, 4, 3), row, np.uint8)) for row in rows["image"]]
        parts[name] = datasets.Dataset.from_dict({**rows, "image": images}, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=sentence):
        huggingface_datasets(tmp_path, folder="saved", size=4)


def test_class_folders_in_another_encoding_are_refused_before_a_picture_is_read(tmp_path, monkeypatch):
    write_folder(tmp_path)
    try:
        (tmp_path / "train" / "m\udcfcde").mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    module = sys.modules["expunge.tasks.classification.readers.image_folder"]
    monkeypatch.setattr(module, "open_image", lambda *a: pytest.fail("read"))
    with pytest.raises(DataError, match=r"written as UTF-8, but found 'm\\udcfcde'"):
        image_folder(tmp_path, size=4)


@pytest.mark.parametrize(
    ("module", "read", "extra"),
    [
        ("datasets", huggingface_datasets, "datasets"),
        ("pyarrow.parquet", lambda path: cifar10(path), "data"),
        ("PIL.Image", lambda path: image_folder(path), "data"),
    ],
)
def test_a_missing_extra_is_named_with_its_install_line(tmp_path, monkeypatch, module, read, extra):
    write_folder(tmp_path)
    write_cifar10(tmp_path, pictures(10, 32))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'expunge\[{extra}\]'"):
        read(tmp_path)
