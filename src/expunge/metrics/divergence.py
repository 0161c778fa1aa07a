"""Distances between the predictive distributions of two models on the same examples: JS, KL and L2."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import SPLIT_PARTS, ModelOutputs, SplitPart, check_choice
from expunge.metrics.scores import log_probabilities, product_with_zero_limit


def _log_probabilities_of_both(first: Any, second: Any) -> tuple[Floats, Floats]:
    """Return the log probabilities of two models."""
    log_p, log_q = log_probabilities(first)[0], log_probabilities(second)[0]
    if log_p.shape != log_q.shape:
        actual = f"{log_p.shape} and {log_q.shape}"
        raise DataError("logits of two models on the same examples", actual, "collect both on the same examples")
    return log_p, log_q


def kullback_leibler(first: Any, second: Any) -> Floats:
    """Return KL(p ‖ q) = Σ p_i (log p_i − log q_i) of every example, in nats.

    Args:
        first: Logits of p, ``(n, classes)``; the reference.
        second: Logits of q, ``(n, classes)``.

    Returns:
        At least 0; infinite where q excludes what p allows.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> kullback_leibler([[0.0, 0.0]], [[1.0, 0.0]]).round(4).tolist()
        [0.1201]
    """
    log_p, log_q = _log_probabilities_of_both(first, second)
    return np.maximum(_relative_entropy(log_p, log_q), 0.0)


def jensen_shannon(first: Any, second: Any) -> Floats:
    """Return ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2 of every example, in nats.

    Args:
        first: Logits of p, ``(n, classes)``.
        second: Logits of q, ``(n, classes)``.

    Returns:
        From 0 for equal predictions to log 2 for disjoint ones.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> jensen_shannon([[90.0, 0.0]], [[0.0, 90.0]]).round(4).tolist()
        [0.6931]
    """
    log_p, log_q = _log_probabilities_of_both(first, second)
    return np.maximum(0.5 * _divergence_from_mixture(log_p, log_q) + 0.5 * _divergence_from_mixture(log_q, log_p), 0.0)


def l2_distance(first: Any, second: Any) -> Floats:
    """Return the Euclidean distance of the two probability vectors of every example.

    Args:
        first: Logits of p, ``(n, classes)``.
        second: Logits of q, ``(n, classes)``.

    Returns:
        From 0 to √2.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> l2_distance([[90.0, 0.0]], [[0.0, 90.0]]).round(4).tolist()
        [1.4142]
    """
    log_p, log_q = _log_probabilities_of_both(first, second)
    return np.asarray(np.linalg.norm(np.exp(log_p) - np.exp(log_q), axis=1), dtype=np.float64)


def _divergence_from_mixture(log_p: Floats, log_q: Floats) -> Floats:
    """Return KL(p ‖ (p + q) / 2) of every row from log p − log m = log 2 − log(1 + q / p), exactly 0 for p = q."""
    is_finite = np.isfinite(log_p)
    odds = np.subtract(log_q, log_p, where=is_finite, out=np.zeros_like(log_p))
    return np.asarray(product_with_zero_limit(np.exp(log_p), np.log(2.0) - np.logaddexp(0.0, odds)).sum(1))


def _relative_entropy(log_p: Floats, log_q: Floats) -> Floats:
    """Return Σ p (log p − log q) of every row; classes with p = 0 add nothing."""
    is_finite = np.isfinite(log_p)
    ratio = np.subtract(log_p, log_q, where=is_finite, out=np.zeros_like(log_p))
    return np.asarray(product_with_zero_limit(np.exp(log_p), ratio).sum(1))


DivergenceKind = Literal["js", "kl", "l2"]
_NAMES: dict[DivergenceKind, str] = {"js": "divergence", "kl": "relative_entropy", "l2": "distance"}
_FUNCTIONS = {"js": jensen_shannon, "kl": kullback_leibler, "l2": l2_distance}
_DEFINITIONS = {
    "js": "Mean Jensen–Shannon divergence between the predictions of model and retrained model on the {}; at most "
    "0.69.",
    "kl": "Mean of KL(retrained ‖ model) over the {}; unbounded, so that one sure mistake can outweigh all other "
    "examples.",
    "l2": "Mean Euclidean distance between the probabilities of model and retrained model on the {}; at most 1.41.",
}
_EXAMPLES = {part: f"{part} examples" for part in ("forget", "retain")} | {
    "test": "test examples without forgotten classes"
}


class Divergence(Metric):
    """Mean divergence between the predictions of the model and of the retrained one on a part of the data.

    Args:
        kind: ``js`` (Jensen–Shannon), ``kl`` (KL(retrained ‖ model)) or ``l2`` (of the probabilities).
        part: ``forget``, ``retain`` or ``test`` (without forgotten classes).

    Raises:
        ConfigError: If one of them is another word.
    """

    def __init__(self, kind: DivergenceKind, part: SplitPart) -> None:
        check_choice(kind, _NAMES)
        check_choice(part, SPLIT_PARTS)
        super().__init__(
            _measure_divergence,
            f"{kind}_{part}",
            f"{kind.upper()} {part}",
            "0, but two retrained models differ too: compare with their own divergence",
            _DEFINITIONS[kind].format(_EXAMPLES[part]),
            unit="" if kind == "l2" else "nats",
            direction="lower",
            name=f"{part}_{_NAMES[kind]}",
            summary=f"Measure the {kind.upper()} {'distance' if kind == 'l2' else 'divergence'} of predictions from "
            f"the retrained model's on the {_EXAMPLES[part]}.",
            settings={"kind": kind, "part": part},
            needs=frozenset({"retrained"}),
        )


def _measure_divergence(
    model: ModelOutputs, retrained: ModelOutputs, *, kind: DivergenceKind, part: SplitPart
) -> float | None:
    if not len(model.part(part)):
        return None
    return float(_FUNCTIONS[kind](retrained.part(part).logits, model.part(part).logits).mean())


ALL_DIVERGENCES = tuple(Divergence(kind, part) for kind in _NAMES for part in SPLIT_PARTS)
