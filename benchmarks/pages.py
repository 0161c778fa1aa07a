"""Put the tables of committed results into the pages that show them.

Run: python benchmarks/pages.py     (rewrites docs/results/*.md in place and draws docs/results/images/*.svg anew)

Tests check that nothing is left to rewrite or to draw. A page says ``<!-- table: FILE.json -->``, for one of several
tables ``<!-- table: FILE.json#1 -->``; what stands between that line and ``<!-- end -->`` is made from the file and
never written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from claim_figures import FIGURES
from claim_tables import STUDIES

from expunge.report import markdown_table

RESULTS = Path(__file__).parents[1] / "docs" / "results"
BLOCK = re.compile(r"(<!-- table: (?P<file>[\w./-]+\.json)(#(?P<number>\d+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def request_in(document: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a request of a result: its only one, or one of several."""
    found: dict[str, Any] = document["request"] if "request" in document else document["requests"][number]
    return found


def cost_table(document: dict[str, Any]) -> str:
    """Return the tables of a step-cost result, one a network."""
    return "\n\n".join(cost_of(network, document) for network in document["networks"].values())


def cost_of(network: dict[str, Any], document: dict[str, Any]) -> str:
    """Return one network's table, with the floor that its ratios refer to."""
    sides = f"{network['batch']} + {network['batch']}"
    head = f"**{network['title']}**, batch {sides}, normalisation {document['policy']}, {document['threads']} threads"
    lines = [f"{head}. {network['floor']['sentence']}", ""]
    lines += ["| one update | ms | time / floor | quartiles | aim | memory above floor |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in network["candidates"].items():
        ratio, aim, memory = found["ratio"], found["aim"], (found["memory"] or {}).get("above_floor_in_parameters")
        cells = [
            name,
            f"{1000 * found['seconds']['median']:.4g}",
            f"{ratio['median']:.3f}",
            f"{ratio['low']:.3f} – {ratio['high']:.3f}",
            "" if aim is None else f"≤ {aim['at_most']:.2f} {'met' if aim['met'] else '**missed**'}",
            "–" if memory is None else f"{memory:+.2f} P",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table(match: re.Match[str]) -> str:
    """Return a block with the table that its file gives."""
    document = json.loads((RESULTS / match["file"]).read_text(encoding="utf-8"))
    made = made_of(document, int(match["number"] or 0))
    return f"{match[1]}{made.strip()}\n{match[5]}"


def made_of(document: dict[str, Any], number: int) -> str:
    """Return the table with this number of a result."""
    if "networks" in document:
        return cost_table(document)
    if "study" in document:
        return STUDIES[document["study"]][number](document)
    return markdown_table(request_in(document, number))


def drawings() -> dict[Path, str]:
    """Return the figures of all results that are there, by file."""
    return {
        RESULTS / "images" / name: draw(json.loads((RESULTS / result).read_text(encoding="utf-8")))
        for name, (result, draw) in FIGURES.items()
        if (RESULTS / result).exists()
    }


def rewritten(page: str) -> str:
    """Return a page with its tables as the results have them."""
    return BLOCK.sub(table, page)


def main() -> None:
    """Rewrite every page and draw every figure."""
    for page in sorted(RESULTS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"{page.name}: tables written")
    for path, text in drawings().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.name}: drawn")


if __name__ == "__main__":
    main()
