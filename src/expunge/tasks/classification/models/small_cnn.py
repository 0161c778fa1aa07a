"""A small convolutional classifier for images of 8×8 pixels and more."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from expunge.tasks.classification.models._initialization import he_initialize


def small_cnn(classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """Build three convolutions with batch normalization and a linear head; 24,058 weights for 10 gray classes.

    Convolutions of 3×3 with ``width``, ``2·width`` and ``4·width`` channels, one 2×2 max-pool before the third, the
    mean over all positions, and one linear layer.

    Args:
        classes: Number of classes.
        channels: Channels of the images, at least 8×8 pixels.
        width: Channels of the first convolution.

    Examples:
        >>> sum(p.numel() for p in small_cnn(10, channels=1).parameters())
        24058
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    previous = channels
    for number, current in enumerate((width, 2 * width, 4 * width), start=1):
        layers[f"conv{number}"] = nn.Conv2d(previous, current, 3, padding=1, bias=False)
        layers[f"bn{number}"] = nn.BatchNorm2d(current)
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if number == 2:
            layers["maxpool"] = nn.MaxPool2d(2)
        previous = current
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(previous, classes)}
    return he_initialize(nn.Sequential(layers))
