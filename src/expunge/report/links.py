"""Words of a report that lead to their definitions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from markupsafe import Markup

from expunge.report.glossary import Term
from expunge.report.pages import code

METRICS = {
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

WORDS = {
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
    "still recognised": "Stop criterion",
    "recognised": "Stop criterion",
    "two one-sided tests": "Two one-sided tests",
    "request met": "Stop criterion",
    "distance": "Distance",
    "rate": "Rate",
    "missing": "Missing",
    "accuracy on fresh examples": "Drop on fresh examples",
    "furthest": "Distance of a layer",
    "distance, %": "Distance of a layer",
    "frontier": "Frontier",
}
"""Words of sentences, headings and figures → the entry of the glossary that says what they mean."""


OTHERWISE = {
    "certificate": "Drop on fresh examples",
    "smallest drop that can be certified": "Drop on fresh examples",
    "weights": "Distance of a layer",
}
"""The same for reports without a budget, where the words above have no entry."""


class Links:
    """Turns the words of a text that the glossary has into links; all of the text is escaped.

    What stands between backticks is code. The first place of each definition in a text is linked. Labels of metrics
    count where they are written like names, with a capital letter: 'seconds' would be found in any sentence.

    Args:
        terms: The glossary, with its anchors.

    Examples:
        >>> links = Links([Term("ua", "UA", "Errors.", "", "term-1")])
        >>> print(links("<b> has a UA of 3"))
        &lt;b&gt; has a <a href="#term-1">UA</a> of 3
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        given = list(terms)
        keys = {term.key: term.anchor for term in given if term.key}
        names = {term.name: term.anchor for term in given if not term.key}
        labels = {term.name: term.anchor for term in given if term.key and term.name != term.name.lower()}
        prose = _known(METRICS, keys) | _known(OTHERWISE, names) | _known(WORDS, names)
        self._anchors = prose | labels
        parts = [_either(labels), f"(?ai:{_either(prose)})"]
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)")

    def __call__(self, text: str) -> Markup:
        """Return the text as HTML, its words linked."""
        made, end, seen = [], 0, set()
        for found in self._pattern.finditer(text):
            anchor = self._anchors.get(found[0]) or self._anchors[found[0].lower()]
            if anchor in seen:
                continue
            seen.add(anchor)
            made += [code(text[end : found.start()]), Markup('<a href="#{}">{}</a>').format(anchor, found[0])]
            end = found.end()
        return Markup("").join([*made, code(text[end:])])


def _known(words: Mapping[str, str], anchors: Mapping[str, str]) -> dict[str, str]:
    return {word: anchors[meant] for word, meant in words.items() if meant in anchors}


def _either(words: Iterable[str]) -> str:
    """Return a pattern of any of the words, the longest first; of none, one that nothing matches."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"
