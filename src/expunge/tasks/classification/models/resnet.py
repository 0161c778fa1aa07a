"""Residual networks for small images: 3×3 stem, no max-pool, projection shortcuts (option B), torchvision's keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.tasks.classification.models._initialization import he_initialize


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut around them.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        stride: Stride of the first convolution, and of the shortcut's 1×1 convolution where the form changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return ``relu(residual + shortcut)``."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(images)))))
        shortcut = images if self.downsample is None else self.downsample(images)
        out: Tensor = self.relu(residual + shortcut)
        return out


class ResNet(nn.Module):
    """A stem of one 3×3 convolution, stages of basic blocks that halve the image from the second on, and a linear head.

    Args:
        classes: Number of classes.
        channels: Channels of the images.
        blocks: Number of blocks of each stage.
        width: Channels of the first stage; each later stage has twice those of the one before.
    """

    def __init__(self, classes: int, channels: int, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.stages = tuple(f"layer{number}" for number in range(1, len(blocks) + 1))
        in_channels = width
        for number, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            out_channels = width * 2**number
            first = BasicBlock(in_channels, out_channels, stride=1 if number == 0 else 2)
            self.add_module(
                name, nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(count - 1)))
            )
            in_channels = out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits ``(n, classes)`` of ``images``, ``(n, channels, height, width)``."""
        images = self.relu(self.bn1(self.conv1(images)))
        for name in self.stages:
            images = self.get_submodule(name)(images)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(images), 1))
        return logits


def resnet18(classes: int, channels: int = 3, *, width: int = 64) -> nn.Module:
    """Build ResNet-18 with the CIFAR stem (3×3, stride 1, no max-pool); 11.17 M weights for 10 classes.

    He et al., 2016, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385). Keys are torchvision's; of the
    shapes only the stem's ``conv1.weight`` differs.

    Args:
        classes: Number of classes.
        channels: Channels of the images.
        width: Channels of the first of the four stages.

    Examples:
        >>> sum(p.numel() for p in resnet18(10).parameters())
        11173962
    """
    return he_initialize(ResNet(classes, channels, (2, 2, 2, 2), width))


def resnet20(classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """Build ResNet-20 of the CIFAR experiments (16-32-64, three blocks per stage); 272 k weights for 10 classes.

    He et al., 2016 (arXiv:1512.03385), section 4.2, with projection shortcuts (option B) where the paper pads with
    zeros (option A, 2.7 k weights less).

    Args:
        classes: Number of classes.
        channels: Channels of the images.
        width: Channels of the first of the three stages.

    Examples:
        >>> sum(p.numel() for p in resnet20(10).parameters())
        272474
    """
    return he_initialize(ResNet(classes, channels, (3, 3, 3), width))


def resnet8(classes: int, channels: int = 3, *, width: int = 16) -> nn.Module:
    """Build ResNet-8 (16-32-64, one block per stage), for quick studies; 78 k weights for 10 classes.

    The shallowest of the family of He et al., 2016 (arXiv:1512.03385), section 4.2, with projection shortcuts.

    Args:
        classes: Number of classes.
        channels: Channels of the images.
        width: Channels of the first of the three stages.

    Examples:
        >>> sum(p.numel() for p in resnet8(10).parameters())
        78042
    """
    return he_initialize(ResNet(classes, channels, (1, 1, 1), width))
