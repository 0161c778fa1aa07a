"""Captioned pictures: five kinds of clothes of Fashion-MNIST, each as a photograph and as a sketch.

Not a script: ``tiny_stable_diffusion.py`` uses it. A picture has three equal channels and 32 × 32 pixels. A sketch is
drawn from a photograph: dark lines where its brightness changes, on white. The label of a picture is the number of its
caption in ``CAPTIONS``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples
from expunge.data import Subset, TensorExamples
from expunge.registry import find_component
from expunge.tasks.diffusion.evaluation import LabeledImages

CLASSES = {"trouser": 1, "dress": 3, "sandal": 5, "bag": 8, "boot": 9}
"""Word of a caption → label in the data set."""
STYLES = ("photo", "sketch")
CAPTIONS = tuple(f"a {style} of a {name}" for style in STYLES for name in CLASSES)
GENERAL = tuple(f"a {style} of clothing" for style in STYLES)
"""Captions that say the style alone."""
SIZE = 32


def numbers(word: str) -> list[int]:
    """Return the numbers of the captions that have a word.

    Examples:
        >>> numbers("trouser"), numbers("sketch")
        ([0, 5], [5, 6, 7, 8, 9])
    """
    return [number for number, caption in enumerate(CAPTIONS) if word in caption.split()]


def sketched(photos: Tensor) -> Tensor:
    """Return sketches ``(n, 1, h, w)`` of photographs in [0, 1]: white less the length of the Sobel gradient."""
    rows = torch.tensor([[1.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -1.0]]) / 4
    filters = torch.stack([rows, rows.T]).unsqueeze(1)
    slopes = functional.conv2d(functional.pad(photos, (1, 1, 1, 1)), filters)
    return 1 - (1.5 * slopes.square().sum(1, keepdim=True).sqrt()).clamp(0, 1)


def pictures(data_dir: Path | None, part: str, each: int) -> TensorExamples:
    """Return pictures in [0, 1] with the numbers of their captions: so many of each class, in both styles.

    Args:
        data_dir: Folder of the data sets.
        part: ``train`` or ``test``.
        each: Photographs of each class, the first ones of the file.
    """
    whole: Examples = getattr(find_component("readers", "fashion_mnist")(data_dir), part)
    chosen = [(whole.targets == label).nonzero().flatten()[:each] for label in CLASSES.values()]
    shown = LabeledImages.from_examples(Subset(whole, torch.cat(chosen))).images
    margin = (SIZE - shown.shape[-1]) // 2
    photos = functional.pad(shown, (margin,) * 4)
    both = torch.cat([photos, sketched(photos)]).expand(-1, 3, -1, -1)
    return TensorExamples(both, torch.arange(len(CAPTIONS)).repeat_interleave(each))
