"""Training a class-conditional diffusion model from scratch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split
from expunge.data.residency import resident
from expunge.engine import Average, mixed_seed, replayed
from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.tasks.diffusion.denoiser import Denoiser
from expunge.tasks.diffusion.objectives import NoiseMatching

OnUpdate = Callable[[int, int, float], None]
LOOKED_AT = 25
"""The device is waited for every so many updates, to look for a loss that is not finite."""


@dataclass(frozen=True, kw_only=True)
class DiffusionTraining:
    """How a diffusion model is trained: AdamW, linear warm-up, cosine decay, averaged weights.

    Args:
        updates: Default 800, enough for digits of 8×8 pixels.
        batch: Images in an update. Default 64.
        rate: Learning rate at the end of the warm-up. Default 4e-3 (160 thousand weights; 1e-3 for a million).
        warmup: Updates until then. Default 50.
        weight_decay: Default 0.
        average: β of the averaged weights, which are the trained model. Default .995.
        drop: Share of labels that are dropped, for classifier-free guidance. Default .1.
        clip: Largest norm of a gradient. Default 1.
        seed: Of order, timesteps, noise and dropped labels. Default 0.

    Raises:
        ConfigError: If a number is out of its range.

    Examples:
        >>> settings = DiffusionTraining(updates=100, warmup=10, rate=1.0)
        >>> [round(settings.rate_at(update), 3) for update in (0, 9, 55, 99)]
        [0.1, 1.0, 0.5, 0.0]
    """

    updates: int = 800
    batch: int = 64
    rate: float = 4e-3
    warmup: int = 50
    weight_decay: float = 0.0
    average: float = 0.995
    drop: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        positive = {"updates": self.updates, "batch": self.batch, "rate": self.rate, "clip": self.clip}
        for name, value in positive.items():
            if not value > 0:
                raise ConfigError(f"{name} > 0", f"{value}", "change it")
        if min(self.warmup, self.weight_decay) < 0 or not 0 <= self.average < 1:
            found = f"{self.warmup}, {self.weight_decay} and {self.average}"
            raise ConfigError("warmup and weight decay ≥ 0, average in [0, 1)", found, "change them")

    def rate_at(self, update: int) -> float:
        """Return the learning rate at an update, counted from 0."""
        if update < self.warmup:
            return self.rate * (update + 1) / self.warmup
        share = (update - self.warmup) / max(1, self.updates - self.warmup)
        return self.rate * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class DiffusionRecord:
    """What training gave.

    Args:
        seconds: Wall clock.
        final_loss: Mean of the noise-matching loss over the last tenth of the updates.
        updates: How many were made.
    """

    seconds: float
    final_loss: float
    updates: int


def fit_ddpm(
    model: Denoiser,
    examples: Examples,
    settings: DiffusionTraining | None = None,
    *,
    on_update: OnUpdate | None = None,
) -> DiffusionRecord:
    """Train a diffusion model in place; it ends in evaluation mode with its averaged weights.

    The caller's random state is untouched. The same seed, machine and number of threads give the same bits.

    Args:
        model: With its starting weights, on the device that is to compute.
        examples: Images scaled to [−1, 1] with their classes.
        settings: How. Default: those of ``DiffusionTraining``.
        on_update: Called with (updates made, of how many, loss) whenever the loss is read.

    Raises:
        DataError: If there is no example.
        NotFiniteError: If the loss is NaN or infinite.
    """
    settings = settings or DiffusionTraining()
    if not len(examples):
        raise DataError("examples to train on", "none", "check the request and the data")
    began = time.perf_counter()
    run = _Run(model, examples, settings)
    with replayed(settings.seed, run.device):
        losses = list(run.updates(on_update))
    run.average.hand_over(run.weights)
    model.eval()
    last = torch.stack(losses[-max(1, len(losses) // 10) :])
    return DiffusionRecord(time.perf_counter() - began, float(last.mean()), len(losses))


class _Run:
    """One training: its optimiser, its average and the order of its examples."""

    def __init__(self, model: Denoiser, examples: Examples, settings: DiffusionTraining) -> None:
        self.model, self.settings = model, settings
        self.predict, self.objective = Predictor(model), NoiseMatching(settings.drop)
        self.objective.prepare(self.predict, Split(examples, examples, model.classes))
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.weights[0].device
        self.examples = resident(examples, self.device)
        self.average = Average(self.weights, settings.average)
        self.optimizer = torch.optim.AdamW(self.weights, lr=settings.rate, weight_decay=settings.weight_decay)

    def updates(self, on_update: OnUpdate | None) -> Iterator[Tensor]:
        """Make every update and yield its loss."""
        self.model.train()
        total, positions = self.settings.updates, self.positions()
        for update in range(total):
            loss = self.update(update, next(positions))
            if update % LOOKED_AT == 0 or update == total - 1:
                self.refuse_not_finite(float(loss), update)
                if on_update is not None:
                    on_update(update + 1, total, float(loss))
            yield loss

    def positions(self) -> Iterator[Tensor]:
        """Yield the examples of each update: whole batches of one shuffled pass after another."""
        size, epoch = min(self.settings.batch, len(self.examples)), 0
        while True:
            generator = torch.Generator().manual_seed(mixed_seed(self.settings.seed, epoch, 1))
            order = torch.randperm(len(self.examples), generator=generator)
            yield from order[: len(order) // size * size].split(size)
            epoch += 1

    def update(self, update: int, positions: Tensor) -> Tensor:
        """Make one update and return its loss."""
        generator = torch.Generator().manual_seed(mixed_seed(self.settings.seed, update, 2))
        batch = self.objective.draw(self.examples.batch(positions).to(self.device), 0, generator)
        self.optimizer.param_groups[0]["lr"] = self.settings.rate_at(update)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.predict, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        self.optimizer.step()
        self.average.update(self.weights)
        return loss.detach()

    def refuse_not_finite(self, loss: float, update: int) -> None:
        """Refuse a loss that is NaN or infinite."""
        if not math.isfinite(loss):
            cure = f"lower the rate (now {self.settings.rate:g}) and check that the images are finite"
            raise NotFiniteError("a finite training loss", f"{loss} at update {update}", cure)
