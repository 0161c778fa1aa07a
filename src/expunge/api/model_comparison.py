"""The rows of one request at one seed: every model is asked about the same examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.errors import ConfigError, NotFiniteError
from expunge.methods import Method
from expunge.metrics import (
    DEFAULT_METRICS,
    Metric,
    ModelOutputs,
    ModelScores,
    Summary,
    collect_model_outputs,
    compute_noise_floors,
    resolve_metrics,
)

Role = Literal["original", "retrained", "method"]
ORIGINAL_KEY, RETRAIN_KEY = "original", "retrain"
"""Keys of the rows that are no method's."""
ROLE_ORDER: tuple[Role, ...] = ("original", "retrained", "method")


@dataclass(frozen=True)
class ModelEntry:
    """A model's place in the table, before it is scored."""

    key: str
    label: str
    role: Role
    outputs: ModelOutputs | None
    seconds: float | None = None
    history: Sequence[Mapping[str, Any]] = ()
    peak_memory: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class ModelComparison:
    """What the original, the retrained model and the unlearned ones say about the examples of one request.

    They may be added in any order; the trials come as original, retrained, methods.

    Args:
        split: The examples of the request.
        test: Examples of all classes that no model was trained on.
        seed: Of the run that the models belong to. Default 0.
        logits: Reads logits from what the models return, where they do not return them themselves.
        batch_size: Examples in one forward pass. Default 256.
        extra_metrics: Metrics beside those usually measured, by name or made; costly ones among them keep the models.
            Default none.

    Raises:
        ConfigError: If there is no metric of a name.
    """

    def __init__(
        self,
        split: Split,
        test: Examples,
        seed: int = 0,
        logits: Callable[[Any], Tensor] | None = None,
        batch_size: int = 256,
        extra_metrics: Iterable[Metric | str] = (),
    ) -> None:
        self.split, self.test, self.seed, self.logits, self.batch_size = split, test, seed, logits, batch_size
        self.entries: list[ModelEntry] = []
        self.references: list[ModelOutputs] = []
        self.extra_metrics = resolve_metrics(extra_metrics)
        usual = {metric.key for metric in DEFAULT_METRICS}
        self.metrics = (*DEFAULT_METRICS, *(metric for metric in self.extra_metrics if metric.key not in usual))

    def check_measurable(self, *, original: bool, retrained: bool) -> None:
        """Refuse a metric that was asked for and needs a model that will not be there."""
        for metric in self.extra_metrics:
            if "original" in metric.needs and not original:
                hint = "pass original=, or leave the metric out"
                raise ConfigError(f"the model before unlearning for '{metric.key}'", "none", hint)
            if "retrained" in metric.needs and not retrained:
                hint = "give a retrained model, or leave the metric out"
                raise ConfigError(f"a retrained model for '{metric.key}'", "none", hint)

    def collect_outputs(self, model: nn.Module) -> ModelOutputs:
        """Return what a model says, without giving it a row."""
        keep = any("network" in metric.needs for metric in self.metrics)
        return collect_model_outputs(
            Predictor(model, self.logits), self.split, self.test, self.batch_size, keep_model=keep
        )

    def add_original(self, model: nn.Module, seconds: float | None = None) -> None:
        """Add the model before unlearning."""
        try:
            outputs = self.collect_outputs(model)
        except NotFiniteError as error:
            expected, hint = f"{error.expected} of the original", "check its weights and the inputs"
            raise NotFiniteError(expected, error.actual, hint) from error
        self.entries.append(ModelEntry(ORIGINAL_KEY, "Original", "original", outputs, seconds))

    def add_retrained(self, model: nn.Module, seconds: float | None = None) -> ModelOutputs:
        """Add the model that never saw the forgotten examples, and return what it says.

        The first one is the reference and has the row; further ones tell how far two such models are apart.
        """
        outputs = self.collect_outputs(model)
        self.references.append(outputs)
        if len(self.references) > 1:
            return outputs
        self.entries.append(ModelEntry(RETRAIN_KEY, "Retrain", "retrained", outputs, seconds))
        return outputs

    def add_unlearned(
        self,
        model: nn.Module | None,
        key: str = "unlearned",
        method: Method | None = None,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        peak_memory: int | None = None,
    ) -> None:
        """Add an unlearned model."""
        label = "Unlearned" if method is None else method.label or type(method).__name__
        if key in (ORIGINAL_KEY, RETRAIN_KEY):
            key, label = f"{key}_method", f"{label} (method)"
        outputs = None if model is None else self.collect_outputs(model)
        settings = {} if method is None else serialize_method(method)
        self.entries.append(ModelEntry(key, label, "method", outputs, seconds, history, peak_memory, settings))

    @property
    def outputs(self) -> dict[str, ModelOutputs]:
        """What each model says, by the key of its row, those that diverged left out."""
        return {row.key: row.outputs for row in self.entries if row.outputs is not None}

    @property
    def retrain_seconds(self) -> float | None:
        """What retraining took, if that is known."""
        return next((row.seconds for row in self.entries if row.role == "retrained"), None)

    def attach_original(self) -> dict[str, ModelOutputs]:
        """Return what each model says, by the key of its row, with the original's words beside it where they count."""
        original = (
            self.outputs.get(ORIGINAL_KEY) if any("original" in metric.needs for metric in self.metrics) else None
        )
        return {
            key: outputs if original is None else outputs.with_original(original)
            for key, outputs in self.outputs.items()
        }

    def score(self) -> list[ModelScores]:
        """Return every model with its scores beside the retrained one, where there is one."""
        judged = self.attach_original()
        return [
            self.score_entry(row, judged) for row in sorted(self.entries, key=lambda row: ROLE_ORDER.index(row.role))
        ]

    def score_entry(self, entry: ModelEntry, outputs: Mapping[str, ModelOutputs]) -> ModelScores:
        named: dict[str, Any] = {"key": entry.key, "label": entry.label, "role": entry.role, "seed": self.seed}
        if entry.outputs is None:
            return ModelScores(**named, scores={}, per_class=[None] * self.split.num_classes, settings=entry.settings)
        details: dict[str, Any] = {"seconds": entry.seconds, "history": entry.history, "settings": entry.settings}
        details |= {
            "peak_bytes": entry.peak_memory,
            "retrain_seconds": self.retrain_seconds if entry.role == "method" else None,
        }
        reference: dict[str, Any] = {"retrained": outputs.get(RETRAIN_KEY), "metrics": self.metrics}
        return ModelScores.from_outputs(outputs[entry.key], **named, **details, **reference)

    def compute_floors(self) -> dict[str, Summary]:
        """Return, by metric, what two retrained models get; nothing where there are not two."""
        original = self.outputs.get(ORIGINAL_KEY)
        return compute_noise_floors([[one.with_original(original) for one in self.references]], self.metrics)


def serialize_method(method: Method) -> dict[str, Any]:
    """Return a method's name and settings, as plain values."""
    return {"name": type(method).__name__, **method.settings()}
