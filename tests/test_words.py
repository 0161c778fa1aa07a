"""The words that every room shares: errors, pair, batch, registry."""

from __future__ import annotations

import pickle
import sys
import textwrap

import pytest
import torch
from torch import nn

from expunge import registry
from expunge.batch import Batch, Predictor
from expunge.errors import ConfigError, ExpungeError, MissingExtraError, ModelError, RequestError
from expunge.pair import ROLES, Pair


def test_errors_are_one_sentence_with_its_parts():
    error = RequestError("one example", "none", "name a class")
    assert str(error) == "Expected one example, but found none: name a class."
    assert (error.expected, error.actual, error.hint) == ("one example", "none", "name a class")
    assert isinstance(error, ExpungeError)


def test_config_errors_begin_with_the_place():
    error = ConfigError("a number", "'x'", "write 1", location="request.yaml line 7")
    assert str(error) == "request.yaml line 7: Expected a number, but found 'x': write 1."
    assert str(ConfigError("a number", "'x'", "write 1")) == "Expected a number, but found 'x': write 1."


@pytest.mark.parametrize("error", [RequestError("a", "b", "c"), ConfigError("a", "b", "c", location="file line 1")])
def test_errors_survive_the_way_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_a_missing_extra_is_an_import_error_with_the_install_line():
    error = MissingExtraError("reading Parquet", "pyarrow", "data")
    assert isinstance(error, ImportError)
    assert "pip install 'expunge[data]'" in str(error)


def test_pair_finds_its_sides_by_role():
    pair = Pair("f", "r")
    assert [pair.of(role) for role in ROLES] == ["f", "r"]
    assert pair.map(str.upper) == Pair("F", "R")


def a_batch(count: int) -> Batch:
    inputs = {"pixels": torch.arange(count * 2.0).view(count, 2), "sizes": [torch.arange(count)]}
    return Batch(inputs, torch.arange(count) % 3, torch.arange(count) + 100, {"labels": torch.arange(count) * 7})


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (7, 3), (8, 3), (3, 5), (6, 6), (5, 0)])
def test_chunks_cut_a_batch_without_loss(count, parts):
    batch = a_batch(count)
    chunks = batch.chunks(parts)
    sizes = [len(chunk) for chunk in chunks]
    assert len(chunks) == max(1, min(count, parts))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) > 0
    for read in (
        lambda one: one.targets,
        lambda one: one.indices,
        lambda one: one.inputs["pixels"],
        lambda one: one.inputs["sizes"][0],
        lambda one: one.extras["labels"],
    ):
        assert torch.equal(torch.cat([read(chunk) for chunk in chunks]), read(batch))


def test_drawn_quantities_are_added_and_the_batch_itself_stays():
    batch = a_batch(2)
    more = batch.with_extras(noise=torch.ones(2))
    assert set(more.extras) == {"labels", "noise"}
    assert set(batch.extras) == {"labels"}


def test_a_batch_that_is_there_already_is_not_copied():
    batch = a_batch(2)
    assert batch.to(torch.device("cpu")) is batch


class Named(nn.Module):
    """Takes keywords and returns an object with ``logits``, as transformers' models do."""

    def forward(self, pixels):
        return type("Output", (), {"logits": pixels + 1})()


def test_predictor_reads_named_inputs_and_outputs():
    inputs = {"pixels": torch.zeros(3, 2)}
    assert torch.equal(Predictor(Named())(inputs), torch.ones(3, 2))
    assert torch.equal(Predictor(Named(), lambda output: 5 * output.logits)(inputs), torch.full((3, 2), 5.0))


def test_predictor_refuses_what_is_no_tensor():
    with pytest.raises(ModelError, match="found tuple: pass logits="):
        Predictor(nn.Identity(), lambda output: (output,))(torch.zeros(1))


ROOM = '''
from abc import ABC, abstractmethod

from {name}.deeper import Deep, described

__all__ = ["Base", "Deep", "Half", "NearMiss", "described", "Stranger", "LIMIT"]
LIMIT = 3


class Base(ABC):
    """The base."""

    @abstractmethod
    def act(self): ...


class Half(Base):
    """Still abstract."""


class NearMiss(Base):
    """Nearly.

    More.
    """

    aliases = ("nm", "near")
    paper = "Someone 2024"

    def act(self): ...


class Stranger:
    """Exported, but no entry."""
'''
DEEPER = '''
def described():
    """A function."""


described.aliases = ("told",)


def load():
    from {name} import Base

    return Base


class Deep:
    """Not below the base."""
'''


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package with one entry below its base, and one function, registered as two kinds."""
    name = "room_for_test_words"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(ROOM.format(name=name))
    (tmp_path / name / "deeper.py").write_text(DEEPER.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "KINDS", {"things": (name, "Base"), "makers": (name, None)})
    registry.list_entries.cache_clear()
    yield name
    registry.list_entries.cache_clear()
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A distribution of somebody else that declares an entry point."""
    folder = tmp_path / "site"
    info = folder / "stranger-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[expunge.things]\nguest = stranger_module:Guest\n")
    (folder / "stranger_module.py").write_text(
        textwrap.dedent('''
            class Guest:
                """Comes from elsewhere."""

                aliases = ("visitor",)
        ''')
    )
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("stranger_module", None)


def test_a_room_registers_its_concrete_classes(room):
    assert set(registry.list_entries("things")) == {"near_miss"}
    entry = registry.list_entries("things")["near_miss"]
    assert (entry.aliases, entry.paper, entry.summary) == (("nm", "near"), "Someone 2024", "Nearly.")


def test_a_room_without_a_base_registers_its_functions(room):
    assert {name: entry.aliases for name, entry in registry.list_entries("makers").items()} == {"described": ("told",)}


@pytest.mark.parametrize("spelling", ["near_miss", "near-miss", "Near_Miss", "nm", "near"])
def test_names_and_aliases_find_the_same_thing(room, spelling):
    assert registry.find_component("things", spelling).__name__ == "NearMiss"


def test_a_near_miss_is_offered(room):
    with pytest.raises(ConfigError, match="found 'nearmiss': did you mean 'near_miss'"):
        registry.find_component("things", "nearmiss")


def test_a_far_miss_is_sent_to_the_list(room):
    with pytest.raises(ConfigError, match="`expunge list things` shows all"):
        registry.find_component("things", "zzzzzz")


def test_an_unknown_kind_is_refused(room):
    with pytest.raises(ConfigError, match="one of things, makers, but found 'thing'"):
        registry.list_entries("thing")


def test_a_plug_in_is_found_by_its_entry_point(room, plug_in):
    assert set(registry.list_entries("things")) == {"near_miss", "guest"}
    assert registry.find_component("things", "visitor").__module__ == "stranger_module"
