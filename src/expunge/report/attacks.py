"""The table of membership attacks: every score's area and recalls with their intervals, a model in each column."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import ABSENT, format_percent
from expunge.report.audit_part import Attack, Attacked
from expunge.report.budget_words import Listing
from expunge.report.document import Request

NAMES = {
    "loss": "loss",
    "confidence": "confidence",
    "entropy": "entropy",
    "modified_entropy": "modified entropy",
}


def attacks(request: Request) -> Listing | None:
    """Return the attacks on every model of a request: those of its audit, else those of its first seed."""
    if request.audit is not None:
        return listing(request.audit.attacked)
    found = [Attacked(model=row.label, attacks=row.attacks) for row in request.rows if row.attacks]
    return listing(found)


def listing(attacked: Sequence[Attacked]) -> Listing | None:
    """Return the areas and recalls of every model, an attack in each row; None without attacks."""
    if not attacked:
        return None
    columns = [dict(line for attack in one.attacks for line in lines(attack)) for one in attacked]
    rows = tuple((name, *(column.get(name, ABSENT) for column in columns)) for name in columns[0])
    return Listing(("Attack", *(one.model for one in attacked)), rows, is_named=True)


def lines(attack: Attack) -> list[tuple[str, str]]:
    """Return the lines of one attack: the area, how far it is from chance, then the recalls."""
    name = NAMES.get(attack.score, attack.score)
    first = [(f"AUC, {name}", f"{area(attack.auc)} ({area(attack.low)}–{area(attack.high)})")]
    if attack.distance is not None:
        first.append((f"|AUC − .5|, {name}", area(attack.distance)))
    found = [
        (
            f"TPR @ {format_percent(one.fpr)}, {name}",
            f"{100 * one.tpr:.1f} % ({100 * one.low:.1f}–{100 * one.high:.1f})",
        )
        for one in attack.recalls
    ]
    return [*first, *found]


def area(value: float) -> str:
    """Return an area from 0 to 1 without the 0 before its point.

    Examples:
        >>> area(0.5), area(1.0)
        ('.500', '1.00')
    """
    return f"{value:.3f}".lstrip("0") if value < 0.9995 else f"{value:.2f}"
