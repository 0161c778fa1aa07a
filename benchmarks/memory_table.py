"""The table of ``stable_diffusion_memory.py``; ``pages.py`` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GIB = 2**30
PARTS = {"full": "full U-Net", "cross_attention": "cross-attention", "lora": "LoRA, rank 1"}


def memory_table(document: Mapping[str, Any]) -> str:
    """Return a row for each setting with the peak of each method, and what the first method's peak consists of."""
    rows = document["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = [f"| trained | switches | batch | {' | '.join(methods)} | EUPMU: passes | gradients | optimiser |"]
    lines.append("| :--- | :--- | ---: |" + " ---: |" * (len(methods) + 3))
    for first in range(0, len(rows), len(methods)):
        group = rows[first : first + len(methods)]
        cells = [PARTS[group[0]["part"]], switches(group[0]), str(group[0]["batch"])]
        cells += [f"{row['total'] / GIB:.1f}" for row in group]
        cells += [f"{group[0][name] / GIB:.1f}" for name in ("passes", "gradients", "optimiser")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def switches(row: Mapping[str, Any]) -> str:
    """Return what else is set."""
    found = [row.get("precision", "fp32"), "checkpointing" if row.get("checkpointing") else "", row.get("with", "")]
    return ", ".join(part for part in found if part)
