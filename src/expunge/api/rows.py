"""The rows of one request at one seed: every model is asked about the same examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.errors import NotFiniteError
from expunge.evaluation import ModelOutputs, Trial, outputs_of
from expunge.methods import Method

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
    """

    def __init__(
        self,
        split: Split,
        test: Examples,
        seed: int = 0,
        logits: Callable[[Any], Tensor] | None = None,
        batch_size: int = 256,
    ) -> None:
        self.split, self.test, self.seed, self.logits, self.batch_size = split, test, seed, logits, batch_size
        self.rows: list[Row] = []

    def ask(self, model: nn.Module) -> ModelOutputs:
        """Return what a model says, without giving it a row."""
        return outputs_of(Predictor(model, self.logits), self.split, self.test, self.batch_size)

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
        """Add the model that never saw the forgotten examples, and return what it says."""
        outputs = self.ask(model)
        self.rows.append(Row(RETRAIN, "Retrain", "retrained", outputs, seconds))
        return outputs

    def unlearned(
        self,
        model: nn.Module | None,
        key: str = "unlearned",
        method: Method | None = None,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Add an unlearned model.

        Args:
            model: The model; None for one that diverged, which keeps a row without figures.
            key: Name of the row. Default ``unlearned``.
            method: What made it, if that is known.
            seconds: What that took.
            history: What was recorded of it.
        """
        label = "Unlearned" if method is None else method.label or type(method).__name__
        if key in (ORIGINAL, RETRAIN):
            key, label = f"{key}_method", f"{label} (method)"
        outputs = None if model is None else self.ask(model)
        settings = {} if method is None else settings_of(method)
        self.rows.append(Row(key, label, "method", outputs, seconds, history, settings))

    @property
    def outputs(self) -> dict[str, ModelOutputs]:
        """What each model says, by the key of its row, those that diverged left out."""
        return {row.key: row.outputs for row in self.rows if row.outputs is not None}

    def trials(self) -> list[Trial]:
        """Return every model with its scores beside the retrained one, where there is one."""
        return [self.trial(row) for row in sorted(self.rows, key=lambda row: ORDER.index(row.role))]

    def trial(self, row: Row) -> Trial:
        """Return one model with its scores."""
        named: dict[str, Any] = {"key": row.key, "label": row.label, "role": row.role, "seed": self.seed}
        if row.outputs is None:
            return Trial(**named, scores={}, per_class=[None] * self.split.classes, settings=row.settings)
        made: dict[str, Any] = {"seconds": row.seconds, "history": row.history, "settings": row.settings}
        return Trial.of(row.outputs, **named, **made, retrained=self.outputs.get(RETRAIN))


def settings_of(method: Method) -> dict[str, Any]:
    """Return a method's name and settings, as plain values."""
    return {"name": type(method).__name__, **method.settings()}
