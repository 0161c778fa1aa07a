"""Put the tables of committed results into the pages that show them.

Run: python benchmarks/pages.py     (rewrites docs/results/*.md in place and draws docs/results/images/*.svg anew)

Tests check that nothing is left to rewrite or to draw. A page says ``<!-- table: FILE.json -->``, for one of several
tables ``<!-- table: FILE.json#1 -->``, after those of a benchmark's requests that of its default; what stands between
that line and ``<!-- end -->`` is made from the file and never written by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from claim_figures import FIGURES
from claim_tables import STUDIES
from default_tables import beside_default

from expunge.report import markdown_table, pareto_table

RESULTS = Path(__file__).parents[1] / "docs" / "results"
BLOCK = re.compile(r"(<!-- table: (?P<file>[\w./-]+\.json)(#(?P<number>\d+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def request_in(document: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a request of a result: its only one, or one of several."""
    found: dict[str, Any] = document["request"] if "request" in document else document["requests"][number]
    return found


def cost_table(document: dict[str, Any]) -> str:
    """Return the tables of a step-cost result: of surgeries and of masks, network by network."""
    parts = []
    for network in document["networks"].values():
        parts.append(cost_of(network, document))
        if network.get("masks"):
            parts.append(mask_cost_of(network))
    return "\n\n".join(parts + runs_of(document))


def cost_of(network: dict[str, Any], document: dict[str, Any]) -> str:
    """Return one network's table of surgeries, with the floor that its ratios refer to."""
    sides = " + ".join(map(str, network["batch"]))
    head = f"**{network['title']}**, batch {sides}, normalisation {document['policy']}, {document['threads']} threads"
    lines = [f"{head}. {network['floor']['sentence']}", ""]
    lines += ["| one update | ms | time / floor | quartiles | aim | memory above floor |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in network["candidates"].items():
        lines.append(cost_row([*time_cells(name, found), memory_cell(found["memory"], "above_floor_in_parameters")]))
    lines += [cost_row([name, "not installed", "", "", "", ""]) for name in network.get("not_installed", {})]
    return "\n".join(lines)


def mask_cost_of(network: dict[str, Any]) -> str:
    """Return one network's table of masks, each over its surgery without a mask."""
    lines = [f"**{network['title']}**, the same under a mask, over the same surgery without one.", ""]
    lines += ["| one update | ms | time / base | quartiles | aim | memory above base | with bfloat16 |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in network["masks"].items():
        above = [memory_cell(found[key], "above_base_in_parameters") for key in ("memory", "memory_bf16")]
        lines.append(cost_row([*time_cells(name, found), *above]))
        if "certificate" in found:
            lines.append(cost_row(certificate_cells(found["certificate"])))
    return "\n".join(lines)


def certificate_cells(found: dict[str, Any]) -> list[str]:
    """Return the row of the certificate for itself: what it adds to the mask that it is put around."""
    over, share = found["over_base"], found["share"]["median"]
    quartiles = f"{over['low']:.3f} – {over['high']:.3f}"
    times = [f"{1000 * found['seconds']['median']:.4g}", f"+{over['median']:.3f}", quartiles]
    return ["… its certificate alone", *times, f"{share:.0%} of the update", "", ""]


def time_cells(name: str, found: dict[str, Any]) -> list[str]:
    """Return the cells of a row up to its aim."""
    ratio = found["ratio"]
    return [
        name,
        f"{1000 * found['seconds']['median']:.4g}",
        f"{ratio['median']:.3f}",
        f"{ratio['low']:.3f} – {ratio['high']:.3f}",
        aim_cell(found["aim"], "≤ {:.2f} {}"),
    ]


def memory_cell(found: dict[str, Any] | None, key: str) -> str:
    """Return how far a peak lies above what it is compared with, and its aim if it is a mask's."""
    above = (found or {}).get(key)
    if found is None or above is None:
        return "–"
    aim = aim_cell(found["aim"], " (≤ {:.1f} {})") if key == "above_base_in_parameters" else ""
    return f"{above:+.2f} P{aim}"


def aim_cell(aim: dict[str, Any] | None, words: str) -> str:
    """Return an aim and whether it is met."""
    return "" if aim is None else words.format(aim["at_most"], "met" if aim["met"] else "**missed**")


def cost_row(cells: list[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def runs_of(document: dict[str, Any]) -> list[str]:
    """Return which commands made the rows, where the file says so."""
    if "runs" not in document:
        return []
    every = [row for n in document["networks"].values() for row in [*n["candidates"].values(), *n["masks"].values()]]
    lines = []
    for name, run in document["runs"].items():
        rows = sum(row["run"] == name for row in every)
        lines.append(f"- `{run['command']}`, {run['date']}, {run.get('minutes', '–')} min: {rows} of {len(every)} rows")
    return ["Made by:\n\n" + "\n".join(lines)]


def table(match: re.Match[str]) -> str:
    """Return a block with the table that its file gives."""
    document = json.loads((RESULTS / match["file"]).read_text(encoding="utf-8"))
    made = made_of(document, int(match["number"] or 0))
    return f"{match[1]}{made.strip()}\n{match[5]}"


def made_of(document: dict[str, Any], number: int) -> str:
    """Return the table with this number of a result."""
    if document.get("kind") == "sweep":
        return pareto_table(request_in(document, number))
    if "networks" in document:
        return cost_table(document)
    if "study" in document:
        return STUDIES[document["study"]][number](document)
    if number == len(document.get("requests", ())) > 0:
        return beside_default(document)
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
