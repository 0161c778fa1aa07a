"""Items made by several processes: on a cluster, and where one of them is killed."""

import os

import joblib
import pytest
from killed_worker import MARK, PARENT
from small_recipes import carried_out, figures, recipe_in

from expunge.errors import ConfigError

LINES = {"requests": "[{class: 3}]", "seeds": "[0]", "methods": "[{name: ft, epochs: 1}, {name: rl, epochs: 1}]"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What one process gives."""
    folder = tmp_path_factory.mktemp("alone")
    carried_out(recipe_in(folder, ("tune",), **LINES), folder)
    return figures(folder)


@pytest.mark.filterwarnings("ignore")
def test_two_workers_of_a_dask_cluster_give_the_same_bits(expected, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        state = carried_out(recipe_in(tmp_path, ("tune",), **LINES), tmp_path, jobs=2)
    assert not state.missing
    assert figures(tmp_path) == expected


def test_what_a_killed_worker_leaves_is_made_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setenv(PARENT, str(os.getpid()))
    monkeypatch.setenv(MARK, str(tmp_path / "mark"))
    lines = {**LINES, "model": "killed_worker:network"}
    alone, folder = tmp_path / "alone", tmp_path / "together"
    for place in (alone, folder):
        place.mkdir()
    carried_out(recipe_in(alone, ("tune",), **lines), alone)
    recipe = recipe_in(folder, ("tune",), **lines)
    with pytest.raises(ConfigError, match="processes that live, but found one that was killed: run it again"):
        carried_out(recipe, folder, jobs=2)
    assert (tmp_path / "mark").exists()
    state = carried_out(recipe, folder, jobs=2)
    assert not state.missing
    assert figures(folder) == figures(alone)
