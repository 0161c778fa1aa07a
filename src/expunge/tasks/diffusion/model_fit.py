"""How well a diffusion model knows the images of a request."""

from __future__ import annotations

import torch

from expunge.batch import Batch, Examples, Predictor, Split, evaluation_mode
from expunge.engine import combine_seeds
from expunge.tasks.diffusion.diffusion_classifier import measure_recognition
from expunge.tasks.diffusion.forward_process import get_forward_process
from expunge.tasks.model_fit import CHANCE_LIMIT, WEAK_LIMIT, FitLevel, ModelFit, SplitSide, assess_fit, sample_examples

BATCH_SIZE = 16


def measure_noise_fit(predict: Predictor, split: Split, count: int) -> tuple[ModelFit, ...]:
    """Return the share of the noise in images that a model predicts, of what is retained and held out.

    Formula: 1 − Σ ‖ε − ε(x_t, t, c)‖² / Σ ‖ε‖², which is 0 for a model that predicts nothing.
    """
    fits = [_measure_side("retain", predict, split.retain, count)]
    if split.holdout is not None and len(split.holdout):
        fits.append(_measure_side("holdout", predict, split.holdout, count))
    return tuple(fits)


def _measure_side(side: SplitSide, predict: Predictor, examples: Examples, count: int) -> ModelFit:
    chosen = sample_examples(examples, count)
    device = next(predict.model.parameters()).device
    with evaluation_mode(predict.model):
        parts = torch.arange(len(chosen)).split(predict.max_batch_size or BATCH_SIZE)
        sums = [_sum_squares(predict, chosen.batch(positions).to(device)) for positions in parts]
    error, noise = torch.stack(sums).sum(0).tolist()
    fraction = 1 - error / noise
    level: FitLevel = (
        "below" if not fraction > CHANCE_LIMIT else "weak" if side == "retain" and fraction < WEAK_LIMIT else "good"
    )
    return ModelFit(side, "noise", len(chosen), fraction, 0.0, level)


def _sum_squares(predict: Predictor, batch: Batch) -> torch.Tensor:
    """Return the summed squares of a batch's errors and of its noise."""
    seed = combine_seeds(len(batch), int(batch.indices.sum()), int(batch.indices[0]))
    noisy = get_forward_process(predict.model).add_noise(batch, torch.Generator().manual_seed(seed))
    noise = noisy.extras["noise"]
    return torch.stack([(predict(noisy.inputs) - noise).square().sum(), noise.square().sum()]).double().cpu()


def measure_class_fit(predict: Predictor, split: Split, count: int) -> ModelFit:
    """Return the share of retained images whose class helps a class-conditional model to see their noise."""
    chosen = sample_examples(split.retain, count)
    model = get_forward_process(predict.model)
    chance = 0.5 if model.null_class is not None else 1 / split.num_classes
    return assess_fit("retain", "class", len(chosen), measure_recognition(predict, chosen).fraction, chance)
