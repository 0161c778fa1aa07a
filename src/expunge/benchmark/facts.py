"""What the file of a cell or a network has to hold; another content is refused instead of shown."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Number = Annotated[float | None, Field(strict=True)]
Scores = dict[str, Number]


class Facts(BaseModel):
    """What every item's file holds."""

    model_config = ConfigDict(strict=True, extra="allow")

    key: str
    recipe: dict[str, Any]
    wall_seconds: float


class FailedFacts(Facts):
    """What the file of an item holds that could not be made."""

    failure: dict[str, str]


class NetworkFacts(Facts):
    """What is known of a network."""

    seconds: Number
    train_accuracy: Number
    seed: int


class MeasuredFacts(Facts):
    """What is known of a model that was measured."""

    scores: Scores
    per_class: list[Number]


class OriginalFacts(MeasuredFacts):
    """What is known of the original."""

    sizes: dict[str, int]
    classes: list[str]


class RetrainedFacts(MeasuredFacts):
    """What is known of the reference."""

    noise_floor: Number
    second: Scores | None


class RowFacts(MeasuredFacts):
    """What is known of a row of the table."""

    label: str
    settings: dict[str, Any]
    seconds: Number
    history: list[dict[str, Any]]


class TrialFacts(Facts):
    """What is known of a trial of tuning."""

    tuning: dict[str, dict[str, Any]]


FACT_CLASSES: dict[str, type[Facts]] = {
    "network": NetworkFacts,
    "original": OriginalFacts,
    "retrained": RetrainedFacts,
    "method": RowFacts,
    "trial": TrialFacts,
}
"""Role of an item → what its file holds."""


def find_problem(role: str, facts: dict[str, Any], failed: bool) -> str | None:
    """Return what is wrong with the content of an item's file; None if nothing is."""
    try:
        (FailedFacts if failed else FACT_CLASSES[role]).model_validate(facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
    return None
