"""What may stand in a recipe, and the names that its cells are filed under."""

from __future__ import annotations

import pytest
import small_recipes
from small_recipes import cell_of, recipe_in

from expunge.benchmark.cells import BenchmarkCell, Network, hash_config, to_canonical_json
from expunge.benchmark.plan import count_cells, list_table_items, list_tuning_items
from expunge.benchmark.recipe import load_recipe
from expunge.errors import ConfigError

WRONG = {
    "misspelled": ({"methods": "[ft, salunn]"}, "line 7.*did you mean 'salun'"),
    "a key twice": ({"methods": "[{name: ft, epochs: 1}, ft]"}, "'ft' twice"),
    "the same seed twice": ({"seeds": "[1, 1]"}, "each once"),
    "no request": ({"requests": "[]"}, "at least one"),
    "a request with a seed": ({"requests": "[{fraction: 0.1, seed: 4}]"}, "requests without a seed"),
    "a tuning seed that is shown": ({"tune": "{lr: [0.1, 0.2], seeds: [1]}"}, "1 among both"),
    "more runs for one method": ({"tune": "{lr: [0.1, 0.2, 0.3]}"}, "ft: 3, labels: 2"),
    "a grid of two settings": ({"tune": "{lr: [0.1], batch_size: [16]}"}, "one setting"),
    "a grid without tune": ({}, "a section 'tune' beside the grids"),
    "a budget without holdout": ({"budget": "1.0"}, "held-out examples"),
    "nothing left to test": ({"tune": "{lr: [0.1, 0.2], holdout_fraction: 0.7}"}, "test data beside"),
    "an unknown key": ({"method": "ft"}, "did you mean 'methods'"),
    "an unknown kind": ({"methods": "[{name: ft, overrides: {clas: {epochs: 1}}}]"}, "class"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_is_refused_in_a_sentence(case, tmp_path):
    lines, said = WRONG[case]
    without = {"a grid without tune": ("tune",), "a budget without holdout": ("holdout",)}.get(case, ())
    with pytest.raises(ConfigError, match=said):
        recipe_in(tmp_path, without, **lines)


def test_files_that_are_missing_are_named_with_their_line(tmp_path):
    with pytest.raises(ConfigError, match=r"line 5.*'indices'"):
        recipe_in(tmp_path, requests="[{indices: nowhere.txt}]")


def test_the_hash_does_not_know_the_order_of_keys(tmp_path):
    first, turned = recipe_in(tmp_path), small_recipes.written(tmp_path)
    lines = turned.read_text().splitlines()
    turned.write_text("\n".join(reversed(lines)).replace("epochs: 2, batch_size: 32", "batch_size: 32, epochs: 2"))
    second = load_recipe(turned)
    assert [item.key for item in list_table_items(first, {}.get)] == [
        item.key for item in list_table_items(second, {}.get)
    ]
    assert hash_config({"a": 1, "b": [2.0]}) == hash_config({"b": [2], "a": 1.0})
    assert to_canonical_json({"b": 1, "a": 0.5}) == '{"a":0.5,"b":1}'


@pytest.mark.parametrize(
    ("lines", "same"),
    [
        ({"title": "another"}, True),
        ({"device": "cpu"}, True),
        ({"seeds": "[0, 5]"}, True),
        ({"train": "{epochs: 2, batch_size: 32, lr: 0.05, momentum: 0.9}"}, True),
        ({"train": "{epochs: 3, batch_size: 32, lr: 0.05}"}, False),
        ({"holdout": "0.3"}, False),
        ({"tune": "{lr: [0.01, 0.1], holdout_fraction: 0.2}"}, False),
        ({"methods": "[{name: ft, epochs: 2}]"}, False),
        ({"data": "{name: digits, subset: 130, options: {test_share: 0.5}}"}, False),
        ({"requests": "[{class: 4}]"}, False),
        ({"precision": "bf16"}, False),
    ],
)
def test_the_hash_changes_with_what_decides_the_outcome_alone(lines, same, tmp_path):
    assert (cell_of(recipe_in(tmp_path), "ft").key == cell_of(recipe_in(tmp_path, **lines), "ft").key) is same


def test_an_index_file_counts_by_its_content(tmp_path):
    keys = []
    for content in ("1\n2\n", "1\n2\n", "1\n3\n"):
        (tmp_path / "some.txt").write_text(content)
        keys.append(cell_of(recipe_in(tmp_path, requests="[{indices: some.txt}]"), "ft").key)
    assert keys[0] == keys[1] != keys[2]


def test_originals_are_shared_by_requests_and_retrained_ones_are_not(tmp_path):
    recipe = recipe_in(tmp_path)
    cells = [BenchmarkCell(recipe, "original", request, 0) for request in (0, 1)]
    shared = {network.key for network in cells[0].needs} & {network.key for network in cells[1].needs}
    assert shared == {Network(recipe, 0).key}
    every = [Network(recipe, 0, request, number).key for request in (0, 1) for number in (1, 2)]
    assert len({*every, *shared}) == 5


def test_a_seed_draws_examples_start_and_order(tmp_path):
    recipe = recipe_in(tmp_path)
    config = recipe.build_config(1, 7)
    assert (config.data.subset_seed, config.forget.seed, config.seed) == (7, 7, 7)
    fixed = recipe_in(tmp_path, data="{name: digits, subset: 120, subset_seed: 3}")
    assert fixed.build_config(1, 7).data.subset_seed == 3


def test_settings_for_a_kind_of_requests_reach_that_kind_alone(tmp_path):
    entries = "[{name: rl, id: labels, overrides: {class: {exclude_true: true}}}, {name: ft, requests: fraction}]"
    recipe = recipe_in(tmp_path, ("tune",), methods=entries)
    settings = [cell_of(recipe, "labels", request).config.method.settings for request in (0, 1)]
    assert settings == [{"exclude_true": True}, {}]
    shown = [item for item in list_table_items(recipe, {}.get) if isinstance(item, BenchmarkCell) and item.entry]
    assert {(item.entry.id, item.request) for item in shown} == {("labels", 0), ("labels", 1), ("ft", 1)}
    assert count_cells(recipe) == 2 * (4 + 3)


def test_trials_come_first_and_then_whole_seeds(tmp_path):
    recipe = recipe_in(tmp_path)
    assert {item.seed for item in list_tuning_items(recipe)} == {1000}
    assert list_tuning_items(recipe)[0].description == "seed 1000 original"
    untuned = recipe_in(tmp_path, ("tune",), methods="[{name: ft, epochs: 1}]")
    items = list_table_items(untuned, {}.get)
    assert [item.seed for item in items] == sorted(item.seed for item in items)
    first = [item for item in items if item.seed == 0]
    kinds = [type(item).__name__ if isinstance(item, Network) else item.role for item in first]
    assert kinds == ["Network"] * 5 + ["original", "retrained"] * 2 + ["method"] * 2


def test_a_budget_goes_to_methods_that_can_keep_one(tmp_path):
    methods = "[{name: ft, epochs: 1}, {name: random_labels_with_budget}, auto]"
    recipe = recipe_in(tmp_path, ("tune",), methods=methods, budget="5.0", time_limit="2min")
    asked = {entry.id: cell_of(recipe, entry.id).config for entry in recipe.methods}
    assert {key: config.budget is not None for key, config in asked.items()} == {
        "ft": False,
        "random_labels_with_budget": True,
        "auto": True,
    }
    assert [asked[key].time_limit for key in ("random_labels_with_budget", "auto")] == [None, "2min"]


def test_a_key_that_was_added_later_decides_where_it_is_used(tmp_path):
    asked = {"methods": "[auto]", "holdout": "0.3", "time_limit": "1min"}
    metric = "{metric: expunge.metrics:accuracy, max_drop: 0.1"
    plain, bounded = (
        cell_of(recipe_in(tmp_path, ("tune",), budget=metric + more, **asked), "auto").key
        for more in ("}", ", bounds: [0, 1]}")
    )
    assert plain != bounded


def test_the_layout_of_weights_has_no_part_in_names(tmp_path):
    plain, other = (recipe_in(tmp_path, **more) for more in ({}, {"channels_last": "true"}))
    assert other.build_config(0, 0).run_config().channels_last is True
    assert cell_of(plain, "ft").key == cell_of(other, "ft").key


def test_cells_that_were_made_keep_their_names(tmp_path):
    """A change here leaves behind every cell and network that the same code made: raise SCHEMA if that is meant."""
    recipe = recipe_in(tmp_path)
    items = cell_of(recipe, "ft"), Network(recipe, 0), Network(recipe, 0, 1, 2)
    names = tuple(hash_config(item.canonical_config) for item in items)
    kept = recipe_in(tmp_path, ("tune",), holdout="0.3", budget="3.0", methods="[auto]")
    assert hash_config(cell_of(kept, "auto").canonical_config) == "54c582ef098e3d891d260bcf5e89b100"
    assert names == (
        "c73b4dd0fa6b101d254707238e50200b",
        "99855dfbefa15dbc07e8f70b3fde1630",
        "c2bf71b3e93fb74bda5da36c8e87ecdb",
    )
