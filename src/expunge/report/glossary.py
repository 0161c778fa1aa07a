"""What every word and column of a report means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from expunge.report.attacks import attack_table
from expunge.report.document import MetricSection, ResultDocument


@dataclass(frozen=True)
class Term:
    """A word with its meaning; ``key`` is the metric's, empty for words that are no column.

    ``anchor`` is where links to it lead; nothing of a document is in it.
    """

    key: str
    name: str
    meaning: str
    aim: str
    anchor: str = ""


AIMS = {
    "match": "Aim: the value of the retrained model, not an extreme.",
    "higher": "Aim: higher.",
    "lower": "Aim: lower.",
}

WORDS = (
    Term(
        "",
        "Original",
        "The model before unlearning; it was trained on everything, the forgotten examples included.",
        "",
    ),
    Term(
        "",
        "Retrained",
        "A model trained from scratch without the forgotten examples; what unlearning tries to match.",
        "",
    ),
    Term(
        "",
        "To forget, to keep, to test on",
        "Numbers of examples: those of the request, all others that the original was trained on, and those that no "
        "model was trained on.",
        "",
    ),
    Term("", "Seed", "One repetition: it fixes what is drawn to be forgotten, the first weights, and all orders.", ""),
    Term(
        "",
        "Noise floor",
        "What two models that were retrained on the same split get beside each other, mean over pairs: no method can "
        "be told from retraining below it.",
        "",
    ),
    Term("", "±", "Half the width of a 95 % t-interval over the seeds.", ""),
    Term("", "Losses", "What an update goes down on: the mean forget and the mean retain loss of its batches.", ""),
    Term(
        "", "Cosine", "Of the angle between the gradients of forget and retain loss: below 0 they are in conflict.", ""
    ),
    Term("", "Multiplier", "The weight that a surgery gave to the retain gradient to hold its tolerance.", ""),
    Term("", "Share removed", "The part of the forget gradient's length that a surgery took away in an update.", ""),
    Term(
        "",
        "Shadow models",
        "Models that an attacker trains like the one under attack, on data with and without an example, to learn what "
        "each says about it. `expunge ulira` lets them unlearn too and tells example by example what they were trained "
        "on (U-LiRA); 50 % right is guessing.",
        "",
    ),
)

BUDGET_WORDS = (
    Term("", "Budget", "How much worse the model may become on held-out examples of the classes that stay.", ""),
    Term(
        "", "Control half", "Held-out examples that are read during the run, to steer it and to choose an iterate.", ""
    ),
    Term("", "Certify half", "Held-out examples that nothing is chosen by; they are opened once, at the end.", ""),
    Term(
        "",
        "Certificate",
        "An upper bound on the drop of accuracy on fresh examples, from the certify half: examples that were lost and "
        "that were gained are counted apart and bounded after Clopper and Pearson at half the level each, which is "
        "exact. Tango's score bound is closer and holds approximately. A metric with values of known range for each "
        "example is bounded exactly too, by betting; a loss or a metric of a whole set approximately, and so called.",
        "",
    ),
    Term(
        "",
        "Stop criterion",
        "A class is forgotten where it is hardly recognized any more; single examples are where they look like "
        "held-out ones of their classes. Forgetting beyond that would be visible too.",
        "",
    ),
    Term(
        "",
        "Two one-sided tests",
        "They show that the AUC lies within its margin around .5; that no difference was found would show nothing. "
        "Their level is spent over all readings.",
        "",
    ),
    Term("", "Missing", "How far a reading is from what was asked, in the criterion's own units; 0 is met.", ""),
    Term("", "Rate", "The learning rate of a short run that was made to choose one.", ""),
    Term(
        "",
        "Distance",
        "How far the accuracies on retained, control and forgotten examples are from where they should be, together; "
        "for whole classes what the control accuracy lost.",
        "",
    ),
    Term("", "Frontier", "The readings that no other one beats in both, what was spent and what is missing.", ""),
)
"""Words of reports that have a budget."""


AUDIT_WORDS = (
    Term(
        "",
        "Drop on fresh examples",
        "How much accuracy the unlearned model loses against the original on the classes that stay. Its bound is from "
        "held-out examples that no other figure here uses: those lost and those gained are counted apart and bounded "
        "after Clopper and Pearson at half the level each, which is exact.",
        "",
    ),
    Term("", "Distance of a layer", "Length of the difference over the length of the original's numbers.", ""),
)
"""Words of reports on a model from elsewhere."""

ATTACK_WORDS = (
    Term(
        "",
        "Membership attacks",
        "Each compares one number of forgotten and of held-out examples of the same classes: the loss, the probability "
        "of the true label, the entropy of the prediction, or the modified entropy, which is 0 for sure and right and "
        "large for sure and wrong. AUC is the chance that a forgotten example looks more like one trained on, TPR the "
        "share of them found where so many held-out ones are wrongly accused.",
        "",
    ),
)
"""Words of reports that have attacks behind their figures."""


def glossary(document: ResultDocument) -> tuple[Term, ...]:
    """Return the definitions of all columns of all requests, each once, then the words that are no column."""
    metrics: dict[str, MetricSection] = {}
    for request in document.requests:
        for metric in request.columns:
            metrics.setdefault(metric.key, metric)
    more: tuple[Term, ...] = BUDGET_WORDS if any(request.budget is not None for request in document.requests) else ()
    more += AUDIT_WORDS if any(request.audit is not None for request in document.requests) else ()
    more += ATTACK_WORDS if any(attack_table(request) for request in document.requests) else ()
    words = [replace(word, anchor=f"word-{number}") for number, word in enumerate((*WORDS, *more), start=1)]
    return (*(_term(metric, number) for number, metric in enumerate(metrics.values(), start=1)), *words)


def _term(metric: MetricSection, number: int) -> Term:
    """Return the term of a metric; its definition's own word about the target comes before the general one."""
    aim = "" if "Target: " in metric.definition else AIMS[metric.direction]
    return Term(metric.key, metric.label, metric.definition, aim, f"term-{number}")
