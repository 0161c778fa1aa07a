"""Images of a class-conditional diffusion model, asked for in words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.errors import RequestError
from expunge.tasks.diffusion.denoiser import Denoiser
from expunge.tasks.diffusion.sampling import draw_initial_noise, sample_from_noise
from expunge.tasks.image_sampler import ImageSampler

MAX_LISTED_CLASSES = 12
"""How many names of classes a message has."""


class ClassSampler(ImageSampler):
    """Draws images of classes.

    The image of seed s is the first that ``sample(model, labels, seed=s)`` makes.

    Args:
        model: The model.
        guidance: w of classifier-free guidance. Default 2, or 1 for a model without a null class.
        steps: Of the sampler. Default 25.

    Examples:
        >>> from types import SimpleNamespace
        >>> from expunge.tasks.diffusion.ddpm import DDPM
        >>> network = torch.nn.Identity()
        >>> network.config = SimpleNamespace(num_class_embeds=4, sample_size=8, in_channels=1)
        >>> schedule = SimpleNamespace(config=SimpleNamespace(prediction_type="epsilon"))
        >>> sampler = ClassSampler(DDPM(network, schedule))
        >>> sampler.parse_condition("2"), sampler.parse_condition("coat", ["shirt", "coat", "bag"]), sampler.image_shape
        (2, 1, (1, 8, 8))
    """

    model: Denoiser

    def __init__(self, model: Denoiser, guidance: float | None = None, steps: int | None = None) -> None:
        default_guidance = 1.0 if model.null_class is None else 2.0
        super().__init__(model, default_guidance if guidance is None else guidance, 25 if steps is None else steps)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images."""
        return self.model.sample_shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.model.classes

    def parse_condition(self, text: str, class_names: Sequence[str] = ()) -> int:
        """Return the class of that name or number."""
        name_to_class = {name: number for number, name in enumerate(class_names[: self.classes])}
        if text in name_to_class:
            return name_to_class[text]
        if text.isascii() and text.isdigit() and int(text) < self.classes:
            return int(text)
        more = ", …" if len(name_to_class) > MAX_LISTED_CLASSES else ""
        listed_classes = f" ({', '.join([*name_to_class][:MAX_LISTED_CLASSES])}{more})" if name_to_class else ""
        expected = (
            f"a class from 0 to {self.classes - 1}{listed_classes}, as the model knows classes and reads no prompts"
        )
        raise RequestError(expected, f"'{text[:60]}'", "ask for a class, for example --prompt 0")

    def __call__(self, conditions: Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Return images ``(n, c, h, w)`` in [0, 1], one for each pair of class and seed."""
        first = torch.tensor([0])
        images = sample_from_noise(
            self.model,
            torch.tensor(list(conditions), dtype=torch.int64),
            lambda at: torch.cat([draw_initial_noise(self.model, first, seeds[one]) for one in at.tolist()]),
            guidance=self.guidance,
            steps=self.steps,
            batch_size=max(1, len(conditions)),
        )
        return (images + 1) / 2
