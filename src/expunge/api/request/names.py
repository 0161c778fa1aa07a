"""Which names are registered, read from the sources without importing them.

``registry.entries`` imports a room and so torch; a misspelt name in a request and a shell's completion should not wait
for that. The tests hold this module to what the registry says.
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
SOURCES = Path(expunge.__file__).parent.parent


def registered_names(kind: str) -> tuple[str, ...]:
    """Return all names and aliases of a kind in alphabetical order, third parties' entry points included.

    Args:
        kind: One of the keys of ``expunge.registry.ROOMS``.

    Examples:
        >>> "definitely_not_there" in registered_names("methods")
        False
    """
    package, base = registry.ROOMS[kind]
    rooms = (package, *registry.LEAVES.get(kind, ()))
    names = {name for room in rooms for entry in room_names(SOURCES, room, base) for name in entry}
    return tuple(sorted(names | {point.name for point in entry_points(group=f"expunge.{kind}")}))


@cache
def room_names(sources: Path, package: str, base: str | None) -> tuple[tuple[str, ...], ...]:
    """Return the names of each entry of a room, its own name first.

    Args:
        sources: The folder that holds the top package.
        package: Dotted name of the room.
        base: Name of the base class of its entries; None where the entries are functions.
    """
    found = [Definition.find(sources, package, name) for name in exported_names(sources, package)]
    wanted = [thing for thing in found if thing is not None and thing.is_entry(base)]
    return tuple(thing.names() for thing in wanted)


def exported_names(sources: Path, package: str) -> tuple[str, ...]:
    """Return the texts in the ``__all__`` of a package; none if there is no such package."""
    tree = parsed(sources, package)
    values = [value for name, value in assignments(tree.body) if name == "__all__"] if tree else []
    return tuple(text for value in values for text in texts(value))


def texts(value: ast.expr | None) -> tuple[str, ...]:
    """Return the texts of a written-out list or tuple, or one written-out text."""
    items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
    return tuple(item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str))


def assignments(body: list[ast.stmt]) -> list[tuple[str, ast.expr | None]]:
    """Return ``(target, value)`` of the simple assignments of a body; ``f.aliases`` is the target of that form."""
    found: list[tuple[str, ast.expr | None]] = []
    for line in body:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        found += [(ast.unparse(target), getattr(line, "value", None)) for target in targets]
    return found


@cache
def parsed(sources: Path, module: str) -> ast.Module | None:
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
        tree = parsed(sources, module)
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
        own_bases = {base_name(item) for item in self.node.bases}
        return base in self.ancestors() and "ABC" not in own_bases and not self.abstract()

    def parents(self) -> list[Definition]:
        """Return the definitions of the base classes that are among the sources."""
        bases = self.node.bases if isinstance(self.node, ast.ClassDef) else []
        found = [Definition.find(self.sources, self.module, base_name(item)) for item in bases]
        return [parent for parent in found if parent is not None]

    def ancestors(self) -> set[str]:
        """Return the names of the class and of all classes above it."""
        return {self.node.name}.union(*(parent.ancestors() for parent in self.parents()))

    def abstract(self) -> set[str]:
        """Return the names of the methods that are declared but not written."""
        parents = self.parents()
        declared: set[str] = set().union(*(parent.abstract() for parent in parents))
        inherited = declared - set().union(*(parent.concrete() for parent in parents))
        functions = [line for line in self.node.body if isinstance(line, ast.FunctionDef)]
        own = {line.name for line in functions if any("abstract" in ast.unparse(d) for d in line.decorator_list)}
        written = {line.name for line in functions} | {name for name, _ in assignments(self.node.body)}
        return (inherited - written) | own

    def concrete(self) -> set[str]:
        """Return the names of the methods that are written, here or in a class above."""
        above: set[str] = set().union(*(parent.concrete() for parent in self.parents()))
        return (above | {line.name for line in self.node.body if isinstance(line, ast.FunctionDef)}) - self.abstract()

    def names(self) -> tuple[str, ...]:
        """Return the name under which it is registered, then its aliases."""
        own = self.attributes()
        name = next(iter(texts(own.get("name"))), snake_case(self.node.name))
        return (name, *texts(own.get("aliases")))

    def attributes(self) -> dict[str, Any]:
        """Return the expressions of its own attributes: a class's body, a function's ``f.aliases = …``."""
        if isinstance(self.node, ast.ClassDef):
            return dict(assignments(self.node.body))
        tree = parsed(self.sources, self.module)
        prefix = f"{self.node.name}."
        every = assignments(tree.body) if tree else []
        return {name.removeprefix(prefix): value for name, value in every if name.startswith(prefix)}


def base_name(node: ast.expr) -> str:
    """Return the last word of a base class as it is written: ``Generic[T]`` gives ``Generic``."""
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
