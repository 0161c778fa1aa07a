"""The budget room: what unlearning may cost, how it is read, certified and kept, and when to stop."""

from expunge.budget.betting import betting_bound, smallest_mean_drop
from expunge.budget.budget import Budget
from expunge.budget.certificate import (
    Certificate,
    UtilityCertificate,
    certificate_of,
    smallest_drop,
    tango_bound,
    utility_certificate,
)
from expunge.budget.choice import Candidate, Choice, Preference, choose, frontier
from expunge.budget.forgetting import Criterion, Forgetting, Forgotten, whole_classes
from expunge.budget.halves import Halves, one_per_id, split_holdout
from expunge.budget.levels import fixed_sequence, level_of
from expunge.budget.opening import Witness, certificate_for, examples_needed, opened, smallest_of, witness
from expunge.budget.reading import Measure, Reading, read, read_safely
from expunge.budget.resampling import bootstrap_bound, jackknife_bound
from expunge.budget.rescaled import Rescaled
from expunge.budget.spending import Look, Spending
from expunge.budget.stop import Equivalence, equivalence, least_margin, unrecognised

__all__ = [
    "Budget",
    "Candidate",
    "Certificate",
    "Choice",
    "Criterion",
    "Equivalence",
    "Forgetting",
    "Forgotten",
    "Halves",
    "Look",
    "Measure",
    "Preference",
    "Reading",
    "Rescaled",
    "Spending",
    "UtilityCertificate",
    "Witness",
    "betting_bound",
    "bootstrap_bound",
    "certificate_for",
    "certificate_of",
    "choose",
    "equivalence",
    "examples_needed",
    "fixed_sequence",
    "frontier",
    "jackknife_bound",
    "least_margin",
    "level_of",
    "one_per_id",
    "opened",
    "read",
    "read_safely",
    "smallest_drop",
    "smallest_mean_drop",
    "smallest_of",
    "split_holdout",
    "tango_bound",
    "unrecognised",
    "utility_certificate",
    "whole_classes",
    "witness",
]
