"""Names that are listed without importing anything are those that the registry finds by importing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from expunge import registry
from expunge.registry import list_registered_names


@pytest.mark.parametrize("kind", registry.KINDS)
def test_listed_names_agree_with_the_registry(kind):
    entries = registry.list_entries(kind).values()
    assert list_registered_names(kind) == tuple(
        sorted({name for entry in entries for name in (entry.name, *entry.aliases)})
    )


def test_every_registered_name_is_found_again():
    for kind in registry.KINDS:
        for name in list_registered_names(kind):
            assert callable(registry.find_component(kind, name))


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from expunge.registry import KINDS, list_registered_names\n"
        "for kind in KINDS: list_registered_names(kind)\n"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
