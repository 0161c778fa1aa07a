"""What an audit found, in words and in small tables."""

from __future__ import annotations

from expunge.formatting import ABSENT, format_count, format_number, format_percent
from expunge.report.audit_part import AuditPart, Layer
from expunge.report.budget_words import Fact, Listing
from expunge.report.certificate_words import bounds, opened

MOST = 12
"""Layers in the table; the others are counted."""


def certified(audit: AuditPart) -> str:
    """Return what the certificate says."""
    return f"{opened(audit.certificate)} {bounds(audit.certificate)}"


def moved(audit: AuditPart) -> str:
    """Return how many layers differ, and which one the most."""
    changed = by_distance(audit)
    if not changed:
        return "No weight differs from the original's: nothing was unlearned."
    numbers, all_numbers = sum(layer.changed for layer in changed), sum(layer.numbers for layer in audit.layers)
    many = f"{len(changed)} of {len(audit.layers)} layers differ from the original"
    first = changed[0]
    far = (
        ""
        if first.relative is None
        else f" The furthest is {title(first)}, {format_percent(first.relative)} of its length away."
    )
    return f"{many}, in {format_count(numbers)} of {format_count(all_numbers)} numbers.{far}"


def facts(audit: AuditPart) -> tuple[Fact, ...]:
    """Return what is to be said of an audit."""
    least = audit.certificate.smallest
    return (
        Fact("Certificate", certified(audit)),
        *(
            ()
            if least is None
            else (Fact("Smallest drop that can be certified", f"{format_number(100 * least)} points."),)
        ),
        Fact("Membership", membership(audit)),
        Fact("Weights", moved(audit)),
    )


def membership(audit: AuditPart) -> str:
    """Return what the table of attacks shows, or why there is none."""
    if not audit.attacked:
        return "Not measured: there are no held-out examples of the classes of the forgotten ones."
    return (
        "Forgotten against held-out examples of the same classes: an area of .5 is chance, an interval that leaves it "
        "out tells them apart. These are average-case attacks on one model; attacks with shadow models find more."
    )


def layers(audit: AuditPart) -> Listing | None:
    """Return the layers that moved the most; None where nothing did."""
    changed = by_distance(audit)
    if not changed:
        return None
    rows = [
        (
            title(layer),
            f"{format_count(layer.changed)} of {format_count(layer.numbers)}",
            percent(layer),
            format_number(layer.largest),
        )
        for layer in changed[:MOST]
    ]
    left = len(changed) - len(rows)
    last = [(f"and {left} more", ABSENT, ABSENT, ABSENT)] if left else []
    return Listing(("Layer", "Numbers changed", "Distance, %", "Largest change"), (*rows, *last), is_named=True)


def by_distance(audit: AuditPart) -> list[Layer]:
    """Return the layers with a changed number, the furthest first; those that were 0 before come last."""
    changed = [layer for layer in audit.layers if layer.changed]
    return sorted(changed, key=lambda layer: -1.0 if layer.relative is None else layer.relative, reverse=True)


def percent(layer: Layer) -> str:
    """Return ‖θ′ − θ‖/‖θ‖ in percent."""
    return format_number(None if layer.relative is None else 100 * layer.relative)


def title(layer: Layer) -> str:
    """Return a layer's name, or what has none."""
    return layer.name or "(the network)"
