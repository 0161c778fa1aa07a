"""A named classifier that looks at images: what it says they show, and the features it sees in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from expunge.batch import Predictor, evaluation_mode
from expunge.errors import ConfigError, DataError, ModelError, NotFiniteError
from expunge.metrics.arrays import Floats

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,39}")
RESERVED_NAMES = ("fid", "kid", "inception")


class FeatureExtractor(Protocol):
    """What turns images into features.

    Attributes:
        key: Beginning of the keys in results.
        prefix: Beginning of the names in tables: empty for Inception alone, whose distances are *the* FID and KID.
    """

    @property
    def key(self) -> str:
        """Beginning of the keys in results."""

    @property
    def prefix(self) -> str:
        """Beginning of the names in tables."""

    def extract_features(self, images: Tensor) -> Floats:
        """Return the features ``(n, d)`` of images ``(n, c, h, w)`` in [0, 1]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what identifies it: name, layer, hash of the weights, versions."""
        ...


class ClassifierOutput(NamedTuple):
    """What a classifier says about images: logits ``(n, classes)`` and features ``(n, d)``."""

    logits: Floats
    features: Floats

    @property
    def classes(self) -> Any:
        """The class that each image is assigned to, ``(n,)``."""
        return self.logits.argmax(1)


class ImageClassifier:
    """A named classifier of the images' own domain; its features take the place of Inception's, under its name.

    Features are what goes into ``head``; those with positions are averaged over them. The network is asked in eval
    mode without gradients and is left as it was.

    Args:
        model: A classifier trained on real images of the domain.
        name: What its figures are called: with ``name="resnet8"`` the distance is "resnet8-FID".
        head: Dotted name of the module whose input is the features. Default: the last linear layer.
        prepare: Turns images in [0, 1] into the classifier's inputs (its normalization). Default: as they are.
        logits: Reads logits from the model's output, where it does not return them itself.
        batch_size: Images in one forward pass. Default 256.

    Raises:
        ConfigError: If the name is empty, long, or one that belongs to Inception's figures; or the batch size is not
            positive.
        ModelError: If there is no such head.

    Examples:
        >>> from expunge.registry import find_component
        >>> classifier = ImageClassifier(find_component("models", "small_cnn")(10, channels=1), "small_cnn")
        >>> answers = classifier(torch.rand(5, 1, 8, 8))
        >>> answers.logits.shape, answers.features.shape, classifier.prefix
        ((5, 10), (5, 64), 'small_cnn-')
    """

    key: ClassVar[str] = "feature"

    def __init__(
        self,
        model: nn.Module,
        name: str,
        *,
        head: str | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
        logits: Callable[[Any], Tensor] | None = None,
        batch_size: int = 256,
    ) -> None:
        if not NAME_PATTERN.fullmatch(name) or name.lower() in RESERVED_NAMES:
            hint = "name the classifier, for example 'resnet8'; FID alone belongs to Inception's 2048 features"
            raise ConfigError("a short name of the classifier", f"'{name[:60]}'", hint)
        if batch_size < 1:
            raise ConfigError("a batch size of at least 1", f"{batch_size}", "pass for example 256")
        self.predict, self.name, self.batch_size = Predictor(model, logits), name, batch_size
        self.head = find_last_linear(model) if head is None else head
        if self.head not in dict(model.named_modules()) or not self.head:
            raise ModelError("the name of a module in the classifier", f"'{self.head}'", "see model.named_modules()")
        self.prepare = prepare
        self.weights_sha256 = hash_weights(model)

    @property
    def prefix(self) -> str:
        """Beginning of the names of its figures."""
        return f"{self.name}-"

    def __call__(self, images: Tensor) -> ClassifierOutput:
        """Return what the classifier says about images ``(n, c, h, w)`` in [0, 1].

        Raises:
            DataError: If there are none.
            ModelError: If its head is not called once per forward pass with one row of features for each image.
            NotFiniteError: If a logit or feature is NaN or infinite.
        """
        if not len(images):
            raise DataError("at least one image", "none", "generate some")
        model = self.predict.model
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        with evaluation_mode(model), capture_inputs(model.get_submodule(self.head)) as captured:
            parts = [self.predict_batch(part.to(device), captured) for part in images.split(self.batch_size)]
        logits, features = (np.concatenate(column) for column in zip(*parts, strict=True))
        if not (np.isfinite(logits).all() and np.isfinite(features).all()):
            expected, hint = f"finite answers of '{self.name}'", "check the classifier's weights"
            raise NotFiniteError(expected, "NaN or infinity", hint)
        return ClassifierOutput(logits, features)

    def predict_batch(self, images: Tensor, captured: list[Any]) -> ClassifierOutput:
        """Return what the classifier says about one batch."""
        captured.clear()
        logits = self.predict(images if self.prepare is None else self.prepare(images))
        if len(captured) != 1 or not isinstance(captured[0], Tensor):
            actual = f"{len(captured)} calls" if len(captured) != 1 else type(captured[0]).__name__
            raise ModelError(f"'{self.head}' called once with a tensor", actual, "name another module as head=")
        features = captured[0].flatten(2).mean(2) if captured[0].ndim > 2 else captured[0]
        if features.ndim != 2 or len(features) != len(images):
            actual = f"{tuple(captured[0].shape)} for {len(images)} images"
            raise ModelError(f"a row of features for each image into '{self.head}'", actual, "name another head=")
        return ClassifierOutput(logits.double().cpu().numpy(), features.double().cpu().numpy())

    def extract_features(self, images: Tensor) -> Floats:
        """Return the features of images ``(n, c, h, w)`` in [0, 1]."""
        return self(images).features

    def describe(self) -> dict[str, Any]:
        """Return what identifies the classifier."""
        return {
            "name": self.name,
            "features": f"input of '{self.head}'",
            "weights_sha256": self.weights_sha256,
            "torch": torch.__version__,
        }


def find_last_linear(model: nn.Module) -> str:
    """Return the name of the last linear layer."""
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name]
    if not names:
        raise ModelError("a classifier with a linear head", "none in it", "pass head=, whose input is the features")
    return names[-1]


def hash_weights(model: nn.Module) -> str:
    """Return the SHA-256 of a network's state: names, types, shapes and bytes.

    Examples:
        >>> layer = nn.Linear(2, 2)
        >>> hash_weights(layer) == hash_weights(nn.Linear(2, 2)), len(hash_weights(layer))
        (False, 64)
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def capture_inputs(module: nn.Module) -> Iterator[list[Any]]:
    """Lend a list that gets the first argument of every call of the module."""
    captured: list[Any] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0] if inputs else None))
    try:
        yield captured
    finally:
        handle.remove()
