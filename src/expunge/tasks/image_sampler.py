"""The base of what draws a model's images, whatever the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn


class ImageSampler(ABC):
    """Draws the images of a model: one for each request and seed, the same again for the same seeds.

    Args:
        model: The model; it is left as found.
        guidance: w of classifier-free guidance.
        steps: Of the sampler.

    Attributes:
        default_batch_size: Images at a time where nobody says another number.
    """

    default_batch_size: ClassVar[int] = 64

    def __init__(self, model: nn.Module, guidance: float, steps: int) -> None:
        self.model, self.guidance, self.steps = model, guidance, steps

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images."""

    @property
    @abstractmethod
    def classes(self) -> int | None:
        """Number of classes that can be asked for; None where prompts are asked for."""

    @abstractmethod
    def parse_condition(self, text: str, class_names: Sequence[str] = ()) -> Any:
        """Return the request that somebody wrote as words."""

    @abstractmethod
    def __call__(self, conditions: Sequence[Any], seeds: Sequence[int]) -> Tensor:
        """Return images ``(n, c, h, w)`` in [0, 1] on the CPU, one for each pair of request and seed.

        Args:
            conditions: What ``parse_condition`` returned.
            seeds: One for each.
        """
