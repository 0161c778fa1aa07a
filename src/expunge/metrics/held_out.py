"""Whether forgotten examples can be told from held-out ones: three verdicts, and what would decide the third."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, floor, log, log10
from typing import Any, Literal, NamedTuple

from expunge.errors import ConfigError
from expunge.formatting import MIN_SHOWN_NUMBER, format_examples, format_percent, list_class_names
from expunge.metrics.arrays import Interval
from expunge.metrics.attacks.stratified import MIN_DELONG_EXAMPLES, Strata, build_strata
from expunge.metrics.statistics import clopper_pearson

HeldOutVerdict = Literal["not distinguishable", "still distinguishable", "undecided"]
"""Equivalence is shown, a difference is shown, or neither is."""
Reason = Literal["auc", "accuracy", "recognized"]
MARGIN = 0.05
"""How far from .5 an AUC may lie, and how far apart two accuracies, as shares."""
MAX_RECOGNIZED = 0.005
"""Largest share of a forgotten class that may still be recognized."""
DELTA = 0.025
"""Level on either side of what a test shows."""
POWER_QUANTILE = 1.28
"""Standard errors on either side of an estimate that hold four of five draws."""


@dataclass(frozen=True)
class HeldOutTest:
    """What a test of forgotten against held-out examples shows.

    Args:
        verdict: ``not distinguishable`` where every interval lies inside its margin; ``still distinguishable`` where a
            difference is shown; ``undecided`` else.
        examples: Forgotten examples that were compared; of a class that is gone, all of its examples that were read.
        held_out: Held-out examples of the same classes that they were compared with.
        auc: Of telling both apart within classes by their loss; None where only whole classes are forgotten.
        auc_low: Lower end of its interval.
        auc_high: Upper end.
        gap: Accuracy on the forgotten examples less that on the held-out ones, within classes, as a share.
        gap_low: Lower end of its interval.
        gap_high: Upper end.
        auc_p: Level of the exact permutation test of the AUC on both sides; None from 30 examples on each side.
        gap_p: The same of the accuracies.
        recognized: Share of the forgotten classes that is still recognized; None if none is forgotten as a whole.
        recognized_low: Lower end of its interval.
        recognized_high: Upper end.
        reasons: What decided, or what is undecided: ``auc``, ``accuracy``, ``recognized``.
        needed: About how many forgotten examples would decide at this spread, held-out ones in proportion; None where
            it is decided.
        left_out: Classes of forgotten examples without held-out ones, which were left out.
        names: Names of these classes, where they are known.
        margin: m, how far from .5 an AUC and from each other two accuracies may lie.
        confidence: Of all intervals together.
    """

    verdict: HeldOutVerdict
    examples: int
    held_out: int = 0
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    auc_p: float | None = None
    gap_p: float | None = None
    recognized: float | None = None
    recognized_low: float | None = None
    recognized_high: float | None = None
    reasons: tuple[Reason, ...] = ()
    needed: int | None = None
    left_out: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    margin: float = MARGIN
    confidence: float = 1 - 2 * DELTA

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HeldOutTest:
        """Return the test that ``asdict`` or ``plain`` made plain values of."""
        lists = {name: tuple(values.get(name, ())) for name in ("reasons", "left_out", "names")}
        return cls(**{name: value for name, value in (dict(values) | lists).items() if name != "sentence"})

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, with the sentence."""
        values = asdict(self) | {"sentence": self.sentence}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def with_class_names(self, class_names: Sequence[str]) -> HeldOutTest:
        """Return the same with the classes that were left out called by their names."""
        return replace(self, names=tuple(list_class_names(self.left_out, class_names)))

    @property
    def is_decided(self) -> bool:
        """Whether either is shown."""
        return self.verdict != "undecided"

    @property
    def figures_text(self) -> str:
        """The figures that decided, or that leave it undecided, with their intervals."""
        reasons = self.reasons or ("recognized", "auc", "accuracy")
        words = {
            "recognized": self._describe_recognition(),
            "auc": self._describe_auc(),
            "accuracy": self._describe_gap(),
        }
        return ", ".join(words[reason] for reason in reasons if words[reason])

    @property
    def sentence(self) -> str:
        """The verdict with its figures, for people."""
        what = "examples" if self.auc is not None else "examples of the class"
        if self.verdict == "undecided":
            question = f"Whether the forgotten {what} can be told from held-out data"
            return f"{question} cannot be decided with {format_examples(self.examples)}{self.needs_text}."
        adverb = "not" if self.verdict == "not distinguishable" else "still"
        figures = f"{self.figures_text}{self._describe_left_out()}"
        return f"The forgotten {what} are {adverb} distinguishable from held-out data: {figures}."

    @property
    def needs_text(self) -> str:
        """How many examples would decide, and the figures that do not; after a semicolon."""
        many = "" if self.needed is None else f"; about {self.needed:,} would be needed at this spread"
        return f"{many} ({self.figures_text}{self._describe_left_out()})"

    def _describe_recognition(self) -> str:
        if self.recognized is None:
            return ""
        whole = "the class" if self.auc is None else "the whole classes"
        return f"{format_percent(self.recognized)} of {whole} are still recognized"

    def _describe_auc(self) -> str:
        if self.auc is None or self.auc_low is None or self.auc_high is None:
            return ""
        ends = f"{self.auc_low:.3f} to {self.auc_high:.3f}{self._describe_level(self.auc_p)}"
        return f"AUC {self.auc:.3f} ({ends})"

    def _describe_gap(self) -> str:
        if self.gap is None or self.gap_low is None or self.gap_high is None:
            return ""
        size, low, high = map(_format_points, (self.gap, self.gap_low, self.gap_high))
        return f"accuracy {size} points from that of held-out ones ({low} to {high}{self._describe_level(self.gap_p)})"

    def _describe_level(self, value: float | None) -> str:
        if value is None or self.verdict != "still distinguishable":
            return ""
        return f"; permutation test p {f'= {value:.2g}' if value >= MIN_SHOWN_NUMBER else f'< {MIN_SHOWN_NUMBER:g}'}"

    def _describe_left_out(self) -> str:
        if not self.left_out:
            return ""
        which, have = ("class", "has") if len(self.left_out) == 1 else ("classes", "have")
        called = ", ".join(self.names or map(str, self.left_out))
        return f"; {which} {called} {have} no held-out examples and {_describe_left_out(self.left_out)}"


class _FigureResult(NamedTuple):
    """What one figure shows."""

    reason: Reason
    verdict: HeldOutVerdict
    interval: Interval
    needed: int | None
    level: float | None = None


def run_held_out_test(
    scores: tuple[Any, Any],
    right: tuple[Any, Any] | None,
    classes: tuple[Any, Any],
    margin: float = MARGIN,
    delta: float = DELTA,
) -> HeldOutTest:
    """Test whether forgotten examples can be told from held-out ones of the same classes.

    Two figures are compared within classes: the AUC of one score per example, which must lie within .5 ± m, and the
    difference of the accuracies, within ± m. Each has an interval at level δ, both hold together at 2δ. Equivalence is
    shown where both lie inside, a difference where one excludes equality and reaches beyond its margin. Below 30
    examples on a side an exact permutation test within classes may show the difference too.

    Args:
        scores: Of forgotten and of held-out examples, larger meaning more like a member.
        right: Whether the model is right about each of them; None where no answer is right or wrong, so that the
            scores alone are compared, at the whole level.
        classes: Class of each of them.
        margin: m. Default .05.
        delta: δ on either side. Default .025, so that all intervals hold with 95 %.

    Raises:
        ConfigError: If the margin or δ is out of range.
        DataError: If a side is empty or has a NaN, or no class has both.

    Examples:
        >>> import numpy as np
        >>> loss, zeros = np.arange(25.0), np.zeros(25, int)
        >>> found = run_held_out_test((loss, loss), (loss > 5, loss > 5), (zeros, zeros))
        >>> found.verdict, found.needed
        ('undecided', 1900)
    """
    if not 0 < margin < 0.5:
        raise ConfigError("a margin between 0 and .5", f"{margin}", "use .05")
    losses = build_strata(scores[0], scores[1], classes[0], classes[1])
    figures: dict[str, Any] = {}
    parts = [_compare_area("auc", losses, margin, delta if right is None else delta / 2, losses.null_standard_error)]
    if right is not None:
        # Twice the area of right against wrong, less 1, is the difference of the accuracies.
        rights = build_strata(_to_floats(right[0]), _to_floats(right[1]), classes[0], classes[1])
        parts.append(_compare_area("accuracy", rights, margin / 2, delta / 2, 0.0))
        ends = parts[1].interval
        figures = {"gap": 2 * rights.auc - 1, "gap_low": 2 * ends.low - 1, "gap_high": 2 * ends.high - 1}
    return HeldOutTest(
        **_combine_verdicts(parts),
        **figures,
        examples=losses.sizes[0],
        held_out=losses.sizes[1],
        auc=losses.auc,
        auc_low=parts[0].interval.low,
        auc_high=parts[0].interval.high,
        auc_p=parts[0].level,
        gap_p=None if right is None else parts[1].level,
        left_out=losses.left_out,
        margin=margin,
        confidence=1 - 2 * delta,
    )


def run_recognition_test(
    hits: int, trials: int, limit: float = MAX_RECOGNIZED, margin: float = MARGIN, delta: float = DELTA
) -> HeldOutTest:
    """Test whether a class that is gone is still recognized.

    It is forgotten where no more than the limit is recognized and so many examples show that it is less than the margin
    beyond; it is not where more than the limit is shown. The interval is Clopper and Pearson's.

    Args:
        hits: Examples that are still given their class.
        trials: Examples that were read.
        limit: Share that may be recognized. Default .005.
        margin: m. Default .05.
        delta: δ on either side. Default .025.

    Raises:
        DataError: If the counts do not fit.

    Examples:
        >>> [run_recognition_test(*counts).verdict for counts in ((0, 300), (200, 300), (0, 10), (3, 300))]
        ['not distinguishable', 'still distinguishable', 'undecided', 'undecided']
    """
    interval = clopper_pearson(hits, trials, 1 - 2 * delta)
    fraction = hits / trials
    if fraction <= limit and interval.high <= limit + margin:
        verdict: HeldOutVerdict = "not distinguishable"
    else:
        verdict = "still distinguishable" if interval.low > limit else "undecided"
    needed = None if verdict != "undecided" else _estimate_needed_trials(fraction, trials, limit, margin, delta)
    return HeldOutTest(
        verdict,
        trials,
        recognized=fraction,
        recognized_low=interval.low,
        recognized_high=interval.high,
        reasons=("recognized",),
        needed=needed,
        margin=margin,
        confidence=1 - 2 * delta,
    )


def run_class_test(counts: Sequence[tuple[int, int]]) -> HeldOutTest | None:
    """Return what is shown of classes that are gone, on several sides; None where there are no such examples.

    Where one side is recognized too often it decides; else all of their examples show together that none is.

    Args:
        counts: Of each side how many examples are still given their class, and how many there are.

    Examples:
        >>> run_class_test([(0, 100), (9, 30)]).recognized, run_class_test([(0, 100), (0, 30)]).examples
        (0.3, 130)
    """
    sides = [count for count in counts if count[1]]
    if not sides:
        return None
    worst = max(sides, key=lambda count: count[0] / count[1])
    if worst[0] / worst[1] > MAX_RECOGNIZED:
        return run_recognition_test(*worst)
    pooled = run_recognition_test(sum(hits for hits, _ in sides), sum(size for _, size in sides))
    return replace(pooled, recognized=worst[0] / worst[1])


def combine_tests(example_test: HeldOutTest, class_test: HeldOutTest) -> HeldOutTest:
    """Return what two tests show together, one of single examples and one of whole classes.

    Args:
        example_test: Of single examples.
        class_test: Of whole classes.
    """
    parts = [_FigureResult("auc", test.verdict, Interval(0.0, 1.0), test.needed) for test in (example_test, class_test)]
    merged = asdict(example_test) | {
        name: value for name, value in asdict(class_test).items() if name.startswith("recognized")
    }
    merged |= _combine_verdicts(parts)
    decisive = [test for test in (example_test, class_test) if test.verdict == merged["verdict"]]
    merged["reasons"] = tuple(reason for test in decisive for reason in test.reasons)
    return HeldOutTest.from_dict(merged)


def _combine_verdicts(parts: Sequence[_FigureResult]) -> dict[str, Any]:
    """Return the verdict on several figures, which of them it is due to, and how many examples would decide."""
    verdicts = {part.verdict for part in parts}
    verdict = next((one for one in ("still distinguishable", "undecided") if one in verdicts), "not distinguishable")
    reasons = tuple(part.reason for part in parts if part.verdict == verdict)
    needed = [part.needed for part in parts if part.needed is not None and verdict == "undecided"]
    return {"verdict": verdict, "reasons": reasons, "needed": max(needed, default=None)}


def _compare_area(reason: Reason, sides: Strata, margin: float, delta: float, null_error: float) -> _FigureResult:
    """Return what one area shows, ``null_error`` its standard error where nothing can be told."""
    from scipy.stats import norm

    interval, quantile = sides.interval(delta), float(norm.ppf(1 - delta))
    is_equivalent = 0.5 - margin < interval.low and interval.high < 0.5 + margin and quantile * null_error <= margin
    above = interval.low > 0.5 and interval.high > 0.5 + margin
    below = interval.high < 0.5 and interval.low < 0.5 - margin
    level = min(1.0, 2 * min(sides.compute_p_values(delta))) if sides.is_small else None
    is_different = above or below or (level is not None and level <= 2 * delta)
    if is_equivalent or is_different:
        return _FigureResult(
            reason, "still distinguishable" if is_different else "not distinguishable", interval, None, level
        )
    needed = _estimate_needed(sides, interval, margin, max(null_error, sides.standard_error), quantile)
    return _FigureResult(reason, "undecided", interval, needed, level)


def _estimate_needed(sides: Strata, interval: Interval, margin: float, spread: float, quantile: float) -> int:
    """Return how many forgotten examples would decide in four of five draws: the spread goes with 1/√n, the area stays.

    A difference is shown where the half-width falls below the distance from one half, equivalence where both together
    fall below the margin; either with room for how far another draw may lie from this one. One standard error of the
    distance counts as chance: so few examples are some way off one half even where nothing is remembered.
    """
    distance, count, half = max(0.0, abs(sides.auc - 0.5) - spread), sides.sizes[0], quantile * spread
    if not sides.is_small:
        half = max(half, sides.auc - interval.low, interval.high - sides.auc)
    shrink = (half + POWER_QUANTILE * spread) / max(distance, margin - distance)
    # However small the spread, so many pairs leave open what the margin has to hold.
    least = log(1 / DELTA) / (2 * margin) * count / sides.num_pairs
    min_examples = MIN_DELONG_EXAMPLES if sides.is_small else 1
    return _round_up(max(count * shrink**2, least, min_examples, count + 1))


def _estimate_needed_trials(fraction: float, trials: int, limit: float, margin: float, delta: float) -> int:
    """Return how many examples of a class would decide."""
    from scipy.stats import norm

    if fraction <= limit:
        return _round_up(max(log(delta) / log(1 - limit - margin), trials + 1))
    spread = (float(norm.ppf(1 - delta)) + POWER_QUANTILE) ** 2 * fraction * (1 - fraction)
    return _round_up(max(spread / (fraction - limit) ** 2, trials + 1))


def _round_up(value: float) -> int:
    """Return a number rounded up to two digits."""
    unit = int(10 ** max(0, floor(log10(value)) - 1))
    return ceil(value / unit) * unit


def _format_points(fraction: float) -> str:
    return f"{round(100 * fraction, 1) + 0.0:+.1f}".replace("-", "−")


def _to_floats(flags: Any) -> Any:
    import numpy as np

    return np.asarray(flags, dtype=np.float64)


def _describe_left_out(classes: Sequence[int]) -> str:
    return "is left out" if len(classes) == 1 else "are left out"
