"""A diffusion model of a few dozen weights, which needs no library, and data for it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.pair import Pair
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.forward_process import noise_matching_losses
from expunge.tasks.diffusion.objectives import NoiseMatching, OtherClass
from expunge.testing import ToyProblem

CLASSES, SIZE, STEPS = 4, 4, 1000


class Denoiser(nn.Module):
    """Two convolutions, smooth, with time and class added in between."""

    def __init__(self, embedded=CLASSES + 1, dropout=0.0):
        super().__init__()
        self.config = SimpleNamespace(num_class_embeds=embedded, sample_size=SIZE, in_channels=1)
        self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1)
        self.known, self.time = nn.Embedding(embedded, 4), nn.Linear(2, 4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sample, timestep, class_labels):
        phase = timestep.to(sample) / STEPS
        told = self.known(class_labels) + self.time(torch.stack([phase, phase.square()], 1))
        hidden = torch.tanh(self.first(sample) + told[:, :, None, None])
        return SimpleNamespace(sample=self.last(self.dropout(hidden)))


def schedule():
    signal = torch.cumprod(1 - torch.linspace(1e-4, 0.02, STEPS), 0)
    return SimpleNamespace(config=SimpleNamespace(prediction_type="epsilon"), alphas_cumprod=signal)


def small_model(dtype=torch.float32, dropout=0.0, embedded=CLASSES + 1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return DDPM(Denoiser(embedded, dropout), schedule(), CLASSES).to(dtype)


def image_batch(seed, dtype=torch.float32, size=16):
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.rand(size, 1, SIZE, SIZE, generator=generator, dtype=torch.float64).to(dtype) - 1
    return Batch(images, torch.randint(0, CLASSES, (size,), generator=generator), torch.arange(size))


def reading(model):
    return Predictor(model, loss_fn=noise_matching_losses)


def image_split(dtype=torch.float32, forgotten=3):
    images, targets = image_batch(7, dtype, 60).inputs, torch.arange(60) % CLASSES
    chosen = targets == forgotten
    forget, retain = (TensorExamples(images[part], targets[part]) for part in (chosen, ~chosen))
    return Split(forget, retain, CLASSES)


BENCH = ToyProblem(small_model, image_batch, lambda: Pair(OtherClass(), NoiseMatching()), reading, CLASSES)


MODELS = Path(__file__).parents[2] / "examples" / "models"
"""The trained base models of the diffusion demo."""


def diffusers():
    """The library, or a skipped test."""
    return pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusion')")
