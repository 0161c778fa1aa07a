"""How well a diffusion model knows the images of a request."""

from __future__ import annotations

import torch

from expunge.batch import Batch, Examples, Predictor, Split, looking
from expunge.engine import mixed_seed
from expunge.tasks.diffusion.noising import noising_of
from expunge.tasks.diffusion.recognition import recognised
from expunge.tasks.fit import CHANCE, WEAK, Fit, Level, Side, drawn_examples, share_fit

BATCH_SIZE = 16


def noise_fit(predict: Predictor, split: Split, count: int) -> tuple[Fit, ...]:
    """Return the share of the noise in images that a model predicts, of what is retained and held out.

    Formula: 1 − Σ ‖ε − ε(x_t, t, c)‖² / Σ ‖ε‖², which is 0 for a model that predicts nothing.

    Args:
        predict: The model, left as it was found.
        split: The request.
        count: Images of each side, at most.
    """
    found = [_noise("retain", predict, split.retain, count)]
    if split.holdout is not None and len(split.holdout):
        found.append(_noise("holdout", predict, split.holdout, count))
    return tuple(found)


def _noise(side: Side, predict: Predictor, examples: Examples, count: int) -> Fit:
    chosen = drawn_examples(examples, count)
    device = next(predict.model.parameters()).device
    with looking(predict.model):
        parts = torch.arange(len(chosen)).split(predict.at_once or BATCH_SIZE)
        sums = [_squares(predict, chosen.batch(positions).to(device)) for positions in parts]
    error, noise = torch.stack(sums).sum(0).tolist()
    share = 1 - error / noise
    level: Level = "below" if not share > CHANCE else "weak" if side == "retain" and share < WEAK else "good"
    return Fit(side, "noise", len(chosen), share, 0.0, level)


def _squares(predict: Predictor, batch: Batch) -> torch.Tensor:
    """Return the summed squares of a batch's errors and of its noise."""
    seed = mixed_seed(len(batch), int(batch.indices.sum()), int(batch.indices[0]))
    noisy = noising_of(predict.model).noised(batch, torch.Generator().manual_seed(seed))
    noise = noisy.drawn["noise"]
    return torch.stack([(predict(noisy.inputs) - noise).square().sum(), noise.square().sum()]).double().cpu()


def class_fit(predict: Predictor, split: Split, count: int) -> Fit:
    """Return the share of retained images whose class helps a class-conditional model to see their noise.

    Args:
        predict: The model, left as it was found.
        split: The request.
        count: Images, at most.
    """
    chosen = drawn_examples(split.retain, count)
    model = noising_of(predict.model)
    chance = 0.5 if model.null is not None else 1 / split.classes
    return share_fit("retain", "class", len(chosen), recognised(predict, chosen).share, chance)
