"""``evaluate``: what a model shows on the forgotten, the retained and the test examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.api.budgeting import add_budget_section
from expunge.api.coincidence import describe_repetition
from expunge.api.disclosure import describe_call_settings
from expunge.api.documents import REPORT_SHOWS_EXAMPLES, build_document
from expunge.api.earlier_requests import (
    NO_EXCLUSIONS,
    EarlierRequest,
    Exclusions,
    exclude_classes,
    select_classes,
)
from expunge.api.model_comparison import ModelComparison
from expunge.api.relapse import build_relapse_section, make_correctness_finder
from expunge.api.request_section import RequestInfo, build_contact_sheet, build_request_section
from expunge.api.result import Result, get_task
from expunge.api.sanity import build_fit_section
from expunge.api.steering.budget_validation import make_holdout_split
from expunge.api.task_comparison import TaskComparison
from expunge.api.validation import check_disjoint, check_input_types, check_unique, validate_split
from expunge.batch import Examples, Split, device_of
from expunge.data import check_labels, device_cache, hash_cache
from expunge.errors import ConfigError, RequestError
from expunge.metrics import Metric
from expunge.report import markdown_table, render_cell, save_report, summarize
from expunge.tasks.task import Task
from expunge.type_checks import check_argument_types


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

    def __str__(self) -> str:
        """Return request, verdict, forgetting, cost and certainty, a line each."""
        return summarize(self.document)

    def _repr_html_(self) -> str:
        return render_cell(self.document)

    def markdown(self) -> str:
        """Return the table in Markdown."""
        return markdown_table(self.document["requests"][0])

    @check_argument_types
    def report(self, path: Path | str, form: str | None = None) -> Path:
        """Write the report: by the suffix of ``path`` one self-contained HTML file, Markdown, LaTeX or CSV.

        Args:
            path: The file, or the folder for figures.
            form: ``html``, ``md``, ``tex``, ``csv``, ``card`` (a model card), ``svg``, ``png`` or ``pdf`` (the
                figures, in a folder). Default: what the suffix says.

        Raises:
            ConfigError: If there is no such form, or the suffix says none.
        """
        return save_report(self.document, path, form)


@check_argument_types
@hash_cache()
def evaluate(
    model: nn.Module | Result,
    *,
    forget: Any = None,
    retain: Any = None,
    test: Any,
    task: str = "classification",
    original: nn.Module | None = None,
    retrained: nn.Module | Result | Sequence[nn.Module | Result] | None = None,
    extra_metrics: Iterable[Metric | str] = (),
    logits: Callable[[Any], Tensor] | None = None,
    description: str = "Forget the given examples",
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
        task: Family of the model, whose columns are measured. Default ``classification``; a result brings its own.
        original: The model before unlearning.
        retrained: A model trained without the forgotten examples, or the result of ``unlearn(…, method="retrain")``,
            whose seconds say how many times faster the method was. Without it, figures that need it are absent. Of
            several, the first is the reference, and all tell how far two of them are apart, the noise floor.
        extra_metrics: Metrics beside those usually measured, by name or made, costly ones such as ``cka`` and
            ``relearn`` among them; `expunge list metrics` shows all. Default none.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        description: What was asked, for the report.
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
    family = get_task(task if result is None else result.task)
    network = model.model if isinstance(model, Result) else model
    logits = logits or (result.logits if result else None)
    split, tested = resolve_split(family, network, logits, result, forget, retain, test)
    check_labels(tested, split.num_classes)
    tested, left_out = exclude_forgotten_classes(tested, result)
    check_input_types(split.forget, tested)
    repetitive = check_unseen(tested, split, None if result is None else result.split.holdout, left_out)
    names = family.name_classes(class_names, split.num_classes)
    reading: dict[str, Any] = {"logits": logits, "batch_size": batch_size}
    rows: ModelComparison | TaskComparison
    if family.is_classifier:
        rows = ModelComparison(split, tested, **reading, extra_metrics=extra_metrics)
    else:
        rows = TaskComparison(family, split, tested, **reading)
        check_task_options(family, extra_metrics, show_examples)
    before = original or (result.original if result else None)
    given = [retrained] if isinstance(retrained, nn.Module | Result) else list(retrained or ())
    references = [one.model if isinstance(one, Result) else one for one in given]
    retrain_seconds = [one.seconds if isinstance(one, Result) else None for one in given]
    rows.check_measurable(original=before is not None, retrained=bool(references))
    with device_cache(device_of(network), split.forget, split.retain, tested):
        if before is not None:
            rows.add_original(before)
        for reference, seconds in zip(references, retrain_seconds, strict=True):
            rows.add_retrained(reference, seconds)
        if result is None:
            rows.add_unlearned(network)
        else:
            rows.add_unlearned(network, "unlearned", result.method, result.seconds, result.history, result.peak_memory)
    pictures = build_contact_sheet(split.forget, rows.outputs, names) if show_examples else []
    info = RequestInfo("request", description, "indices", names)
    measured: dict[str, Any] = {"metrics": rows.metrics, "floors": rows.compute_floors()}
    part = build_request_section(info, split, tested, rows.score(), None, pictures, **measured)
    part = add_result_budget(part, result)
    if left_out:
        models = {"original": before, "method": network, "retrained": references[0] if references else None}
        relapse_models = {role: one for role, one in models.items() if one is not None}
        find_correct = make_correctness_finder(logits, batch_size) if family.is_classifier else find_nothing
        part |= build_relapse_section(left_out, relapse_models, find_correct)
    part |= {} if result is None else build_fit_section(result.fit)
    still_contains_data = ["The caller's data sets and original.", *([REPORT_SHOWS_EXAMPLES] if pictures else [])]
    disclosure = describe_call_settings(result)
    content = build_document(
        "run", description, "expunge.evaluate", disclosure, [part], still_contains_data, str(device_of(network))
    )
    content["limitations"] += [describe_repetition(split.retain)] if repetitive or split.caveat else []
    return Evaluation(content)


def exclude_forgotten_classes(tested: Examples, result: Result | None) -> tuple[Examples, Exclusions]:
    """Return the test examples without classes that earlier requests forgot, and what the result's request left out.

    A class that comes back would count as a gain in accuracy.
    """
    if result is None:
        return tested, NO_EXCLUSIONS
    remaining, count = exclude_classes(tested, result.split.forgotten_classes, "test")
    earlier = []
    for one in result.left_out.earlier:
        class_examples = select_classes(tested, one.classes)
        earlier.append(replace(one, held_out=(*one.held_out, *([class_examples] if len(class_examples) else []))))
    return remaining, replace(result.left_out, earlier=tuple(earlier), test=count)


def check_unseen(tested: Examples, split: Split, holdout: Examples | None, left_out: Exclusions) -> bool:
    """Refuse test examples that repeat, that the model was trained on, or that steered its unlearning."""
    sides = (split.retain, split.forget)
    parts = [("forget", split.forget), ("retain", split.retain)]
    parts += [] if holdout is None else [("hold out", holdout)]
    parts += [("forget before", one.train) for one in left_out.earlier if one.train is not None]
    coincide = [check_disjoint(name, part, "test", tested, sides) for name, part in parts]
    return any([*coincide, check_unique("test", tested, sides)])


def add_result_budget(part: dict[str, Any], result: Result | None) -> dict[str, Any]:
    """Return a request's part with that about its budget; unchanged without one."""
    if result is None or result.budget is None:
        return part
    holdout_split = make_holdout_split(result.budget.budget, result.split, result.run_config["seed"])
    return add_budget_section(part, result.budget, holdout_split, result.search_history)


def resolve_split(
    family: Task,
    network: nn.Module,
    logits: Callable[[Any], Tensor] | None,
    result: Result | None,
    forget: Any,
    retain: Any,
    test: Any,
) -> tuple[Split, Examples]:
    """Return the split to measure on, the one that is given or that of the result, and the test examples."""
    if (forget is None) != (retain is None) or (forget is None and result is None):
        actual = {(True, False): "retain alone", (False, True): "forget alone"}.get((forget is None, retain is None))
        hint = "pass both, or the result of unlearn in place of the model"
        raise RequestError("forget and retain", actual or "neither", hint)
    if result is not None and forget is None:
        forget, retain = result.split.forget, result.split.retain
    sides = family.prepare_examples(*(family.read_examples(part) for part in (forget, retain, test)))
    predict = family.make_predictor(network, logits)
    split = validate_split(predict, *sides[:2], trainable=False, count_classes=family.count_classes)
    return split, sides[2] if sides[2] is not None else family.read_examples(test)


def check_task_options(family: Task, extra_metrics: Iterable[Metric | str], show_examples: bool) -> None:
    """Refuse what is for classifiers alone."""
    for name, chosen in {"extra_metrics": bool(list(extra_metrics)), "show_examples": show_examples}.items():
        if chosen:
            raise ConfigError(f"{name} for a classifier", f"{name} beside task='{family.name}'", "leave it out")


def find_nothing(model: Any, one: EarlierRequest, part: str) -> None:
    """Return None: without right answers the relapse of an earlier request is not measured, and the report says so."""
