"""Names of cells: other code, the user's own or ours, makes other cells; damaged ones are refused."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from small_recipes import carried_out, cell_of, folders_in, recipe_in
from typer.testing import CliRunner

import expunge.code_hashes
from expunge import registry
from expunge.benchmark import summarize_benchmark
from expunge.benchmark.cells import Network
from expunge.benchmark.data_file_hash import _hash_folder as files_hash_of
from expunge.cli import app
from expunge.errors import DataError

METHOD = '''
"""A method of somebody else's."""
from guest_package.settings import RATE
from expunge.methods import FineTune


class Guest(FineTune):
    """Comes from elsewhere."""

    own_rate = RATE
'''
MODEL = '''
"""A network of somebody else's."""
from expunge.tasks.classification.models import small_cnn


def net():
    return small_cnn(10, 1, width=4)
'''
SMALL = {"requests": "[{class: 3}]", "seeds": "[0]", "methods": "[{name: ft, epochs: 1}]"}


@pytest.fixture
def guest(tmp_path, monkeypatch):
    """An installed package that brings a method by an entry point, and how to change its files."""
    site = tmp_path / "site"
    info, package = site / "guest_package-1.0.dist-info", site / "guest_package"
    for folder in (info, package):
        folder.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[expunge.methods]\nguest = guest_package.method:Guest\n")
    (package / "__init__.py").write_text("")
    (package / "settings.py").write_text("RATE = 1\n")
    (package / "method.py").write_text(METHOD)
    (site / "guest_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(site)
    registry.list_entries.cache_clear()
    yield site
    registry.list_entries.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] in {"guest_package", "guest_model"}]:
        del sys.modules[name]


def names(folder, **lines):
    recipe = recipe_in(folder, ("tune",), **{**SMALL, **lines})
    return cell_of(recipe, recipe.methods[0].id).key, Network(recipe, 0).key


@pytest.mark.parametrize("changed", ["method.py", "settings.py"])
def test_a_change_of_the_users_own_method_or_of_what_it_imports_renames_its_cells_alone(tmp_path, guest, changed):
    asked = {"methods": "[{name: guest, epochs: 1}]"}
    before, ours = names(tmp_path, **asked), names(tmp_path)
    path = guest / "guest_package" / changed
    path.write_text(path.read_text() + "\nMORE = 1\n")
    after = names(tmp_path, **asked)
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    assert names(tmp_path) == ours


def test_another_version_of_an_entry_points_package_renames_its_cells(tmp_path, guest):
    asked = {"methods": "[{name: guest, epochs: 1}]"}
    before = names(tmp_path, **asked)
    (guest / "guest_package-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: guest_package\nVersion: 2.0\n"
    )
    assert names(tmp_path, **asked)[0] != before[0]


def test_a_change_of_the_users_own_network_renames_cells_and_networks(tmp_path, guest):
    asked = {"model": "guest_model:net"}
    before = names(tmp_path, **asked)
    (guest / "guest_model.py").write_text(MODEL + "\n# changed\n")
    assert not {*before} & {*names(tmp_path, **asked)}


def test_a_change_of_our_own_code_renames_all(tmp_path, monkeypatch):
    before = names(tmp_path)
    monkeypatch.setattr("expunge.benchmark.cells.hash_package", lambda *_: "0" * 32)
    assert not {*before} & {*names(tmp_path)}


def test_rooms_that_only_show_have_no_part_in_it(tmp_path, monkeypatch):
    root = tmp_path / "expunge"
    for name in ("__init__.py", "cli/run.py", "report/html.py", "benchmark/cell_runner.py", "engine/step.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    monkeypatch.setattr("expunge.__file__", str(root / "__init__.py"))
    hashing = expunge.code_hashes.hash_package.__wrapped__
    before = hashing(), hashing("benchmark")
    for name in ("cli/run.py", "report/html.py", "__init__.py"):
        (root / name).write_text("# changed")
    assert (hashing(), hashing("benchmark")) == before
    (root / "benchmark/cell_runner.py").write_text("# changed")
    assert (hashing() == before[0], hashing("benchmark") == before[1]) == (True, False)
    (root / "engine/step.py").write_text("# changed")
    assert hashing() != before[0]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A recipe of one cell, carried out."""
    folder = tmp_path_factory.mktemp("one")
    recipe = recipe_in(folder, ("tune",), **SMALL)
    carried_out(recipe, folder)
    return recipe, folder


def test_force_makes_again_what_is_there(one):
    recipe, folder = one
    folders = folders_in(folder)
    paths = [folders.path(cell_of(recipe, "ft")), folders.path(Network(recipe, 0))]
    before = [path.stat().st_mtime_ns for path in paths]
    carried_out(recipe, folder)
    assert [path.stat().st_mtime_ns for path in paths] == before
    options = ["--cells-dir", str(folders.out), "--networks-dir", str(folders.cache), "--force"]
    result = CliRunner().invoke(app, ["benchmark", str(folder / "tiny.yaml"), *options])
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_mtime_ns != time for path, time in zip(paths, before, strict=True))


DAMAGE = {
    "no scores": lambda facts: facts.pop("scores"),
    "scores of words": lambda facts: facts.update(scores={"ta": "high"}),
    "a list for scores": lambda facts: facts.update(scores=[1]),
    "no settings": lambda facts: facts.update(settings=None),
    "no recipe": lambda facts: facts.pop("recipe"),
    "a failure of nothing": lambda facts: facts.update(failure=3),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cell_is_refused_and_made_again_with_force(one, damage):
    recipe, folder = one
    folders, cell = folders_in(folder), cell_of(recipe, "ft")
    path = folders.path(cell)
    text = path.read_text()
    facts = json.loads(text)
    DAMAGE[damage](facts)
    path.write_text(json.dumps(facts))
    try:
        for act in (lambda: summarize_benchmark(recipe, folders), lambda: carried_out(recipe, folder)):
            with pytest.raises(DataError, match=r"what a benchmark wrote, but found something else .*--force"):
                act()
    finally:
        path.write_text(text)


def test_every_kind_of_item_fits_its_form(tmp_path):
    recipe = recipe_in(tmp_path, requests="[{class: 3}]", seeds="[0]")
    state = carried_out(recipe, tmp_path)
    roles = {item.role_name for item in state.finished}
    assert (roles, state.missing) == ({"network", "original", "retrained", "method", "trial"}, ())


def test_what_was_made_of_other_pictures_in_the_folder_is_made_anew(tmp_path):
    def draw(seed):
        generator = np.random.default_rng(seed)
        for place in ("train/a", "train/b", "test/a", "test/b"):
            (tmp_path / "mine" / place).mkdir(parents=True, exist_ok=True)
            for number in range(6):
                pixels = generator.integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "mine" / place / f"{number}.png")
        files_hash_of.cache_clear()

    asked = {**SMALL, "requests": "[{fraction: 0.2}]", "data": "{name: image_folder, dir: mine, options: {size: 8}}"}
    recipe = recipe_in(tmp_path, ("tune", "holdout"), **asked)
    draw(0)
    network, folders = Network(recipe, 0), folders_in(tmp_path)
    folders.create()
    folders.weights_path(network).write_bytes(b"")
    facts = {"recipe": {}, "wall_seconds": 1.0, "seconds": 1.0, "train_accuracy": 50.0, "seed": 0}
    folders.write(network, facts)
    assert folders.load(network) is not None
    draw(1)
    assert folders.load(network) is None
    draw(0)
    assert folders.load(network) is not None
