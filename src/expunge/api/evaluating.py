"""``evaluate``: what a model shows on the forgotten, the retained and the test examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.documents import document
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.unlearning import Result, checked_split, settings_of
from expunge.batch import Predictor
from expunge.data import as_examples
from expunge.evaluation import ModelOutputs, Trial, outputs_of
from expunge.report import markdown_table, write_report

NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model, beside those of the original and the retrained one where they were given.

    Args:
        document: The result document, what ``result.json`` holds.
    """

    document: dict[str, Any]

    @property
    def scores(self) -> dict[str, float | None]:
        """The figures by metric: ``ua``, ``ra``, ``ta``, ``mia`` …; those that need a reference only with one."""
        row = self.document["requests"][0]["rows"][-1]
        return {key: value["mean"] for key, value in row["scores"].items()}

    def markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(self.document["requests"][0])

    def report(self, path: Path | str) -> Path:
        """Write one self-contained HTML file."""
        return write_report(self.document, Path(path))


def evaluate(
    model: nn.Module | Result,
    *,
    forget: Any = None,
    retain: Any = None,
    test: Any,
    original: nn.Module | None = None,
    retrained: nn.Module | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    question: str = "Forget the given examples",
    class_names: Sequence[str] | None = None,
    show_examples: bool = False,
    batch_size: int = 256,
) -> Evaluation:
    """Measure how well a model has forgotten, and what it still can do.

    Args:
        model: The unlearned model, or the result of ``unlearn``, which brings the split and the original along.
        forget: The forgotten examples, with the test transform. Not needed with a result.
        retain: The retained examples, with the test transform. Not needed with a result.
        test: Examples of all classes that no model was trained on.
        original: The model before unlearning.
        retrained: A model trained without the forgotten examples. Without it, figures that need it are absent.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        question: What was asked, for the report.
        class_names: Name of each class. Default: their numbers.
        show_examples: Put pictures of forgotten examples into the report. Default false.
        batch_size: Examples in one forward pass. Default 256.

    Raises:
        ExpungeError: If models and data do not fit together.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> parts = [TensorExamples(x[i::3], y[i::3].roll(1)) for i in range(3)]
        >>> figures = evaluate(nn.Linear(4, 3), forget=parts[0], retain=parts[1], test=parts[2])
        >>> sorted(figures.scores)[:2]
        ['auc', 'mia']
    """
    result = model if isinstance(model, Result) else None
    network = model.model if isinstance(model, Result) else model
    predict = Predictor(network, logits or (result.logits if result else None))
    sides = (result.split.forget, result.split.retain) if result and forget is None else (forget, retain)
    split = checked_split(predict, as_examples(sides[0]), as_examples(sides[1]), None)
    tested = as_examples(test)
    models = {
        "original": original or (result.original if result else None),
        "retrain": retrained,
        "unlearned": network,
    }
    outputs = {key: outputs_of(predict.on(m), split, tested, batch_size) for key, m in models.items() if m is not None}
    names = class_names or [str(number) for number in range(split.classes)]
    pictures = contact_sheet(split.forget, outputs, names) if show_examples else []
    part = request_part(
        Asked("request", question, "indices", names), split, tested, trials_of(outputs, result), None, pictures
    )
    disclosure = "The settings are those that the caller chose."
    return Evaluation(
        document("run", question, "expunge.evaluate", disclosure, [part], ["The caller's data sets and original."])
    )


def trials_of(outputs: dict[str, ModelOutputs], result: Result | None) -> list[Trial]:
    """Return the rows of one evaluation: original and retrained where they are, the model last."""
    labels = {"original": "Original", "retrain": "Retrain", "unlearned": "Unlearned"}
    if result is not None:
        labels["unlearned"] = type(result.method).label or type(result.method).__name__
    roles = {"original": "original", "retrain": "retrained", "unlearned": "method"}
    made = (
        {"seconds": result.seconds, "history": result.history, "settings": settings_of(result.method)} if result else {}
    )
    return [
        Trial.of(
            seen,
            key=key,
            label=labels[key],
            role=roles[key],  # type: ignore[arg-type]
            seed=0,
            retrained=outputs.get("retrain"),
            **(made if key == "unlearned" else NOTHING),
        )
        for key, seen in outputs.items()
    ]
