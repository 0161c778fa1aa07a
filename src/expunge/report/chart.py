"""One figure that matplotlib draws: its size, its look, and the marks that all figures share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expunge.errors import escape_controls
from expunge.report.templating import read_palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]

EXPLAINED = "explained"
"""How the group of an artist begins whose label becomes the ``<title>`` of its element."""
ROLES = ("original", "retrained", "method", "best")
FONT_SIZE = 11.0
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Chart:
    """A figure that can be drawn: its name in files, its title, and how much room it needs, in points."""

    name: str
    title: str
    draw: Callable[[Axes], None]
    height: float
    width: float = 440
    left: float = 52
    right: float = 20
    above: float = 30
    below: float = 42
    note: str = ""

    def make_axes(self, figure: Callable[..., Any], title: str = "") -> Axes:
        """Return drawn axes in a new figure."""
        from matplotlib import rc_context

        height = self.height + self.above + 22 * bool(title) + self.below
        with rc_context(get_plot_style()):
            made = figure(figsize=(self.width / 72, height / 72))
            box = (self.left, self.below, self.width - self.left - self.right, self.height)
            sides = (self.width, height, self.width, height)
            axes: Axes = made.add_axes([length / side for length, side in zip(box, sides, strict=True)])
            self.draw(axes)
            if title:
                axes.set_title(clean_text(title, 60), loc="left", pad=self.above - 4, parse_math=False)
        return axes


def get_plot_style() -> dict[Any, Any]:
    """Return the settings of matplotlib that all figures have: text stays text, and no name is read as a formula."""
    color = read_palette()
    return {
        "font.size": FONT_SIZE,
        "text.color": color["ink"],
        "text.parse_math": False,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.edgecolor": color["mute"],
        "axes.labelcolor": color["soft"],
        "axes.facecolor": color["paper"],
        "figure.facecolor": color["paper"],
        "savefig.facecolor": color["paper"],
        "savefig.dpi": 200,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": color["grid"],
        "xtick.color": color["soft"],
        "ytick.color": color["soft"],
        "xtick.bottom": False,
        "ytick.left": False,
        "xtick.minor.bottom": False,
        "legend.frameon": False,
        "legend.fontsize": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "expunge",
        "pdf.fonttype": 42,
    }


def clean_text(text: str, limit: int = 40) -> str:
    """Return a name as a figure shows it: in one line, without control characters, cut where it is long.

    Examples:
        >>> clean_text("a  b"), clean_text("abcdef", limit=4)
        ('a b', 'abc…')
    """
    plain = escape_controls(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split())))
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def draw_mark(axes: Axes, role: str, x: float, y: float, tip: str) -> Any:
    """Draw the mark of a role; ``tip`` becomes the ``<title>`` of its element."""
    color = read_palette()
    fill, edge, shape = {
        "original": (color["paper"], color["soft"], "s"),
        "retrained": (color["forget"], color["paper"], "D"),
        "method": (color["mute"], color["paper"], "o"),
        "best": (color["accent"], color["paper"], "o"),
    }[role]
    (mark,) = axes.plot([x], [y], shape, mfc=fill, mec=edge, ms=7.5, mew=1.4, clip_on=False, zorder=4)
    return explain(mark, tip)


def explain(artist: Any, tip: str) -> Any:
    """Give an artist the words that stand in the ``<title>`` of its element; automatic legends leave it out."""
    artist.set_label(f"_{clean_text(tip, 1000)}")
    artist.set_gid(EXPLAINED)
    return artist


def draw_legend(axes: Axes, entries: Sequence[tuple[str, Any]], *, beside: bool = False) -> None:
    """Put a legend of texts and artists in one line above the axes, or in a column beside them."""
    if entries:
        corner = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)}
        line = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.99), "ncols": len(entries), "columnspacing": 1.6}
        numbers = [str(number) for number in range(len(entries))]
        place: dict[str, Any] = corner if beside else line
        made = axes.legend([artist for _, artist in entries], numbers, handletextpad=0.4, handlelength=1.2, **place)
        for text, (label, _) in zip(made.get_texts(), entries, strict=True):
            text.set(parse_math=False, text=clean_text(label, 24), color=read_palette()["soft"])


def draw_interval(axes: Axes, center: Point, half: Point, best: bool) -> None:
    """Draw half-widths as lines through a point; none where they are zero."""
    color = read_palette()
    for across, upwards in ((half[0], 0.0), (0.0, half[1])):
        if across or upwards:
            (x, y), line = center, ("accent", 1.8, 0.85) if best else ("soft", 1.2, 0.55)
            axes.plot(
                [x - across, x + across],
                [y - upwards, y + upwards],
                color=color[line[0]],
                lw=line[1],
                alpha=line[2],
                zorder=2,
            )


def set_range(set_limits: Callable[..., Any], values: Sequence[float], margin: float) -> None:
    """Set the ends of an axis around values; a single value gets room around it."""
    low, high = min(values), max(values)
    room = margin * (high - low) if high - low > 1e-9 * max(1.0, abs(high)) else 0.5
    set_limits(low - room, high + room)
