"""``unlearn``: make a model forget some of its training examples."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge.api.folder import RunFolder
from expunge.batch import Examples, Predictor, Split
from expunge.data import Subset, as_examples, check_labels, root_indices
from expunge.engine import Conditions, Format, Row, checked_policy, execute
from expunge.errors import ConfigError, RequestError
from expunge.methods import Method, build_method
from expunge.surgery import Progress
from expunge.tasks.classification.check import check_model
from expunge.weights import save_weights

OnStep = Callable[[Progress], None]
DEFAULT_POLICY = "frozen"


@dataclass
class Result:
    """An unlearned model and how it came about.

    Args:
        model: The unlearned model, in evaluation mode.
        method: The method that was used.
        seconds: Wall clock of the unlearning, saliency and similar passes included.
        split: The examples of the request.
        history: One row for each update: losses, and where known cosine, multiplier and removed share.
        conditions: Seed, precision and normalisation policy.
        logits: How logits are read from the model's output.
        original: The model as it was handed in; None after ``inplace=True``.
    """

    model: nn.Module
    method: Method
    seconds: float
    split: Split
    history: list[Row]
    conditions: dict[str, Any]
    logits: Callable[[Any], Tensor] | None = field(default=None, repr=False)
    original: nn.Module | None = field(default=None, repr=False)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write the run folder: ``unlearned.safetensors``, ``history.jsonl`` and ``config.json``.

        Args:
            folder: Where; made if it is not there.
            overwrite: Replace what a finished run has left there. Default false.

        Raises:
            ConfigError: If the folder holds a finished run.
        """
        run = RunFolder(folder, overwrite=overwrite)
        save_weights(self.model, run.path / "unlearned.safetensors", overwrite=True)
        run.write_lines("history.jsonl", self.history)
        run.write_json("config.json", {"method": settings_of(self.method), "conditions": self.conditions})
        return run.path


def settings_of(method: Method) -> dict[str, Any]:
    """Return a method's name and settings, as plain values."""
    return {"name": type(method).__name__, **method.settings()}


def unlearn(
    model: nn.Module,
    *,
    forget: Any,
    retain: Any,
    holdout: Any = None,
    task: str = "classification",
    method: str | Method = "eupmu",
    logits: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
    normalisation: str | None = None,
    micro_batches: int = 1,
    precision: Format = "fp32",
    observe_every: int = 10,
    inplace: bool = False,
    on_step: OnStep | None = None,
    on_rows: Callable[[list[Row]], None] | None = None,
    **settings: Any,
) -> Result:
    """Return a model that has forgotten ``forget`` and kept what it knows of ``retain``, approximately.

    The model that is handed in stays as it is, on success and on failure, unless ``inplace=True``; even then a failure
    puts its weights back.

    Args:
        model: A trained classifier.
        forget: Examples to forget: a map-style data set of ``(input, label)``, tensors, or ``Examples``.
        retain: Training examples to keep, disjoint from ``forget``.
        holdout: Examples that the model was not trained on, for objectives that need them. Default: none.
        task: Family of the model; ``classification`` is the one there is.
        method: Name of a method (``expunge list methods``) or a ``Method``. Default ``eupmu``.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        seed: Of order, draws and dropout. Default 0.
        normalisation: ``frozen``, ``joint`` or ``separate``. Default ``frozen``, which measured best.
        micro_batches: Parts in which each half batch is processed. Default 1.
        precision: ``fp32`` (default), ``bf16`` or ``fp16``.
        observe_every: Cosine and removed share are recorded every so many updates. Default 10.
        inplace: Change the model itself. Default false: a copy.
        on_step: Called after every update with its progress.
        on_rows: Called with new rows of the history.
        **settings: Settings of the method, such as ``epochs``, ``rate`` and ``batch``.

    Raises:
        ExpungeError: If the request, the model, the data or a setting does not fit; before the first update.
        NotFiniteError: If a loss becomes NaN or infinite.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> forget, retain = TensorExamples(x[:6], y[:6]), TensorExamples(x[6:], y[6:])
        >>> result = unlearn(nn.Linear(4, 3), forget=forget, retain=retain, method="rl", epochs=1)
        >>> len(result.history)
        1
    """
    if task != "classification":
        raise ConfigError("task='classification'", f"'{task}'", "other families are not built yet")
    chosen = build_method(method, **settings) if isinstance(method, str) else method
    if settings and not isinstance(method, str):
        raise ConfigError("settings in the Method itself", "settings beside it", "pass the method by name")
    held = None if holdout is None else as_examples(holdout)
    split = checked_split(Predictor(model, logits), as_examples(forget), as_examples(retain), held)
    work = model if inplace else copy.deepcopy(model)
    history: list[Row] = []

    def keep(rows: list[Row]) -> None:
        history.extend(rows)
        if on_rows is not None:
            on_rows(rows)

    policy = checked_policy(normalisation or DEFAULT_POLICY)
    plain = {"seed": seed, "normalisation": policy, "micro_batches": micro_batches, "precision": precision}
    callbacks: dict[str, Any] = {"on_rows": keep} | ({"on_step": on_step} if on_step else {})
    conditions = Conditions(seed, policy, micro_batches, precision, observe_every, **callbacks)
    began = time.perf_counter()
    with restored_on_failure(work, active=inplace):
        execute(Predictor(work, logits), chosen.recipe(seed), split, conditions)
    seconds = time.perf_counter() - began
    return Result(work, chosen, seconds, split, history, plain, logits, None if inplace else model)


def checked_split(predict: Predictor, forget: Examples, retain: Examples, holdout: Examples | None) -> Split:
    """Return the split, after everything that can be checked without a training step has been.

    Raises:
        RequestError: If a side is empty, both share examples, or a label lies outside of the head.
        ModelError: If the model has no trainable weight or returns no logits.
    """
    for name, examples in (("forget", forget), ("retain", retain)):
        if not len(examples):
            raise RequestError(f"at least one example to {name}", "none", "check how the data set was made")
    refuse_overlap(forget, retain)
    parameter = next(predict.model.parameters(), torch.empty(0))
    batch = forget.batch(torch.arange(min(2, len(forget)))).to(parameter.device)
    classes = int(head_size(predict, batch.inputs))
    for examples in filter(None, (forget, retain, holdout)):
        check_labels(examples, classes)
    check_model(predict.model, classes, predict, batch)
    return Split(forget, retain, classes, holdout)


def refuse_overlap(forget: Examples, retain: Examples) -> None:
    """Refuse two parts of one data set that share examples.

    Raises:
        RequestError: If they do.
    """
    if origin(forget) is not origin(retain):
        return
    shared = int(torch.isin(root_indices(forget), root_indices(retain)).sum())
    if shared:
        cure = "take what is forgotten out of retain"
        raise RequestError("disjoint examples to forget and to retain", f"{shared} in both", cure)


def origin(examples: Examples) -> object:
    """Return the object that examples are finally read from: the user's data set, or the tensor of inputs."""
    root = examples.root if isinstance(examples, Subset) else examples
    return getattr(root, "dataset", getattr(root, "inputs", root))


@torch.no_grad()
def head_size(predict: Predictor, inputs: Any) -> int:
    """Return the number of logits of one example, without touching modes or buffers."""
    from expunge.evaluation.collecting import undisturbed

    with undisturbed(predict.model):
        logits = predict(inputs)
    return logits.shape[-1] if logits.ndim else 0


@contextmanager
def restored_on_failure(model: nn.Module, *, active: bool) -> Iterator[None]:
    """Put the weights, statistics and mode of a model back if the body fails."""
    if not active:
        yield
        return
    before, mode = copy.deepcopy(model.state_dict()), model.training
    try:
        yield
    except BaseException:
        model.load_state_dict(before)
        model.train(mode)
        raise
