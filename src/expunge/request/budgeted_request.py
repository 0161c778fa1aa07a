"""The part of a request file about a budget, for the families whose models can keep one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from expunge.request.budget_section import BudgetChoice
from expunge.request.checks import validation_error
from expunge.request.request_file import DataRequest
from expunge.request.sections import Fraction


class BudgetedRequest(DataRequest):
    """A request that may say what it may cost.

    Args:
        holdout: Share of the test data that no figure is computed on. Default none.
        budget: How much worse the model may become on the held-out examples, half of which steer and half of which
            certify; with ``certify: false`` in it all of them steer. Default none.
        priority: What comes first where the budget cannot be kept at the forgetting that was asked for: ``budget``
            (default) or ``forgetting``.
    """

    holdout: Fraction | None = Field(None, examples=[0.1])
    budget: BudgetChoice | None = Field(None, examples=[1.0])
    priority: Literal["budget", "forgetting"] = "budget"

    @model_validator(mode="after")
    def check_budget(self) -> BudgetedRequest:
        """Refuse a budget that nothing could be measured on, and a preference without a budget."""
        if self.budget is not None and self.holdout is None:
            expected = "held-out examples to measure the budget on"
            raise validation_error(expected, "no holdout", "add for example `holdout: 0.3`", "budget")
        if self.budget is None and "priority" in self.model_fields_set:
            raise validation_error(
                "priority beside a budget", "no budget", "add for example `budget: 1.0`, or remove it", "priority"
            )
        return self
