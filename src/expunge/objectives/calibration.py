"""Calibration: votes become as sure as a model is of examples that it never saw."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples, Predictor, Split, device_of
from expunge.objectives.layers import BATCH_SIZE

MIN_HOLDOUT_EXAMPLES = 10
"""Held-out examples of a class that calibration needs; with fewer, those of all classes serve."""
EPSILON = 1e-6
"""Added to what the original says of labels that nobody voted for, so that some of them are left."""


def calibrate_votes(votes: Tensor, original: Predictor, data: Split) -> Tensor:
    """Return votes whose true labels are as sure as the original is of held-out examples of the same classes.

    The votes *order* the forgotten examples of a class by how sure a model that never saw them would be of their label;
    how sure such models are is known of held-out examples. The forgotten examples then look like held-out ones as a
    whole, and the votes say which of them are which.

    Formula: the forgotten examples of a class y are ordered by q_y, and by the original's p_y where these are equal.
    With Q_y the quantiles of (p₀)_y over the held-out examples of y, or over those of all classes where there are
    fewer than ``MIN_HOLDOUT_EXAMPLES``, the i-th of n becomes

        q'_y = Q_y((i − ½)/n),   q'_c = (1 − q'_y) q_c / Σ_{d ≠ y} q_d   for c ≠ y,

    with p in place of q in the second part where nobody voted for another label. Where nothing of y is retained q'_y
    is q_y. Without held-out examples the votes stay as they are.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> part = lambda *labels: TensorExamples(torch.eye(2)[list(labels)], list(labels))
        >>> data = Split(part(0, 0), part(0, 1), 2, part(0, 1))
        >>> calibrate_votes(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), Predictor(torch.nn.Identity()), data)
        tensor([[0.7311, 0.2689],
                [0.7311, 0.2689]])
    """
    if data.holdout is None:
        return votes
    forget_probs, holdout_probs = predict_probs(original, data.forget), predict_probs(original, data.holdout)
    labels, holdout_labels = data.forget.targets.to(votes.device), data.holdout.targets.to(votes.device)
    confidences = holdout_probs.gather(1, holdout_labels[:, None]).flatten()
    levels = votes.gather(1, labels[:, None]).flatten().clone()
    for label in data.retain.targets.unique().tolist():
        positions, class_confidences = (labels == label).nonzero().flatten(), confidences[holdout_labels == label]
        class_confidences = class_confidences if len(class_confidences) >= MIN_HOLDOUT_EXAMPLES else confidences
        if len(positions):
            levels[sort_by_confidence(positions, votes[:, label], forget_probs[:, label])] = even_quantiles(
                class_confidences, len(positions)
            )
    return set_true_probability(votes, forget_probs, labels, levels)


@torch.no_grad()
def predict_logits(predict: Predictor, examples: Examples, positions: Tensor) -> Tensor:
    device = device_of(predict.model)
    return torch.cat([predict(examples.batch(part).to(device).inputs) for part in positions.split(BATCH_SIZE)])


def predict_probs(predict: Predictor, examples: Examples) -> Tensor:
    """Return the probabilities of all labels for all examples."""
    return torch.softmax(predict_logits(predict, examples, torch.arange(len(examples))).float(), 1)


def sort_by_confidence(positions: Tensor, votes: Tensor, probs: Tensor) -> Tensor:
    """Return some positions from the least sure to the surest; the original decides where votes are equal."""
    first = positions[probs[positions].argsort(stable=True)]
    return first[votes[first].argsort(stable=True)]


def even_quantiles(values: Tensor, count: int) -> Tensor:
    """Return as many evenly spaced quantiles, from the lowest.

    Examples:
        >>> even_quantiles(torch.tensor([0.0, 1.0, 0.5]), 2)
        tensor([0.2500, 0.7500])
    """
    return torch.quantile(values, (torch.arange(count, device=values.device) + 0.5) / count)


def set_true_probability(votes: Tensor, probs: Tensor, labels: Tensor, levels: Tensor) -> Tensor:
    """Return distributions with the given probability of the true label, the others in proportion to the votes."""
    true = functional.one_hot(labels, votes.shape[1]).bool()
    others = votes.masked_fill(true, 0.0)
    others = torch.where(others.sum(1, keepdim=True) > 0, others, probs.masked_fill(true, 0.0) + EPSILON * ~true)
    others = others / others.sum(1, keepdim=True)
    return torch.where(true, levels[:, None], others * (1 - levels[:, None]))
