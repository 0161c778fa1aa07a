"""R², how much of the targets' variance a model explains."""

from __future__ import annotations

from expunge.batch import Examples, Predictor
from expunge.tasks.targets.predictions import collect_predictions, compute_r2


def r2_score(predict: Predictor, examples: Examples) -> float:
    """Return the coefficient of determination, mean over targets: ``Budget(metric=r2_score, max_drop=0.02)``.

    Formula: R² = 1 − Σ (f(x) − y)² / Σ (y − ȳ)², ȳ the mean of these examples; 1 is perfect, 0 a constant.

    Args:
        predict: The model, as ``unlearn`` reads it.
        examples: At least two, whose targets differ.
    """
    return compute_r2(*collect_predictions(predict, examples)) or 0.0
