"""The budget room: what unlearning may cost, how it is read, certified and kept, and when to stop."""

from expunge.budget.budget import Budget
from expunge.budget.certificate import (
    UtilityCertificate,
    certificate_of,
    fixed_sequence,
    level_of,
    smallest_drop,
    tango_bound,
    utility_certificate,
)
from expunge.budget.choice import Candidate, Choice, Preference, choose, frontier
from expunge.budget.forgetting import Forgetting, Forgotten, whole_classes
from expunge.budget.halves import Halves, split_holdout
from expunge.budget.reading import Reading, read
from expunge.budget.rescaled import Rescaled
from expunge.budget.spending import Look, Spending
from expunge.budget.stop import Equivalence, equivalence, least_margin, unrecognised

__all__ = [
    "Budget",
    "Candidate",
    "Choice",
    "Equivalence",
    "Forgetting",
    "Forgotten",
    "Halves",
    "Look",
    "Preference",
    "Reading",
    "Rescaled",
    "Spending",
    "UtilityCertificate",
    "certificate_of",
    "choose",
    "equivalence",
    "fixed_sequence",
    "frontier",
    "least_margin",
    "level_of",
    "read",
    "smallest_drop",
    "split_holdout",
    "tango_bound",
    "unrecognised",
    "utility_certificate",
    "whole_classes",
]
