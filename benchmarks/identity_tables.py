"""The table of what it costs to know examples by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def identity_costs(document: Mapping[str, Any]) -> str:
    """Return the times beside one pass, data set by data set, and how they were made."""
    lines = ["| data | examples | one pass, s | hashes, first time, s | share | hashes, later, s | share |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for row in document["rows"]:
        cells = [row["what"], f"{row['examples']:,}", f"{row['pass']:.1f}"]
        for name in ("first", "again"):
            cells += [f"{row[name]:.2f}", f"{row[name] / row['pass']:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{document['command']}`: {document['machine']}."])
