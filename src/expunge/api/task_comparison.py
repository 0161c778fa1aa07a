"""The rows of one request as its task measures them: every model on the same examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from expunge.api.model_comparison import ORIGINAL_KEY, RETRAIN_KEY, ROLE_ORDER, serialize_method
from expunge.batch import Examples, Predictor, Split
from expunge.methods import Method
from expunge.metrics import Column, ModelOutputs, ModelScores, Summary, noise_floor
from expunge.metrics.inference import preserving_state
from expunge.metrics.table import compute_cost_scores
from expunge.tasks.task import Task


@dataclass
class TaskComparison:
    """What the original, the retrained model and the unlearned ones show, in the columns of their task.

    Args:
        task: Of the models.
        split: The examples of the request.
        test: Examples that no model was trained on.
        seed: Of the run that the models belong to. Default 0.
        logits: Reads outputs from what the models return, where they do not return them themselves.
        batch_size: Examples in one forward pass. Default 256.
    """

    task: Task
    split: Split
    test: Examples
    seed: int = 0
    logits: Callable[[Any], Tensor] | None = None
    batch_size: int = 256
    rows: list[ModelScores] = field(default_factory=list)
    references: list[Predictor] = field(default_factory=list)
    retrain_seconds: float | None = None
    outputs: Mapping[str, ModelOutputs] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[Column, ...]:
        """The columns of the task."""
        return self.task.list_columns()

    def check_measurable(self, *, original: bool, retrained: bool) -> None:
        """Do nothing: a column that needs a retrained model is absent without one."""

    def add_original(self, model: nn.Module, seconds: float | None = None) -> None:
        """Add the model before unlearning."""
        self.add_row(self.make_predictor(model), key=ORIGINAL_KEY, label="Original", role="original", seconds=seconds)

    def add_retrained(self, model: nn.Module, seconds: float | None = None) -> None:
        """Add a model that never saw the forgotten examples: the first has a row, all tell the noise floor."""
        predict = self.make_predictor(model)
        self.references.append(predict)
        if len(self.references) == 1:
            self.retrain_seconds = seconds
            self.add_row(predict, key=RETRAIN_KEY, label="Retrain", role="retrained", seconds=seconds)

    def add_unlearned(
        self,
        model: nn.Module,
        key: str = "unlearned",
        method: Method | None = None,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        peak_memory: int | None = None,
    ) -> None:
        """Add an unlearned model, with what made it where that is known."""
        label = "Unlearned" if method is None else method.label or type(method).__name__
        details: dict[str, Any] = {"history": history, "settings": {} if method is None else serialize_method(method)}
        named: dict[str, Any] = {"key": key, "label": label, "role": "method"}
        self.add_row(self.make_predictor(model), **named, seconds=seconds, peak_memory=peak_memory, **details)

    def add_row(
        self, predict: Predictor, *, seconds: float | None = None, peak_memory: int | None = None, **named: Any
    ) -> None:
        """Measure a model and add its row."""
        reference = self.references[0] if self.references and predict is not self.references[0] else None
        with preserving_state(predict.model):
            figures = self.task.measure(predict, self.split, self.test, reference, self.batch_size)
        retrain_seconds = self.retrain_seconds if named["role"] == "method" else None
        scores = {**figures.scores, **compute_cost_scores(seconds, peak_memory, retrain_seconds)}
        self.rows.append(ModelScores(seed=self.seed, scores=scores, evidence=figures.evidence, **named))

    def compute_floors(self) -> dict[str, Summary]:
        """Return what two retrained models get where a column compares with one; nothing without two."""
        if len(self.references) < 2:
            return {}

        def compare(one: Predictor, other: Predictor | None) -> Mapping[str, float | None]:
            return self.task.measure(one, self.split, self.test, other, self.batch_size).scores

        compared = {(one, other): compare(one, other) for one, other in permutations(self.references, 2)}
        keys = next(iter(compared.values())).keys() - compare(self.references[0], None).keys()
        floors = {key: noise_floor([self.references], lambda *pair, key=key: compared[pair][key]) for key in keys}
        return {key: floor for key, floor in floors.items() if floor is not None}

    def make_predictor(self, model: nn.Module) -> Predictor:
        """Return a model as its task reads it."""
        return self.task.make_predictor(model, self.logits)

    def score(self) -> list[ModelScores]:
        """Return the rows: the original's, the retrained one's, the methods'."""
        return sorted(self.rows, key=lambda row: ROLE_ORDER.index(row.role))
