"""A later request of a chain leaves out what earlier ones forgot, and says whether it comes back."""

import csv
import json

import pytest
import torch
from small_requests import Classifier, config, own, result_of
from torch.utils.data import Subset, TensorDataset
from typer.testing import CliRunner

import expunge
from expunge.api import run_request, train_request
from expunge.api.relapse import sign_test
from expunge.cli import app
from expunge.data import TensorExamples
from expunge.errors import ConfigError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger
from expunge.objectives import RandomLabel
from expunge.report.formats import render_text

DATA = "{name: digits, subset: 300, options: {test_share: 0.4}}"
RL = "{name: rl, epochs: 2, lr: 0.02, batch_size: 32}"
FT = "{name: ft, epochs: 1, lr: 0.01, batch_size: 32}"
CALL = {"method": "rl", "epochs": 1, "lr": 0.01, "batch_size": 16}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    place = tmp_path_factory.mktemp("chain")
    return train_request(config(place, data=DATA, train="{epochs: 8, batch_size: 20, lr: 0.1}")).read_bytes()


@pytest.fixture
def place(folder, weights):
    (folder / "original.safetensors").write_bytes(weights)
    return folder


def run(folder, **changes):
    made = {"data": DATA, "method": RL, "ledger": "ledger.sqlite", **changes}
    return run_request(config(folder, **made))


def second(folder, **changes):
    """Forget class 5 from the model that forgot class 3."""
    given = {"checkpoint": "run/unlearned.safetensors", "forget": "{class: 5}", "out": "second", **changes}
    return run(folder, **given)


def accuracies(folder, label):
    """Accuracy on a class before and after a request, in percent."""
    return [row["per_class"][label] for row in result_of(folder)["requests"][0]["rows"]]


@pytest.fixture
def first(place):
    """The folder, once class 3 is forgotten."""
    run(place)
    return place


def test_what_the_first_request_deleted_stays_deleted(first):
    before = accuracies(first / "run", 3)
    part = result_of(second(first))["requests"][0]
    assert before[0] > 70
    assert before[1] < 25
    (earlier,) = part["earlier"]
    assert (earlier["entry"], earlier["classes"], earlier["train"]["examples"]) == (1, 1, 30)
    assert earlier["train"]["accuracy"]["method"] < 35
    assert earlier["held_out"]["accuracy"]["method"] < 35
    assert part["left_out"] == {"retain": 30, "holdout": 0, "test": earlier["held_out"]["examples"], "unknown": []}


def test_without_a_ledger_it_comes_back_and_exclude_keeps_it_away(first):
    assert accuracies(second(first, ledger=None), 3)[1] > 60
    part = result_of(second(first, ledger=None, exclude="[3]", out="third"))["requests"][0]
    assert part["earlier"][0]["entry"] is None
    assert part["earlier"][0]["train"]["accuracy"]["method"] < 35


def test_the_figures_of_a_class_that_is_gone_are_neither_cost_nor_gain(first):
    part = result_of(second(first))["requests"][0]
    assert [row["per_class"][3] for row in part["rows"]] == [None, None]
    entries = Ledger(first / "ledger.sqlite").entries()
    scores = [row["scores"]["ta"]["mean"] for row in part["rows"]]
    assert entries[1].header.spent.drop == pytest.approx(scores[0] - scores[1])
    assert part["sizes"]["retain"] == 300 - 30 - part["sizes"]["forget"]


def test_manifest_and_terminal_say_what_is_left_out(first):
    second(first)
    record = json.loads((first / "second" / "manifest.json").read_text())
    assert record["excluded"] == {"retain": 30, "holdout": 0, "test": record["excluded"]["test"], "entries": [1]}
    assert record["sizes"]["retain"] + record["sizes"]["forget"] + 30 == record["sizes"]["all"]
    shown = CliRunner().invoke(app, ["run", str(first / "request.yaml"), "--force", "--overwrite"]).stdout
    assert "Left out, because earlier requests forgot it: 30 of retain" in shown
    assert "with all of class 3." in " ".join(shown.split())
    assert "Accuracy on 30 forgotten examples of entry 1 (class 3)" in " ".join(shown.split())


def test_rows_that_were_forgotten_are_left_out_one_by_one(place):
    run(place, forget="{fraction: 0.1, seed: 1}", method=FT)
    made = second(place, method=FT)
    part = result_of(made)["requests"][0]
    left = json.loads((made / "manifest.json").read_text())["excluded"]
    assert 20 < left["retain"] <= 30
    assert (left["test"], part["earlier"][0]["classes"]) == (0, 0)
    assert part["earlier"][0]["train"]["examples"] == 30


def test_a_chain_of_three_leaves_out_both(first):
    second(first)
    made = run(first, checkpoint="second/unlearned.safetensors", forget="{class: 7}", out="third")
    part = result_of(made)["requests"][0]
    assert [one["entry"] for one in part["earlier"]] == [1, 2]
    assert part["left_out"]["retain"] == 60


def test_another_chain_in_the_same_ledger_leaves_nothing_out(first):
    part = result_of(run(first, forget="{class: 5}", out="apart"))["requests"][0]
    assert part["earlier"] == []
    assert part["left_out"] == {"retain": 0, "holdout": 0, "test": 0, "unknown": [], "beside": [1]}
    assert "This request does not follow entry 1, which forgot" in render_text(result_of(first / "apart"), "md")


def test_the_retrained_model_does_not_see_them_either(first):
    made = second(first, retrained_model="retrain", train="{epochs: 4, batch_size: 20, lr: 0.1}")
    (earlier,) = result_of(made)["requests"][0]["earlier"]
    assert earlier["train"]["accuracy"]["retrained"] == 0.0


@pytest.mark.parametrize("form", ["html", "md", "tex", "csv", "card"])
def test_every_form_of_the_report_shows_it(first, form):
    document = result_of(second(first))
    earlier = document["requests"][0]["earlier"][0]
    earlier["rose"], earlier["train"]["accuracy"]["method"] = True, 90.0
    document["requests"][0]["classes"][3] = "three"
    text = render_text(document, form)
    if form == "csv":
        keys = {line["metric"] for line in csv.DictReader(text.splitlines())}
        assert {"earlier_entry_1_train", "earlier_entry_1_held_out"} <= keys
    elif form == "card":
        assert "What entry 1 (class three) forgot comes back" in text
    else:
        assert "forgotten examples of entry 1 (class three) rose from" in text.replace("\\", "")


def test_a_redacted_entry_is_named_and_nothing_is_left_out_for_it(first):
    shown = CliRunner().invoke(app, ["ledger", "redact", str(first / "ledger.sqlite"), "1"])
    assert "can no longer leave out" in " ".join(shown.stdout.split())
    part = result_of(second(first))["requests"][0]
    assert part["left_out"] == {"retain": 0, "holdout": 0, "test": 0, "unknown": [1]}
    text = render_text(result_of(first / "second"), "md")
    assert "What entry 1 of the ledger forgot is no longer known" in text


def test_a_chain_that_has_forgotten_everything_else_is_refused(place):
    for number, label in enumerate("12"):
        checkpoint = None if number == 0 else "run 0/unlearned.safetensors"
        changes = own(forget=f"{{class: {label}}}", checkpoint=checkpoint, out=f"run {number}", method=FT)
        run_request(config(place, **changes, ledger="ledger.sqlite"))
    changes = own(forget="{class: 0}", checkpoint="run 1/unlearned.safetensors", out="last", method=FT)
    last = config(place, **changes, ledger="ledger.sqlite")
    with pytest.raises(RequestError, match="at least one example of retain"):
        run_request(last)


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        ("[33]", "classes from 0 to 9"),
        ("{}", "classes, indices or ids"),
        ("{indices: no.txt}", "a file"),
        ("[true]", "class"),
        ("[123456789012345678901234567890]", "classes from 0 to 9"),
    ],
)
def test_wrong_exclusions_are_refused_at_their_line(place, exclude, words):
    with pytest.raises((ConfigError, RequestError), match=words) as caught:
        run(place, exclude=exclude)
    assert caught.value.location == "request.yaml line 9"


def test_an_original_that_the_run_trains_never_sees_what_is_excluded(place):
    made = run(place, checkpoint=None, train="{epochs: 4, batch_size: 20, lr: 0.1}", exclude="[5]", ledger=None)
    (earlier,) = result_of(made)["requests"][0]["earlier"]
    assert earlier["train"]["accuracy"]["original"] == 0.0


def test_drawn_labels_are_never_those_of_a_class_that_is_gone():
    words = torch.arange(0, 2**32, 2**26)
    targets = torch.arange(len(words)) % 4
    for exclude_true in (False, True):
        objective = RandomLabel(exclude_true=exclude_true)
        objective.forgotten_classes = (1, 3)
        labels = objective.sample_remaining_labels(words, targets, classes=6)
        assert set(labels.tolist()) == {0, 2, 4, 5}
        assert exclude_true != bool((labels == targets).any())


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [([0, 0, 0, 0], [1, 1, 1, 0], 1 / 8), ([1, 1, 0], [0, 0, 1], 7 / 8), ([0] * 3, [0] * 3, 1.0)],
)
def test_the_sign_test_counts_those_that_changed(before, after, value):
    assert sign_test(torch.tensor(before).bool(), torch.tensor(after).bool()) == pytest.approx(value)


def parts_of(data, gone, without=()):
    kept = [index for index in range(len(data)) if index not in {*gone, *without}]
    return {"forget": Subset(data, gone), "retain": Subset(data, kept)}


@pytest.fixture
def data():
    inputs = torch.randn(60, 6, generator=torch.Generator().manual_seed(1))
    return TensorDataset(inputs, torch.arange(60) % 3)


def model():
    torch.manual_seed(3)
    return Classifier()


def test_in_python_a_retain_set_with_forgotten_examples_is_refused(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    words = r"3 of retain that entry 1 of the ledger forgot: .*exclude='ledger'"
    with pytest.raises(RequestError, match=words):
        expunge.unlearn(one.model, **parts_of(data, [1, 4]), ledger=ledger, **CALL)
    held = TensorExamples(data.tensors[0][:3], data.tensors[1][:3])
    with pytest.raises(RequestError, match="1 of holdout that entry 1"):
        expunge.unlearn(one.model, **parts_of(data, [1, 4], [0, 2, 3, 6]), holdout=held, ledger=ledger, **CALL)
    two = expunge.unlearn(
        one.model, **parts_of(data, [1, 4]), ledger=ledger, config=expunge.RunConfig(exclude="ledger"), **CALL
    )
    assert len(two.split.retain) == 55
    later = parts_of(data, [7, 8], [0, 3, 6, 1, 4])
    assert expunge.unlearn(two.model, **later, ledger=ledger, **CALL).ledger_entry.number == 3
    figures = expunge.evaluate(two, test=TensorExamples(torch.randn(6, 6), [0, 1, 2, 0, 1, 2]))
    assert figures.document["requests"][0]["earlier"][0]["train"]["examples"] == 3


def test_in_python_classes_that_are_gone_are_refused_and_never_taught(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    class_0 = list(range(0, 60, 3))
    one = expunge.unlearn(model(), **parts_of(data, class_0), ledger=ledger, **CALL)
    fresh = TensorExamples(torch.randn(6, 6), [0, 1, 2, 0, 1, 2])
    with pytest.raises(RequestError, match="2 of retain that entry 1"):
        expunge.unlearn(one.model, forget=Subset(data, [1]), retain=fresh, ledger=ledger, **CALL)
    two = expunge.unlearn(
        one.model, **parts_of(data, [1, 4]), ledger=ledger, config=expunge.RunConfig(exclude="ledger"), **CALL
    )
    assert two.split.forgotten_classes == (0,)
    assert 0 not in two.split.retain.targets
    check_measured_without_class_0(two, fresh)
    named = expunge.unlearn(one.model, **parts_of(data, [1, 4]), config=expunge.RunConfig(exclude=[0]), **CALL)
    check_measured_without_class_0(named, fresh)


def check_measured_without_class_0(result, test):
    """A class that is gone is no part of the test accuracy; whether it comes back is measured on its test examples."""
    (part,) = expunge.evaluate(result, test=test).document["requests"]
    assert part["left_out"] == {"retain": 20, "holdout": 0, "test": 2, "unknown": []}
    assert (part["sizes"]["test"], part["earlier"][0]["classes"]) == (4, 1)
    assert [part["earlier"][0][kind]["examples"] for kind in ("train", "held_out")] == [20, 2]


def test_what_exclude_names_is_counted_as_far_as_it_was_there(data):
    more = TensorExamples(torch.cat([data.tensors[0][:2], torch.randn(3, 6)]), [0, 1, 2, 0, 1])
    found = expunge.unlearn(model(), **parts_of(data, [2, 5]), config=expunge.RunConfig(exclude=more), **CALL)
    figures = expunge.evaluate(found, test=TensorExamples(torch.randn(6, 6), [0, 1, 2, 0, 1, 2]))
    (part,) = figures.document["requests"]
    assert part["left_out"] == {"retain": 2, "holdout": 0, "test": 0, "unknown": []}
    assert part["earlier"][0]["train"]["examples"] == 5


@pytest.mark.parametrize("exclude", [[0], 0, "ant", ("ant",), {0}])
def test_in_python_classes_are_left_out_by_number_or_name(data, exclude):
    named = TensorExamples(*data.tensors, names=["ant", "bee", "cat"])
    found = expunge.unlearn(
        model(),
        forget=expunge.data.Subset(named, [1, 4]),
        retain=expunge.data.Subset(named, [0, 2, 3, 5, 6, 7, 8]),
        config=expunge.RunConfig(exclude=exclude),
        **CALL,
    )
    assert found.split.retain.targets.tolist() == [2, 2, 1, 2]
    assert found.split.forgotten_classes == (0,)


def test_in_python_examples_are_left_out_wherever_they_come_from(data):
    again = TensorExamples(data.tensors[0][[0, 3]].clone(), data.tensors[1][[0, 3]])
    found = expunge.unlearn(model(), **parts_of(data, [1, 4]), config=expunge.RunConfig(exclude=again), **CALL)
    assert len(found.split.retain) == 56
    assert found.split.forgotten_classes == ()


def test_in_python_the_ledger_has_to_be_there_to_exclude_by_it(data):
    with pytest.raises(RequestError, match="a ledger beside exclude='ledger'"):
        expunge.unlearn(model(), **parts_of(data, [1, 4]), config=expunge.RunConfig(exclude="ledger"), **CALL)


def test_in_python_a_redacted_entry_is_warned_of(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    Ledger(ledger).redact(1, key=load_or_create_key())
    with pytest.warns(UserWarning, match=r"Entry 1 of the ledger is redacted .*exclude="):
        expunge.unlearn(one.model, **parts_of(data, [1, 4]), ledger=ledger, **CALL)


def test_a_chain_goes_on_from_a_run_folder_in_python(place):
    import mine

    run_request(config(place, **own(), ledger="ledger.sqlite"))
    net = mine.net()
    net.load_state_dict(expunge.weights.load_weights(place / "run" / "unlearned.safetensors"))
    train, _ = mine.data()
    with pytest.raises(RequestError, match="20 of retain that entry 1"):
        expunge.unlearn(net, **parts_of(train, [0, 3]), ledger=place / "ledger.sqlite", **CALL)


@pytest.mark.parametrize("exclude", [3.5, object(), True, 10**30, -1, ["ant"], [None], b"x", [0, 1, 2], {"a": 1}])
def test_in_python_what_excludes_nothing_sensible_is_refused_in_one_sentence(data, exclude):
    with pytest.raises(expunge.ExpungeError):
        expunge.unlearn(model(), **parts_of(data, [1, 4]), config=expunge.RunConfig(exclude=exclude), **CALL)


def test_a_model_that_the_ledger_does_not_know_is_told_of_what_others_forgot(first):
    weights = expunge.weights.load_weights(first / "run" / "unlearned.safetensors")
    rounded = {name: value.half().float() if value.is_floating_point() else value for name, value in weights.items()}
    expunge.weights.save_weights(rounded, first / "rounded.safetensors")
    part = result_of(second(first, checkpoint="rounded.safetensors"))["requests"][0]
    assert part["left_out"]["elsewhere"] == [1]
    assert "The ledger does not know this model; entry 1 forgot" in render_text(result_of(first / "second"), "html")


def test_in_python_a_model_that_the_ledger_does_not_know_is_warned_of(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    with torch.no_grad():
        one.model.head.weight.mul_(1.01)
    with pytest.warns(UserWarning, match="does not know this model, and entry 1 forgot 3 of the retained examples"):
        expunge.unlearn(one.model, **parts_of(data, [1, 4]), ledger=ledger, **CALL)


def test_in_python_what_the_caller_leaves_out_is_named_as_unmeasured(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    two = expunge.unlearn(one.model, **parts_of(data, [7, 8], [0, 3, 6]), ledger=ledger, **CALL)
    for document in (expunge.evaluate(two, test=fresh_examples()).document, json_of(two.save(tmp_path / "two"))):
        assert [earlier["entry"] for earlier in document["requests"][0]["earlier"]] == [1]
        assert "Whether what entry 1 forgot comes back was not measured." in render_text(document, "md")


def test_in_python_a_request_to_the_model_before_the_last_deletion_is_warned_of(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    with pytest.warns(UserWarning, match="Entry 1 of the ledger forgot 3 of the retained examples, but this request"):
        two = expunge.unlearn(model(), **parts_of(data, [1, 4]), ledger=ledger, **CALL)
    assert two.left_out.beside == {1: 3}
    assert "does not follow entry 1" in render_text(expunge.evaluate(two, test=fresh_examples()).document, "md")


def test_in_python_a_class_that_the_caller_leaves_out_is_measured_on_test_examples(tmp_path, data):
    ledger, class_0 = tmp_path / "ledger.sqlite", list(range(0, 60, 3))
    one = expunge.unlearn(model(), **parts_of(data, class_0), ledger=ledger, **CALL)
    two = expunge.unlearn(one.model, **parts_of(data, [1, 4], class_0), ledger=ledger, **CALL)
    (part,) = expunge.evaluate(two, test=fresh_examples()).document["requests"]
    assert [part["earlier"][0][kind]["examples"] for kind in ("train", "held_out")] == [0, 2]
    assert part["left_out"]["test"] == 2


def test_in_python_a_redacted_entry_is_named_in_the_report(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    Ledger(ledger).redact(1, key=load_or_create_key())
    with pytest.warns(UserWarning, match="Entry 1 of the ledger is redacted"):
        two = expunge.unlearn(one.model, **parts_of(data, [1, 4]), ledger=ledger, **CALL)
    assert "What entry 1 of the ledger forgot is no longer known" in render_text(
        json_of(two.save(tmp_path / "two")), "md"
    )


def test_in_python_examples_that_were_forgotten_before_are_no_test_examples(tmp_path, data):
    ledger = tmp_path / "ledger.sqlite"
    one = expunge.unlearn(model(), **parts_of(data, [0, 3, 6]), ledger=ledger, **CALL)
    two = expunge.unlearn(
        one.model, **parts_of(data, [1, 4]), ledger=ledger, config=expunge.RunConfig(exclude="ledger"), **CALL
    )
    with pytest.raises(RequestError, match="to forget before and to test"):
        expunge.evaluate(two, test=Subset(data, [0, 3, 6]))


def test_in_python_held_out_examples_that_are_excluded_are_counted(data):
    held = TensorExamples(torch.cat([data.tensors[0][:2], torch.randn(3, 6)]), [0, 1, 2, 0, 1])
    gone = TensorExamples(data.tensors[0][:2], [0, 1])
    found = expunge.unlearn(
        model(), **parts_of(data, [2, 5], [0, 1]), holdout=held, config=expunge.RunConfig(exclude=gone), **CALL
    )
    assert found.left_out.sizes == {"retain": 0, "holdout": 2, "test": 0}


def fresh_examples():
    return TensorExamples(torch.randn(6, 6), [0, 1, 2, 0, 1, 2])


def json_of(folder):
    return json.loads((folder / "result.json").read_text())
