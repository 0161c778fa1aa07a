"""From the scores of every model at every seed to the rows of the result document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from expunge.errors import ConfigError, DataError
from expunge.metrics.accuracy import per_class_accuracy
from expunge.metrics.evaluate import DEFAULT_METRICS, Scores, collect_evidence, evaluate_outputs, resolve_metrics
from expunge.metrics.metric import Column, Metric
from expunge.metrics.outputs import ModelOutputs
from expunge.metrics.statistics import Summary, summarize

Role = Literal["original", "retrained", "method"]

GAP_KEY = "avg_gap"
SECONDS = Column(
    key="seconds",
    label="seconds",
    unit="s",
    definition="Wall-clock seconds of making the model, mask and other preparing passes included; evaluation is not.",
    direction="lower",
)
PEAK_MEMORY = Column(
    key="peak_memory",
    label="peak memory",
    unit="MiB",
    definition=(
        "Most memory held while the model was made, beyond what was held before: on an accelerator what PyTorch "
        "allocated there, on the CPU resident memory of the process, which hides what an earlier run left to be used "
        "again."
    ),
    direction="lower",
)
SPEEDUP = Column(
    key="speedup",
    label="speed-up",
    unit="×",
    definition="Seconds of retraining over seconds of the method, mask and other preparing passes included in both.",
    direction="higher",
)
COST_COLUMNS = (SECONDS, PEAK_MEMORY, SPEEDUP)
"""The columns that no metric computes: they are measured where the model is made."""


@dataclass(frozen=True)
class ModelScores:
    """One model at one seed.

    Args:
        key: Name of the row, the same at every seed.
        label: What the reader sees.
        role: The original, the retrained reference, or what a method made.
        seed: Which draw, initialization and order.
        scores: Of this model beside the model that the same seed retrained.
        per_class: Accuracy on the held-out examples of each class in percent, forgotten classes included.
        history: What the caller recorded of its updates.
        settings: What it was made with.
        evidence: What stands behind the scores: counts, intervals, who judged.
    """

    key: str
    label: str
    role: Role
    seed: int
    scores: Scores
    per_class: Sequence[float | None] = ()
    history: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_outputs(
        cls,
        outputs: ModelOutputs,
        *,
        key: str,
        label: str,
        role: Role,
        seed: int,
        retrained: ModelOutputs | None = None,
        seconds: float | None = None,
        peak_bytes: int | None = None,
        retrain_seconds: float | None = None,
        metrics: Iterable[Metric | str] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> ModelScores:
        """Return the trial of a model whose outputs are at hand.

        Args:
            outputs: Of the model.
            key: Name of the row.
            label: What the reader sees.
            role: What the model is.
            seed: Which draw, initialization and order.
            retrained: Outputs of the model that *this seed* retrained, if there is one.
            seconds: What it took to make the model.
            peak_bytes: Most bytes of memory that took.
            retrain_seconds: What it took to retrain, to state how many times faster this was.
            metrics: Metrics or names of them; by default all that are usually evaluated.
            history: What was recorded of its updates.
            settings: What it was made with.

        Raises:
            DataError: If the two models were not evaluated on the same examples.
        """
        scores = {
            **evaluate_outputs(outputs, retrained, metrics),
            **compute_cost_scores(seconds, peak_bytes, retrain_seconds),
        }
        per_class = per_class_accuracy(outputs.held_out.logits, outputs.held_out.targets)
        evidence = collect_evidence(outputs, retrained, metrics)
        return cls(key, label, role, seed, scores, per_class, history, dict(settings or {}), evidence)


def compute_cost_scores(
    seconds: float | None, peak_bytes: int | None, retrain_seconds: float | None
) -> dict[str, float]:
    """Return the scores of what a model cost, as far as they are known."""
    costs = {} if seconds is None else {SECONDS.key: float(seconds)}
    if peak_bytes is not None:
        costs[PEAK_MEMORY.key] = peak_bytes / 2**20
    if seconds and retrain_seconds is not None:
        costs[SPEEDUP.key] = retrain_seconds / seconds
    return costs


def aggregate(
    trials: Sequence[ModelScores],
    floor: Summary | None = None,
    metrics: Iterable[Metric | Column | str] | None = None,
    floors: Mapping[str, Summary] | None = None,
) -> dict[str, Any]:
    """Return ``metrics``, ``noise_floor``, ``noise_floors`` and ``rows`` of a result as plain dictionaries without NaN.

    Rows come in the order of their first trial. Values come in the order of the seeds, with None where a row lacks one;
    a metric that no row has is absent. History and settings are those of a row's first trial; evidence is listed by
    seed in the rows that have some.

    Args:
        trials: Every model at every seed.
        floor: The noise floor of the average gap.
        metrics: The metrics of the scores, in the order of the columns, or columns where no metric computes the score
            (those of generated images); by default those usually evaluated.
        floors: By metric, what two retrained models of one split get; that of the average gap is its noise floor.

    Raises:
        DataError: If there is no trial, a row has two of one seed, or its trials disagree about label or role.
        ConfigError: If a score belongs to none of the metrics.

    Examples:
        >>> trials = [ModelScores("ft", "FT", "method", seed, {"ua": 10.0 + seed, "seconds": 2.0}) for seed in (0, 2)]
        >>> table = aggregate(trials)
        >>> [column["key"] for column in table["metrics"]], table["rows"][0]["scores"]["ua"]["mean"]
        (['ua', 'seconds'], 11.0)
    """
    if not trials:
        raise DataError("at least one model to tabulate", "none", "evaluate the original model at least")
    columns = select_columns(trials, metrics)
    seeds = sorted({trial.seed for trial in trials})
    keys, known_floors = [column.key for column in columns], floors or {}
    floor = floor or known_floors.get(GAP_KEY)
    floor_rows = {key: known_floors[key].as_dict() for key in keys if key in known_floors}
    return {
        "metrics": [column._asdict() for column in columns],
        "noise_floor": None if floor is None else floor.as_dict(),
        **({"noise_floors": floor_rows} if floor_rows else {}),
        "rows": [build_row(group, keys, seeds) for group in group_by_row(trials)],
    }


def select_columns(trials: Sequence[ModelScores], metrics: Iterable[Metric | Column | str] | None) -> list[Column]:
    """Return the columns that some trial fills, in the order of the metrics."""
    listed = [*map(resolve_column, DEFAULT_METRICS if metrics is None else metrics), *COST_COLUMNS]
    columns = list({column.key: column for column in listed}.values())
    used = {key for trial in trials for key in trial.scores}
    unknown = used - {column.key for column in columns}
    if unknown:
        actual = f"'{min(unknown)}' without one"
        raise ConfigError("a metric for every score", actual, "pass the metrics that made the scores as metrics=")
    filled = {key for trial in trials for key, value in trial.scores.items() if value is not None}
    return [column for column in columns if column.key in filled]


def resolve_column(metric: Metric | Column | str) -> Column:
    return metric if isinstance(metric, Column) else resolve_metrics([metric])[0].column()


def group_by_row(trials: Sequence[ModelScores]) -> list[list[ModelScores]]:
    """Return the trials of each row."""
    rows: dict[str, list[ModelScores]] = {}
    for trial in trials:
        rows.setdefault(trial.key, []).append(trial)
    for key, group in rows.items():
        if len({(trial.label, trial.role) for trial in group}) > 1:
            raise DataError(f"one label and role for '{key}'", "several", "give different models different keys")
        if len({trial.seed for trial in group}) < len(group):
            raise DataError(f"one '{key}' per seed", "two of one seed", "give different models different keys")
    return list(rows.values())


def build_row(group: Sequence[ModelScores], keys: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    first, by_seed = group[0], {trial.seed: trial for trial in group}
    present = [key for key in keys if any(key in trial.scores for trial in group)]
    values = {key: [by_seed[seed].scores.get(key) if seed in by_seed else None for seed in seeds] for key in present}
    evidence = [{"seed": trial.seed, **trial.evidence} for trial in group if trial.evidence]
    return {
        "key": first.key,
        "label": first.label,
        "role": first.role,
        "scores": {key: summarize(values[key]).as_dict() for key in present},
        "per_class": average_per_class([trial.per_class for trial in group if trial.per_class]),
        "history": [dict(item) for item in first.history],
        "settings": dict(first.settings),
        **({"evidence": evidence} if evidence else {}),
    }


def average_per_class(accuracies: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return the mean over seeds of each class; None where the class is absent at every seed."""
    return [summarize(values).mean for values in zip(*accuracies, strict=True)]
