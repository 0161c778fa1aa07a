"""Images of a class-conditional diffusion model, asked for in words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from expunge.errors import RequestError
from expunge.tasks.diffusion.denoiser import Denoiser
from expunge.tasks.diffusion.sampling import sampled, starts
from expunge.tasks.image_sampler import ImageSampler

SHOWN = 12
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
        >>> sampler.asked("2"), sampler.asked("coat", ["shirt", "coat", "bag"]), sampler.form
        (2, 1, (1, 8, 8))
    """

    model: Denoiser

    def __init__(self, model: Denoiser, guidance: float | None = None, steps: int | None = None) -> None:
        usual = 1.0 if model.null is None else 2.0
        super().__init__(model, usual if guidance is None else guidance, 25 if steps is None else steps)

    @property
    def form(self) -> tuple[int, int, int]:
        """Channels, height and width of its images."""
        return self.model.form

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.model.classes

    def asked(self, words: str, names: Sequence[str] = ()) -> int:
        """Return the class of that name or number.

        Raises:
            RequestError: If the model has none such.
        """
        known = {name: number for number, name in enumerate(names[: self.classes])}
        if words in known:
            return known[words]
        if words.isascii() and words.isdigit() and int(words) < self.classes:
            return int(words)
        told = f" ({', '.join([*known][:SHOWN])}{', …' if len(known) > SHOWN else ''})" if known else ""
        expected = f"a class from 0 to {self.classes - 1}{told}, as the model knows classes and reads no prompts"
        raise RequestError(expected, f"'{words[:60]}'", "ask for a class, for example --ask 0")

    def __call__(self, asked: Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Return images ``(n, c, h, w)`` in [0, 1], one for each pair of class and seed."""
        first = torch.tensor([0])
        images = sampled(
            self.model,
            torch.tensor(list(asked), dtype=torch.int64),
            lambda at: torch.cat([starts(self.model, first, seeds[one]) for one in at.tolist()]),
            guidance=self.guidance,
            steps=self.steps,
            batch_size=max(1, len(asked)),
        )
        return (images + 1) / 2
