"""The contract of a metric: it knows its name, unit, direction and traps, and computes one number from outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar, final

import torch

from expunge.errors import ConfigError, DataError
from expunge.evaluation.outputs import ModelOutputs, Outputs
from expunge.metrics.column import Column, Direction
from expunge.registry import snake_case
from expunge.type_checks import enforce_constructor_types


class MetricBase(ABC):
    """Something that is measured, whatever it is computed from: it knows its name, unit, direction and target.

    A subclass states the class attributes. Instances are values: two of one class with the same arguments are equal.

    Attributes:
        aliases: Other names; the first is the key in results.
        label: Head of the column.
        unit: Of the number; empty for a pure one.
        direction: Whether to be near the target ("match"), high or low is good.
        target: The value to be near, in words.
        definition: What is computed, with every trap stated.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    label: ClassVar[str]
    unit: ClassVar[str] = ""
    direction: ClassVar[Direction] = "match"
    target: ClassVar[str]
    definition: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of every subclass refuse arguments of the wrong kind."""
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    @property
    def key(self) -> str:
        """The short name in results."""
        return self.aliases[0] if self.aliases else snake_case(type(self).__name__)

    def column(self) -> Column:
        """Return what a table says about the metric."""
        return Column(self.key, self.label, self.unit, f"{self.definition} Target: {self.target}.", self.direction)

    def __eq__(self, other: Any) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


class Metric(MetricBase):
    """One number about one model, with or without the retrained one beside it.

    A subclass states the class attributes and implements ``compute``; a model's number is computed once.

    Attributes:
        needs_retrained: Whether the number says nothing without the retrained model.
        needs_original: Whether it says nothing without the model before unlearning.
        needs_network: Whether logits do not answer it, so that the model itself has to be there.
    """

    needs_retrained: ClassVar[bool] = False
    needs_original: ClassVar[bool] = False
    needs_network: ClassVar[bool] = False

    def evidence(self, model: ModelOutputs, retrained: ModelOutputs | None) -> Mapping[str, Any]:
        """Return what stands behind the number, in plain values; by default nothing."""
        return {}

    @abstractmethod
    def compute(self, model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
        """Return the number; None if these examples cannot carry it. ``retrained`` is there if it is needed."""

    @final
    def __call__(self, model: ModelOutputs, retrained: ModelOutputs | None = None) -> float | None:
        """Return the number; None where it cannot be stated, infinite ones included.

        Args:
            model: Outputs of the model to judge.
            retrained: Outputs of the model retrained on the same split, on the same examples in the same order.

        Raises:
            ConfigError: If the metric needs the retrained model, the original or the model itself, and there is none.
            DataError: If the two were not collected on the same examples.
        """
        self.check_sources(model)
        if not self.needs_retrained:
            return model.get_cached(self, lambda: finite_or_none(self.compute(model, None)))
        return finite_or_none(self.compute(model, self.validate_reference(model, retrained)))

    def is_available(self, model: ModelOutputs, retrained: ModelOutputs | None) -> bool:
        """Return whether the reference models that the number needs are there."""
        missing = (self.needs_retrained and retrained is None) or (self.needs_original and model.original is None)
        return not missing

    def check_sources(self, model: ModelOutputs) -> None:
        """Refuse outputs that lack the original, or the model itself.

        Raises:
            ConfigError: If the metric needs what is not there.
        """
        if self.needs_original and model.original is None:
            hint = "pass original= or leave the metric out"
            raise ConfigError(f"the model before unlearning for {self.label}", "none", hint)
        if self.needs_network and model.model_under_test is None:
            hint = "pass the model to expunge.evaluate, or collect with keep_model=True"
            raise ConfigError(f"the model itself for {self.label}", "its outputs alone", hint)

    def validate_reference(self, model: ModelOutputs, retrained: ModelOutputs | None) -> ModelOutputs:
        """Return the retrained model's outputs if they are there and fit.

        Raises:
            ConfigError: If there are none.
            DataError: If they were not collected on the same examples.
        """
        if retrained is None:
            raise ConfigError(f"a retrained model for {self.label}", "none", "pass retrained= or leave the metric out")
        sides = zip(list_parts(model), list_parts(retrained), strict=True)
        if not all(torch.equal(ours.targets, theirs.targets) for ours, theirs in sides):
            raise DataError(
                "both models evaluated on the same examples",
                "labels that differ",
                "pair each seed with the model retrained on its own split",
            )
        return retrained


def list_parts(outputs: ModelOutputs) -> tuple[Outputs, Outputs, Outputs]:
    """Return the three parts."""
    return outputs.forget, outputs.retain, outputs.held_out


def finite_or_none(value: float | None) -> float | None:
    """Return a finite value as it is, everything else as None."""
    return value if value is not None and isfinite(value) else None
