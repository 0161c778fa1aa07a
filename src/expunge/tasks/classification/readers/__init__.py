"""Readers of data sets: each returns a :class:`~expunge.data.LabeledDataset`; nothing is ever downloaded."""

from expunge.tasks.classification.readers.cifar10 import cifar10
from expunge.tasks.classification.readers.cifar100 import cifar100
from expunge.tasks.classification.readers.digits import digits
from expunge.tasks.classification.readers.fashion_mnist import fashion_mnist
from expunge.tasks.classification.readers.huggingface_datasets import huggingface_datasets
from expunge.tasks.classification.readers.image_folder import image_folder
from expunge.tasks.classification.readers.mnist import mnist
from expunge.tasks.classification.readers.svhn import svhn
from expunge.tasks.classification.readers.tiny_imagenet_20 import tiny_imagenet_20

__all__ = [
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "huggingface_datasets",
    "image_folder",
    "mnist",
    "svhn",
    "tiny_imagenet_20",
]
