"""The real data sets against their published counts and pixel sums that were found without this package."""

import gzip

import numpy as np
import pytest
import torch
from reader_files import real_data
from sklearn.datasets import load_digits

from expunge import registry
from expunge.data import crop_flip, none
from expunge.tasks.classification.readers import cifar10, digits, fashion_mnist, mnist, tiny_imagenet_20
from expunge.tasks.classification.readers._parquet import read_images

MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
IDX = {
    "mnist": ("MNIST", MNIST_TRAIN, MNIST_TEST, 264_923_200),
    "fashion_mnist": ("FashionMNIST", [6000] * 10, [1000] * 10, 573_469_082),
}


@pytest.mark.parametrize("name", list(IDX))
def test_idx_data_sets(name, monkeypatch):
    folder, train_counts, test_counts, test_sum = IDX[name]
    base = real_data(folder)
    monkeypatch.setenv("EXPUNGE_DATA", str(base))
    source = registry.find_component("readers", name)()
    assert source.train.targets.bincount().tolist() == train_counts
    assert source.test.targets.bincount().tolist() == test_counts
    assert int(source.test.inputs.sum(dtype=torch.int64)) == test_sum
    with gzip.open(base / folder / "raw" / "train-images-idx3-ubyte.gz") as file:
        plain = np.frombuffer(file.read(), np.uint8, offset=16)
    assert np.array_equal(source.train.inputs.numpy().ravel(), plain)
    part = source.train.batch(torch.arange(100)).inputs
    wanted = (plain[:78_400].reshape(part.shape) / 255 - plain.mean() / 255) / (plain.std() / 255)
    assert np.allclose(part, wanted, atol=1e-3)
    assert source.shape == (1, 28, 28)
    assert len(source.class_names) == 10
    assert source.train.augment is none


def test_names_of_clothes_follow_their_numbers():
    source = fashion_mnist(real_data("FashionMNIST"))
    assert source.class_names[0] == "T-shirt/top"
    assert source.class_names[9] == "Ankle boot"
    assert mnist(real_data("MNIST")).class_names == tuple("0123456789")


def test_digits_are_split_within_each_class():
    source = digits(test_share=0.2, seed=0)
    plain = load_digits()
    whole = np.bincount(plain.target)
    assert np.abs(source.test.targets.bincount().numpy() - 0.2 * whole).max() <= 1
    both = torch.cat([source.train.inputs, source.test.inputs]).numpy().reshape(-1, 64) * 16
    assert sorted(map(bytes, both.astype(np.uint8))) == sorted(map(bytes, plain.data.astype(np.uint8)))
    every = torch.cat([part.batch(torch.arange(len(part))).inputs for part in (source.train, source.test)]).double()
    assert abs(float(every.mean())) < 1e-4
    assert abs(float(every.std(correction=0)) - 1) < 1e-4
    assert digits(seed=0).train.inputs.equal(source.train.inputs)
    assert not digits(seed=1).train.inputs.equal(source.train.inputs)


def test_the_test_shard_of_cifar10_is_the_authors_test_batch():
    pixels, labels = read_images(real_data("cifar10") / "cifar10", "test-*.parquet", 32, cache=False)
    assert np.bincount(labels).tolist() == [1000] * 10
    assert int(pixels.sum(dtype=np.int64)) == 3_733_375_634
    assert pixels[0, :, 0, 0].tolist() == [158, 112, 49]
    assert labels[:5].tolist() == [3, 8, 8, 0, 6]


def test_the_validation_part_of_tiny_imagenet_20():
    pixels, labels = read_images(real_data("tiny-imagenet-20") / "tiny-imagenet-20", "val-*.parquet", 64, cache=False)
    assert np.bincount(labels).tolist() == [50] * 20
    # JPEG decoders may differ by a level or so in a pixel.
    assert abs(int(pixels.sum(dtype=np.int64)) / 1_416_280_046 - 1) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "folder", "size", "each", "total"),
    [
        (cifar10, "cifar10", 32, 5000, 18_540_682_003),
        (tiny_imagenet_20, "tiny-imagenet-20", 64, 500, 14_040_068_584),
    ],
)
def test_whole_color_data_sets(reader, folder, size, each, total):
    base = real_data(folder)
    source = reader(base)
    classes = len(source.class_names)
    assert source.train.targets.bincount().tolist() == [each] * classes
    assert abs(int(source.train.inputs.sum(dtype=torch.int64)) / total - 1) < (0 if reader is cifar10 else 1e-3) + 1e-12
    inputs = source.train.batch(torch.arange(5000)).inputs.double()
    assert float(inputs.mean((0, 2, 3)).abs().max()) < 0.03
    assert float((inputs.std((0, 2, 3)) - 1).abs().max()) < 0.03
    assert source.shape == (3, size, size)
    assert source.train.augment is crop_flip
    assert reader(base).train.inputs.equal(source.train.inputs)
