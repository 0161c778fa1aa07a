"""UA, RA and TA: accuracy on the forget, retain and test examples."""

from __future__ import annotations

from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs
from expunge.metrics import accuracy


class UnlearningAccuracy(Metric):
    """Measure the error on the forget examples, 100 − accuracy (UA)."""

    aliases = ("ua",)
    label = "UA"
    unit = "%"
    target = "the value of the retrained model: 100 for a forgotten class, about the test error for random examples"
    definition = (
        "100 minus the accuracy on the forget examples, in eval mode and with the test transform; some public code "
        "prints the forget accuracy itself under this name."
    )

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percent."""
        right = accuracy(model.forget.logits, model.forget.targets)
        return None if right is None else 100.0 - right


class RetainAccuracy(Metric):
    """Measure the accuracy on the retain examples (RA)."""

    aliases = ("ra",)
    label = "RA"
    unit = "%"
    target = "the value of the retrained model"
    definition = "Accuracy on the retain examples, in eval mode and with the test transform, not the augmented one."

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percent."""
        return accuracy(model.retain.logits, model.retain.targets)


class TestAccuracy(Metric):
    """Measure the accuracy on the test examples, without a forgotten class (TA)."""

    __test__ = False
    aliases = ("ta",)
    label = "TA"
    unit = "%"
    target = "the value of the retrained model"
    definition = (
        "Accuracy on the test examples, without those of classes of which nothing is retained: with them a forgotten "
        "class would count as lost utility."
    )

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return percent; None if the test set has forgotten classes only."""
        return accuracy(model.test.logits, model.test.targets)
