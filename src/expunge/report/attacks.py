"""The table of membership attacks: every score's area and recalls with their intervals, a model in each column."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import ABSENT, format_percent
from expunge.report.audit_schema import AttackSection, ModelAttacksSection
from expunge.report.budget_text import TextTable
from expunge.report.document import RequestSection

SCORE_LABELS = {
    "loss": "loss",
    "confidence": "confidence",
    "entropy": "entropy",
    "modified_entropy": "modified entropy",
}


def attack_table(request: RequestSection) -> TextTable | None:
    """Return the attacks on every model of a request: those of its audit, else those of its first seed."""
    if request.audit is not None:
        return tabulate_attacks(request.audit.attacked)
    model_attacks = [ModelAttacksSection(model=row.label, attacks=row.attacks) for row in request.rows if row.attacks]
    return tabulate_attacks(model_attacks)


def tabulate_attacks(model_attacks: Sequence[ModelAttacksSection]) -> TextTable | None:
    """Return the areas and recalls of every model, an attack in each row; None without attacks."""
    if not model_attacks:
        return None
    columns = [dict(line for attack in one.attacks for line in attack_lines(attack)) for one in model_attacks]
    rows = tuple((name, *(column.get(name, ABSENT) for column in columns)) for name in columns[0])
    return TextTable(("Attack", *(one.model for one in model_attacks)), rows, is_named=True)


def attack_lines(attack: AttackSection) -> list[tuple[str, str]]:
    """Return the lines of one attack: the area, how far it is from chance, then the recalls."""
    name = SCORE_LABELS.get(attack.score, attack.score)
    first = [(f"AUC, {name}", f"{format_area(attack.auc)} ({format_area(attack.low)}–{format_area(attack.high)})")]
    if attack.distance is not None:
        first.append((f"|AUC − .5|, {name}", format_area(attack.distance)))
    recall_lines = [
        (
            f"TPR @ {format_percent(one.fpr)}, {name}",
            f"{100 * one.tpr:.1f} % ({100 * one.low:.1f}–{100 * one.high:.1f})",
        )
        for one in attack.recalls
    ]
    return [*first, *recall_lines]


def format_area(value: float) -> str:
    """Return an area from 0 to 1 without the 0 before its point.

    Examples:
        >>> format_area(0.5), format_area(1.0)
        ('.500', '1.00')
    """
    return f"{value:.3f}".lstrip("0") if value < 0.9995 else f"{value:.2f}"
