"""What all parts of the result document have in common."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def finite_or_none(value: Any) -> Any:
    """Return ``value``, or None where it is a float that is NaN or infinite (a method that diverged)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(finite_or_none)]


class DocumentModel(BaseModel):
    """A part of the document; keys that this version does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")
