"""Which method a request's words are about, and how its gap compares with the noise of retraining."""

from __future__ import annotations

from enum import Enum

from expunge.report.document import ModelRow, RequestSection
from expunge.report.numbers import compute_paired_distances


class NoiseFloorVerdict(Enum):
    """How the average gap of a model stands to what retraining again would give; the value is the short verdict."""

    INSIDE = "Within the noise of retraining, on these figures"
    UNDECIDED = "Not told apart from the noise of retraining"
    OUTSIDE = "Further from retraining than its noise"
    NO_FLOOR = "Compared with retraining, noise not measured"
    NO_CLOSER = "No closer to retraining than the original"
    NO_GAP = "No finite gap to retraining"
    NO_REFERENCE = "Not compared with retraining"


def chance_level(request: RequestSection) -> float:
    """Return the membership AUC of an attacker who guesses, in the unit of the request's column."""
    metric = request.metric("auc")
    return 50.0 if metric is not None and metric.unit == "%" else 0.5


def rank_key(request: RequestSection, row: ModelRow) -> tuple[bool, float]:
    """Return what methods are sorted by: the average gap, without reference the distance of the AUC from chance."""
    gap = row.mean("avg_gap")
    auc = row.mean("auc")
    if request.metric("avg_gap") is None and auc is not None:
        gap = abs(auc - chance_level(request))
    return gap is None, 0.0 if gap is None else gap


def rank_methods(request: RequestSection) -> list[ModelRow]:
    """Return the methods, the closest first; those without a finite figure last, ties as in the document."""
    return sorted(request.methods, key=lambda row: rank_key(request, row))


def best_method(request: RequestSection) -> ModelRow | None:
    """Return the method that the words are about: the closest one, None where there is no method."""
    return next(iter(rank_methods(request)), None)


def smallest_gap_method(request: RequestSection) -> ModelRow | None:
    """Return the method with the least average gap; None without gaps or where it has nothing to be better than."""
    finite = [row for row in rank_methods(request) if row.mean("avg_gap") is not None]
    return finite[0] if len(finite) > 1 else None


def find_overlapping(request: RequestSection, row: ModelRow) -> list[ModelRow]:
    """Return the other methods whose gap interval overlaps that of ``row``; unknown half-widths overlap nothing."""
    mean, half = row.mean("avg_gap"), row.half_width("avg_gap")
    if mean is None or half is None:
        return []
    overlapping = []
    for other in request.methods:
        other_mean, other_half = other.mean("avg_gap"), other.half_width("avg_gap")
        if (
            other is not row
            and other_mean is not None
            and other_half is not None
            and abs(other_mean - mean) <= half + other_half
        ):
            overlapping.append(other)
    return overlapping


def compare_with_noise_floor(request: RequestSection, row: ModelRow) -> NoiseFloorVerdict:
    """Return how the average gap of ``row`` stands to the noise floor.

    It is inside only if the whole interval lies at or under the floor's mean, outside only if the two intervals are
    apart, and undecided otherwise; with unknown half-widths it is never inside.
    """
    gap, half = row.mean("avg_gap"), row.half_width("avg_gap")
    if not request.retrained:
        return NoiseFloorVerdict.NO_REFERENCE
    if gap is None:
        return NoiseFloorVerdict.NO_GAP
    if not _is_closer_than_original(request, gap):
        return NoiseFloorVerdict.NO_CLOSER
    floor = request.noise_floor
    if floor is None or floor.mean is None:
        return NoiseFloorVerdict.NO_FLOOR
    if half is not None and gap + half <= floor.mean:
        return NoiseFloorVerdict.INSIDE
    return (
        NoiseFloorVerdict.UNDECIDED
        if gap - (half or 0.0) <= floor.mean + (floor.half_width or 0.0)
        else NoiseFloorVerdict.OUTSIDE
    )


def _is_closer_than_original(request: RequestSection, gap: float) -> bool:
    original = request.row("original")
    before = None if original is None else original.mean("avg_gap")
    return before is None or gap < before


def distances_to_retrained(request: RequestSection, row: ModelRow, key: str) -> list[float]:
    """Return the distance of a metric to the retrained model of the same seed, one for each seed."""
    retrained = request.row("retrained")
    if retrained is None or key not in row.scores or key not in retrained.scores:
        return []
    return compute_paired_distances(row.scores[key].values, retrained.scores[key].values)
