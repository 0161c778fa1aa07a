"""What an audit found, in words and in small tables."""

from __future__ import annotations

from expunge.formatting import ABSENT, format_count, format_number, format_percent
from expunge.report.audit_schema import AuditSection, LayerSection
from expunge.report.budget_text import Statement, TextTable
from expunge.report.certificate_text import describe_bounds, describe_opening

MAX_LAYERS = 12
"""Layers in the table; the others are counted."""


def describe_audit_certificate(audit: AuditSection) -> str:
    """Return what the certificate says."""
    return f"{describe_opening(audit.certificate)} {describe_bounds(audit.certificate)}"


def describe_weight_change(audit: AuditSection) -> str:
    """Return how many layers differ, and which one the most."""
    changed = sort_by_distance(audit)
    if not changed:
        return "No weight differs from the original's: nothing was unlearned."
    numbers, all_numbers = sum(layer.changed for layer in changed), sum(layer.numbers for layer in audit.layers)
    many = f"{len(changed)} of {len(audit.layers)} layers differ from the original"
    first = changed[0]
    far = (
        ""
        if first.relative is None
        else f" The furthest is {layer_title(first)}, {format_percent(first.relative)} of its length away."
    )
    return f"{many}, in {format_count(numbers)} of {format_count(all_numbers)} numbers.{far}"


def audit_statements(audit: AuditSection) -> tuple[Statement, ...]:
    """Return what is to be said of an audit."""
    smallest_drop = audit.certificate.smallest
    return (
        Statement("Certificate", describe_audit_certificate(audit)),
        *(
            ()
            if smallest_drop is None
            else (Statement("Smallest drop that can be certified", f"{format_number(100 * smallest_drop)} points."),)
        ),
        Statement("Membership", describe_membership(audit)),
        Statement("Weights", describe_weight_change(audit)),
    )


def describe_membership(audit: AuditSection) -> str:
    """Return what the table of attacks shows, or why there is none."""
    if not audit.attacked:
        return "Not measured: there are no held-out examples of the classes of the forgotten ones."
    return (
        "Forgotten against held-out examples of the same classes: an area of .5 is chance, an interval that leaves it "
        "out tells them apart. These are average-case attacks on one model; attacks with shadow models find more."
    )


def layer_table(audit: AuditSection) -> TextTable | None:
    """Return the layers that moved the most; None where nothing did."""
    changed = sort_by_distance(audit)
    if not changed:
        return None
    rows = [
        (
            layer_title(layer),
            f"{format_count(layer.changed)} of {format_count(layer.numbers)}",
            format_distance_percent(layer),
            format_number(layer.largest),
        )
        for layer in changed[:MAX_LAYERS]
    ]
    remaining = len(changed) - len(rows)
    last = [(f"and {remaining} more", ABSENT, ABSENT, ABSENT)] if remaining else []
    return TextTable(("Layer", "Numbers changed", "Distance, %", "Largest change"), (*rows, *last), is_named=True)


def sort_by_distance(audit: AuditSection) -> list[LayerSection]:
    """Return the layers with a changed number, the furthest first; those that were 0 before come last."""
    changed = [layer for layer in audit.layers if layer.changed]
    return sorted(changed, key=lambda layer: -1.0 if layer.relative is None else layer.relative, reverse=True)


def format_distance_percent(layer: LayerSection) -> str:
    return format_number(None if layer.relative is None else 100 * layer.relative)


def layer_title(layer: LayerSection) -> str:
    """Return a layer's name, or what has none."""
    return layer.name or "(the network)"
