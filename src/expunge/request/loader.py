"""YAML to nodes, never to objects, with the scalars of YAML 1.2's core schema.

So ``1e-3`` is a number (YAML 1.1 makes it a text), and ``no`` and ``2026-01-01`` are texts (1.1: false, a date).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

MAX_DEPTH = 20


class Loader(
    yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer, yaml.resolver.BaseResolver
):
    """Composes nodes only: no constructor, so no tag can make an object; depth is bounded while parsing."""

    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, refusing those that are nested too deeply."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def dispose(self) -> None:
        """Forget the parser's state, which refers back to the loader."""
        yaml.parser.Parser.dispose(self)


def scalar_tags() -> Iterator[tuple[str, str, str]]:
    """Yield tag, pattern and possible first characters of the scalars of YAML 1.2's core schema."""
    yield "null", r"~|null|Null|NULL|", "~nN"
    yield "bool", r"true|True|TRUE|false|False|FALSE", "tTfF"
    yield "int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"
    yield "float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"
    yield "float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."


for _tag, _pattern, _first in scalar_tags():
    _starts = [*_first, ""] if _tag == "null" else list(_first)
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _starts)


def parse_bool(text: str) -> bool:
    """Return the truth value that ``text`` spells."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def parse_int(text: str) -> int:
    """Return the whole number that ``text`` spells in decimal, ``0x`` or ``0o`` form; leading zeros are decimal."""
    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


def parse_float(text: str) -> float:
    """Return the number that ``text`` spells; YAML writes infinity as ``.inf``."""
    return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))


def parse_text(text: str) -> str:
    r"""Return a text whose escapes were read; halves of characters, as JSON writes them, are joined.

    Examples:
        >>> parse_text("\ud83d\ude00") == "\U0001f600"
        True
    """
    if "\0" in text:
        raise ValueError(text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


SCALAR_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": parse_bool,
    "int": parse_int,
    "float": parse_float,
    "str": parse_text,
}
