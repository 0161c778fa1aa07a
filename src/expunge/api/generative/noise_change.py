"""How much a request changed the noise that a text-to-image model predicts for prompts, forgotten before or kept."""

from __future__ import annotations

import torch

from expunge.batch import Batch, evaluation_mode
from expunge.tasks.diffusion.forward_process import get_forward_process
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples
from expunge.tasks.stable_diffusion.text_to_image import TextToImage

BATCH_SIZE = 16
"""Images in one forward pass."""


def measure_noise_change(before: TextToImage, after: TextToImage, examples: PromptExamples, seed: int) -> float:
    """Return how far the noise that a model predicts for images and their prompts is from another model's, in percent.

    Formula: 100 √(Σ‖ε'(x_t, t, c) − ε(x_t, t, c)‖² / Σ‖ε(x_t, t, c)‖²), ε before and ε' after.
    """
    models = [model.with_prompts(examples.captions) for model in (before, after)]
    device, labels = before.prompt_embeddings.device, models[0].prompt_indices(examples.captions)
    batch = Batch(examples.latents.to(device), labels.to(device), torch.arange(len(labels)))
    inputs = get_forward_process(before).add_noise(batch, torch.Generator().manual_seed(seed)).inputs
    changed = total = 0.0
    with torch.no_grad(), evaluation_mode(models[0]), evaluation_mode(models[1]):
        for positions in torch.arange(len(labels)).split(BATCH_SIZE):
            first, second = (model(**{name: value[positions] for name, value in inputs.items()}) for model in models)
            changed += float((second - first).double().square().sum())
            total += float(first.double().square().sum())
    return 100 * (changed / total) ** 0.5 if total else 0.0
