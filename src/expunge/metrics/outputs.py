"""What a model said about a split: logits and labels of the forget, retain and held-out examples; and whom to ask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, Split
from expunge.errors import ConfigError, DataError
from expunge.metrics.accuracy import accuracy

SplitPart = Literal["forget", "retain", "test"]
SPLIT_PARTS: tuple[SplitPart, ...] = get_args(SplitPart)
Value = TypeVar("Value")


def check_choice(value: str, choices: Collection[str]) -> None:
    """Refuse a word that is none of the choices."""
    if value not in choices:
        raise ConfigError(f"one of {', '.join(choices)}", f"'{value}'", "choose one of them")


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits of some examples with their labels.

    Args:
        logits: ``(n, classes)``, float32 on the CPU.
        targets: Labels ``(n,)``, int64 on the CPU.

    Raises:
        DataError: If there is not one label per row of logits.

    Examples:
        >>> outputs = Outputs(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> len(outputs), len(outputs.only(torch.tensor([1])))
        (3, 2)
    """

    logits: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or self.targets.shape != self.logits.shape[:1]:
            actual = f"logits {tuple(self.logits.shape)} with labels {tuple(self.targets.shape)}"
            raise DataError("logits (n, classes) with labels (n,)", actual, "pass one row and one label per example")

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.targets)

    @property
    def accuracy(self) -> float | None:
        """Share of the examples that are judged right, in percent; None if there are none."""
        return accuracy(self.logits, self.targets)

    def only(self, classes: Tensor) -> Outputs:
        """Return the examples whose label is one of ``classes``, ``(k,)`` int64."""
        return self.at(torch.isin(self.targets, classes))

    def without(self, classes: Tensor) -> Outputs:
        """Return the examples whose label is none of ``classes``, ``(k,)`` int64."""
        return self.at(~torch.isin(self.targets, classes))

    def at(self, mask: Tensor) -> Outputs:
        """Return the examples where the boolean ``mask``, ``(n,)``, is true, or those at positions ``(k,)`` int64."""
        return Outputs(self.logits[mask], self.targets[mask])


@dataclass(frozen=True, eq=False)
class ModelUnderTest:
    """A model that can still be asked, for metrics that logits do not answer; none of them changes it.

    Args:
        predict: The model with the way to read its logits.
        split: What was forgotten and what was kept; with the test transform.
        test: Examples that no model was trained on, of all classes.
        batch_size: Examples in one forward pass.
    """

    predict: Predictor
    split: Split
    test: Examples
    batch_size: int = 256

    def examples(self, part: SplitPart) -> Examples:
        """Return the examples of a part; the test examples are those of all classes."""
        return {"forget": self.split.forget, "retain": self.split.retain, "test": self.test}[part]


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """Outputs of one model on the three parts of a split.

    A class is *forgotten* if the forget set has examples of it and the retain set has none.

    Args:
        forget: On the examples to forget.
        retain: On the examples to keep.
        held_out: On examples that no model was trained on, of all classes.
        model_under_test: The model itself, for the metrics that have to ask it more. Default none.
        original: Outputs of the model before unlearning, for the metrics that need them. Default none.

    Raises:
        DataError: If forget or retain set is empty, or the heads differ in size.

    Examples:
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part.only(torch.tensor([1])), part.only(torch.tensor([0])), part)
        >>> outputs.forgotten_classes.tolist()
        [1]
        >>> outputs.test.targets.tolist(), outputs.test_same_classes.targets.tolist()
        ([0], [1])
    """

    forget: Outputs
    retain: Outputs
    held_out: Outputs
    model_under_test: ModelUnderTest | None = None
    original: ModelOutputs | None = None
    cache: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = {"forget": self.forget, "retain": self.retain, "held-out": self.held_out}
        for name in ("forget", "retain"):
            if not len(parts[name]):
                raise DataError(f"at least one {name} example", "none", "evaluate the split that was unlearned")
        heads = {part.logits.shape[1] for part in parts.values()}
        if len(heads) > 1:
            actual = f"{len(heads)} different numbers"
            raise DataError("the same number of logits everywhere", actual, "collect all parts with one model")

    def part(self, name: SplitPart) -> Outputs:
        """Return the outputs on a part; the test examples are those without the forgotten classes.

        Raises:
            ConfigError: If there is no such part.
        """
        parts = {"forget": self.forget, "retain": self.retain, "test": self.test}
        check_choice(name, parts)
        return parts[name]

    @property
    def parts(self) -> tuple[Outputs, Outputs, Outputs]:
        """Forget, retain and held-out outputs."""
        return self.forget, self.retain, self.held_out

    def with_original(self, original: ModelOutputs | None) -> ModelOutputs:
        """Return the same outputs with those of the model before unlearning beside them."""
        return replace(self, original=original)

    def get_cached(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return what was made under a key before, and make it where it was not."""
        if key not in self.cache:
            self.cache[key] = compute()
        value: Value = self.cache[key]
        return value

    @cached_property
    def forgotten_classes(self) -> Tensor:
        """The classes of which nothing is retained, ``(k,)`` int64; none for a request of single examples."""
        forget_classes: Tensor = torch.unique(self.forget.targets)
        return forget_classes[~torch.isin(forget_classes, self.retain.targets)]

    @cached_property
    def test(self) -> Outputs:
        """The held-out examples without the forgotten classes."""
        return self.held_out.without(self.forgotten_classes)

    @cached_property
    def test_same_classes(self) -> Outputs:
        """The held-out examples of the classes of the forget set: against others, class is measured, not membership."""
        return self.held_out.only(torch.unique(self.forget.targets))
