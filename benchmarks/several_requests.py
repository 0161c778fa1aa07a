"""Three deletions in a row, with what was forgotten left in the data and left out: the picture of the guide.

python benchmarks/several_requests.py
python benchmarks/several_requests.py --data fashion_mnist --subset 3000 --epochs 8 --out FILE.svg

The figures go to docs/results/several-requests-DATA.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import expunge
from expunge.batch import Examples
from expunge.data import LabeledDataset, Subset
from expunge.registry import find_component
from expunge.tasks.classification.training import TrainSettings, train_classifier

LABELS = (3, 5, 8)
RESULTS = Path(__file__).parents[1] / "docs" / "results"
WIDTH, HEIGHT, TOP, BOTTOM, LEFT, GAP = 720, 300, 64, 244, 56, 36
COLORS = ("#b3261e", "#1f6fb2", "#2e7d32")


def accuracy(model: nn.Module, examples: Examples, label: int) -> float:
    """Return the accuracy on the examples of a class, in percent."""
    batch = examples.batch((examples.targets == label).nonzero().flatten())
    with torch.no_grad():
        return 100 * float((model.eval()(batch.inputs).argmax(1) == batch.targets).double().mean())


def answered(model: nn.Module, source: LabeledDataset, *, leave_out: bool) -> list[list[float]]:
    """Return the test accuracy on each class before and after each request, (1 + requests, classes)."""
    shown = [[accuracy(model, source.test, label) for label in LABELS]]
    ledger = Path(tempfile.mkdtemp()) / "ledger.sqlite"
    given: dict[str, Any] = {"ledger": ledger, "exclude": "ledger"} if leave_out else {}
    for label in LABELS:
        gone = source.train.targets == label
        forget, retain = (Subset(source.train, part.nonzero().flatten()) for part in (gone, ~gone))
        model = expunge.unlearn(model, forget=forget, retain=retain, **given).model
        shown.append([accuracy(model, source.test, one) for one in LABELS])
        print("left out" if leave_out else "left in", f"after class {label}:", [round(one, 1) for one in shown[-1]])
    return shown


def panel(rows: Sequence[Sequence[float]], names: Sequence[str], title: str, left: float, wide: float) -> list[str]:
    """Return the marks of one half of the picture."""
    steps = ("trained", *(f"deletion {number}" for number in range(1, len(rows))))
    places = [left + wide * number / (len(rows) - 1) for number in range(len(rows))]
    height = [BOTTOM - (BOTTOM - TOP) * share / 4 for share in range(5)]
    found = [f'<text x="{left}" y="{TOP - 16}" font-weight="600">{title}</text>']
    for number, y in enumerate(height):
        found.append(f'<line x1="{left}" x2="{left + wide}" y1="{y}" y2="{y}" stroke="#d0d5da"/>')
        found.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{25 * number}</text>')
    for x, step in zip(places, steps, strict=True):
        found.append(f'<text x="{x}" y="{BOTTOM + 20}" text-anchor="middle">{step}</text>')
    for color, name, column in zip(COLORS, names, zip(*rows, strict=True), strict=True):
        points = [(x, BOTTOM - (BOTTOM - TOP) * value / 100) for x, value in zip(places, column, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        told = ", ".join(f"{value:.1f}" for value in column)
        found.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        found += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in points]
        found.append(f"<desc>{title}, {name}: {told} %</desc>")
    return found


def drawn(left_in: Sequence[Sequence[float]], left_out: Sequence[Sequence[float]], names: Sequence[str]) -> str:
    """Return the picture as SVG."""
    wide = (WIDTH - LEFT - GAP - 40 - LEFT) / 2
    keys = [
        f'<circle cx="{LEFT + 150 * number}" cy="{HEIGHT - 16}" r="4" fill="{color}"/>'
        f'<text x="{LEFT + 10 + 150 * number}" y="{HEIGHT - 12}">{name}</text>'
        for number, (color, name) in enumerate(zip(COLORS, names, strict=True))
    ]
    body = [
        *panel(left_in, names, "Earlier deletions left in the data", LEFT, wide),
        *panel(left_out, names, "Earlier deletions left out", LEFT + wide + GAP + LEFT, wide),
        *keys,
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="12" '
        'font-family="system-ui, sans-serif" fill="#22272e">'
    )
    title = f'<text x="{LEFT}" y="22" font-size="14" font-weight="600">Test accuracy on each deleted class (%)</text>'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, "<title>Three deletions in a row</title>", ground, title, *body, "</svg>"]) + "\n"


def main() -> None:
    """Train a network, delete three classes one after another in both ways, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--subset", type=int)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/images/several-requests.svg"))
    chosen = parser.parse_args()
    source: LabeledDataset = find_component("readers", chosen.data)(None)
    source = source if chosen.subset is None else source.subset(chosen.subset)
    torch.manual_seed(0)
    model = find_component("models", "small_cnn")(len(source.class_names), source.shape[0])
    train_classifier(model, source.train, TrainSettings(epochs=chosen.epochs, batch_size=32, lr=0.05))
    rows = [answered(model, source, leave_out=leave_out) for leave_out in (False, True)]
    names = [f"class {source.class_names[label]}" for label in LABELS]
    chosen.out.write_text(drawn(*rows, names), encoding="utf-8")
    study = f"several-requests-{chosen.data}"
    settings = {"data": chosen.data, "subset": chosen.subset, "epochs": chosen.epochs, "classes": LABELS}
    record = {"study": study, **settings, "test_accuracy": dict(zip(("left_in", "left_out"), rows, strict=True))}
    (RESULTS / f"{study}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
