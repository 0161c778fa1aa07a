"""A YAML file read safely, with the line of every key, and refused in one sentence when it is not a plain mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from expunge.errors import ConfigError
from expunge.paths import error_reason, read_bytes
from expunge.request.loader import MAX_DEPTH, SCALAR_PARSERS, Loader

MAX_FILE_BYTES = 1_000_000
MAX_NODES = 10_000

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class RequestDocument:
    """What a request file says, and where.

    Args:
        path: The file.
        data: Its content, plain Python values.
        lines: Path of keys → line of the last key, counted from 1.

    Attributes:
        base_description: What relative paths are relative to, in words.
    """

    base_description: ClassVar[str] = "the request file's folder"
    path: Path
    data: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, *keys: str | int) -> str:
        """Return ``"request.yaml line 7"`` for the nearest key that has a line, or the name of the file alone."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.path.name} line {self.lines[keys[:length]]}"
        return self.path.name


def read_document(path: Path) -> RequestDocument:
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
            location = f"{path.name} line {root.start_mark.line + 1}"
            raise ConfigError("a mapping of keys to values", describe_node(root), "begin with `model: …`", location)
        converter = NodeConverter(path)
        return RequestDocument(path, converter.convert(root, ()), converter.lines)
    except yaml.MarkedYAMLError as error:
        raise yaml_error(path, error) from None
    finally:
        loader.dispose()


def parse_value(text: str, name: str) -> Any:
    """Return the plain value that a short text holds as YAML; None for an empty one.

    Examples:
        >>> parse_value("{class: 3}", "--forget")
        {'class': 3}
    """
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        raise ConfigError("a value in YAML", f"the control character {control.group()!r}", "remove it", name)
    loader, converter = Loader(text), NodeConverter(Path(name))
    try:
        root = loader.get_single_node()
        return None if root is None else converter.convert(root, ())
    except yaml.MarkedYAMLError as error:
        raise yaml_error(Path(name), error) from None
    finally:
        loader.dispose()


def read_text(path: Path) -> str:
    """Return the text of a file that is small enough to be a request."""
    expected = "a request file, YAML in UTF-8"
    try:
        content = read_bytes(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(
            expected, f"that it cannot be read ({error_reason(error)})", "check the path", str(path)
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError("a request file of at most 1 MB", "a larger one", "is it the right file?", str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        actual = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise ConfigError(expected, actual, "save the file as UTF-8", str(path)) from None
    if control := yaml.reader.Reader.NON_PRINTABLE.search(text):
        location = f"{path.name} line {text.count(chr(10), 0, control.start()) + 1}"
        raise ConfigError(expected, f"the control character {control.group()!r}", "remove it", location)
    return text


def yaml_error(path: Path, error: yaml.MarkedYAMLError) -> ConfigError:
    """Return the sentence for a file that is not YAML."""
    mark = error.problem_mark or error.context_mark
    location = f"{path.name} line {mark.line + 1}" if mark else path.name
    actual = f"an error of syntax ({(error.problem or error.context or 'unknown').removeprefix('but ')})"
    return ConfigError("YAML", actual, "check the indentation, colons and quotes there", location)


def describe_node(node: yaml.Node) -> str:
    """Return what a node is, in words."""
    if isinstance(node, yaml.CollectionNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    return "a single value"


class NodeConverter:
    """Turns nodes into plain values, notes the line of every key, and counts, so that no alias can explode.

    Args:
        path: The file, for the messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[KeyPath, int] = {}
        self.count = 0

    def convert(self, node: yaml.Node, keys: KeyPath) -> Any:
        """Return the plain value of ``node``, which stands under ``keys``."""
        self.count += 1
        if self.count > MAX_NODES or len(keys) > MAX_DEPTH:
            raise self.error_at(node, f"at most {MAX_NODES} values", "more, counting aliases", "write it plainly")
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and tag == "map":
            return self.convert_mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return self.convert_sequence(node, keys)
        if isinstance(node, yaml.ScalarNode) and tag in SCALAR_PARSERS:
            return self.convert_scalar(node, tag)
        raise self.error_at(node, "plain YAML values", f"the tag '{node.tag}'", "remove the tag")

    def convert_mapping(self, node: yaml.MappingNode, keys: KeyPath) -> dict[str, Any]:
        """Return a mapping whose keys are texts and occur once."""
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(":str"):
                name = f"'{key_node.value}'" if isinstance(key_node, yaml.ScalarNode) else describe_node(key_node)
                raise self.error_at(key_node, "a text as key", name, "name the key, or put it in quotes")
            key = self.convert_scalar(key_node, "str")
            if key in values:
                first = self.lines[(*keys, key)]
                raise self.error_at(key_node, "every key once", f"'{key}' again after line {first}", "keep one of them")
            self.lines[(*keys, key)] = key_node.start_mark.line + 1
            values[key] = self.convert(value_node, (*keys, key))
        return values

    def convert_sequence(self, node: yaml.SequenceNode, keys: KeyPath) -> list[Any]:
        """Return a list, noting the line of each item."""
        for index, item in enumerate(node.value):
            self.lines[(*keys, index)] = item.start_mark.line + 1
        return [self.convert(item, (*keys, index)) for index, item in enumerate(node.value)]

    def convert_scalar(self, node: yaml.ScalarNode, tag: str) -> Any:
        """Return a text, number, truth value or None."""
        try:
            return SCALAR_PARSERS[tag](node.value)
        except ValueError:
            raise self.error_at(node, f"a value of type {tag}", f"'{node.value[:40]}'", "correct it") from None

    def error_at(self, node: yaml.Node, expected: str, found: str, hint: str) -> ConfigError:
        return ConfigError(expected, found, hint, f"{self.path.name} line {node.start_mark.line + 1}")
