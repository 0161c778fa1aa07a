"""Fit: how well a model knows the data that it is said to have been trained on, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from expunge.batch import Examples
from expunge.data import Subset
from expunge.formatting import format_percent

SplitSide = Literal["forget", "retain", "holdout"]
FitLevel = Literal["good", "weak", "chance", "below"]
FitMeasure = Literal["right", "noise", "class", "variance"]

MAX_EXAMPLES = 512
"""Examples of each side that are looked at."""
CHANCE_LIMIT = 0.1
"""Up to which share of the way from chance to perfect a model counts as no better than chance."""
WEAK_LIMIT = 1 / 3
"""Below which share of that way a model is weak on examples that it is said to have been trained on."""
Z_ONE_SIDED_95 = 1.645
"""Standard errors of a one-sided bound at 95 %."""

_SIDE_LABELS: Mapping[SplitSide, str] = {
    "forget": "examples to forget",
    "retain": "examples to retain",
    "holdout": "held-out examples",
}
_SIDE_CAUSES: Mapping[SplitSide, str] = {
    "forget": "so that it may never have learned them, or forgot them before",
    "retain": "so that weights, labels or the scaling of the inputs may not belong together",
    "holdout": "so that a drop on them says little",
}


@dataclass(frozen=True)
class ModelFit:
    """How well a model knows some examples.

    Args:
        side: Of which part of the request they are.
        measure: ``right`` (share of examples that a classifier is right about), ``noise`` (share of the noise in images
            that a diffusion model predicts), ``class`` (share of images whose class helps it to do so) or ``variance``
            (share of the targets' variance that it explains, R²).
        examples: n.
        value: The share.
        chance: What a model gets that knows nothing of them.
        level: ``good``, ``weak``, ``chance`` where it is no better than that, or ``below`` where it is clearly worse.
    """

    side: SplitSide
    measure: FitMeasure
    examples: int
    value: float
    chance: float
    level: FitLevel

    @property
    def description(self) -> str:
        """What was found, as a part of a sentence.

        Examples:
            >>> ModelFit("retain", "right", 512, 0.098, 0.1, "chance").description
            'the model is right about 9.8 % of 512 examples to retain, where chance gives 10 %'
        """
        value, which = format_percent(self.value), f"{self.examples:,} {_SIDE_LABELS[self.side]}"
        descriptions = {
            "right": f"the model is right about {value} of {which}",
            "noise": f"the model predicts {value} of the noise in {which}",
            "variance": f"the model explains {value} of the variance of the targets of {which}",
            "class": f"the class helps the model to see the noise in {value} of {which}",
        }
        return f"{descriptions[self.measure]}, where chance gives {format_percent(self.chance)}"

    @property
    def warning(self) -> str:
        """What was found and what it may mean, as a sentence; empty where the fit is good."""
        if self.level == "good":
            return ""
        return f"Before the run {self.description}, {_SIDE_CAUSES[self.side]}."

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"warning": self.warning}


def assess_fit(side: SplitSide, measure: FitMeasure, examples: int, value: float, chance: float) -> ModelFit:
    """Return the fit of a share of examples, at chance where its upper bound is so.

    Formula: κ = (p + 1.645 √(c(1 − c)/n) − c)/(1 − c), at chance where κ ≤ .1; weak where (p − c)/(1 − c) < ⅓ on the
    examples to retain. On held-out examples, which a model may do badly on, p has to be within three standard errors of
    c too. Where it is more than three below, the level is that.

    Examples:
        >>> [assess_fit("retain", "right", 500, p, 0.1).level for p in (0.0, 0.12, 0.3, 0.6)]
        ['below', 'chance', 'weak', 'good']
    """
    error, headroom = (chance * (1 - chance) / examples) ** 0.5, max(1 - chance, 1e-9)
    level: FitLevel = "good"
    if side == "retain" and value - chance < WEAK_LIMIT * headroom:
        level = "weak"
    near = side != "holdout" or value - chance <= 3 * error
    if near and value + Z_ONE_SIDED_95 * error - chance <= CHANCE_LIMIT * headroom:
        level = "below" if value + 3 * error < chance else "chance"
    return ModelFit(side, measure, examples, value, chance, level)


def sample_examples(examples: Examples, count: int = MAX_EXAMPLES) -> Subset:
    """Return at most so many of the examples, drawn the same way each time."""
    positions = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))[:count]
    return Subset(examples, positions.sort().values)
