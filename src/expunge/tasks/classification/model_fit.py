"""How well a classifier knows the examples of a request."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split, evaluation_mode
from expunge.tasks.model_fit import ModelFit, SplitSide, assess_fit, sample_examples

BATCH_SIZE = 64


def measure_classifier_fit(predict: Predictor, split: Split) -> tuple[ModelFit, ...]:
    """Return the share that a classifier is right about, of each side of a request.

    Chance is what answers of the same frequencies would get that have nothing to do with the examples: Σ_c t_c a_c, t_c
    the share of class c on a side and a_c that of the answers on all training examples (Cohen, 1960).
    """
    sides: dict[SplitSide, Examples | None] = {"retain": split.retain, "forget": split.forget, "holdout": split.holdout}
    predictions = {
        name: _predict_classes(predict, sample_examples(examples))
        for name, examples in sides.items()
        if examples is not None and len(examples)
    }
    training_predictions = torch.cat([predictions["retain"][0], predictions["forget"][0]])
    frequencies = torch.bincount(training_predictions, minlength=split.num_classes).double() / len(training_predictions)
    fits = []
    for name, (predicted, targets) in predictions.items():
        accuracy = float((predicted == targets).double().mean())
        fits.append(assess_fit(name, "right", len(targets), accuracy, float(frequencies[targets].mean())))
    return tuple(fits)


def _predict_classes(predict: Predictor, examples: Examples) -> tuple[Tensor, Tensor]:
    """Return the answers to examples, and their labels."""
    device = next(predict.model.parameters()).device
    with evaluation_mode(predict.model):
        batches = (examples.batch(positions).to(device) for positions in torch.arange(len(examples)).split(BATCH_SIZE))
        predicted = [predict(batch.inputs).argmax(1).cpu() for batch in batches]
    return torch.cat(predicted), examples.targets.cpu()
