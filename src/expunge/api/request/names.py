"""Which names are registered, read from the sources without importing them.

``registry.list_entries`` imports a package and so torch; a misspelled name in a request and a shell's completion should
not wait for that. The tests hold this module to what the registry says.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import expunge
from expunge import registry
from expunge.registry import snake_case

AUTO = "auto"
"""The word for the method that is chosen where none is named; no method is registered under it."""
SOURCE_ROOT = Path(expunge.__file__).parent.parent


def list_registered_names(kind: str) -> tuple[str, ...]:
    """Return all names and aliases of a kind in alphabetical order, third parties' entry points included.

    Args:
        kind: One of the keys of ``expunge.registry.KINDS``.

    Examples:
        >>> "definitely_not_there" in list_registered_names("methods")
        False
    """
    package, base = registry.KINDS[kind]
    packages = (package, *registry.TASK_PACKAGES.get(kind, ()))
    names = {name for room in packages for entry in read_package_names(SOURCE_ROOT, room, base) for name in entry}
    return tuple(sorted(names | {point.name for point in entry_points(group=f"expunge.{kind}")}))


@cache
def read_package_names(sources: Path, package: str, base: str | None) -> tuple[tuple[str, ...], ...]:
    """Return the names of each entry of a room, its own name first.

    Args:
        sources: The folder that holds the top package.
        package: Dotted name of the room.
        base: Name of the base class of its entries; None where the entries are functions.
    """
    definitions = [Definition.find(sources, package, name) for name in read_exported_names(sources, package)]
    entries = [thing for thing in definitions if thing is not None and thing.is_entry(base)]
    return tuple(thing.names() for thing in entries)


def read_exported_names(sources: Path, package: str) -> tuple[str, ...]:
    """Return the texts in the ``__all__`` of a package; none if there is no such package."""
    tree = parse_module(sources, package)
    values = [value for name, value in list_assignments(tree.body) if name == "__all__"] if tree else []
    return tuple(text for value in values for text in get_string_constants(value))


def get_string_constants(value: ast.expr | None) -> tuple[str, ...]:
    """Return the texts of a written-out list or tuple, or one written-out text."""
    items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
    return tuple(item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str))


def list_assignments(body: list[ast.stmt]) -> list[tuple[str, ast.expr | None]]:
    """Return ``(target, value)`` of the simple assignments of a body; ``f.aliases`` is the target of that form."""
    pairs: list[tuple[str, ast.expr | None]] = []
    for line in body:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        pairs += [(ast.unparse(target), getattr(line, "value", None)) for target in targets]
    return pairs


@cache
def parse_module(sources: Path, module: str) -> ast.Module | None:
    """Return the syntax tree of a module, or None if it is not among the sources."""
    stem = sources.joinpath(*module.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return ast.parse(path.read_text(encoding="utf-8"))
    return None


@dataclass(frozen=True)
class Definition:
    """A class or function where it is defined.

    Args:
        sources: The folder that holds the top package.
        module: Dotted name of the module.
        node: The definition.
    """

    sources: Path
    module: str
    node: ast.ClassDef | ast.FunctionDef

    @classmethod
    def find(cls, sources: Path, module: str, name: str) -> Definition | None:
        """Return the definition that ``name`` means in ``module``, following imports; None if it is out of reach."""
        tree = parse_module(sources, module)
        for line in tree.body if tree else []:
            if isinstance(line, (ast.ClassDef, ast.FunctionDef)) and line.name == name:
                return cls(sources, module, line)
            if isinstance(line, ast.ImportFrom) and line.module and not line.level:
                for alias in line.names:
                    if (alias.asname or alias.name) == name:
                        return cls.find(sources, line.module, alias.name)
        return None

    def is_entry(self, base: str | None) -> bool:
        """Return whether the registry takes it: a function if ``base`` is None, else a concrete one below ``base``."""
        if isinstance(self.node, ast.FunctionDef):
            return base is None
        own_bases = {get_base_name(item) for item in self.node.bases}
        return base in self.ancestors() and "ABC" not in own_bases and not self.find_abstract_methods()

    def parents(self) -> list[Definition]:
        """Return the definitions of the base classes that are among the sources."""
        bases = self.node.bases if isinstance(self.node, ast.ClassDef) else []
        definitions = [Definition.find(self.sources, self.module, get_base_name(item)) for item in bases]
        return [parent for parent in definitions if parent is not None]

    def ancestors(self) -> set[str]:
        """Return the names of the class and of all classes above it."""
        return {self.node.name}.union(*(parent.ancestors() for parent in self.parents()))

    def find_abstract_methods(self) -> set[str]:
        """Return the names of the methods that are declared but not written."""
        parents = self.parents()
        declared: set[str] = set().union(*(parent.find_abstract_methods() for parent in parents))
        inherited = declared - set().union(*(parent.find_concrete_methods() for parent in parents))
        functions = [line for line in self.node.body if isinstance(line, ast.FunctionDef)]
        own_abstract = {
            line.name for line in functions if any("abstract" in ast.unparse(d) for d in line.decorator_list)
        }
        written = {line.name for line in functions} | {name for name, _ in list_assignments(self.node.body)}
        return (inherited - written) | own_abstract

    def find_concrete_methods(self) -> set[str]:
        """Return the names of the methods that are written, here or in a class above."""
        above: set[str] = set().union(*(parent.find_concrete_methods() for parent in self.parents()))
        return (
            above | {line.name for line in self.node.body if isinstance(line, ast.FunctionDef)}
        ) - self.find_abstract_methods()

    def names(self) -> tuple[str, ...]:
        """Return the name under which it is registered, then its aliases."""
        attributes = self.attributes()
        name = next(iter(get_string_constants(attributes.get("name"))), snake_case(self.node.name))
        return (name, *get_string_constants(attributes.get("aliases")))

    def attributes(self) -> dict[str, Any]:
        """Return the expressions of its own attributes: a class's body, a function's ``f.aliases = …``."""
        if isinstance(self.node, ast.ClassDef):
            return dict(list_assignments(self.node.body))
        tree = parse_module(self.sources, self.module)
        prefix = f"{self.node.name}."
        pairs = list_assignments(tree.body) if tree else []
        return {name.removeprefix(prefix): value for name, value in pairs if name.startswith(prefix)}


def get_base_name(node: ast.expr) -> str:
    """Return the last word of a base class as it is written: ``Generic[T]`` gives ``Generic``."""
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
