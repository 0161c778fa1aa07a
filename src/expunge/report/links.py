"""Words of a report that lead to their definitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from expunge.report.glossary import Term
from expunge.report.templating import CODE_PATTERN, render_code

METRIC_WORDS = {
    "average gap": "avg_gap",
    "test accuracy": "ta",
    "accuracy on the data to keep": "ra",
    "membership attacks": "auc",
    "membership": "auc",
    "classifier's entropy": "generated_entropy",
    "taken for theirs": "generated_accuracy",
    "fid to real images": "feature_fid_real",
}
"""Words of sentences → the key of the metric that they mean."""

GLOSSARY_WORDS = {
    "noise floor": "Noise floor",
    "t-interval": "±",
    "seed": "Seed",
    "seeds": "Seed",
    "to forget": "To forget, to keep, to test on",
    "compared with retraining": "Retrained",
    "no retrained reference": "Retrained",
    "losses": "Losses",
    "cosine": "Cosine",
    "multiplier": "Multiplier",
    "share of the forget gradient removed": "Share removed",
    "budget": "Budget",
    "allowed": "Budget",
    "spent": "Budget",
    "control examples": "Control half",
    "certificate": "Certificate",
    "smallest drop that can be certified": "Certificate",
    "when to stop": "Stop criterion",
    "still recognized": "Stop criterion",
    "recognized": "Stop criterion",
    "two one-sided tests": "Two one-sided tests",
    "request met": "Stop criterion",
    "distance": "Distance",
    "rate": "Rate",
    "shortfall": "Missing",
    "accuracy on fresh examples": "Drop on fresh examples",
    "furthest": "Distance of a layer",
    "distance, %": "Distance of a layer",
    "frontier": "Frontier",
}
"""Words of sentences, headings and figures → the entry of the glossary that says what they mean."""


AUDIT_GLOSSARY_WORDS = {
    "certificate": "Drop on fresh examples",
    "smallest drop that can be certified": "Drop on fresh examples",
    "weights": "Distance of a layer",
}
"""The same for reports without a budget, where the words above have no entry."""


class GlossaryLinks:
    """Turns the words of a text that the glossary has into links; all of the text is escaped.

    What stands between backticks is code, without links. The first place of each definition in a text is linked. Labels
    of metrics count where they are written like names, with a capital letter: 'seconds' would be found in any sentence.

    Args:
        terms: The glossary, with its anchors.

    Examples:
        >>> links = GlossaryLinks([Term("ua", "UA", "Errors.", "", "term-1")])
        >>> print(links("<b> has a UA of 3"))
        &lt;b&gt; has a <a href="#term-1">UA</a> of 3
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        term_list = list(terms)
        keys = {term.key: term.anchor for term in term_list if term.key}
        names = {term.name: term.anchor for term in term_list if not term.key}
        labels = {term.name: term.anchor for term in term_list if term.key and term.name != term.name.lower()}
        prose = (
            _resolve_anchors(METRIC_WORDS, keys)
            | _resolve_anchors(AUDIT_GLOSSARY_WORDS, names)
            | _resolve_anchors(GLOSSARY_WORDS, names)
        )
        self._anchors = prose | labels
        parts = [_alternation(labels), f"(?ai:{_alternation(prose)})"]
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)")

    def __call__(self, text: str) -> Markup:
        """Return the text as HTML, its words linked."""
        linked: set[str] = set()
        pieces = re.split(f"({CODE_PATTERN})", text)
        # Every second piece is code.
        return Markup("").join(
            render_code(piece) if index % 2 else self._link_words(piece, linked) for index, piece in enumerate(pieces)
        )

    def _link_words(self, text: str, linked: set[str]) -> Markup:
        parts, end = [], 0
        for match in self._pattern.finditer(text):
            anchor = self._anchors.get(match[0]) or self._anchors[match[0].lower()]
            if anchor in linked:
                continue
            linked.add(anchor)
            parts += [escape(text[end : match.start()]), Markup('<a href="#{}">{}</a>').format(anchor, match[0])]
            end = match.end()
        return Markup("").join([*parts, escape(text[end:])])


def _resolve_anchors(words: Mapping[str, str], anchors: Mapping[str, str]) -> dict[str, str]:
    return {word: anchors[meant] for word, meant in words.items() if meant in anchors}


def _alternation(words: Iterable[str]) -> str:
    """Return a pattern of any of the words, the longest first; of none, one that nothing matches."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"
