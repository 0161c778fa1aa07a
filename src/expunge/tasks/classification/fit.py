"""How well a classifier knows the examples of a request."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split, looking
from expunge.tasks.fit import Fit, Side, drawn_examples, share_fit

BATCH_SIZE = 64


def classifier_fit(predict: Predictor, split: Split) -> tuple[Fit, ...]:
    """Return the share that a classifier is right about, of each side of a request.

    Chance is what answers of the same frequencies would get that have nothing to do with the examples: Σ_c t_c a_c, t_c
    the share of class c on a side and a_c that of the answers on all training examples (Cohen, 1960).

    Args:
        predict: The model, left as it was found.
        split: The request.
    """
    sides: dict[Side, Examples | None] = {"retain": split.retain, "forget": split.forget, "holdout": split.holdout}
    seen = {
        name: _answers(predict, drawn_examples(examples))
        for name, examples in sides.items()
        if examples is not None and len(examples)
    }
    trained = torch.cat([seen["retain"][0], seen["forget"][0]])
    frequencies = torch.bincount(trained, minlength=split.classes).double() / len(trained)
    found = []
    for name, (answers, targets) in seen.items():
        right = float((answers == targets).double().mean())
        found.append(share_fit(name, "right", len(targets), right, float(frequencies[targets].mean())))
    return tuple(found)


def _answers(predict: Predictor, examples: Examples) -> tuple[Tensor, Tensor]:
    """Return the answers to examples, and their labels."""
    device = next(predict.model.parameters()).device
    with looking(predict.model):
        batches = (examples.batch(positions).to(device) for positions in torch.arange(len(examples)).split(BATCH_SIZE))
        answers = [predict(batch.inputs).argmax(1).cpu() for batch in batches]
    return torch.cat(answers), examples.targets.cpu()
