"""The table of one request, as every form of report shows it: which columns, which order, what is marked."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.document import MetricSection, ModelRow, RequestSection
from expunge.report.numbers import count_decimals, format_metric, format_with_half_width
from expunge.report.ranking import rank_methods, smallest_gap_method


@dataclass(frozen=True)
class TableCell:
    """A figure: its text, its half-width's text (empty if unknown), and the number to sort by."""

    text: str
    half: str
    number: float | None

    @property
    def full_text(self) -> str:
        """The figure with its half-width."""
        return f"{self.text} ± {self.half}" if self.half else self.text


@dataclass(frozen=True)
class TableLine:
    """A row: one model's figures."""

    key: str
    label: str
    paper: str
    cells: tuple[TableCell, ...]
    best: bool


@dataclass(frozen=True)
class Table:
    """Columns, the lines of original and retrained, and the methods' lines, the closest first."""

    columns: tuple[MetricSection, ...]
    references: tuple[TableLine, ...]
    methods: tuple[TableLine, ...]
    floor: str

    def select_columns(self, *keys: str) -> Table:
        """Return the table with no columns but those of ``keys``."""
        indices = [index for index, metric in enumerate(self.columns) if metric.key in keys]
        return Table(
            tuple(self.columns[index] for index in indices),
            tuple(_select_cells(line, indices) for line in self.references),
            tuple(_select_cells(line, indices) for line in self.methods),
            self.floor,
        )


def _select_cells(line: TableLine, indices: list[int]) -> TableLine:
    return TableLine(line.key, line.label, line.paper, tuple(line.cells[index] for index in indices), line.best)


def _build_cell(row: ModelRow, metric: MetricSection) -> TableCell:
    value, half = row.mean(metric.key), row.half_width(metric.key)
    if value is None or half is None:
        return TableCell(format_metric(value, metric.unit), "", value)
    places = count_decimals(value, metric.unit)
    return TableCell(format_metric(value, metric.unit, places), format_metric(half, metric.unit, places), value)


def build_table(request: RequestSection) -> Table:
    """Return the table of a request; a metric that no model has gets no column."""
    columns, winner = request.columns, smallest_gap_method(request)

    def line(row: ModelRow) -> TableLine:
        return TableLine(
            row.key, row.label, row.paper, tuple(_build_cell(row, metric) for metric in columns), row is winner
        )

    roles = {"original": 0, "retrained": 1}
    floor = [_noise_floor_line(request, columns)] if request.noise_floors else []
    references = sorted((row for row in request.rows if row.role in roles), key=lambda row: roles[row.role])
    return Table(
        columns, (*map(line, references), *floor), tuple(map(line, rank_methods(request))), describe_footer(request)
    )


def _noise_floor_line(request: RequestSection, columns: tuple[MetricSection, ...]) -> TableLine:
    """Return the line of two retrained models beside each other; only distances to the retrained model have a cell."""
    scores = request.noise_floors
    floor = ModelRow(key="noise_floor", label="Noise floor", role="retrained", scores=scores)
    return TableLine(floor.key, floor.label, "", tuple(_build_cell(floor, metric) for metric in columns), False)


def describe_seeds(request: RequestSection) -> str:
    """Return how many seeds there are, and what ± means."""
    seeds = len(request.measured)
    return "One seed, so no intervals." if seeds == 1 else f"{seeds} seeds; ± is half a 95 % t-interval over seeds."


def describe_footer(request: RequestSection) -> str:
    """Return what stands under the table beside the number of seeds: the noise floor, and what is missing."""
    return " ".join(text for text in (describe_noise_floor(request), *describe_missing(request)) if text)


def describe_missing(request: RequestSection) -> list[str]:
    """Return which rows have no figures at which seeds, and why; nothing where all are there.

    Examples:
        >>> from expunge.report.document import MissingRow
        >>> lost = [MissingRow(row="ft", seed=seed, sentence="It was not made yet.") for seed in (1, 2)]
        >>> rows = [ModelRow(key=key, label=key.upper(), role="method", scores={}) for key in ("ft", "rl")]
        >>> describe_missing(RequestSection.model_construct(incomplete=tuple(lost), rows=tuple(rows)))[0]
        'Without figures, and means over the other seeds: FT at seeds 1, 2 (it was not made yet).'
    """
    labels = {row.key: row.label for row in request.rows}
    seeds: dict[tuple[str, str], list[int]] = {}
    for one in request.incomplete:
        seeds.setdefault((one.row, one.sentence), []).append(one.seed)
    rows: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for (row, why), members in seeds.items():
        rows.setdefault((tuple(sorted(members)), why), []).append(row)
    texts = [
        f"{_join_labels(members, labels)} at seed{'s' * (len(at) > 1)} {', '.join(map(str, at))} "
        f"({_format_in_brackets(why)})"
        for (at, why), members in rows.items()
    ]
    return [f"Without figures, and means over the other seeds: {'; '.join(texts)}."] if texts else []


def _join_labels(rows: list[str], labels: dict[str, str]) -> str:
    return "every row" if len(rows) == len(labels) > 1 else ", ".join(labels.get(row, row) for row in rows)


def _format_in_brackets(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def describe_noise_floor(request: RequestSection) -> str:
    """Return the noise floor in words; without a retrained reference, what the order of several methods means."""
    floor = request.noise_floor
    if not request.retrained and len(request.methods) == 1:
        return ""
    if not request.retrained:
        by_auc = any(row.mean("auc") is not None for row in request.methods)
        return "Without a reference there is no ranking; methods stand " + (
            "in the order of |AUC − chance|." if by_auc else "as they were run."
        )
    if floor is None and request.noise_floors:
        return ""
    if floor is None or floor.mean is None:
        return "Noise floor: not measured."
    distance = format_with_half_width(floor.mean, floor.half_width)
    return f"Noise floor: two retrained models are {distance} points of average gap apart."
