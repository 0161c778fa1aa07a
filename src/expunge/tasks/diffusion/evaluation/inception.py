"""Inception's 2048 features, by torch-fidelity where it is installed: the only ones whose distance is called FID."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from expunge.errors import DataError, ModelError
from expunge.metrics.arrays import Floats
from expunge.optional import import_optional
from expunge.tasks.diffusion.evaluation.extras import hash_file, package_version

FEATURE_DIM = 2048


class Inception:
    """The network of the published FID and KID (``inception-v3-compat``), for ``ImageEvaluation(extractors=…)``.

    Heusel et al., 2017 (arXiv:1706.08500). Images are rounded to 8 bits and enlarged to 299 × 299 as TensorFlow did;
    gray ones get three equal channels. It was trained on photographs: on drawings or digits a classifier of the domain
    says more. FID needs more than 2048 images.

    Args:
        weights: The file ``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity. Nothing is downloaded.
        batch_size: Images in one forward pass. Default 64.
        device: Where it computes. Default the CPU.

    Raises:
        MissingExtraError: If torch-fidelity is not installed.
        CheckpointError: If there is no such file.
        ModelError: If torch-fidelity cannot be imported (it needs a torchvision that fits torch).
    """

    key: ClassVar[str] = "inception"
    prefix: ClassVar[str] = ""

    def __init__(self, weights: str | os.PathLike[str], *, batch_size: int = 64, device: str = "cpu") -> None:
        module = import_optional("torch_fidelity.feature_extractor_inceptionv3", "Inception features", "fid")
        self.weights_sha256, self.batch_size, self.device = hash_file(Path(weights)), batch_size, device
        build = module.FeatureExtractorInceptionV3
        network = build("inception-v3-compat", [str(FEATURE_DIM)], feature_extractor_weights_path=str(weights))
        self.network = network.to(device)

    def extract_features(self, images: Tensor) -> Floats:
        """Return the features ``(n, 2048)`` of images ``(n, c, h, w)`` in [0, 1].

        Raises:
            DataError: If there are none.
            ModelError: If the network gives another number of features, whose distance would not be FID.
        """
        if not len(images):
            raise DataError("at least one image", "none", "generate some")
        with torch.no_grad():
            parts = [self.network(to_uint8_rgb(part).to(self.device))[0] for part in images.split(self.batch_size)]
        features = np.concatenate([part.double().cpu().numpy() for part in parts])
        if features.shape != (len(images), FEATURE_DIM):
            hint = "take the network inception-v3-compat; other features are not FID's"
            raise ModelError(f"{FEATURE_DIM} features of each image", f"{features.shape}", hint)
        return features

    def describe(self) -> dict[str, Any]:
        """Return what identifies the network."""
        return {
            "name": "inception-v3-compat",
            "features": f"{FEATURE_DIM}, last pooling",
            "weights_sha256": self.weights_sha256,
            "torch-fidelity": package_version("torch-fidelity"),
            "torch": torch.__version__,
        }


def to_uint8_rgb(images: Tensor) -> Tensor:
    """Return images in [0, 1] as bytes ``(n, 3, h, w)``.

    Examples:
        >>> to_uint8_rgb(torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3))[0, :, 0].tolist()
        [[0, 128, 255], [0, 128, 255], [0, 128, 255]]
    """
    return (images * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
