"""What a metric is: a function of outputs with its name, unit, direction and target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NamedTuple

import torch

from expunge.errors import ConfigError, DataError
from expunge.metrics.outputs import ModelOutputs
from expunge.type_checks import check_field_types, enforce_constructor_types

Direction = Literal["higher", "lower", "match"]
Need = Literal["retrained", "original", "network"]


class Column(NamedTuple):
    """What a table says about one score.

    Args:
        key: The short name in results.
        label: Head of the column.
        unit: Of the number; empty for a pure one.
        definition: What is computed, with every trap stated, and the target.
        direction: Whether to be near the target ("match"), high or low is good.
    """

    key: str
    label: str
    unit: str
    definition: str
    direction: Direction


@dataclass(frozen=True, eq=False, repr=False)
class MetricBase:
    """Something that is measured, whatever it is computed from.

    Metrics are values: two that call one function with the same settings are equal.

    Args:
        compute: Returns the number; takes the settings as keywords.
        key: The short name in results.
        label: Head of the column.
        target: The value to be near, in words.
        definition: What is computed, with every trap stated.
        unit: Of the number. Default empty: a pure number.
        direction: Whether to be near the target ("match"), high or low is good. Default "match".
        name: Name in the registry. Default: the key.
        aliases: Other names in the registry; the key is one of them. Default none.
        summary: One sentence for lists. Default: the definition.
        settings: Keyword arguments of the function. Default none.
    """

    compute: Callable[..., Any]
    key: str
    label: str
    target: str
    definition: str
    unit: str = ""
    direction: Direction = "match"
    name: str = ""
    aliases: tuple[str, ...] = ()
    summary: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    def __post_init__(self) -> None:
        check_field_types(self)
        object.__setattr__(self, "name", self.name or self.key)
        names = dict.fromkeys((self.key, *self.aliases))
        object.__setattr__(self, "aliases", tuple(one for one in names if one != self.name))
        object.__setattr__(self, "summary", self.summary or self.definition)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function says with the settings."""
        return self.compute(*args, **self.settings, **kwargs)

    def column(self) -> Column:
        """Return what a table says about the metric."""
        return Column(self.key, self.label, self.unit, f"{self.definition} Target: {self.target}.", self.direction)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, MetricBase) and self.compute is other.compute and dict(self.settings) == other.settings

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({arguments or repr(self.key)})"

    def __hash__(self) -> int:
        return hash((self.compute, tuple(self.settings.items())))


@dataclass(frozen=True, eq=False, repr=False)
class Metric(MetricBase):
    """One number about one model, with or without the retrained one beside it; computed once for each model.

    Args:
        compute: Takes the outputs of the model and those of the retrained one, None where it is not needed, and returns
            the number, None where these examples cannot carry it.
        needs: What has to be there: the ``retrained`` model, the ``original`` before unlearning, or the ``network``
            itself, where logits do not answer the question. Default: logits of the model alone.
        evidence: Takes the same and returns what stands behind the number, in plain values. Default none.

    Examples:
        >>> from expunge.metrics import Outputs
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> outputs = ModelOutputs(part, part, part)
        >>> largest = Metric(lambda model, retrained: float(model.forget.logits.max()), "top", "largest", "0", "Logit.")
        >>> largest(outputs), largest.column().definition
        (1.0, 'Logit. Target: 0.')
    """

    needs: frozenset[Need] = frozenset()
    evidence: Callable[..., Mapping[str, Any]] = lambda model, retrained, **settings: {}

    def __call__(self, model: ModelOutputs, retrained: ModelOutputs | None = None) -> float | None:
        """Return the number; None where it cannot be stated, infinite ones included.

        Args:
            model: Outputs of the model to judge.
            retrained: Outputs of the model retrained on the same split, on the same examples in the same order.

        Raises:
            ConfigError: If the metric needs the retrained model, the original or the model itself, and there is none.
            DataError: If the two were not collected on the same examples.
        """
        self._check_sources(model, retrained)
        if "retrained" in self.needs:
            return _finite_or_none(self.compute(model, retrained, **self.settings))
        return model.get_cached(self, lambda: _finite_or_none(self.compute(model, None, **self.settings)))

    def is_available(self, model: ModelOutputs, retrained: ModelOutputs | None) -> bool:
        """Return whether the reference models that the number needs are there."""
        return not self._missing_models(model, retrained)

    def collect_evidence(self, model: ModelOutputs, retrained: ModelOutputs | None) -> dict[str, Any]:
        """Return what stands behind the number, in plain values."""
        return dict(self.evidence(model, retrained, **self.settings))

    def _missing_models(self, model: ModelOutputs, retrained: ModelOutputs | None) -> set[str]:
        models = {"retrained": retrained, "original": model.original}
        return {name for name, one in models.items() if one is None and name in self.needs}

    def _check_sources(self, model: ModelOutputs, retrained: ModelOutputs | None) -> None:
        missing = self._missing_models(model, retrained)
        if "original" in missing:
            hint = "pass original= or leave the metric out"
            raise ConfigError(f"the model before unlearning for {self.label}", "none", hint)
        if "network" in self.needs and model.model_under_test is None:
            hint = "pass the model to expunge.evaluate, or collect with keep_model=True"
            raise ConfigError(f"the model itself for {self.label}", "its outputs alone", hint)
        if missing:
            raise ConfigError(f"a retrained model for {self.label}", "none", "pass retrained= or leave the metric out")
        if retrained is None or "retrained" not in self.needs:
            return
        sides = zip(model.parts, retrained.parts, strict=True)
        if not all(torch.equal(ours.targets, theirs.targets) for ours, theirs in sides):
            raise DataError(
                "both models evaluated on the same examples",
                "labels that differ",
                "pair each seed with the model retrained on its own split",
            )


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
