"""Names read from the sources are those that the registry finds by importing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from expunge import registry
from expunge.api.request.names import list_registered_names, read_package_names


def is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("kind", registry.KINDS)
def test_they_agree_with_the_registry(kind):
    package, _ = registry.KINDS[kind]
    if not is_there(package):
        pytest.skip(f"{package} is not built yet")
    found = registry.list_entries(kind).values()
    assert list_registered_names(kind) == tuple(
        sorted({name for entry in found for name in (entry.name, *entry.aliases)})
    )


def test_every_registered_name_is_found_again():
    for kind, (package, _) in registry.KINDS.items():
        for name in list_registered_names(kind) if is_there(package) else ():
            assert callable(registry.find_component(kind, name))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A room whose base is in another package, with every form of definition."""
    files = {
        "other/base.py": """
            class Root(ABC, Generic[T]):
                @abstractmethod
                def act(self): ...
                @property
                @abstractmethod
                def kind(self): ...
        """,
        "room/__init__.py": """
            from other.base import Root as Base
            from room.things import Full as Complete, Half, HTTPRule, made, LIMIT
            from room.gone import Missing
            __all__ = ["Base", "Complete", "Half", "HTTPRule", "Late", "LIMIT", "Missing", "Stranger", "made"]
            class Late(Half):
                name = "tardy"
                kind = "late"
            class Stranger: ...
        """,
        "room/things.py": """
            from other import base
            from other.base import Root
            LIMIT = 3
            class Half(Root["x"]):
                aliases = ("half_width",)
                def act(self): ...
            class Full(Half):
                aliases: tuple[str, ...] = ("full", "whole")
                @property
                def kind(self): ...
            class HTTPRule(Full): ...
            def made(): ...
            made.aliases = ("maker",)
        """,
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        lines = text.split("\n")
        file.write_text("\n".join(line.removeprefix(" " * 12) for line in lines))
    return tmp_path


def test_concrete_classes_below_the_base_are_read(sources):
    assert read_package_names(sources, "room", "Root") == (("full", "full", "whole"), ("httprule",), ("tardy",))


def test_functions_are_read_where_there_is_no_base(sources):
    assert read_package_names(sources, "room", None) == (("made", "maker"),)


def test_a_room_that_is_not_there_has_no_names(sources):
    assert read_package_names(sources, "nowhere", None) == ()


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from expunge.api.request.names import list_registered_names; from expunge.registry import KINDS\n"
        "for kind in KINDS: list_registered_names(kind)\n"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
