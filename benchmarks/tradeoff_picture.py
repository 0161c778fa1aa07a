"""Draw the picture of the README: distance from retraining against test accuracy, from a committed benchmark.

Run: python benchmarks/tradeoff_picture.py     (writes docs/images/tradeoff.svg)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expunge.report.chart import get_plot_style

DOCS = Path(__file__).parents[1] / "docs"
RESULT = DOCS / "results" / "benchmark-cifar10.json"
PICTURE = DOCS / "images" / "tradeoff.svg"
COLORS = {"retrain": "#ad4208", "auto": "#0a5a94"}
PANELS = {"Forget a class": 6.0, "Forget a random tenth": 24.0}
"""Title → where its distances end."""
Y_LIMITS = (58.0, 72.0)


def list_points(request: Mapping[str, Any]) -> list[tuple[str, str, float, float]]:
    """Return key, label, distance from retraining and test accuracy of each row, the most accurate first."""
    rows = [row for row in request["rows"] if row["key"] != "original"]
    points = [(row["key"], row["label"], *(row["scores"][name]["mean"] for name in ("avg_gap", "ta"))) for row in rows]
    return sorted(points, key=lambda point: -point[3])


def draw_panel(ax: Axes, request: Mapping[str, Any], title: str, x_max: float) -> None:
    """Draw one request's noise floor and points, each label below the ones that it would cover."""
    ax.axvspan(0, request["noise_floor"]["mean"], color="#f0d9c8", linewidth=0)
    ax.set(xlim=(0, x_max), ylim=Y_LIMITS, xlabel="distance from retraining, points (left is closer)")
    ax.set_title(title, loc="left")
    taken: list[tuple[float, float]] = []
    for key, label, gap, accuracy in list_points(request):
        height = accuracy
        while any(abs(gap - x) < 0.2 * x_max and abs(height - y) < 0.62 for x, y in taken):
            height -= 0.02
        taken.append((gap, height))
        inside = gap > 0.8 * x_max
        ax.plot(gap, accuracy, "o", color=COLORS.get(key, "#7b8087"), markersize=7, clip_on=False)
        place = (gap + (-0.025 if inside else 0.025) * x_max, height)
        ax.annotate(label, place, ha="right" if inside else "left", va="center", fontsize=10)


def describe(document: Mapping[str, Any]) -> str:
    """Return the values of the picture in words, for those who do not see it."""
    panels = zip(PANELS, document["requests"], strict=False)
    parts = [
        f"{title}: " + "; ".join(f"{label} {gap:.2f}, {accuracy:.2f} %" for _, label, gap, accuracy in list_points(one))
        for title, one in panels
    ]
    return "Distance from retraining and test accuracy. " + ". ".join(parts)


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the picture."""
    with rc_context(get_plot_style()):
        figure = Figure(figsize=(10, 5), layout="constrained")
        for ax, request, (title, x_max) in zip(
            figure.subplots(1, 2, sharey=True), document["requests"], PANELS.items(), strict=False
        ):
            draw_panel(ax, request, title, x_max)
        figure.axes[0].set_ylabel("test accuracy, %")
        figure.suptitle("CIFAR-10, ResNet-20, three seeds; shaded: how far two retrained models are apart")
        figure.savefig(path, metadata={"Date": None, "Description": describe(document)})


if __name__ == "__main__":
    draw(json.loads(RESULT.read_text(encoding="utf-8")), PICTURE)
