"""Metrics of many models: unlearned ones beside retrained ones, compared example by example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from expunge.errors import DataError
from expunge.metrics.arrays import Floats, Interval
from expunge.metrics.bootstrap import quantile_interval
from expunge.metrics.forgetting_quality import forgetting_quality
from expunge.metrics.klom import klom, model_scores
from expunge.metrics.metric import MetricBase
from expunge.metrics.outputs import ModelOutputs, SplitPart


@dataclass(frozen=True)
class Ensemble:
    """What many models say about the same examples.

    Args:
        scores: One number per model and example, ``(models, examples)``: the margin log p_y − log(1 − p_y).
        retain_accuracy: Mean over the models, in percent; None if unknown.
        test_accuracy: Mean over the models, in percent, without forgotten classes; None if unknown.

    Examples:
        >>> Ensemble.from_outputs([[[3.0, 1.0]], [[0.0, 1.0]]], [0]).scores.tolist()
        [[2.0], [-1.0]]
    """

    scores: Floats
    retain_accuracy: float | None = None
    test_accuracy: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", model_scores(self.scores))

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.scores)

    @classmethod
    def from_outputs(cls, outputs: Any, targets: Any = None) -> Ensemble:
        """Return the ensemble of logits ``(models, examples, classes)`` or of scores ``(models, examples)``.

        Args:
            outputs: Of the models, an array or a tensor.
            targets: Labels ``(examples,)``, needed with logits.

        Raises:
            DataError: If they have another form, or there are fewer than two models.
        """
        return cls(model_scores(outputs, targets))

    @classmethod
    def from_models(cls, models: Sequence[ModelOutputs], part: SplitPart = "forget") -> Ensemble:
        """Return the ensemble of models that were evaluated on the same split.

        Args:
            models: Outputs of each model.
            part: Whose examples are compared.

        Raises:
            DataError: If there are fewer than two, or they were evaluated on different examples.
        """
        outputs = [model.part(part) for model in models]
        if any(not torch.equal(one.targets, outputs[0].targets) for one in outputs[1:]):
            hint = "forget the same examples with every model"
            raise DataError("models evaluated on the same examples", "labels that differ", hint)
        logits = [one.logits.numpy() for one in outputs]
        scores = model_scores(np.stack(logits), outputs[0].targets.numpy()) if outputs else np.empty((0, 0))
        return cls(scores, _mean_accuracy(models, "retain"), _mean_accuracy(models, "test"))

    def split_halves(self) -> tuple[Ensemble, Ensemble]:
        """Return the first half of the models and the second."""
        middle = len(self) // 2
        return replace(self, scores=self.scores[:middle]), replace(self, scores=self.scores[middle:])


def _mean_accuracy(models: Sequence[ModelOutputs], part: SplitPart) -> float | None:
    accuracies = [model.part(part).accuracy for model in models]
    known = [value for value in accuracies if value is not None]
    return float(np.mean(known)) if known and len(known) == len(accuracies) else None


@dataclass(frozen=True)
class Comparison:
    """A number about many unlearned models, with what it has to be read beside.

    Args:
        value: The number.
        interval: Its 95 % bootstrap interval over examples, these models given.
        unlearned: Number of unlearned models.
        retrained: Number of retrained models.
        control: What as many other retrained models get in place of the unlearned ones; None if there were none.
    """

    value: float
    interval: Interval
    unlearned: int
    retrained: int
    control: float | None


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleMetric(MetricBase):
    """One number about many unlearned models beside many retrained ones, from what both say about the same examples.

    Its function takes two ensembles, the unlearned and the retrained models, and returns the number and its interval
    over examples.
    """

    def __call__(self, unlearned: Ensemble, retrained: Ensemble, control: Ensemble | None = None) -> Comparison:
        """Return the number of the unlearned models, and beside it that of retrained ones in their place.

        Args:
            unlearned: The models to judge.
            retrained: Models retrained without the examples. Twice as many as unlearned ones are split into reference
                and control, where no control is given.
            control: Other retrained models, as many as unlearned ones.

        Raises:
            DataError: If they were not evaluated on the same examples.
        """
        if control is None and len(retrained) >= 2 * len(unlearned):
            retrained, control = retrained.split_halves()
        value, interval = self.compute(unlearned, retrained, **self.settings)
        floor = None if control is None else self.compute(control, retrained, **self.settings)[0]
        return Comparison(value, interval, len(unlearned), len(retrained), floor)


class ForgettingQuality(EnsembleMetric):
    """Score how badly attacks tell unlearned from retrained models on the forget examples (NeurIPS 2023 challenge).

    Args:
        delta: δ of the attacks' ε.
    """

    def __init__(self, delta: float = 0.01) -> None:
        super().__init__(
            _score_forgetting,
            "forgetting_quality_epsilon",
            "forgetting quality",
            "what retrained models score in place of the unlearned ones with as many models, which is below 1",
            "Per forget example ε = max(log((1 − δ − FPR)/FNR), log((1 − δ − FNR)/FPR)) of the best attack (all "
            "thresholds and two fitted Gaussians) that tells N unlearned from N retrained models by the margin; "
            "2/2^bin with bins of ½, mean over examples, times the ratios of retain and of test accuracy to those of "
            "the retrained models. It depends on N and δ, so both and the score of retrained against retrained stand "
            "beside it.",
            direction="higher",
            name="forgetting_quality",
            summary="Score how badly attacks tell unlearned from retrained models on the forget examples (NeurIPS 2023 "
            "challenge).",
            settings={"delta": delta},
        )


def _score_forgetting(unlearned: Ensemble, retrained: Ensemble, *, delta: float) -> tuple[float, Interval]:
    ratios = (
        _divide_accuracies(unlearned.retain_accuracy, retrained.retain_accuracy),
        _divide_accuracies(unlearned.test_accuracy, retrained.test_accuracy),
    )
    quality = forgetting_quality(unlearned.scores, retrained.scores, ratios=ratios, delta=delta)
    return quality.score, quality.interval


def _divide_accuracies(ours: float | None, theirs: float | None) -> float:
    """Return ours over theirs; 1 where one is unknown or theirs is 0."""
    return ours / theirs if ours is not None and theirs else 1.0


class MarginDivergence(EnsembleMetric):
    """Measure how far margins of unlearned models are distributed from those of retrained ones (KLOM).

    Args:
        quantile: Which share of the examples lies below the number.
    """

    def __init__(self, quantile: float = 0.95) -> None:
        super().__init__(
            _measure_klom,
            "klom",
            "KLOM",
            "what retrained models get in place of the unlearned ones, which is above 0",
            "KL(retrained ‖ unlearned) of the margins of N models each in 20 bins, per example, and of that the 95th "
            "percentile; margins are cut at ±100 and no bin has a share below 0.00001, so that it is at most about 12.",
            unit="nats",
            direction="lower",
            name="margin_divergence",
            summary="Measure how far margins of unlearned models are distributed from those of retrained ones (KLOM).",
            settings={"quantile": quantile},
        )


def _measure_klom(unlearned: Ensemble, retrained: Ensemble, *, quantile: float) -> tuple[float, Interval]:
    divergences = klom(unlearned.scores, retrained.scores)
    return float(np.quantile(divergences, quantile)), quantile_interval(divergences, quantile)
