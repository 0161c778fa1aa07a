"""Distance to the retrained model in predictions: JS, KL and L2 on forget, retain and test examples."""

from __future__ import annotations

from typing import ClassVar

from expunge.evaluation.metric import Metric
from expunge.evaluation.outputs import ModelOutputs, Outputs, SplitPart
from expunge.metrics import jensen_shannon, kullback_leibler, l2_distance


class Divergence(Metric):
    """Mean divergence between the predictions of the model and of the retrained one on a part of the data."""

    unit = "nats"
    direction = "lower"
    target = "0, but two retrained models differ too: compare with their own divergence"
    needs_retrained = True
    part: ClassVar[SplitPart]

    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return nats; None if the part is empty or the divergence infinite."""
        if retrained is None or not len(model.part(self.part)):
            return None
        return self.compute_divergence(retrained.part(self.part), model.part(self.part))

    def compute_divergence(self, retrained: Outputs, model: Outputs) -> float:
        """Return the mean Jensen–Shannon divergence."""
        return float(jensen_shannon(retrained.logits, model.logits).mean())


class RelativeEntropy(Divergence):
    """The same with the Kullback–Leibler divergence of the model from the retrained one."""

    def compute_divergence(self, retrained: Outputs, model: Outputs) -> float:
        """Return the mean of KL(retrained ‖ model)."""
        return float(kullback_leibler(retrained.logits, model.logits).mean())


class EuclideanDistance(Divergence):
    """The same with the Euclidean distance of the two vectors of probabilities."""

    unit = ""

    def compute_divergence(self, retrained: Outputs, model: Outputs) -> float:
        """Return the mean of ‖p_retrained − p_model‖."""
        return float(l2_distance(retrained.logits, model.logits).mean())


JS_DEFINITION = (
    "Mean Jensen–Shannon divergence between the predictions of model and retrained model on the {}; at most 0.69."
)
KL_DEFINITION = (
    "Mean of KL(retrained ‖ model) over the {}; unbounded, so that one sure mistake can outweigh all other examples."
)

L2_DEFINITION = (
    "Mean Euclidean distance between the probabilities of model and retrained model on the {}; at most 1.41."
)


class ForgetDivergence(Divergence):
    """Measure the JS divergence from the retrained model on the forget examples."""

    aliases = ("js_forget",)
    label = "JS forget"
    part = "forget"
    definition = JS_DEFINITION.format("forget examples")


class RetainDivergence(Divergence):
    """Measure the JS divergence from the retrained model on the retain examples."""

    aliases = ("js_retain",)
    label = "JS retain"
    part = "retain"
    definition = JS_DEFINITION.format("retain examples")


class TestDivergence(Divergence):
    """Measure the JS divergence from the retrained model on the test examples of classes that are retained."""

    __test__ = False
    aliases = ("js_test",)
    label = "JS test"
    part = "test"
    definition = JS_DEFINITION.format("test examples without forgotten classes")


class ForgetRelativeEntropy(RelativeEntropy):
    """Measure the KL divergence from the retrained model on the forget examples."""

    aliases = ("kl_forget",)
    label = "KL forget"
    part = "forget"
    definition = KL_DEFINITION.format("forget examples")


class RetainRelativeEntropy(RelativeEntropy):
    """Measure the KL divergence from the retrained model on the retain examples."""

    aliases = ("kl_retain",)
    label = "KL retain"
    part = "retain"
    definition = KL_DEFINITION.format("retain examples")


class TestRelativeEntropy(RelativeEntropy):
    """Measure the KL divergence from the retrained model on the test examples of classes that are retained."""

    __test__ = False
    aliases = ("kl_test",)
    label = "KL test"
    part = "test"
    definition = KL_DEFINITION.format("test examples without forgotten classes")


class ForgetDistance(EuclideanDistance):
    """Measure the Euclidean distance of predictions from the retrained model's on the forget examples."""

    aliases = ("l2_forget",)
    label = "L2 forget"
    part = "forget"
    definition = L2_DEFINITION.format("forget examples")


class RetainDistance(EuclideanDistance):
    """Measure the Euclidean distance of predictions from the retrained model's on the retain examples."""

    aliases = ("l2_retain",)
    label = "L2 retain"
    part = "retain"
    definition = L2_DEFINITION.format("retain examples")


class TestDistance(EuclideanDistance):
    """Measure the distance of predictions from the retrained model's on the test examples of retained classes."""

    __test__ = False
    aliases = ("l2_test",)
    label = "L2 test"
    part = "test"
    definition = L2_DEFINITION.format("test examples without forgotten classes")
