"""Distance to the retrained model in scores: average gap and tug of war."""

from __future__ import annotations

from expunge.evaluation.accuracies import RetainAccuracy, TestAccuracy, UnlearningAccuracy
from expunge.evaluation.membership import MembershipInference
from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs
from expunge.metrics import average_gap, tug_of_war


class AverageGap(Metric):
    """Average |model − retrained| over UA, RA, TA and MIA (avg gap)."""

    aliases = ("avg_gap",)
    label = "avg gap"
    unit = "points"
    direction = "lower"
    target = "0, but two retrained models differ too: compare with the noise floor"
    needs_retrained = True
    definition = (
        "Mean over UA, RA, TA and MIA of the distance to the model that the same seed retrained, per seed and then "
        "averaged, not the distance between averages; between under-trained models it measures luck."
    )
    components = (UnlearningAccuracy(), RetainAccuracy(), TestAccuracy(), MembershipInference())

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percentage points; None if one of the four cannot be stated."""
        scores = compute_score_pairs(self.components, model, retrained)
        return None if scores is None else average_gap(*scores)


class TugOfWar(Metric):
    """Multiply 1 − |accuracy − that of the retrained model| over forget, retain and test examples (ToW)."""

    aliases = ("tow",)
    label = "ToW"
    direction = "higher"
    target = "1, the accuracies of the retrained model"
    needs_retrained = True
    definition = (
        "Product over forget, retain and test examples of 1 minus the distance in accuracy (as a share) to the model "
        "that the same seed retrained; it sees accuracies only, not membership."
    )
    components = (UnlearningAccuracy(), RetainAccuracy(), TestAccuracy())

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return from 0 to 1; None if one of the three cannot be stated."""
        scores = compute_score_pairs(self.components, model, retrained)
        return None if scores is None else tug_of_war(*scores)


def compute_score_pairs(
    metrics: tuple[Metric, ...], model: ModelOutputs, retrained: ModelOutputs | None
) -> tuple[list[float], list[float]] | None:
    """Return the metrics of both models; None if there is no second model or one number cannot be stated."""
    if retrained is None:
        return None
    pairs = [(metric(model), metric(retrained)) for metric in metrics]
    complete = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    if len(complete) < len(pairs):
        return None
    return [ours for ours, _ in complete], [theirs for _, theirs in complete]
