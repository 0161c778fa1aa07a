"""FID and KID as torchmetrics computes them, beside ours: the implementation that papers name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from expunge.errors import DataError
from expunge.metrics import Column
from expunge.metrics.arrays import Floats
from expunge.optional import import_optional
from expunge.tasks.diffusion.evaluation.extras import package_version

NUM_SUBSETS, MAX_SUBSET_IMAGES = 100, 1000
"""Subsets of KID and the images in each, torchmetrics' defaults; fewer images where there are fewer."""
MIN_IMAGES = 4
"""Images that KID can be taken from."""


class TorchmetricsDistances:
    """Computes FID and KID by torchmetrics from the features that an evaluation has already.

    The features are those of the evaluation's extractors: with ``Inception`` they are the published figures, with a
    classifier they have its name. torchmetrics' own copy of Inception, which needs torch-fidelity and a torchvision
    that fits torch, is not used. Its FID may be expected to agree with ours to rounding; KID differs by the subsets.

    Args:
        seed: Of KID's subsets. Default 0.

    Raises:
        MissingExtraError: If torchmetrics is not installed.
        ModelError: If it cannot be imported, as beside torch-fidelity without torchvision.
    """

    def __init__(self, seed: int = 0) -> None:
        purpose = "FID and KID as torchmetrics computes them"
        self.frechet, self.kernel = (
            getattr(import_optional(f"torchmetrics.image.{module}", purpose, "metrics"), name)
            for module, name in (("fid", "FrechetInceptionDistance"), ("kid", "KernelInceptionDistance"))
        )
        self.seed = seed

    def __call__(self, real: Floats, generated: Floats, key: str) -> dict[str, float]:
        """Return the figures of features, with keys that begin with ``key``.

        Args:
            real: ``(n, d)``.
            generated: ``(m, d)``.
            key: Of whose features they are.

        Raises:
            DataError: If there are fewer than four of either.
        """
        if min(len(real), len(generated)) < MIN_IMAGES:
            actual = f"{len(real)} and {len(generated)}"
            raise DataError(f"at least {MIN_IMAGES} images of either kind", actual, "generate more")
        extractor, size = IdentityExtractor(real.shape[1]), min(MAX_SUBSET_IMAGES, len(real), len(generated))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*will save all extracted features")
            metrics = {"fid": self.frechet(feature=extractor), "kid": self.kernel(feature=extractor, subset_size=size)}
        for metric in metrics.values():
            for features, is_real in ((real, True), (generated, False)):
                metric.update(torch.from_numpy(features), real=is_real)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            values = {"fid": metrics["fid"].compute(), "kid": metrics["kid"].compute()[0]}
        return {f"{key}_torchmetrics_{name}": float(value) for name, value in values.items()}

    def columns(self, key: str, prefix: str) -> tuple[Column, ...]:
        """Return the columns of an extractor's figures.

        Args:
            key: Beginning of the keys.
            prefix: Beginning of the names; empty for Inception's 2048 features alone.
        """
        whose = f"features of {prefix.removesuffix('-')}" if prefix else "the 2048 features of Inception"
        words: Mapping[str, str] = {
            "fid": "Fréchet distance",
            "kid": f"Mean kernel distance of {NUM_SUBSETS} subsets",
        }
        return tuple(
            Column(
                f"{key}_torchmetrics_{name}",
                f"{prefix}{name.upper()} (torchmetrics)",
                "",
                f"{what} between generated and real images, as torchmetrics {package_version('torchmetrics')} computes "
                f"it on the remaining classes, by {whose}.",
                "lower",
            )
            for name, what in words.items()
        )

    def describe(self) -> dict[str, Any]:
        """Return what identifies the computation."""
        return {"torchmetrics": package_version("torchmetrics"), "kid_subsets": NUM_SUBSETS, "seed": self.seed}


class IdentityExtractor(nn.Module):
    """Hands features through, for a metric that asks a network for them.

    Args:
        width: Features of an image.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features."""
        return features
