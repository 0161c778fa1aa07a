"""The recipes that come with the project can be carried out."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.benchmark import BenchmarkFolders, get_benchmark_state, load_recipe
from expunge.benchmark.cell_runner import CellRunner
from expunge.errors import DataError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_of_the_project_is_right(path, tmp_path):
    recipe = load_recipe(path)
    assert len(recipe.seeds) >= 3 or (recipe.num_retrained, len(recipe.seeds)) == (1, 1), "a table, or a single run"
    assert get_benchmark_state(recipe, BenchmarkFolders(tmp_path, tmp_path)).missing
    try:
        CellRunner(recipe, BenchmarkFolders(tmp_path, tmp_path)).check()
    except DataError as error:
        pytest.skip(str(error))
