"""Recognition: whether it helps a diffusion model to see the noise in an image if it is told what the image shows."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Predictor, evaluation_mode
from expunge.tasks.diffusion.denoiser import as_denoiser
from expunge.tasks.diffusion.forward_process import get_forward_process
from expunge.tasks.loss_figures import Recognition

NUM_DRAWS = 4
"""Pairs of noise and timestep for each image and class."""
RECOGNITION_LIMIT = 0.25
"""Share of images up to which a class is forgotten, where the model has a null class. Where a class says nothing it is
½; objectives that name another one push it below. Set by models that forgot other classes than those whose figures are
shown (``docs/research/diffusion-auto.md``)."""
CHANCE_FACTOR = 2.0
"""Where it has none: how many times the share that chance has."""


def measure_recognition(predict: Predictor, examples: Examples, num_draws: int = NUM_DRAWS) -> Recognition:
    """Return the share of images of which the model still tells the class, by its own error; nothing is drawn.

    With a null class: the share for which Σ_j ‖ε_j − ε(x_{t_j}, t_j, c)‖² is less for the own class c than for the null
    class, with the same timesteps t_j and noise ε_j. Without one: the share for which it is least among all classes,
    after Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier" (ICCV 2023, arXiv 2303.16203).

    Args:
        predict: The model.
        examples: Images and their classes.
        num_draws: Number of (t_j, ε_j) for each image. Default 4.
    """
    batch = examples.batch(torch.arange(len(examples)))
    model = as_denoiser(predict.model)
    with evaluation_mode(predict.model):
        batch = batch.to(next(predict.model.parameters()).device)
        class_errors = denoising_errors(predict, batch, num_draws, batch.targets)
        null_class = get_forward_process(model).null_class
        others = [null_class] if null_class is not None else range(model.classes)
        smallest_other_errors = torch.stack(
            [denoising_errors(predict, batch, num_draws, torch.full_like(batch.targets, c)) for c in others]
        ).amin(0)
    recognized = (
        class_errors < smallest_other_errors if null_class is not None else class_errors <= smallest_other_errors
    )
    return Recognition(
        float(recognized.double().mean()),
        RECOGNITION_LIMIT if null_class is not None else CHANCE_FACTOR / model.classes,
    )


def denoising_errors(predict: Predictor, batch: Batch, num_draws: int, class_labels: Tensor) -> Tensor:
    """Return the summed error of each image's noise, ``(n,)``, where the model is told these classes."""
    errors = torch.zeros(len(batch), device=batch.targets.device)
    for draw in range(num_draws):
        noisy = get_forward_process(predict.model).add_noise(
            batch, torch.Generator().manual_seed(draw), labels=class_labels
        )
        errors += (predict(noisy.inputs) - noisy.extras["noise"]).square().flatten(1).mean(1)
    return errors
