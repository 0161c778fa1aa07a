"""Deletion by the user's ids, and what a request says of itself."""

import json
import re
from io import StringIO

import pytest
import torch
from flat_calls import flat_unlearn
from rich.console import Console
from small_requests import OWN, Classifier, config, own, result_of
from torch.utils.data import Subset as TorchSubset
from torch.utils.data import TensorDataset
from typer.testing import CliRunner

import expunge
from expunge.api import run_request
from expunge.cli import app
from expunge.data import ByIds, Subset, TensorExamples, as_examples, split_request
from expunge.errors import ConfigError, DataError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.report.formats import render_text
from expunge.tasks.classification.readers.huggingface_datasets import read_id_column

CUSTOMERS = """


def customers():
    train, test = data()
    columns = {"customer_id": [f"C-{n // 3}" for n in range(60)], "order": list(range(60))}
    return {"train": train, "test": test, "ids": columns}


def too_few_ids():
    train, test = data()
    return {"train": train, "test": test, "ids": ["C-1"]}


def changed():
    made = customers()
    made["train"] = torch.utils.data.TensorDataset(made["train"].tensors[0] + 1e-4, made["train"].tensors[1])
    return made
"""
FT = "{name: ft, epochs: 1, lr: 0.01, batch_size: 32}"
NOTE = "{title: Two customers leave, ticket: T-1234, requester: Jane Doe}"


@pytest.fixture
def place(folder):
    (folder / "mine.py").write_text(OWN + CUSTOMERS)
    (folder / "ids.txt").write_text("C-17\nC-3\n\nC-17\n")
    return folder


def run(folder, console=None, **changes):
    given = own(data="{factory: mine:customers}", forget="{ids: ids.txt, id_column: customer_id}", method=FT)
    return run_request(config(folder, **{**given, "ledger": "ledger.sqlite", **changes}), console=console)


def test_all_rows_of_the_customers_are_forgotten_and_nothing_holds_their_ids(place):
    made = run(place, request=NOTE)
    part = result_of(made)["requests"][0]
    assert part["sizes"]["forget"] == 6
    assert (part["kind"], part["title"]) == ("ids", "Two customers leave")
    assert json.loads((made / "config.json").read_text())["forget"]["ids"] == "a file of ids"
    files = [path for path in made.iterdir() if path.suffix != ".safetensors"]
    for path in [*files, place / "ledger.sqlite"]:
        held = path.read_bytes().decode("latin-1")
        assert [text for text in ("C-17", "C-3", "T-1234", "Jane") if text in held] == []
    assert re.search("Two customers leave", (made / "report.html").read_text())
    assert "Two customers leave" in render_text(result_of(made), "md")


def test_the_next_request_leaves_their_rows_out(place):
    run(place)
    made = run(place, checkpoint="run/unlearned.safetensors", forget="{class: 2}", out="next")
    part = result_of(made)["requests"][0]
    assert part["left_out"]["retain"] == 4
    assert part["earlier"][0]["train"]["examples"] == 6


def test_rows_that_have_changed_are_found_by_id_in_a_request_of_another_kind(place):
    run(place)
    later = {"checkpoint": "run/unlearned.safetensors", "data": "{factory: mine:changed}"}
    part = result_of(run(place, **later, forget="{class: 2, id_column: customer_id}", out="by_id"))["requests"][0]
    assert part["left_out"] == {"retain": 4, "holdout": 0, "test": 0, "unknown": []}


def test_data_without_ids_are_named_where_an_earlier_request_knows_some(place):
    run(place)
    later = {"checkpoint": "run/unlearned.safetensors", "data": "{factory: mine:changed}"}
    said = StringIO()
    made = run(place, **later, forget="{class: 2}", out="by_content", console=Console(file=said))
    part = result_of(made)["requests"][0]
    assert part["left_out"] == {"retain": 0, "holdout": 0, "test": 0, "unknown": [], "without_ids": [1]}
    assert "Entry 1 of the ledger knows what it forgot by id" in said.getvalue()
    assert "examples that entry 1 forgot were found by what they hold alone" in render_text(result_of(made), "md")


def test_the_ledger_keeps_keyed_hashes_of_what_the_request_says_of_itself(place):
    run(place, request=NOTE)
    (entry,) = Ledger(place / "ledger.sqlite").entries()
    assert set(entry.content.note) == {"title", "ticket", "requester"}
    assert (entry.content.asked.kind, entry.content.asked.forget) == ("ids", 6)
    shown = CliRunner().invoke(app, ["ledger", "show", str(place / "ledger.sqlite"), "--ticket", "T-1234"])
    assert shown.stdout.startswith("1  ")
    other = CliRunner().invoke(app, ["ledger", "show", str(place / "ledger.sqlite"), "--ticket", "T-9"])
    assert "No entry has this ticket" in other.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"forget": "{ids: ids.txt, id_column: name}"}, "one of the columns of ids"),
        ({"forget": "{ids: ids.txt}"}, "data with an id for each example"),
        ({"forget": "{ids: ids.txt, id_column: order}"}, "2 of 2 that do not occur"),
        ({"forget": "{ids: none.txt, id_column: order}"}, "none at"),
        ({"forget": "{class: 1, id_column: name}"}, "one of the columns of ids"),
        ({"data": "{factory: mine:data}"}, "data with an id for each example"),
        ({"data": "{factory: mine:too_few_ids}", "forget": "{ids: ids.txt}"}, "one id for each training example"),
        ({"data": "digits", "model": "small_cnn", "checkpoint": "original.safetensors"}, "data with columns"),
        ({"exclude": "{ids: ids.txt, id_column: order}"}, "one column of ids"),
        ({"request": "{tickets: T-1}"}, "one of title, ticket, requester"),
    ],
)
def test_wrong_ids_are_refused_in_one_sentence_that_repeats_none(place, changes, words):
    with pytest.raises((ConfigError, DataError, RequestError), match=words) as caught:
        run(place, **changes)
    assert "C-17" not in str(caught.value)
    assert not (place / "run").exists()


def test_ids_of_earlier_requests_can_be_excluded_by_a_file(place):
    exclude = "{ids: ids.txt, id_column: customer_id}"
    part = result_of(run(place, ledger=None, forget="{class: 1}", exclude=exclude))["requests"][0]
    assert part["left_out"]["retain"] == 4


def examples():
    found = TensorExamples(torch.randn(6, 6), [0, 1, 2, 0, 1, 2])
    found.ids = ["a", "b", "a", "c", "c", 25]
    return found


def test_parts_of_a_data_set_have_its_ids():
    assert Subset(examples(), [5, 0]).ids == ["25", "a"]
    assert Subset(TensorExamples(torch.zeros(2, 1), [0, 1]), [0]).ids is None
    data = TensorDataset(torch.zeros(3, 1), torch.tensor([0, 1, 0]))
    data.ids = ["x", "y", "x"]
    assert as_examples(TorchSubset(data, [1, 2])).ids == ["y", "x"]
    data.ids = ["x"]
    assert as_examples(data).ids is None


@pytest.mark.parametrize(("ids", "chosen"), [(["a"], [0, 2]), ([25, "c"], [3, 4, 5]), (["25"], [5])])
def test_all_examples_of_an_id_are_chosen(ids, chosen):
    assert ByIds(ids).select(examples()).tolist() == chosen


@pytest.mark.parametrize("wrong", [["nobody"], [], "missing.txt", [1.5], 7])
def test_ids_that_choose_nothing_are_refused(wrong):
    with pytest.raises(RequestError) as caught:
        ByIds(wrong).select(examples())
    assert "nobody" not in str(caught.value)


def test_in_python_customers_are_known_again_by_their_ids(tmp_path):
    ledger, found = tmp_path / "ledger.sqlite", examples()
    settings = {"method": "ft", "epochs": 1, "lr": 0.01, "batch_size": 4, "ledger": ledger}
    forget, retain = split_request(found, ByIds(["a"])).map(lambda part: Subset(found, part))
    note = {"ticket": "T-1"}
    one = flat_unlearn(Classifier(), forget=forget, retain=retain, config=expunge.RunConfig(request=note), **settings)
    assert set(one.ledger_entry.content.note) == {"ticket"}
    again = TensorExamples(torch.randn(4, 6), [0, 1, 2, 0])
    again.ids = ["a", "b", "c", "d"]
    with pytest.raises(RequestError, match="1 of retain that entry 1"):
        flat_unlearn(one.model, forget=Subset(again, [1]), retain=Subset(again, [0, 2, 3]), **settings)
    without = TensorExamples(torch.randn(4, 6), [0, 1, 2, 0])
    with pytest.warns(UserWarning, match="Entry 1 of the ledger knows what it forgot by id"):
        flat_unlearn(one.model, forget=Subset(without, [1]), retain=Subset(without, [0, 2, 3]), **settings)


@pytest.mark.parametrize("request_", [{"name": "x"}, "T-1", {"ticket": 3}, {"title": "x" * 201}])
def test_in_python_a_request_says_title_ticket_and_requester_alone(request_):
    found = examples()
    with pytest.raises(ConfigError, match="request"):
        expunge.unlearn(
            Classifier(),
            forget=Subset(found, [0]),
            retain=Subset(found, [1]),
            config=expunge.RunConfig(request=request_),
        )


def test_a_column_of_a_saved_data_set_holds_the_ids():
    class Split:
        column_names = ("image", "customer")

        def __getitem__(self, name):
            return [3, "C-1"]

    assert read_id_column(Split(), "customer") == ["3", "C-1"]
    with pytest.raises(DataError, match="a column 'name' of ids"):
        read_id_column(Split(), "name")


def test_the_key_is_the_one_of_the_installation(place):
    run(place, request=NOTE)
    assert Ledger(place / "ledger.sqlite").verify(load_or_create_key()).is_valid
