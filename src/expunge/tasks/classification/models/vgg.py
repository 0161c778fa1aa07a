"""VGG networks for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.tasks.classification.models._initialization import he_initialize

_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Blocks of 3×3 convolutions, each ended by a 2×2 max-pool, and one linear layer.

    Args:
        classes: Number of classes.
        channels: Channels of the images.
        blocks: Channels of the convolutions of each block.
    """

    def __init__(self, classes: int, channels: int, blocks: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers(channels, blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(blocks[-1][-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of ``images``, ``(n, channels, height, width)``."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits


def _layers(channels: int, blocks: tuple[tuple[int, ...], ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for block in blocks:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, ceil_mode=True))  # rounding up lets 28×28 images through five halvings
    return layers


def vgg16_bn(classes: int, channels: int = 3) -> nn.Module:
    """Build VGG-16 with batch normalization and one linear layer as head (CIFAR); 14.73 M weights for 10 classes.

    Simonyan and Zisserman, 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition"
    (arXiv:1409.1556). The keys under ``features`` are torchvision's.

    Args:
        classes: Number of classes.
        channels: Channels of the images, 32×32 pixels or any other size.

    Examples:
        >>> model = vgg16_bn(10)
        >>> model.features[40].out_channels, sum(p.numel() for p in model.parameters())
        (512, 14728266)
    """
    return he_initialize(VGG(classes, channels, _VGG16))
