"""The errors that users meet: one sentence each, saying what was expected, what was found and what to do.

Examples:
    >>> print(RequestError("at least one example to forget", "none", "name a class that occurs in the data"))
    Expected at least one example to forget, but found none: name a class that occurs in the data.
"""

from __future__ import annotations

import re

MAX_PART_LENGTH, MAX_ACTUAL_LENGTH = 1000, 300
"""Characters that are shown of each part of a sentence, and of what was found: others wrote that."""


_CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal would obey, that turn the direction of what follows, or that are no characters at all."""


def sanitize(text: str) -> str:
    r"""Return text on one line, cut where it is endless, with what a terminal would obey or hide written out.

    Messages quote files that others wrote.

    Examples:
        >>> print(sanitize("a\nb \x1b[2J \ud800"))
        a b \x1b[2J \ud800
    """
    line = " ".join(str(text).splitlines())
    line = line if len(line) <= MAX_PART_LENGTH else f"{line[: MAX_PART_LENGTH // 2]}…{line[-MAX_PART_LENGTH // 2 :]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def is_unicode(text: str) -> bool:
    r"""Return whether text can be written as UTF-8; halves of characters and file names in other encodings cannot.

    Examples:
        >>> is_unicode("müde"), is_unicode("m\udcfcde")
        (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_controls(text: str) -> str:
    r"""Return text with what a terminal would obey written out; ends of lines and tabs stay.

    Examples:
        >>> print(escape_controls("\x1b]0;title\x07 and \ud800"))
        \x1b]0;title\x07 and \ud800
    """
    return _CONTROL_CHARACTERS.sub(lambda match: ascii(match[0])[1:-1], text.replace("\r\n", "\n"))


class ExpungeError(Exception):
    """Root of everything that Expunge raises on purpose; the command line turns it into exit code 2.

    Args:
        expected: What would have been right, as a noun phrase.
        actual: What was there instead.
        hint: What the reader should do now, as an imperative.
        location: The place, if it is in a file: ``"request.yaml line 7"``. Default: none.

    Examples:
        >>> hint = "write for example `epochs: 5`"
        >>> print(ConfigError("a whole number", "'many'", hint, location="request.yaml line 7"))
        request.yaml line 7: Expected a whole number, but found 'many': write for example `epochs: 5`.
    """

    def __init__(self, expected: str, actual: str, hint: str, location: str = "") -> None:
        super().__init__(expected, actual, hint)
        self.expected, self.actual, self.hint, self.location = expected, actual, hint, location

    def __str__(self) -> str:
        """Return the sentence on one printable line, after the place if there is one."""
        expected, hint, location = map(sanitize, (self.expected, self.hint, self.location))
        actual = sanitize(self.actual)
        if len(actual) > MAX_ACTUAL_LENGTH:  # the reason stands at its end
            actual = f"{actual[: MAX_ACTUAL_LENGTH // 2]}…{actual[-MAX_ACTUAL_LENGTH // 2 :]}"
        sentence = f"Expected {expected}, but found {actual}: {hint}."
        return f"{location}: {sentence}" if location else sentence


class RequestError(ExpungeError):
    """The forget request does not fit the data: empty, duplicate, overlapping, out of range, absent."""


class ConfigError(ExpungeError):
    """A request file, an option or an argument is not understood."""


class DataError(ExpungeError):
    """Data that is missing, unreadable or not of the promised form."""


class MetricError(DataError):
    """A user's own metric that raises an error, returns no finite numbers, or changes the model."""


class ModelError(ExpungeError):
    """A model that cannot be unlearned as it is: no trainable weight, no logits, labels outside the head."""


class CheckpointError(ExpungeError):
    """A weights file that is missing, damaged, pickled or made for another model."""


class ObjectiveError(ExpungeError):
    """An objective that cannot be computed, or that a surgery cannot use."""


class SurgeryError(ExpungeError):
    """A surgery that broke its contract or was asked for something the engine cannot lend."""


class NotFiniteError(ExpungeError):
    """A loss or an update that is NaN or infinite.

    Attributes:
        model: The model with the last weights that were good, from ``unlearn`` on a copy; None elsewhere.
    """

    model: object = None


class MissingExtraError(ExpungeError, ImportError):
    """An optional dependency that is not installed; the cure is the install line.

    Args:
        purpose: What the dependency is needed for.
        package: The module that is missing.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"the package '{package}' for {purpose}",
            "that it is not installed",
            f"run pip install 'expunge[{extra}]'",
        )


class DuplicateDataWarning(UserWarning):
    """Data that repeat themselves, so that what an example holds does not tell which one it is."""


class FitWarning(UserWarning):
    """A model that seems not to know the data that it is said to have been trained on."""


def format_exception(error: BaseException) -> str:
    """Return an error's type and the beginning of its message."""
    lines = str(error).strip().splitlines() or ["no message"]
    text = lines[0] if len(lines[0]) <= 160 else f"{lines[0][:160]} …"
    return f"{type(error).__name__} ({text.rstrip('. ')})"
