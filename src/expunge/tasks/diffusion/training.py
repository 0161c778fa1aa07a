"""Training a class-conditional diffusion model from scratch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split
from expunge.data.device_examples import to_device
from expunge.engine import ModelEMA, combine_seeds, seeded_rng
from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.tasks.diffusion.denoiser import Denoiser
from expunge.tasks.diffusion.objectives import NoiseMatching

OnUpdate = Callable[[int, int, float], None]
CHECK_INTERVAL = 25
"""The device is waited for every so many updates, to look for a loss that is not finite."""


@dataclass(frozen=True, kw_only=True)
class DiffusionTrainSettings:
    """How a diffusion model is trained: AdamW, linear warm-up, cosine decay, averaged weights.

    Args:
        updates: Default 800, enough for digits of 8×8 pixels.
        batch_size: Images in an update. Default 64.
        lr: Learning rate at the end of the warm-up. Default 4e-3 (160 thousand weights; 1e-3 for a million).
        warmup_updates: Updates until then. Default 50.
        weight_decay: Default 0.
        ema_decay: β of the averaged weights, which are the trained model. Default .995.
        label_dropout: Share of labels that are dropped, for classifier-free guidance. Default .1.
        max_grad_norm: Largest norm of a gradient. Default 1.
        seed: Of order, timesteps, noise and dropped labels. Default 0.

    Raises:
        ConfigError: If a number is out of its range.

    Examples:
        >>> settings = DiffusionTrainSettings(updates=100, warmup_updates=10, lr=1.0)
        >>> [round(settings.lr_at(update), 3) for update in (0, 9, 55, 99)]
        [0.1, 1.0, 0.5, 0.0]
    """

    updates: int = 800
    batch_size: int = 64
    lr: float = 4e-3
    warmup_updates: int = 50
    weight_decay: float = 0.0
    ema_decay: float = 0.995
    label_dropout: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        names = ("updates", "batch_size", "lr", "max_grad_norm")
        positive = {name: getattr(self, name) for name in names}
        for name, value in positive.items():
            if not value > 0:
                raise ConfigError(f"{name} > 0", f"{value}", "change it")
        if min(self.warmup_updates, self.weight_decay) < 0 or not 0 <= self.ema_decay < 1:
            actual = f"{self.warmup_updates}, {self.weight_decay} and {self.ema_decay}"
            raise ConfigError("warmup_updates and weight_decay ≥ 0, ema_decay in [0, 1)", actual, "change them")

    def lr_at(self, update: int) -> float:
        """Return the learning rate at an update, counted from 0."""
        if update < self.warmup_updates:
            return self.lr * (update + 1) / self.warmup_updates
        progress = (update - self.warmup_updates) / max(1, self.updates - self.warmup_updates)
        return self.lr * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class DiffusionTrainRecord:
    """What training gave.

    Args:
        seconds: Wall clock.
        final_loss: Mean of the noise-matching loss over the last tenth of the updates.
        updates: How many were made.
    """

    seconds: float
    final_loss: float
    updates: int


def train_ddpm(
    model: Denoiser,
    examples: Examples,
    settings: DiffusionTrainSettings | None = None,
    *,
    on_update: OnUpdate | None = None,
) -> DiffusionTrainRecord:
    """Train a diffusion model in place; it ends in evaluation mode with its averaged weights.

    The caller's random state is untouched. The same seed, machine and number of threads give the same bits.
    """
    settings = settings or DiffusionTrainSettings()
    if not len(examples):
        raise DataError("examples to train on", "none", "check the request and the data")
    start_time = time.perf_counter()
    trainer = _DiffusionTrainer(model, examples, settings)
    with seeded_rng(settings.seed, trainer.device):
        losses = list(trainer.run_updates(on_update))
    trainer.ema.copy_to(trainer.weights)
    model.eval()
    last = torch.stack(losses[-max(1, len(losses) // 10) :])
    return DiffusionTrainRecord(time.perf_counter() - start_time, float(last.mean()), len(losses))


class _DiffusionTrainer:
    """One training: its optimizer, its average and the order of its examples."""

    def __init__(self, model: Denoiser, examples: Examples, settings: DiffusionTrainSettings) -> None:
        self.model, self.settings = model, settings
        self.predict, self.objective = Predictor(model), NoiseMatching(settings.label_dropout)
        self.objective.prepare(self.predict, Split(examples, examples, model.classes))
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.weights[0].device
        self.examples = to_device(examples, self.device)
        self.ema = ModelEMA(self.weights, settings.ema_decay)
        self.optimizer = torch.optim.AdamW(self.weights, lr=settings.lr, weight_decay=settings.weight_decay)

    def run_updates(self, on_update: OnUpdate | None) -> Iterator[Tensor]:
        """Make every update and yield its loss."""
        self.model.train()
        total, positions = self.settings.updates, self.iter_positions()
        for update in range(total):
            loss = self.update(update, next(positions))
            if update % CHECK_INTERVAL == 0 or update == total - 1:
                self.check_finite(float(loss), update)
                if on_update is not None:
                    on_update(update + 1, total, float(loss))
            yield loss

    def iter_positions(self) -> Iterator[Tensor]:
        """Yield the examples of each update: whole batches of one shuffled pass after another."""
        size, epoch = min(self.settings.batch_size, len(self.examples)), 0
        while True:
            generator = torch.Generator().manual_seed(combine_seeds(self.settings.seed, epoch, 1))
            order = torch.randperm(len(self.examples), generator=generator)
            yield from order[: len(order) // size * size].split(size)
            epoch += 1

    def update(self, update: int, positions: Tensor) -> Tensor:
        """Make one update and return its loss."""
        generator = torch.Generator().manual_seed(combine_seeds(self.settings.seed, update, 2))
        batch = self.objective.sample(self.examples.batch(positions).to(self.device), 0, generator)
        self.optimizer.param_groups[0]["lr"] = self.settings.lr_at(update)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(self.predict, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.settings.max_grad_norm)
        self.optimizer.step()
        self.ema.update(self.weights)
        return loss.detach()

    def check_finite(self, loss: float, update: int) -> None:
        """Refuse a loss that is NaN or infinite."""
        if not math.isfinite(loss):
            hint = f"lower the rate (now {self.settings.lr:g}) and check that the images are finite"
            raise NotFiniteError("a finite training loss", f"{loss} at update {update}", hint)
