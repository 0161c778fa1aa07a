"""Recognition: whether it helps a diffusion model to see the noise in an image if it is told what the image shows."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Predictor, looking
from expunge.tasks.diffusion.denoiser import as_denoiser
from expunge.tasks.diffusion.noising import noising_of
from expunge.tasks.family import Recognised

DRAWS = 4
"""Pairs of noise and timestep for each image and class."""
HELPED = 0.25
"""Share of images up to which a class is forgotten, where the model has a null class. Where a class says nothing it is
½; objectives that name another one push it below. Set by models that forgot other classes than those whose figures are
shown (``docs/results/diffusion-auto.md``)."""
CHANCES = 2.0
"""Where it has none: how many times the share that chance has."""


def recognised(predict: Predictor, examples: Examples, draws: int = DRAWS) -> Recognised:
    """Return the share of images of which the model still tells the class, by its own error; nothing is drawn.

    With a null class: the share for which Σ_j ‖ε_j − ε(x_{t_j}, t_j, c)‖² is less for the own class c than for the null
    class, with the same timesteps t_j and noise ε_j. Without one: the share for which it is least among all classes,
    after Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier" (ICCV 2023, arXiv 2303.16203).

    Args:
        predict: The model.
        examples: Images and their classes.
        draws: Number of (t_j, ε_j) for each image. Default 4.
    """
    batch = examples.batch(torch.arange(len(examples)))
    model = as_denoiser(predict.model)
    with looking(predict.model):
        batch = batch.to(next(predict.model.parameters()).device)
        own = error_of(predict, batch, draws, batch.targets)
        null = noising_of(model).null
        others = [null] if null is not None else range(model.classes)
        least = torch.stack([error_of(predict, batch, draws, torch.full_like(batch.targets, c)) for c in others]).amin(
            0
        )
    helped = own < least if null is not None else own <= least
    return Recognised(float(helped.double().mean()), HELPED if null is not None else CHANCES / model.classes)


def error_of(predict: Predictor, batch: Batch, draws: int, told: Tensor) -> Tensor:
    """Return the summed error of each image's noise, ``(n,)``, where the model is told these classes."""
    found = torch.zeros(len(batch), device=batch.targets.device)
    for draw in range(draws):
        noisy = noising_of(predict.model).noised(batch, torch.Generator().manual_seed(draw), labels=told)
        found += (predict(noisy.inputs) - noisy.drawn["noise"]).square().flatten(1).mean(1)
    return found
