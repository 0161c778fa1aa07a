"""The section ``budget`` of a request file: what unlearning may cost, in exactly one unit."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from expunge.request.checks import format_value, make_name_validator, validation_error
from expunge.request.sections import ConfigSection

NonNegativeFloat = Annotated[float, Field(ge=0)]
EXPECTED_UNIT = "exactly one of accuracy_points, loss_increase, metric"


class BudgetChoice(ConfigSection):
    """How much worse the model may become on held-out examples of the classes that stay; a number alone is points.

    Args:
        accuracy_points: Accuracy points that may be lost.
        loss_increase: Share of the held-out loss by which it may rise.
        metric: ``package.module:function``, called with a predictor and examples; with ``max_drop``.
        max_drop: How much worse the metric may become, in its own unit.
        higher_is_better: Direction of the metric. Default true.
        bounds: Between what two numbers the metric's value of a single example lies, where it gives one for each.
        certify: Whether half of the held-out examples is put aside for a certificate; where false all of them steer.
            Default true.
    """

    accuracy_points: NonNegativeFloat | None = Field(None, examples=[1.0])
    loss_increase: NonNegativeFloat | None = Field(None, examples=[0.1])
    metric: Annotated[str, AfterValidator(make_name_validator(None))] | None = Field(
        None, examples=["package.module:function"]
    )
    max_drop: NonNegativeFloat | None = Field(None, examples=[0.01])
    higher_is_better: bool | None = None
    bounds: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(None, examples=["[0, 1]"])
    certify: bool | None = Field(None, examples=["false"])

    @model_validator(mode="before")
    @classmethod
    def expand_shorthand(cls, value: Any) -> Any:
        """Turn a number alone into accuracy points."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"accuracy_points": value}
        if not isinstance(value, dict):
            expected = "a number of points, or a mapping with accuracy_points, loss_increase or metric"
            raise validation_error(expected, format_value(value), "write for example `budget: 1.0`")
        return value

    @model_validator(mode="after")
    def check_one_unit(self) -> BudgetChoice:
        """Refuse two units, none, and parts of a metric without it."""
        units = [name for name in ("accuracy_points", "loss_increase", "metric") if getattr(self, name) is not None]
        if not units:
            raise validation_error(EXPECTED_UNIT, "none of them", "write for example `budget: 1.0`")
        if len(units) > 1:
            raise validation_error(EXPECTED_UNIT, " and ".join(units), "keep one of them", units[1])
        if self.metric is not None and self.max_drop is None:
            raise validation_error(
                "max_drop beside metric", "none", "say how much worse it may become, for example `max_drop: 0.01`"
            )
        metric_only_keys = [
            name for name in ("max_drop", "higher_is_better", "bounds") if getattr(self, name) is not None
        ]
        if self.metric is None and metric_only_keys:
            raise validation_error(
                f"{metric_only_keys[0]} beside metric only", f"it beside {units[0]}", "remove it", metric_only_keys[0]
            )
        return self
