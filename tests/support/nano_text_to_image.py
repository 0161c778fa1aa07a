"""A text-to-image model of a few dozen weights, for contracts that are tried many times over."""

from types import SimpleNamespace

import torch
from tiny_pipeline import tiny_model
from torch import nn

from expunge.batch import Batch, Predictor
from expunge.pair import Pair
from expunge.tasks.diffusion.forward_process import noise_matching_losses
from expunge.tasks.diffusion.objectives import NoiseMatching
from expunge.tasks.stable_diffusion.objectives import OtherPrompt
from expunge.testing import ToyProblem

PROMPTS = ("a cat", "a dog", "a car")


class NanoUnet(nn.Module):
    """Two convolutions, smooth, with time and the mean of the prompt's tokens added in between."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.config = SimpleNamespace(sample_size=4, in_channels=4)
        self.first, self.last = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.read, self.time = nn.Linear(16, 3), nn.Linear(2, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, sample, timestep, encoder_hidden_states):
        phase = timestep.to(sample) / 1000
        told = self.read(encoder_hidden_states.mean(1)) + self.time(torch.stack([phase, phase.square()], 1))
        hidden = torch.tanh(self.first(sample) + told[:, :, None, None])
        return SimpleNamespace(sample=self.last(self.dropout(hidden)))


def nano_model(dtype=torch.float32, dropout=0.0):
    """Told a cat, a dog and a car; each is to become the next, the car nothing in particular."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        unet = NanoUnet(dropout)
    model = tiny_model(PROMPTS)
    model.unet = unet
    model.set_prompts(model.prompts, model.prompt_embeddings, torch.tensor([1, 2, 3, 3]))
    return model.to(dtype)


def latent_batch(seed, dtype=torch.float32, size=16):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(size, 4, 4, 4, generator=generator, dtype=torch.float64).to(dtype)
    return Batch(latents, torch.randint(0, len(PROMPTS), (size,), generator=generator), torch.arange(size))


def reading(model):
    return Predictor(model, loss_fn=noise_matching_losses, max_batch_size=4)


def bench():
    objectives = lambda: Pair(OtherPrompt(), NoiseMatching())  # noqa: E731
    return ToyProblem(nano_model, latent_batch, objectives, reading, len(PROMPTS))
