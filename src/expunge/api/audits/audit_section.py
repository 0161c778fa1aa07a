"""What an audit adds to a result document: the certificate, the attacks on every model, and the layers that moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from expunge.budget import UtilityCertificate
from expunge.metrics import Attack
from expunge.weights import LayerChange


def build_audit_section(
    certificate: UtilityCertificate, attacks: Mapping[str, Sequence[Attack]], layers: Sequence[LayerChange]
) -> dict[str, Any]:
    """Return the section as plain values."""
    attacked = [{"model": name, "attacks": [one.as_dict() for one in every]} for name, every in attacks.items()]
    return {"certificate": certificate.as_dict(), "attacked": attacked, "layers": [asdict(layer) for layer in layers]}
