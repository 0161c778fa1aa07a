"""The tables of committed results, written into the pages that show them.

Run: python benchmarks/tables.py     (rewrites docs/results/*.md and docs/research/*.md in place)

A test checks that nothing is left to rewrite. What stands between ``<!-- table: FILE.json#1 -->`` and ``<!-- end -->``
is made from the file beside the page: its second table, or its first where no number is given. Results of
``expunge run``, ``benchmark`` and ``sweep`` have the package's own tables; for every other study ``TABLES`` has a
column spec: ``head = cell | head = cell``, each cell a format string over a row. In cells a mean has its 95 % interval,
``!p`` is percent, ``!k`` thousandths, ``!m`` millionths, and what was not measured is a dash.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from expunge.metrics import clopper_pearson, summarize
from expunge.report import markdown_table, pareto_table

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(<!-- table: (?P<file>[\w.-]+\.json)(#(?P<number>\d+))? -->\n).*?(<!-- end -->)", re.DOTALL)
SCALES = {"p": 100, "k": 1000, "m": 1e6}
Document = Mapping[str, Any]


class Absent:
    """What was not measured: false, of no length, and a dash in a table."""

    def __bool__(self) -> bool:
        return False

    def __getitem__(self, key: Any) -> Absent:
        return self

    def __format__(self, spec: str) -> str:
        return "–"


ABSENT = Absent()


class Record(dict[str, Any]):
    """An object of a result file; means and medians know how they are written."""

    def __missing__(self, key: str) -> Absent:
        return ABSENT

    def __format__(self, spec: str) -> str:
        if "mean" in self:
            half = "" if self["half_width"] is ABSENT else f" ± {self['half_width']:{spec}}"
            return f"{self['mean']:{spec}}{half}"
        return f"{self['median']:{spec}} ({self['low']:{spec}}–{self['high']:{spec}})"


def read_object(pairs: dict[str, Any]) -> Record:
    """Return an object of a JSON file with null as what is absent."""
    return Record({key: ABSENT if value is None else value for key, value in pairs.items()})


def mean(values: Iterable[float]) -> Record:
    """Return the mean of some values with its interval."""
    return read_object(summarize(list(values)).as_dict())


class CellFormatter(Formatter):
    """Format strings with the scales of cells."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """Scale a number, or each number of a record."""
        if conversion not in SCALES:
            return super().convert_field(value, conversion)
        if isinstance(value, Record):
            return Record({key: self.convert_field(item, conversion) for key, item in value.items() if key != "values"})
        return ABSENT if value is ABSENT else value * SCALES[conversion]


FORMATTER = CellFormatter()


def polish(cell: str) -> str:
    """Return a cell with true minus signs, none of them before 0; names and exponents stay.

    Examples:
        >>> polish("-0.60 ± 0.76"), polish("-0.00"), polish("1e-16"), polish("ResNet-20")
        ('−0.60 ± 0.76', '0.00', '1e-16', 'ResNet-20')
    """
    return re.sub(r"(?<![\w.])-(?=\d)", "−", re.sub(r"(?<![\w.])-(0(\.0+)?)(?![\d.])", r"\1", cell))


@dataclass(frozen=True)
class Table:
    """How the rows of a result become a table.

    Args:
        columns: ``head = cell | head = cell``.
        rows: The key of the rows in the result, or what returns them.
        text: How many columns are text and not numbers. Default 1.
        names: Key of a row → value → how it is written.
        before: Format string over the result, above the table. Default none.
        after: The same below it, or what returns it.
    """

    columns: str
    rows: str | Callable[[Any], Iterable[Mapping[str, Any]]] = "rows"
    text: int = 1
    names: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    before: str = ""
    after: str | Callable[[Any], str] = ""

    def write(self, document: Document) -> str:
        """Return the table in Markdown; nothing where there are no rows."""
        heads, cells = zip(*(column.rsplit(" = ", 1) for column in self.columns.split(" | ")), strict=True)
        lines = [list(heads), [":---" if n < self.text else "---:" for n in range(len(heads))]]
        for row in document[self.rows] if isinstance(self.rows, str) else self.rows(document):
            named = {key: names.get(row[key], row[key]) for key, names in self.names.items()}
            values = Record({**row, **named})
            lines.append([polish(FORMATTER.vformat(cell, (), values)) for cell in cells])
        if len(lines) == 2:
            return ""
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        after = self.after(document) if callable(self.after) else FORMATTER.vformat(self.after, (), document)
        return "\n\n".join(part for part in (FORMATTER.vformat(self.before, (), document), table, after) if part)


MADE_BY = "`{command}`: {machine}."
YES_OR_NO = {"within_budget": {True: "yes", False: "no", ABSENT: "undecided"}}
YES_OR_NO["target_met"] = YES_OR_NO["within_budget"]


def count(hits: int, runs: int) -> str:
    """Return how many of the runs, with the exact interval of the share that this is consistent with."""
    if not runs:
        return "0"
    low, high = clopper_pearson(hits, runs)
    return f"{hits} (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


# The default beside the other rows of a benchmark: benchmark-*.json


def auto_differences(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield by how much nearer the default is to retraining than each row, seed by seed."""
    for request in document["requests"]:
        rows = {row["key"]: row for row in request["rows"] if row["role"] == "method"}
        default = rows.pop("auto")["scores"]["avg_gap"]["values"]
        for row in rows.values():
            pairs = zip(default, row["scores"]["avg_gap"]["values"], strict=True)
            paired = mean(one - other for one, other in pairs if one is not None and other is not None)
            bound = paired["mean"] + paired["half_width"] if paired["half_width"] is not ABSENT else ABSENT
            if paired["mean"] is not ABSENT:
                yield {"request": request["id"], "label": row["label"], "paired": paired, "bound": bound}


def auto_budgets(document: Document) -> list[Mapping[str, Any]]:
    """Return what became of the default's budget, request by request and seed by seed."""
    return [{**row, "request": one["id"]} for one in document["requests"] for row in one["budgets"]["auto"]]


def auto_violations(document: Document) -> str:
    """Return in how many runs the test set lost more than the certificate's bound."""
    runs = [row for row in auto_budgets(document) if row["bound"] is not ABSENT]
    missed = count(sum(row["true_drop"] > row["bound"] for row in runs), len(runs))
    return f"Of {len(runs)} runs with a certificate {missed} lost more on the test set than its bound."


def auto_frontiers(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield, of runs that did not forget single examples as asked, what was handed over and what forgot most."""
    for row in auto_budgets(document):
        measured = [one for one in row.get("evaluations", ()) if one["auc"] is not ABSENT]
        if measured and row["target_met"] is False:
            furthest = min(measured, key=lambda one: abs(one["auc"] - 0.5))
            yield {**row, "given": row["evaluations"][row["chosen"]], "furthest": furthest}


BESIDE_DEFAULT = (
    Table(
        "request = {request} | row = {label} | auto − this = {paired:.2f} | upper 95 % bound = {bound:.2f}",
        auto_differences,
        2,
    ),
    Table(
        "request = {request} | seed = {seed} | rate found = {search[lr]:g} | drop on test = {true_drop:.2f}"
        " | bound (certify) = {bound:.2f} | kept = {within_budget} | forgets = {target_met}",
        auto_budgets,
        names=YES_OR_NO,
        after=auto_violations,
    ),
    Table(
        "not met = {request} | seed = {seed} | handed over: points spent = {given[spent]:.3g} | AUC = {given[auc]:.3g}"
        " | forgot most: points spent = {furthest[spent]:.3g} | AUC = {furthest[auc]:.3g}",
        auto_frontiers,
    ),
)


# How often the certificate is wrong: certificate-coverage.json

SHARE_MISSED = "misses = {missed!p:.2f} | p = {p_value:.3f}"


def with_misses(key: str) -> Callable[[Document], Iterator[Mapping[str, Any]]]:
    """Return what yields the rows of a simulation with the shares of runs in which bounds missed."""

    def rows(document: Document) -> Iterator[Mapping[str, Any]]:
        for row in [document[key]] if key == "stream" else document[key]:
            runs, silent = row["runs"], row.get("silent", 0)
            drop = row["drop"] if "drop" in row else row["lost"] - row["gained"]
            missed = {"missed": row["misses"] / runs, "score_missed": row.get("approximate_misses", 0) / runs}
            yield {**row, **missed, "drop": drop, "unstated": silent / (silent + runs)}

    return rows


def by_size(key: str) -> Callable[[Document], Iterator[Mapping[str, Any]]]:
    """Return what yields the smallest drop that so many examples can certify."""
    return lambda document: ({"n": n, "drop": drop} for n, drop in document[key].items())


DROP = "drop = {drop!p:.2f}"
COVERAGE = (
    Table(
        f"n = {{examples}} | lost = {{lost!p:.2f}} | gained = {{gained!p:.2f}} | {DROP}"
        f" | mean exact bound = {{bound!p:.2f}} | {SHARE_MISSED} | mean score bound = {{approximate_bound!p:.2f}}"
        " | misses = {score_missed!p:.2f} | p = {approximate_p_value:.3f}",
        with_misses("rows"),
        0,
    ),
    Table(
        "requests = {requests} | fresh examples each = {examples} | streams with a miss = {missed!p:.2f}"
        " | p = {p_value:.3f}",
        with_misses("stream"),
        0,
    ),
    Table("n = {n} | smallest drop that can be certified, points = {drop!p:.2f}", by_size("smallest"), 0),
    Table(
        f"n = {{examples}} | values = {{what}} | {DROP} | betting bound = {{bound!p:.2f}}"
        f" | bound of the counts = {{counted!p:.2f}} | {SHARE_MISSED}",
        with_misses("bounded"),
        0,
    ),
    Table(
        f"n = {{examples}} | losses = {{what}} | rise = {{drop!p:.2f}} | bound = {{bound!p:.2f}} | {SHARE_MISSED}",
        with_misses("losses"),
        0,
    ),
    Table(
        f"n = {{examples}} | F1 = {{what}} | {DROP} | bound = {{bound!p:.2f}} | {SHARE_MISSED}"
        " | says nothing = {unstated!p:.2f}",
        with_misses("sets"),
        0,
    ),
    Table("n = {n} | smallest drop that can be certified, % of the range = {drop!p:.2f}", by_size("smallest_mean"), 0),
)


# EUPMU on a quadratic: eupmu-quadratic.json


def slowness(factor: Any) -> str:
    """Return a factor as the rate −ln, in e-folds per thousand updates."""
    return "unstable" if factor and factor > 1 else f"{-1000 * math.log(factor) if factor else ABSENT:.1f}"


def rate_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield rates and limits, predicted and measured."""
    for row in document["rates"]:
        bound = "≤ " if row["surgery"].startswith(("as published", "fast")) else ""
        limit = ABSENT if row["predicted"] and row["predicted"] > 1 else row["limit"]["rise"]
        rates = {"predicted": bound + slowness(row["predicted"]), "measured": slowness(row["measured"])}
        yield {**row, **rates, "limit": limit, "shrunk": row["late_gap"] / row["first_gap"]}


def dual_rate_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield rates over the dual rate, with and without the cut at 0."""
    for row in document["dual_rates"]:
        rates = {key: slowness(row[key]) for key in ("predicted", "measured")}
        yield {**row, **rates, "uncut_rate": slowness(row["uncut"]["predicted"])}


def noisy_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield leaks and floors."""
    for row in document["noisy"]:
        explicit = row["surgery"] == "explicit"
        name = row["surgery"] if explicit else f"implicit, {row['surgery']}"
        yield {**row, "surgery": name, "share": ABSENT if explicit else row["share"]}


def tolerance_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield budgets and what both forms made of them."""
    for row in document["tolerances"]:
        for name in ("explicit", "implicit"):
            yield {**row, **row[name], "name": name}


QUADRATIC = (
    Table(
        "surgery = {surgery} | condition = {condition} | rate, predicted = {predicted} | rate, measured = {measured}"
        " | rise, predicted = {limit!k:,.2f} | rise, measured = {rise!k:,.2f} | λ at the end = {multiplier:.2f}"
        " | late gap / first = {shrunk:.0e}",
        rate_rows,
    ),
    Table(
        "η = {rate:g} | explicit, predicted = {explicit[predicted]!k:,.2f}"
        " | explicit, measured = {explicit[measured]!k:,.2f} | implicit, predicted = {implicit[predicted]!k:,.2f}"
        " | implicit, measured = {implicit[measured]!k:,.2f}",
        "halvings",
    ),
    Table(
        "β‖g_r‖² = {share:g} | rate, predicted = {predicted} | rate, measured = {measured}"
        " | cut off at λ = 0 = {cut:.2f} | rise, predicted = {limit[rise]!k:,.2f} | rise, measured = {rise!k:,.2f}"
        " | rate without the cut = {uncut_rate} | rise without the cut = {uncut[rise]!k:,.2f}",
        dual_rate_rows,
    ),
    Table(
        "T = {updates} | ε = {tolerance:g} | surgery = {name} | rise, predicted = {predicted!k:,.2f}"
        " | rise, measured = {measured!k:,.2f} | after 2 T = {after_twice!k:,.2f} | ‖θ − θ*(τ)‖ = {distance:.4f}",
        tolerance_rows,
    ),
    Table(
        "surgery = {surgery} | η = {rate:g} | β‖g_r‖² = {share:g} | leak, predicted = {leak[predicted]!m:,.2f}"
        " | leak, measured = {leak!m:,.2f} | gap², predicted = {gap_squared[predicted]!m:,.2f}"
        " | gap², measured = {gap_squared!m:,.2f}",
        noisy_rows,
    ),
)


# Runs that are killed, and throughput: crash*.json, soak.json, throughput.json


def kill_rows(document: Document) -> list[Mapping[str, Any]]:
    """Return what killing came to, case by case and in all."""
    cases = document["cases"]
    return [*cases, {"case": "all"} | {key: sum(case[key] for case in cases) for key in cases[0] if key != "case"}]


def checkpoint_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield what saving the state takes by the size of the model, with the share of a run at the default."""
    for row in document["costs"]:
        share = row["seconds"] / (max(60.0, row["seconds"] / 0.02) + row["seconds"])
        yield {**row, "millions": row["weights"] / 1e6, "megabytes": row["bytes"] / 1e6, "share": share}


KILLS = (
    "request = {case} | kills = {kills} | of them while saving = {saving} | runs = {runs}"
    " | identical to the run left alone = {identical}"
)
CRASH = (
    Table(KILLS, kill_rows),
    Table(
        "weights = {millions:.3g} M | MB = {megabytes:.3g} | seconds to save = {seconds:.3g} | to read = {read:.3g}"
        " | share of the run at the default = {share:.1%}",
        checkpoint_rows,
        0,
        after=MADE_BY,
    ),
)


def write_soak(document: Document) -> str:
    """Return what random streams of requests did, and how deleted rows stood beside held-out ones at their ends."""
    actions = [{"action": action, "count": number} for action, number in document["actions"].items()]
    memory = [{**row, "kind": kind} for kind, row in document["memory"].items()]
    deleted = "deleted = {kind} | requests = {requests} | mean z = {mean_z:.2f} | combined z = {combined_z:.2f}"
    failed = "failed checks: " + "; ".join(document["problems"]) if document["problems"] else "no check failed"
    parts = [Table("commands = {action} | times = {count}", lambda _: actions).write(document)]
    parts.append(Table(deleted, lambda _: memory).write(document))
    parts.append(f"{document['streams']} streams in {document['minutes']} minutes: {failed}.")
    return "\n\n".join([*parts, MADE_BY.format_map(document)])


def loop_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield images per second of our loops and of the bare one."""
    for kind, networks in document["loops"].items():
        for name, row in networks.items():
            aim = "≤ 1.03" if name == "resnet18" else ""
            yield {**row, "kind": kind, "aim": aim, "sizes": " + ".join(map(str, row["batch"]))}


def describe_loops(document: Document) -> str:
    """Return the command and the machine of the throughput study."""
    threads = f"{document['threads']} thread{'s' * (document['threads'] > 1)}"
    rounds = sorted({row["rounds"] for row in document["loops"]["training"].values()})
    where = document["accelerator"] or f"{document['machine']}, {threads}"
    made = f"`{document['command']}`: {where}, torch {document['versions']['torch']}, {document['clock']}"
    return f"{made}, {' to '.join(map(str, dict.fromkeys((rounds[0], rounds[-1]))))} rounds."


THROUGHPUT = (
    Table(
        "network = {title} | loop = {kind} | batch = {sizes}"
        " | images/s, bare = {images_per_second[bare][median]:.1f}"
        " | images/s, ours = {images_per_second[ours][median]:.1f}"
        " | time over bare (quartiles) = {time_over_bare[ours]:.3f} | aim = {aim}",
        loop_rows,
        2,
        after=describe_loops,
    ),
    Table(
        "network = {title} | batch = {batch[0]}"
        " | channels last over contiguous (quartiles) = {time_over_bare[bare, channels last]:.3f}",
        lambda document: document["loops"]["training"].values(),
    ),
    Table(
        "part = {name} | seconds = {seconds:.1f} | share = {share:.1%}",
        lambda document: [{"name": name, **part} for name, part in document["run"]["parts"].items()],
        before="{run[model]}, {run[subset]} images:",
    ),
)


# Step cost and several processes: step-cost.json, rank-*.json


def step_cost(document: Document) -> str:
    """Return the tables of surgeries and of masks, network by network, and which commands made their rows."""
    parts = []
    for network in document["networks"].values():
        sides = " + ".join(map(str, network["batch"]))
        about = f"batch {sides}, normalization {document['policy']}, {document['threads']} threads"
        parts.append(SURGERY_COST.write({**network, "about": about}))
        parts.append(MASK_COST.write(network))
    every = [row for n in document["networks"].values() for row in [*n["candidates"].values(), *n["masks"].values()]]
    lines = []
    for name, run in document["runs"].items():
        rows = sum(row["run"] == name for row in every)
        lines.append(f"- `{run['command']}`, {run['date']}, {run['minutes']} min: {rows} of {len(every)} rows")
    return "\n\n".join([*parts, "Made by:", "\n".join(lines)])


def aim_cell(aim: Any, words: str) -> str:
    """Return an aim and whether it is met."""
    return f"{words.format(aim['at_most'])} {'met' if aim['met'] else '**missed**'}" if aim else ""


def above_cell(memory: Any, key: str) -> str:
    """Return how far a peak lies above another in units of the parameters, and its aim if it is a mask's."""
    if memory[key] is ABSENT:
        return "–"
    aim = f" ({aim_cell(memory['aim'], '≤ {:.1f}')})" if memory["aim"] and key.startswith("above_base") else ""
    return f"{memory[key]:+.2f} P{aim}"


def time_cells(name: str, row: Record) -> dict[str, str]:
    """Return the cells of a surgery's or mask's time."""
    ratio, aim = row["ratio"], aim_cell(row["aim"], "≤ {:.2f}")
    quartiles = f"{ratio['low']:.3f} – {ratio['high']:.3f}"
    cells = {"name": name, "ms": f"{1000 * row['seconds']['median']:.4g}", "ratio": f"{ratio['median']:.3f}"}
    return {**cells, "quartiles": quartiles, "aim": aim}


def surgery_costs(network: Document) -> Iterator[Mapping[str, Any]]:
    """Yield one network's surgeries."""
    for name, row in network["candidates"].items():
        yield {**time_cells(name, row), "above": above_cell(row["memory"], "above_floor_in_parameters")}
    for name in network.get("not_installed", {}):
        yield dict.fromkeys(("ratio", "quartiles", "aim", "above"), "") | {"name": name, "ms": "not installed"}


def mask_costs(network: Document) -> Iterator[Mapping[str, Any]]:
    """Yield one network's masks; the certificate has a row of its own."""
    for name, row in network["masks"].items():
        above = {key: above_cell(row[key], "above_base_in_parameters") for key in ("memory", "memory_bf16")}
        yield {**time_cells(name, row), **above}
        if own := row["certificate"]:
            cells = time_cells("… its certificate alone", Record(own, ratio=own["over_base"], aim=ABSENT))
            share = f"{own['share']['median']:.0%} of the update"
            yield {**cells, "ratio": f"+{cells['ratio']}", "aim": share, "memory": "", "memory_bf16": ""}


TIMES = "one update = {{name}} | ms = {{ms}} | time / {0} = {{ratio}} | quartiles = {{quartiles}} | aim = {{aim}}"
SURGERY_COST = Table(
    TIMES.format("floor") + " | memory above floor = {above}",
    surgery_costs,
    before="**{title}**, {about}. {floor[sentence]}",
)
MASK_COST = Table(
    TIMES.format("base") + " | memory above base = {memory} | with bfloat16 = {memory_bf16}",
    mask_costs,
    before="**{title}**, the same under a mask, over the same surgery without one.",
)
LARGE, LARGE_BLOCK, UNITS = 7_000_000_000, 202_000_000, 33
"""A language model on paper: parameters, those of a block, units that are gathered one by one."""


def rank_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield collectives and bytes of every surgery and mask, and what they come to for the model on paper."""
    units = document["units"] - 1
    for name, row in document["rows"].items():
        ddp, fsdp, alone = row["ddp"]["collectives"], row["fsdp"]["collectives"], row["alone"]

        def number(counts: Mapping[str, float], *words: str) -> float:
            return sum(count for key, count in counts.items() for word in words if word in key)

        gathers = number(fsdp, "all_gather", "allgather_base") / units
        reductions, single = number(fsdp, "reduce_scatter") / units, number(fsdp, "allreduce", "all_reduce")
        # The hook's own reductions are among those of single numbers.
        numbers = number(ddp, "allreduce", "allgather") - ddp["gradients"]
        paper = {}
        for devices in (8, 64):
            held = LARGE * (alone["rest"] + alone["peak"]) / devices + 2 * LARGE_BLOCK * (2 + 4)
            sent = LARGE * (devices - 1) / devices * (2 * gathers + 4 * reductions)
            paper |= {f"gib{devices}": held / 2**30, f"sent{devices}": sent / 1e9}
        counts = {"gradients": ddp["gradients"], "numbers": numbers, "gathers": gathers, "reductions": reductions}
        every = (gathers + reductions) * UNITS + single
        yield {**row, **counts, "single": single, **paper, "every": every, "name": name}


def shared_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield one request on one process and on two."""
    for method, found in document["rows"].items():
        for way, row in found["ways"].items():
            yield {**row, "method": method, "way": way, "moved": found["moved"]}


RANK_COSTS = (
    Table(
        "one update = {name} | DDP: gradients = {gradients:g} | DDP: numbers = {numbers:g}"
        " | FSDP2: gathers = {gathers:g} | FSDP2: reductions = {reductions:g} | FSDP2: numbers = {single:g}",
        rank_rows,
    ),
    Table(
        "one update = {name} | alone: rest = {alone[rest]:.1f} | alone: peak = {alone[peak]:.1f}"
        " | DDP: rest = {ddp[rest]:.1f} | DDP: peak = {ddp[peak]:.1f} | FSDP2: rest = {fsdp[rest]:.1f}"
        " | FSDP2: peak = {fsdp[peak]:.1f}",
        rank_rows,
    ),
    Table(
        "one update = {name} | GiB, 8 devices = {gib8:.1f} | GiB, 64 devices = {gib64:.1f}"
        " | GB sent, 8 devices = {sent8:.0f} | GB sent, 64 devices = {sent64:.0f} | collectives = {every:.0f}",
        rank_rows,
    ),
)
RANK_RUN = Table(
    "method = {method} | way = {way} | UA % = {ua:.2f} | RA % = {ra:.2f} | TA % = {ta:.2f}"
    " | largest difference of a weight = {apart[largest]:.1e} | RMS difference = {apart[rms]:.1e}"
    " | RMS move = {moved:.1e} | s = {seconds:.0f}",
    shared_rows,
)


Writer = Table | Callable[[Document], str]
TABLES: Mapping[str, tuple[Writer, ...]] = {
    "certificate-coverage": COVERAGE,
    "crash": CRASH,
    "crash-ranks": (Table(KILLS, kill_rows, after="`{command}`: {machine} each."),),
    "eupmu-quadratic": QUADRATIC,
    "rank-costs": RANK_COSTS,
    "rank-run": (RANK_RUN,),
    "soak": (write_soak,),
    "step-cost": (step_cost,),
    "throughput": THROUGHPUT,
}


def write_table(path: Path, number: int) -> str:
    """Return the table with this number of a result file."""
    text = path.read_text(encoding="utf-8")
    plain, document = json.loads(text), json.loads(text, object_hook=read_object)
    if path.stem in TABLES:
        writer = TABLES[path.stem][number]
        return writer.write(document) if isinstance(writer, Table) else writer(document)
    requests = plain.get("requests") or [plain["request"]]
    if number == len(requests):
        return "\n\n".join(filter(None, (table.write(document) for table in BESIDE_DEFAULT)))
    return (pareto_table if document["kind"] == "sweep" else markdown_table)(requests[number])


def wrap_lines(text: str) -> str:
    """Return the text with what is no table in lines of at most 100 characters."""
    wrap = textwrap.TextWrapper(100, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.strip().splitlines():
        wrap.subsequent_indent = "  " if line.startswith("- ") else ""
        lines.append(line if line.startswith("|") else wrap.fill(line))
    return "\n".join(lines)


def rewrite(page: Path) -> str:
    """Return the text of a page with its tables as the results beside it have them."""

    def table(block: re.Match[str]) -> str:
        made = write_table(page.parent / block["file"], int(block["number"] or 0))
        return f"{block[1]}{wrap_lines(made)}\n{block[5]}"

    return BLOCK.sub(table, page.read_text(encoding="utf-8"))


def main() -> None:
    """Rewrite every page."""
    for page in sorted([*DOCS.glob("results/*.md"), *DOCS.glob("research/*.md")]):
        text = rewrite(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            print(f"{page.name}: tables written")


if __name__ == "__main__":
    main()
