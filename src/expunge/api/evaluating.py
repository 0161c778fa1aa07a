"""``evaluate``: what a model shows on the forgotten, the retained and the test examples."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.admission import check_kinds, checked_split, refuse_overlap, refuse_repeats
from expunge.api.budgeting import with_budget
from expunge.api.chain import NOTHING_LEFT_OUT, LeftOut, of_classes, without_classes
from expunge.api.coincidence import repetition_sentence
from expunge.api.disclosing import callers_disclosure
from expunge.api.documents import SHOWN, document
from expunge.api.relapse import find_correct_predictions, relapse_part
from expunge.api.requests import Asked, contact_sheet, request_part
from expunge.api.result import Result
from expunge.api.rows import Rows
from expunge.api.sanity import fit_part
from expunge.api.steering.wish import halves_of
from expunge.batch import Examples, Predictor, Split
from expunge.data import as_examples, check_labels, kept_on, remembered_hashes
from expunge.errors import ConfigError, RequestError
from expunge.evaluation import Metric
from expunge.evaluation.collecting import home
from expunge.kinds import kinds_checked
from expunge.report import markdown_table, save_report


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

    @property
    def verdict(self) -> str | None:
        """Whether the forgotten examples can be told from held-out data.

        ``not distinguishable`` and ``still distinguishable`` are shown by a test on the test examples; ``undecided`` is
        neither, for lack of examples. None where no forgotten example has test examples of its class.
        """
        verdict: str | None = self.document["requests"][0].get("verdict")
        return verdict

    @property
    def sentence(self) -> str:
        """The verdict with its figures, and how many examples would decide where it is undecided; empty without one."""
        evidence = self.document["requests"][0]["rows"][-1].get("evidence", [])
        return str(evidence[0]["held_out"]["sentence"]) if evidence and "held_out" in evidence[0] else ""

    def markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(self.document["requests"][0])

    @kinds_checked
    def report(self, path: Path | str, form: str | None = None) -> Path:
        """Write the report: by the suffix of ``path`` one self-contained HTML file, Markdown, LaTeX or CSV.

        Args:
            path: The file, or the folder for figures.
            form: ``html``, ``md``, ``tex``, ``csv``, ``card`` (a model card), ``svg`` or ``png`` (the figures, in a
                folder). Default: what the suffix says.

        Raises:
            ConfigError: If there is no such form, or the suffix says none.
        """
        return save_report(self.document, path, form)


@kinds_checked
@remembered_hashes()
def evaluate(
    model: nn.Module | Result,
    *,
    forget: Any = None,
    retain: Any = None,
    test: Any,
    original: nn.Module | None = None,
    retrained: nn.Module | Sequence[nn.Module] | None = None,
    retrain_seconds: float | None = None,
    also: Iterable[Metric | str] = (),
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
        retrained: A model trained without the forgotten examples. Without it, figures that need it are absent. Of
            several, the first is the reference, and all tell how far two of them are apart, the noise floor.
        retrain_seconds: What retraining took, to state how many times faster the method was. Default unknown.
        also: Metrics beside those usually measured, by name or made, costly ones such as ``cka`` and
            ``relearn`` among them; `expunge list metrics` shows all. Default none.
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
        >>> parts = [TensorExamples(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)]
        >>> figures = evaluate(nn.Linear(4, 3), forget=parts[0], retain=parts[1], test=parts[2])
        >>> sorted(figures.scores)[:2]
        ['auc', 'mia']
    """
    result = model if isinstance(model, Result) else None
    network = model.model if isinstance(model, Result) else model
    predict = Predictor(network, logits or (result.logits if result else None))
    split = asked_split(predict, result, forget, retain)
    tested = as_examples(test)
    check_labels(tested, split.classes)
    tested, left_out = without_gone(tested, result)
    check_kinds(split.forget, tested)
    repetitive = check_unseen(tested, split, None if result is None else result.split.holdout, left_out)
    names = checked_names(class_names, split.classes)
    rows = Rows(split, tested, logits=predict.logits, batch_size=batch_size, also=also)
    before = original or (result.original if result else None)
    references = [retrained] if isinstance(retrained, nn.Module) else list(retrained or ())
    rows.refuse_unmeasurable(original=before is not None, retrained=bool(references))
    with kept_on(home(network), split.forget, split.retain, tested):
        if before is not None:
            rows.original(before)
        for reference in references:
            rows.retrained(reference, retrain_seconds)
        if result is None:
            rows.unlearned(network)
        else:
            rows.unlearned(network, "unlearned", result.method, result.seconds, result.history, result.peak)
    pictures = contact_sheet(split.forget, rows.outputs, names) if show_examples else []
    asked = Asked("request", question, "indices", names)
    measured: dict[str, Any] = {"metrics": rows.metrics, "floors": rows.floors()}
    part = request_part(asked, split, tested, rows.trials(), None, pictures, **measured)
    part = with_budget_of(part, result)
    if left_out:
        models = {"original": before, "method": network, "retrained": references[0] if references else None}
        asked_again = {role: one for role, one in models.items() if one is not None}
        part |= relapse_part(left_out, asked_again, find_correct_predictions(predict.logits, batch_size))
    part |= {} if result is None else fit_part(result.fit)
    held = ["The caller's data sets and original.", *([SHOWN] if pictures else [])]
    disclosure = callers_disclosure(result)
    made = document("run", question, "expunge.evaluate", disclosure, [part], held, str(home(network)))
    made["caveats"] += [repetition_sentence(split.retain)] if repetitive or split.caveat else []
    return Evaluation(made)


def without_gone(tested: Examples, result: Result | None) -> tuple[Examples, LeftOut]:
    """Return the test examples without classes that earlier requests forgot, and what the result's request left out.

    A class that comes back would count as a gain in accuracy.

    Args:
        tested: The test examples.
        result: The result that is measured; None where there is none.

    Raises:
        RequestError: If none is left.
    """
    if result is None:
        return tested, NOTHING_LEFT_OUT
    kept, count = without_classes(tested, result.split.gone, "test")
    earlier = []
    for one in result.left_out.earlier:
        own = of_classes(tested, one.classes)
        earlier.append(replace(one, held_out=(*one.held_out, *([own] if len(own) else []))))
    return kept, replace(result.left_out, earlier=tuple(earlier), test=count)


def check_unseen(tested: Examples, split: Split, holdout: Examples | None, left_out: LeftOut) -> bool:
    """Refuse test examples that repeat, that the model was trained on, or that steered its unlearning.

    Args:
        tested: The test examples.
        split: What the model was trained on.
        holdout: What steered; None where nothing did.
        left_out: What it was trained on before earlier requests forgot it.

    Returns:
        Whether some hold the same as others because the data repeat themselves.

    Raises:
        RequestError: If there are some.
    """
    sides = (split.retain, split.forget)
    parts = [("forget", split.forget), ("retain", split.retain)]
    parts += [] if holdout is None else [("hold out", holdout)]
    parts += [("forget before", one.train) for one in left_out.earlier if one.train is not None]
    coincide = [refuse_overlap(name, part, "test", tested, sides) for name, part in parts]
    return any([*coincide, refuse_repeats("test", tested, sides)])


def with_budget_of(part: dict[str, Any], result: Result | None) -> dict[str, Any]:
    """Return a request's part with that about its budget; unchanged without one."""
    if result is None or result.budget is None:
        return part
    halves = halves_of(result.budget.asked, result.split, result.conditions["seed"])
    return with_budget(part, result.budget, halves, result.search)


def asked_split(predict: Predictor, result: Result | None, forget: Any, retain: Any) -> Split:
    """Return the split to measure on: the one that is given, or that of the result.

    Raises:
        RequestError: If only one side is given, or none and there is no result.
    """
    if (forget is None) != (retain is None) or (forget is None and result is None):
        found = {(True, False): "retain alone", (False, True): "forget alone"}.get((forget is None, retain is None))
        cure = "pass both, or the result of unlearn in place of the model"
        raise RequestError("forget and retain", found or "neither", cure)
    if result is not None and forget is None:
        forget, retain = result.split.forget, result.split.retain
    return checked_split(predict, as_examples(forget), as_examples(retain), trainable=False)


def checked_names(names: Sequence[str] | None, classes: int) -> Sequence[str]:
    """Return the name of every class, its number by default.

    Raises:
        ConfigError: If there is not one name for each class.
    """
    if names is None:
        return [str(number) for number in range(classes)]
    if isinstance(names, str) or not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise ConfigError("class names as a list of texts", type(names).__name__, "give one for each logit, in order")
    if len(names) != classes:
        raise ConfigError(f"{classes} class names", f"{len(names)}", "give one for each logit, in order")
    return list(names)
