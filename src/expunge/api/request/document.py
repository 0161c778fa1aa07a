"""A YAML file read safely, with the line of every key, and refused in one sentence when it is not a plain mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from expunge.api.request.loader import DEEPEST, SCALARS, Loader
from expunge.errors import ConfigError
from expunge.paths import read_bytes, reason_of

LARGEST = 1_000_000
MOST_NODES = 10_000

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """What a request file says, and where.

    Args:
        path: The file.
        data: Its content, plain Python values.
        lines: Path of keys → line of the last key, counted from 1.

    Attributes:
        base: What relative paths are relative to, in words.
    """

    base: ClassVar[str] = "the request file's folder"
    path: Path
    data: Mapping[str, Any]
    lines: Mapping[Keys, int]

    def where(self, *keys: str | int) -> str:
        """Return ``"request.yaml line 7"`` for the nearest key that has a line, or the name of the file alone."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.path.name} line {self.lines[keys[:length]]}"
        return self.path.name


def read_document(path: Path) -> Document:
    """Return the mapping that a YAML file holds; nothing in it is ever executed.

    Args:
        path: A YAML file of at most 1 MB, nested at most 20 deep.

    Raises:
        ConfigError: If the file is unreadable, empty, too large, not YAML, or not a mapping; if a key is repeated.
    """
    text = read_text(path)
    loader = Loader(text)
    try:
        root = loader.get_single_node()
        if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
            raise ConfigError("a mapping of keys to values", "an empty file", "write the request into it", path.name)
        if not isinstance(root, yaml.MappingNode):
            place = f"{path.name} line {root.start_mark.line + 1}"
            raise ConfigError("a mapping of keys to values", a_kind(root), "begin with `model: …`", place)
        plain = Plain(path)
        return Document(path, plain.value(root, ()), plain.lines)
    except yaml.MarkedYAMLError as error:
        raise unreadable(path, error) from None
    finally:
        loader.dispose()


def value_of(text: str, name: str) -> Any:
    """Return the plain value that a short text holds as YAML; None for an empty one.

    Args:
        text: For example the value of an option.
        name: Where it stands, for messages.

    Raises:
        ConfigError: If it is not plain YAML.

    Examples:
        >>> value_of("{class: 3}", "--forget")
        {'class': 3}
    """
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        raise ConfigError("a value in YAML", f"the control character {control.group()!r}", "remove it", name)
    loader, plain = Loader(text), Plain(Path(name))
    try:
        root = loader.get_single_node()
        return None if root is None else plain.value(root, ())
    except yaml.MarkedYAMLError as error:
        raise unreadable(Path(name), error) from None
    finally:
        loader.dispose()


def read_text(path: Path) -> str:
    """Return the text of a file that is small enough to be a request."""
    expected = "a request file, YAML in UTF-8"
    try:
        content = read_bytes(path, LARGEST)
    except OSError as error:
        raise ConfigError(
            expected, f"that it cannot be read ({reason_of(error)})", "check the path", str(path)
        ) from None
    if len(content) > LARGEST:
        raise ConfigError("a request file of at most 1 MB", "a larger one", "is it the right file?", str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise ConfigError(expected, found, "save the file as UTF-8", str(path)) from None
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        place = f"{path.name} line {text.count(chr(10), 0, control.start()) + 1}"
        raise ConfigError(expected, f"the control character {control.group()!r}", "remove it", place)
    return text


def unreadable(path: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    """Return the sentence for a file that is not YAML."""
    mark = error.problem_mark or error.context_mark
    place = f"{path.name} line {mark.line + 1}" if mark else path.name
    found = f"an error of syntax ({(error.problem or error.context or 'unknown').removeprefix('but ')})"
    return ConfigError("YAML", found, "check the indentation, colons and quotes there", place)


def a_kind(node: yaml.Node) -> str:
    """Return what a node is, in words."""
    if isinstance(node, yaml.CollectionNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    return "a single value"


class Plain:
    """Turns nodes into plain values, notes the line of every key, and counts, so that no alias can explode.

    Args:
        path: The file, for the messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Keys, int] = {}
        self.count = 0

    def value(self, node: yaml.Node, keys: Keys) -> Any:
        """Return the plain value of ``node``, which stands under ``keys``."""
        self.count += 1
        if self.count > MOST_NODES or len(keys) > DEEPEST:
            raise self.refusal(node, f"at most {MOST_NODES} values", "more, counting aliases", "write it plainly")
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self.mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return self.sequence(node, keys)
        if isinstance(node, yaml.ScalarNode) and tag in SCALARS:
            return self.scalar(node, tag)
        raise self.refusal(node, "plain YAML values", f"the tag '{node.tag}'", "remove the tag")

    def mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        """Return a mapping whose keys are texts and occur once."""
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(":str"):
                name = f"'{key_node.value}'" if isinstance(key_node, yaml.ScalarNode) else a_kind(key_node)
                raise self.refusal(key_node, "a text as key", name, "name the key, or put it in quotes")
            key = self.scalar(key_node, "str")
            if key in found:
                first = self.lines[(*keys, key)]
                raise self.refusal(key_node, "every key once", f"'{key}' again after line {first}", "keep one of them")
            self.lines[(*keys, key)] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, (*keys, key))
        return found

    def sequence(self, node: yaml.SequenceNode, keys: Keys) -> list[Any]:
        """Return a list, noting the line of each item."""
        for place, item in enumerate(node.value):
            self.lines[(*keys, place)] = item.start_mark.line + 1
        return [self.value(item, (*keys, place)) for place, item in enumerate(node.value)]

    def scalar(self, node: yaml.ScalarNode, tag: str) -> Any:
        """Return a text, number, truth value or None."""
        try:
            return SCALARS[tag](node.value)
        except ValueError:
            raise self.refusal(node, f"a value of type {tag}", f"'{node.value[:40]}'", "correct it") from None

    def refusal(self, node: yaml.Node, expected: str, found: str, cure: str) -> ConfigError:
        """Return the error for ``node`` with its line."""
        return ConfigError(expected, found, cure, f"{self.path.name} line {node.start_mark.line + 1}")
