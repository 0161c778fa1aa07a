"""The rows of one request at one seed: every model is asked about the same examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.errors import ConfigError, NotFiniteError
from expunge.evaluation import DEFAULT, Metric, ModelOutputs, Trial, as_metrics, gap_floors, outputs_of
from expunge.methods import Method
from expunge.metrics import Summary

Role = Literal["original", "retrained", "method"]
ORIGINAL, RETRAIN = "original", "retrain"
"""Keys of the rows that are no method's."""
ORDER: tuple[Role, ...] = ("original", "retrained", "method")


@dataclass(frozen=True)
class Row:
    """A model's place in the table, before it is scored."""

    key: str
    label: str
    role: Role
    outputs: ModelOutputs | None
    seconds: float | None = None
    history: Sequence[Mapping[str, Any]] = ()
    peak: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class Rows:
    """What the original, the retrained model and the unlearned ones say about the examples of one request.

    They may be added in any order; the trials come as original, retrained, methods.

    Args:
        split: The examples of the request.
        test: Examples of all classes that no model was trained on.
        seed: Of the run that the models belong to. Default 0.
        logits: Reads logits from what the models return, where they do not return them themselves.
        batch_size: Examples in one forward pass. Default 256.
        also: Metrics beside those usually measured, by name or made; costly ones among them keep the models. Default
            none.

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
        also: Iterable[Metric | str] = (),
    ) -> None:
        self.split, self.test, self.seed, self.logits, self.batch_size = split, test, seed, logits, batch_size
        self.rows: list[Row] = []
        self.references: list[ModelOutputs] = []
        self.also = as_metrics(also)
        usual = {metric.key for metric in DEFAULT}
        self.metrics = (*DEFAULT, *(metric for metric in self.also if metric.key not in usual))

    def refuse_unmeasurable(self, *, original: bool, retrained: bool) -> None:
        """Refuse a metric that was asked for and needs a model that will not be there.

        Args:
            original: Whether the model before unlearning will be there.
            retrained: Whether a retrained one will.

        Raises:
            ConfigError: If one does.
        """
        for metric in self.also:
            if metric.needs_original and not original:
                cure = "pass original=, or leave the metric out"
                raise ConfigError(f"the model before unlearning for '{metric.key}'", "none", cure)
            if metric.needs_retrained and not retrained:
                cure = "give a retrained model, or leave the metric out"
                raise ConfigError(f"a retrained model for '{metric.key}'", "none", cure)

    def ask(self, model: nn.Module) -> ModelOutputs:
        """Return what a model says, without giving it a row."""
        keep = any(metric.needs_network for metric in self.metrics)
        return outputs_of(Predictor(model, self.logits), self.split, self.test, self.batch_size, keep_model=keep)

    def original(self, model: nn.Module, seconds: float | None = None) -> None:
        """Add the model before unlearning.

        Raises:
            NotFiniteError: If its logits are not finite.
        """
        try:
            outputs = self.ask(model)
        except NotFiniteError as error:
            expected, cure = f"{error.expected} of the original", "check its weights and the inputs"
            raise NotFiniteError(expected, error.found, cure) from error
        self.rows.append(Row(ORIGINAL, "Original", "original", outputs, seconds))

    def retrained(self, model: nn.Module, seconds: float | None = None) -> ModelOutputs:
        """Add the model that never saw the forgotten examples, and return what it says.

        The first one is the reference and has the row; further ones tell how far two such models are apart.
        """
        outputs = self.ask(model)
        self.references.append(outputs)
        if len(self.references) > 1:
            return outputs
        self.rows.append(Row(RETRAIN, "Retrain", "retrained", outputs, seconds))
        return outputs

    def unlearned(
        self,
        model: nn.Module | None,
        key: str = "unlearned",
        method: Method | None = None,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        peak: int | None = None,
    ) -> None:
        """Add an unlearned model.

        Args:
            model: The model; None for one that diverged, which keeps a row without figures.
            key: Name of the row. Default ``unlearned``.
            method: What made it, if that is known.
            seconds: What that took.
            history: What was recorded of it.
            peak: Most bytes of memory that took, if that is known.
        """
        label = "Unlearned" if method is None else method.label or type(method).__name__
        if key in (ORIGINAL, RETRAIN):
            key, label = f"{key}_method", f"{label} (method)"
        outputs = None if model is None else self.ask(model)
        settings = {} if method is None else settings_of(method)
        self.rows.append(Row(key, label, "method", outputs, seconds, history, peak, settings))

    @property
    def outputs(self) -> dict[str, ModelOutputs]:
        """What each model says, by the key of its row, those that diverged left out."""
        return {row.key: row.outputs for row in self.rows if row.outputs is not None}

    @property
    def retrain_seconds(self) -> float | None:
        """What retraining took, if that is known."""
        return next((row.seconds for row in self.rows if row.role == "retrained"), None)

    def judged(self) -> dict[str, ModelOutputs]:
        """Return what each model says, by the key of its row, with the original's words beside it where they count."""
        original = self.outputs.get(ORIGINAL) if any(metric.needs_original for metric in self.metrics) else None
        return {key: outputs if original is None else outputs.beside(original) for key, outputs in self.outputs.items()}

    def trials(self) -> list[Trial]:
        """Return every model with its scores beside the retrained one, where there is one."""
        judged = self.judged()
        return [self.trial(row, judged) for row in sorted(self.rows, key=lambda row: ORDER.index(row.role))]

    def trial(self, row: Row, judged: Mapping[str, ModelOutputs]) -> Trial:
        """Return one model with its scores."""
        named: dict[str, Any] = {"key": row.key, "label": row.label, "role": row.role, "seed": self.seed}
        if row.outputs is None:
            return Trial(**named, scores={}, per_class=[None] * self.split.classes, settings=row.settings)
        made: dict[str, Any] = {"seconds": row.seconds, "history": row.history, "settings": row.settings}
        made |= {"peak": row.peak, "retrain_seconds": self.retrain_seconds if row.role == "method" else None}
        beside: dict[str, Any] = {"retrained": judged.get(RETRAIN), "metrics": self.metrics}
        return Trial.of(judged[row.key], **named, **made, **beside)

    def floors(self) -> dict[str, Summary]:
        """Return, by metric, what two retrained models get; nothing where there are not two."""
        original = self.outputs.get(ORIGINAL)
        return gap_floors([[one.beside(original) for one in self.references]], self.metrics)


def settings_of(method: Method) -> dict[str, Any]:
    """Return a method's name and settings, as plain values."""
    return {"name": type(method).__name__, **method.settings()}
