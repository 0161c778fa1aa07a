"""``audit``: models that Expunge did not make, from Python and from weights in files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import beta
from sklearn.metrics import roc_auc_score
from small_requests import (
    DATA,
    MODEL,
    assert_same,
    classifier,
    config,
    everything,
    result_of,
    sides,
    write_request,
    written,
)
from torch import nn
from typer.testing import CliRunner

import expunge
from expunge.api import Audit, audit_request, run_request
from expunge.cli import app
from expunge.data import TensorExamples
from expunge.errors import ConfigError, DataError, ExpungeError, ModelError, RequestError
from expunge.metrics import loss
from expunge.report import print_tables, read_document
from expunge.report.audit_text import describe_weight_change, sort_by_distance
from expunge.request.options import parse_request_options
from expunge.weights import compare_layers, save_weights

OPTIONS = {"model": MODEL, "data": DATA, "forget": "class=3"}


def held_out(count: int = 90, seed: int = 8) -> TensorExamples:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return TensorExamples(inputs, torch.arange(count) % 3)


def altered(model: nn.Module, *names: str) -> nn.Module:
    """The same with other numbers in some weights."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name in names:
            weight = model.get_parameter(name)
            weight += torch.randn(weight.shape, generator=generator)
    return model


def found(**changes) -> Audit:
    first, second = sides()
    parts = {"forget": first, "retain": second, "test": held_out()} | changes
    return expunge.audit(classifier(), altered(classifier(), "head.weight"), **parts)


def section(audit: Audit) -> dict:
    return audit.document["requests"][0]["audit"]


def test_certify_examples_are_used_for_nothing_else_and_of_the_classes_that_stay():
    read, seen = {"certify": [], "test": []}, held_out()

    class Watched(TensorExamples):
        def __init__(self, name, examples):
            super().__init__(examples.inputs, examples.targets)
            self.name = name

        def batch(self, indices):
            read[self.name] += indices.tolist()
            return super().batch(indices)

    _first, second = sides()
    gone = TensorExamples(second.inputs[second.targets == 1], second.targets[second.targets == 1])
    kept = TensorExamples(second.inputs[second.targets != 1], second.targets[second.targets != 1])
    halved = found(forget=gone, retain=kept, test=Watched("test", seen))
    assert halved.certificate.examples == 30
    assert halved.document["requests"][0]["sizes"]["test"] == 60
    counts = torch.bincount(torch.tensor(read["test"]), minlength=90)
    assert {1, 2} >= set(counts[seen.targets == 1].tolist()), "both models, once each"
    given = found(forget=gone, retain=kept, test=seen, certify=Watched("certify", held_out(45, seed=9)))
    assert (given.certificate.examples, given.document["requests"][0]["sizes"]["test"]) == (30, 90)
    assert set(held_out(45, seed=9).targets[read["certify"]].tolist()) == {0, 2}


def test_the_certificate_is_that_of_the_discordant_examples():
    part = held_out(60, seed=11)
    audit = found(certify=part)
    models = classifier().eval(), altered(classifier(), "head.weight").eval()
    with torch.no_grad():
        before, after = (model(part.inputs).argmax(1) == part.targets for model in models)
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    assert (audit.certificate.lost, audit.certificate.gained) == (lost, gained)
    assert lost > 0 < gained
    upper, lower = beta.ppf(0.975, lost + 1, 60 - lost), beta.ppf(0.025, gained, 60 - gained + 1)
    assert audit.certificate.bound == pytest.approx(upper - lower)
    assert section(audit)["certificate"]["bound"] == audit.certificate.bound


def test_attacks_are_against_held_out_examples_of_the_same_classes():
    first, _second = sides()
    one = TensorExamples(first.inputs[first.targets == 2], first.targets[first.targets == 2])
    test, certify = held_out(), held_out(45, seed=9)
    audit = found(forget=one, test=test, certify=certify)
    assert list(audit.attacks) == ["Original", "Unlearned"]
    model, alike = altered(classifier(), "head.weight").eval(), test.targets == 2
    with torch.no_grad():
        scores = [-loss(model(x), y) for x, y in ((one.inputs, one.targets), (test.inputs[alike], test.targets[alike]))]
    truth = [1] * len(scores[0]) + [0] * len(scores[1])
    (attack,) = [attack for attack in audit.attacks["Unlearned"] if attack.score == "loss"]
    assert attack.auc == pytest.approx(roc_auc_score(truth, [*scores[0], *scores[1]]))


def test_without_held_out_examples_alike_no_attack_is_made_and_the_words_say_why():
    first, _second = sides()
    one = TensorExamples(first.inputs[first.targets == 2], first.targets[first.targets == 2])
    test = held_out()
    others = TensorExamples(test.inputs[test.targets != 2], test.targets[test.targets != 2])
    audit = found(forget=one, test=others)
    assert audit.attacks == {}
    assert "Not measured: there are no held-out examples" in shown(audit)


def shown(audit: Audit, width: int = 80) -> str:
    console = Console(width=width, record=True, highlight=False, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        print_tables(audit.document, console)
    return " ".join(console.export_text().split())


def test_only_the_layers_that_were_changed_are_said_to_have_moved():
    audit = found()
    layers = {layer.name: layer for layer in audit.layers}
    assert set(layers) == {"first", "norm", "head"}
    assert [name for name, layer in layers.items() if layer.changed] == ["head"]
    before, after = (model.head.requires_grad_(False) for model in (classifier(), altered(classifier(), "head.weight")))
    apart = (after.weight - before.weight).norm()
    length = torch.cat([before.weight.flatten(), before.bias]).norm()
    assert layers["head"].relative == pytest.approx(float(apart / length), rel=1e-6)
    assert layers["head"].largest == pytest.approx(float((after.weight - before.weight).abs().max()), rel=1e-6)
    assert "1 of 3 layers differ from the original, in 24 of 116 numbers" in shown(audit)


def test_a_model_that_nobody_changed_is_said_to_be_unchanged():
    first, second = sides()
    audit = expunge.audit(classifier(), classifier(), forget=first, retain=second, test=held_out())
    assert (audit.certificate.lost, audit.certificate.gained) == (0, 0)
    assert "No weight differs from the original's: nothing was unlearned." in shown(audit)
    part = read_document(audit.document).requests[0].audit
    assert sort_by_distance(part) == []
    assert describe_weight_change(part).startswith("No weight differs")


def test_a_reference_adds_a_row_and_its_figures_and_changes_no_model():
    models = [classifier(), altered(classifier(), "head.weight"), altered(classifier(), "first.weight")]
    before = [everything(model) for model in models]
    first, second = sides()
    parts = {"forget": first, "retain": second, "test": held_out()}
    with_it = expunge.audit(models[0], models[1], **parts, retrained=models[2])
    without = expunge.audit(models[0], models[1], **parts)
    for model, look in zip(models, before, strict=True):
        assert_same(look, everything(model))
    roles = [[row["role"] for row in audit.document["requests"][0]["rows"]] for audit in (with_it, without)]
    assert roles == [["original", "retrained", "method"], ["original", "method"]]
    assert with_it.scores.keys() - without.scores.keys() >= {"avg_gap", "tow"}
    assert list(with_it.attacks) == ["Original", "Retrain", "Unlearned"]
    assert with_it.certificate == without.certificate


def test_what_does_not_fit_is_refused():
    (first, second), same = sides(), held_out()
    with pytest.raises(ModelError, match=r"same names and shapes, but found 'weight', \(3, 6\) in one and absent in"):
        expunge.audit(nn.Linear(6, 3), nn.Sequential(nn.Linear(6, 3)), forget=first, retain=second, test=held_out())
    with pytest.raises(RequestError, match="disjoint examples to forget and to test"):
        found(forget=first, test=first)
    with pytest.raises(RequestError, match="disjoint examples to test and to certify"):
        found(test=same, certify=same)
    with pytest.raises(DataError, match="held-out"):
        found(test=TensorExamples(torch.zeros(1, 6), [0]))


def test_a_norm_of_nothing_has_no_relative_distance():
    (layer,) = compare_layers({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 3.0])})
    assert (layer.name, layer.changed, layer.relative, layer.largest) == ("", 1, None, 3.0)


@pytest.fixture
def place(folder):
    """A folder with an original, and weights that somebody made of it."""
    run_request(config(folder, out="theirs"))
    (folder / "unlearned.safetensors").write_bytes((folder / "theirs" / "unlearned.safetensors").read_bytes())
    return folder


def figures(path: Path) -> dict:
    (request,) = result_of(path)["requests"]
    return {key: request[key] for key in ("sizes", "rows", "audit", "kind", "description")}


def command(*more: str, **changes: str):
    options = [text for key, value in (OPTIONS | changes).items() for text in (f"--{key}", value)]
    return CliRunner().invoke(app, ["audit", "original.safetensors", "unlearned.safetensors", *options, *more])


def test_two_files_and_options_come_to_the_same_as_a_request_file(place):
    request = str(write_request(place))
    before = written(place)
    answered = command()
    assert answered.exit_code == 0, answered.output
    assert max(map(len, answered.stdout.splitlines())) <= 80
    assert "Report:  audit/report.html" in answered.stdout
    by_file = CliRunner().invoke(
        app, ["audit", request, "unlearned.safetensors", "--out", "by-file"], catch_exceptions=False
    )
    assert by_file.exit_code == 0, by_file.output
    assert figures(place / "audit") == figures(place / "by-file")
    assert {path.name for path in (place / "audit").iterdir()} == {"report.html", "result.json"}
    after = written(place)
    assert {name: value for name, value in after.items() if name in before} == before
    page = (place / "audit" / "report.html").read_text()
    assert "What the audit found" in page
    assert "audit of a model from elsewhere" in page


def test_a_reference_from_a_file_is_shown(place):
    answered = command("--reference", "original.safetensors")
    assert answered.exit_code == 0, answered.output
    (request,) = result_of(place / "audit")["requests"]
    assert [row["role"] for row in request["rows"]] == ["original", "retrained", "method"]
    assert request["retrained"] is True


def test_the_figures_are_those_of_the_run_that_made_the_weights(place):
    """A class request: the forgotten and retained examples are all measured, whoever asks."""
    command()
    theirs, ours = (result_of(place / name)["requests"][0]["rows"][-1] for name in ("theirs", "audit"))
    for key in ("ua", "ra"):
        assert theirs["scores"][key]["mean"] == ours["scores"][key]["mean"]


def test_examples_that_steered_the_run_are_left_out(place):
    audit = audit_request(config(place, holdout="0.5"), place / "unlearned.safetensors")
    whole = audit_request(config(place), place / "unlearned.safetensors", out=place / "whole")
    sizes = [one.document["requests"][0]["sizes"]["test"] + one.certificate.examples for one in (audit, whole)]
    assert sizes[0] == pytest.approx(sizes[1] / 2, abs=1)


def weights_of(place: Path, name: str, model: nn.Module) -> str:
    save_weights(model, place / name)
    return name


REFUSED = {
    "another architecture": ({"model": "{name: small_cnn, options: {width: 5}}"}, "shapes and types of the model"),
    "an unknown key": (
        {"forget": "clas=3"},
        "--forget: Expected one of class, indices, ids, id_column, fraction, predicate, seed",
    ),
    "a broken value": ({"forget": "{class: 3"}, "--forget line 1: Expected YAML"),
    "a class that is not there": ({"forget": "class=33"}, "--forget: Expected"),
    "no network of the name": ({"model": "small_cn"}, "did you mean 'small_cnn'"),
    "a list that is not there": ({"forget": "indices=gone.txt"}, "--forget: Expected a file for 'indices', but found"),
    "a folder that is not there": ({"data": "{name: digits, dir: gone}"}, "paths are relative to the current folder"),
    "no reader of the name": ({"data": "digit"}, "did you mean 'digits'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_options_are_refused_in_one_sentence(place, name):
    changes, sentence = REFUSED[name]
    refused = command(**changes)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert sentence in refused.stderr
    assert not (place / "audit").exists()


@pytest.mark.parametrize(("name", "sentence"), [("gone.safetensors", "a file for"), ("old.pth", "expunge convert")])
def test_an_original_that_is_not_there_or_may_be_a_pickle_is_refused(place, name, sentence):
    options = [text for key, value in OPTIONS.items() for text in (f"--{key}", value)]
    refused = CliRunner().invoke(app, ["audit", name, "unlearned.safetensors", *options])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("ORIGINAL: Expected")
    assert sentence in refused.stderr


def test_a_pickle_is_never_opened(place, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (place / "opened",))

    (place / "unlearned.safetensors").write_bytes(pickle.dumps(Trap()))
    refused = command()
    assert refused.exit_code == 2
    assert "a pickle, which can run code" in refused.stderr
    assert not (place / "opened").exists()


def test_an_earlier_audit_and_a_run_are_not_written_over(place):
    assert command().exit_code == 0
    again = command()
    assert (again.exit_code, "--overwrite" in again.stderr) == (2, True)
    assert command("--overwrite").exit_code == 0
    before = written(place / "theirs")
    assert command("--out", "theirs").exit_code == 2
    assert written(place / "theirs") == before


def test_a_request_beside_options_or_to_another_family_is_refused(place):
    request = str(write_request(place))
    both = CliRunner().invoke(app, ["audit", request, "unlearned.safetensors", "--data", "digits"])
    assert (both.exit_code, both.stderr.count("\n")) == (2, 1)
    assert "--data beside" in both.stderr
    untrained = config(place, checkpoint=None, train="{epochs: 1}")
    with pytest.raises(ConfigError, match="the original's weights, but found none yet"):
        audit_request(untrained, place / "unlearned.safetensors")
    missing = config(place)
    with pytest.raises(ExpungeError, match="a weights file at"):
        audit_request(missing, place / "gone.safetensors")
    assert not (place / "audit").exists()


def test_weights_that_are_not_finite_are_refused_with_their_file(place):
    from safetensors.torch import load_file, save_file

    state = load_file(place / "unlearned.safetensors")
    state["fc.bias"][0] = float("nan")
    save_file(state, place / "unlearned.safetensors")
    refused = command()
    assert refused.exit_code == 2
    assert "unlearned.safetensors: Expected finite weights" in refused.stderr


def test_options_are_read_as_a_request_file_is(place):
    by_options = parse_request_options(OPTIONS, {"checkpoint": Path("original.safetensors")})
    by_file = config(place)
    keys = {"model", "data", "forget"}
    assert by_options.model_dump(include=keys) == by_file.model_dump(include=keys)
    drawn = parse_request_options(
        {**OPTIONS, "forget": "fraction=0.1,seed=2"}, {"checkpoint": Path("original.safetensors")}
    )
    assert (drawn.forget.fraction, drawn.forget.seed) == (0.1, 2)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(st.text(max_size=30), st.text(alphabet="{}[]:,=&*!|>-'\"# class0123\n\t%@`", max_size=30)),
    st.sampled_from(sorted(OPTIONS)),
)
def test_whatever_is_written_as_an_option_ends_in_one_sentence(text, key):
    said = ""
    try:
        parse_request_options({**OPTIONS, key: text}, {"checkpoint": Path(__file__)})
    except ExpungeError as error:
        said = str(error)
    assert "\n" not in said


def test_names_of_classes_and_layers_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    first, second = sides()
    model = nn.Sequential()
    model.add_module(evil.replace(".", ""), nn.Linear(6, 3))
    other = altered(nn.Sequential(), *())
    other.add_module(evil.replace(".", ""), nn.Linear(6, 3))
    audit = expunge.audit(
        model, other, forget=first, retain=second, test=held_out(), class_names=[evil, "b", "c"], description=evil
    )
    page = (audit.save(tmp_path / "out") / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert json.loads((tmp_path / "out" / "result.json").read_text())["kind"] == "audit"
