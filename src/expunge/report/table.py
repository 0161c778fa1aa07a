"""The table of one request, as every form of report shows it: which columns, which order, what is marked."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.document import Metric, Request, Row
from expunge.report.headline import best, ranked
from expunge.report.numbers import decimals, write, write_with_half


@dataclass(frozen=True)
class Cell:
    """A figure: its text, its half-width's text (empty if unknown), and the number to sort by."""

    text: str
    half: str
    number: float | None

    @property
    def whole(self) -> str:
        """The figure with its half-width."""
        return f"{self.text} ± {self.half}" if self.half else self.text


@dataclass(frozen=True)
class Line:
    """A row: one model's figures."""

    key: str
    label: str
    paper: str
    cells: tuple[Cell, ...]
    best: bool


@dataclass(frozen=True)
class Table:
    """Columns, the lines of original and retrained, and the methods' lines, the closest first."""

    columns: tuple[Metric, ...]
    references: tuple[Line, ...]
    methods: tuple[Line, ...]
    floor: str

    def only(self, *keys: str) -> Table:
        """Return the table with no columns but those of ``keys``."""
        kept = [index for index, metric in enumerate(self.columns) if metric.key in keys]
        return Table(
            tuple(self.columns[index] for index in kept),
            tuple(_select(line, kept) for line in self.references),
            tuple(_select(line, kept) for line in self.methods),
            self.floor,
        )


def _select(line: Line, kept: list[int]) -> Line:
    return Line(line.key, line.label, line.paper, tuple(line.cells[index] for index in kept), line.best)


def _cell(row: Row, metric: Metric) -> Cell:
    value, half = row.mean(metric.key), row.half(metric.key)
    if value is None or half is None:
        return Cell(write(value, metric.unit), "", value)
    places = decimals(value, metric.unit)
    return Cell(write(value, metric.unit, places), write(half, metric.unit, places), value)


def build_table(request: Request) -> Table:
    """Return the table of a request; a metric that no model has gets no column.

    Args:
        request: The checked request.
    """
    columns, winner = request.columns, best(request)

    def line(row: Row) -> Line:
        return Line(row.key, row.label, row.paper, tuple(_cell(row, metric) for metric in columns), row is winner)

    roles = {"original": 0, "retrained": 1}
    floor = [_floor(request, columns)] if request.noise_floors else []
    references = sorted((row for row in request.rows if row.role in roles), key=lambda row: roles[row.role])
    return Table(columns, (*map(line, references), *floor), tuple(map(line, ranked(request))), foot(request))


def _floor(request: Request, columns: tuple[Metric, ...]) -> Line:
    """Return the line of two retrained models beside each other; only distances to the retrained model have a cell."""
    scores = request.noise_floors
    floor = Row(key="noise_floor", label="Noise floor", role="retrained", scores=scores)
    return Line(floor.key, floor.label, "", tuple(_cell(floor, metric) for metric in columns), False)


def seeds_sentence(request: Request) -> str:
    """Return how many seeds there are, and what ± means."""
    seeds = len(request.measured)
    return "One seed, so no intervals." if seeds == 1 else f"{seeds} seeds; ± is half a 95 % t-interval over seeds."


def foot(request: Request) -> str:
    """Return what stands under the table beside the number of seeds: the noise floor, and what is missing."""
    return " ".join(text for text in (floor_sentence(request), *lost_sentences(request)) if text)


def lost_sentences(request: Request) -> list[str]:
    """Return which rows have no figures at which seeds, and why; nothing where all are there.

    Examples:
        >>> from expunge.report.document import Lost
        >>> lost = [Lost(row="ft", seed=seed, sentence="It was not made yet.") for seed in (1, 2)]
        >>> rows = [Row(key=key, label=key.upper(), role="method", scores={}) for key in ("ft", "rl")]
        >>> lost_sentences(Request.model_construct(incomplete=tuple(lost), rows=tuple(rows)))[0]
        'Without figures, and means over the other seeds: FT at seeds 1, 2 (it was not made yet).'
    """
    labels = {row.key: row.label for row in request.rows}
    seeds: dict[tuple[str, str], list[int]] = {}
    for one in request.incomplete:
        seeds.setdefault((one.row, one.sentence), []).append(one.seed)
    rows: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for (row, why), found in seeds.items():
        rows.setdefault((tuple(sorted(found)), why), []).append(row)
    told = [
        f"{_named(found, labels)} at seed{'s' * (len(at) > 1)} {', '.join(map(str, at))} ({_inside(why)})"
        for (at, why), found in rows.items()
    ]
    return [f"Without figures, and means over the other seeds: {'; '.join(told)}."] if told else []


def _named(rows: list[str], labels: dict[str, str]) -> str:
    """Return rows by their labels, all of them in one word."""
    return "every row" if len(rows) == len(labels) > 1 else ", ".join(labels.get(row, row) for row in rows)


def _inside(sentence: str) -> str:
    """Return a sentence as it stands in brackets."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def floor_sentence(request: Request) -> str:
    """Return the noise floor in words; without a retrained reference, what the order of several methods means."""
    floor = request.noise_floor
    if not request.reference and len(request.methods) == 1:
        return ""
    if not request.reference:
        by_auc = any(row.mean("auc") is not None for row in request.methods)
        return "Without a reference there is no ranking; methods stand " + (
            "in the order of |AUC − chance|." if by_auc else "as they were run."
        )
    if floor is None or floor.mean is None:
        return "Noise floor: not measured."
    return (
        f"Noise floor: two retrained models are {write_with_half(floor.mean, floor.half)} points of average gap apart."
    )
