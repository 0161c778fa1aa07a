"""Bad input: one sentence, exit code 2, nothing written, nothing touched."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flat_calls import flat_unlearn
from safetensors.torch import load_file, save_file
from small_requests import MODEL, assert_same, classifier, config, everything, own, sides, write_request, written
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Subset as TorchSubset
from typer.testing import CliRunner

import expunge
from expunge import RunConfig
from expunge.api import run_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.data import Subset, TensorExamples
from expunge.engine import MethodRecipe, OptimizerConfig, TrainStage
from expunge.errors import DataError, ExpungeError, ModelError, NotFiniteError, ObjectiveError, RequestError
from expunge.methods import EUPMU, Method
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.pair import Pair
from expunge.surgery import EUPMUOfficialSurgery, EUPMUSurgery, WeightedSum

RESNET = "{name: resnet8}"
WITHOUT_TRAIN = {"checkpoint": None, "model": MODEL}
DEEP = "{epochs: 1, warmup_epochs: 5.0}"

REQUESTS: dict[str, tuple[dict[str, str | None], str]] = {
    # what is forgotten
    "empty": ({"forget": "{indices: empty.txt}"}, "line 4: Expected at least one example to forget, but found none"),
    "duplicate": ({"forget": "{indices: twice.txt}"}, "line 4: Expected every index once, but found 1 named more"),
    "out of range": ({"forget": "{indices: far.txt}"}, "line 4: Expected indices from 0 to 1616, but found"),
    "not in the part": ({"forget": "{indices: unused.txt}"}, "line 4: Expected indices of the part of the data"),
    "not a number": (
        {"forget": "{indices: word.txt}"},
        "line 4: Expected a whole number on every line, but found 'two' on line 3 of 'word.txt': write one",
    ),
    "index file missing": ({"forget": "{indices: gone.txt}"}, "line 4: Expected a file for 'indices', but found none"),
    "index file of objects": ({"forget": "{indices: objects.npy}"}, "line 4: Expected an index file of the kind .npy"),
    "damaged index file": ({"forget": "{indices: cut.json}"}, "line 4: Expected an index file of the kind .json"),
    "class that does not occur": ({"forget": "{class: 11}"}, "line 4: Expected a class that occurs in the data"),
    "class by a wrong name": (
        own(forget="{class: wasp}", data="{factory: mine:named}"),
        "Expected the name of a class",
    ),
    "everything": (own(forget="{predicate: mine:every}"), "Expected at least one example to retain, but found a req"),
    "an unsure predicate": (own(forget="{predicate: mine:unsure}"), "that answers True or False, but found an answer"),
    "a missing predicate": (own(forget="{predicate: mine:gone}"), "Expected 'gone' in the module 'mine', but found no"),
    "nothing by fraction": ({"forget": "{fraction: 0.001}"}, "line 4: Expected a fraction that comes to at least one"),
    "two kinds": ({"forget": "{class: 1, fraction: 0.1}"}, "line 4: Expected exactly one of class, indices"),
    # the model
    "labels outside the head": (own(model="{name: mine:net, options: {classes: 2}}"), "Expected labels from 0 to 1"),
    "more labels than names": (own(data="{factory: mine:too_few_names}"), "Expected labels from 0 to 1, one for each"),
    "no trainable weight": (own(model="mine:frozen"), "line 1: Expected a model with trainable weights"),
    "a model for pictures": (own(model="mine:pictures"), "line 1: Expected a model that takes inputs (20, 6)"),
    "probabilities": (own(model="mine:probabilities"), "line 1: Expected logits of the form (20, classes)"),
    "weights that cannot be saved": (own(model="mine:complex_state"), "line 1: Expected a state_dict of dense real"),
    "no such factory": (own(model="mine:gone"), "line 1: Expected 'gone' in the module 'mine', but found no such"),
    "no such module": (own(model="yours:net"), "line 1: Expected a Python module 'yours'"),
    "an option of the model": ({"model": "{name: small_cnn, options: {wide: 3}}"}, "line 1: Expected options that"),
    "a misspelled model": ({"model": "smal_cnn"}, "line 1: Expected one of the models"),
    "a missing extra": ({"model": "timm/resnet18"}, "line 1: Expected the package 'timm' for its image classifiers"),
    # the weights
    "another architecture": (
        {"model": RESNET},
        "line 2: Expected 'original.safetensors' to have the keys of the",
    ),
    "another width": ({"model": "{name: small_cnn, options: {width: 8}}"}, "to have the shapes and types of the model"),
    "no checkpoint": ({"checkpoint": "gone.safetensors"}, "line 2: Expected a file for 'checkpoint', but found none"),
    "pickled by name": ({"checkpoint": "model.pth"}, "line 2: Expected weights as safetensors, but found 'model.pth'"),
    "pickled by content": ({"checkpoint": "pickled.safetensors"}, "a pickle, which can run code: run `expunge convert"),
    "unreadable": ({"checkpoint": "cut.safetensors"}, "line 2: Expected 'cut.safetensors' to be a whole safetensors"),
    "NaN weights": ({"checkpoint": "nan.safetensors"}, "line 2: Expected finite weights in the model, but found NaN"),
    "NaN reference": (
        {"retrained_model": "nan.safetensors"},
        "Expected finite weights in the model, but found NaN or inf",
    ),
    "another reference": (
        {"retrained_model": "other.safetensors"},
        "line 8: Expected 'other.safetensors' to have the keys",
    ),
    "no weights at all": (WITHOUT_TRAIN, "line 1: Expected the weights of the original, but found neither"),
    # the data
    "NaN inputs": (own(data="{factory: mine:data, options: {broken: 4}}"), "line 2: Expected finite inputs, but found"),
    "NaN test inputs": (own(data="{factory: mine:data, options: {broken: 70}}"), "line 2: Expected finite inputs"),
    "an iterable data set": (
        own(data="{factory: mine:stream}"),
        "line 2: Expected a map-style data set, with a length",
    ),
    "a factory of nothing": (
        own(data="{factory: mine:nothing}"),
        "line 2: Expected a data factory that returns (train",
    ),
    "a factory that fails": (own(data="{factory: mine:failing}"), "line 2: Expected data from 'mine:failing', but fou"),
    "no test data": (own(data="{factory: mine:empty_test}"), "line 2: Expected at least one example, but found none"),
    "an option of the data": (own(data="{factory: mine:data, options: {brokn: 4}}"), "line 2: Expected options that"),
    "an option of the reader": ({"data": "{name: digits, options: {share: 1}}"}, "line 3: Expected options that 'digi"),
    "a misspelled reader": ({"data": "digitz"}, "line 3: Expected one of the readers"),
    "no data folder": ({"data": "fashion_mnist"}, "line 3: Expected a folder of data sets with"),
    "a data folder without it": ({"data": "{name: mnist, dir: .}"}, "line 3: Expected the folder"),
    "too large a part": ({"data": "{name: digits, subset: 5000}"}, "line 3: Expected a size from 1 to 1437"),
    # the method
    "an unknown key": ({"methd": "rl"}, "line 8: Expected one of task, model"),
    "a misspelled method": ({"method": "eupmv"}, "line 5: Expected one of the methods"),
    "an unknown setting": ({"method": "{name: rl, epoch: 3}"}, "found 'epoch': did you mean 'epochs'"),
    "a setting of another type": (
        {"method": "{name: rl, epochs: many}"},
        "line 5: Expected a usable value for 'ep",
    ),
    "a negative rate": ({"method": "{name: rl, lr: -1.0}"}, "line 5: Expected lr > 0"),
    "an impossible share": (
        {"method": "{name: salun, mask_fraction: 2.0}"},
        "line 5: Expected a share of weights in (0, 1]",
    ),
    "settings at odds": (
        {"method": "{name: eupmu, as_published: true, log_loss: true}"},
        "line 5: Expected margin= to st",
    ),
    "training at odds": ({"train": DEEP}, "line 8: Expected warmup_epochs to be between 0 and epochs, but found 5.0"),
    "no device": ({"device": "cuda:7"}, "line 8: Expected a device that is there, but found 'cuda:7'"),
    "no holdout": ({"holdout": "0.001"}, "line 8: Expected a holdout share that leaves examples on both sides"),
    # the folder
    "a file in the way": ({"out": "mine.py/run"}, "line 7: Expected a run folder that can be written"),
    "the checkpoint in the way": ({"checkpoint": "run2/unlearned.safetensors", "out": "run2"}, "line 2: Expected a "),
}


@pytest.fixture
def bad(folder, monkeypatch):
    """The folder with all that may be wrong in it."""
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "timm", None)
    weights = load_file(folder / "original.safetensors")
    texts = {
        "empty.txt": "# none\n",
        "twice.txt": "3\n5\n3\n",
        "far.txt": "3\n99999\n",
        "unused.txt": "\n".join(map(str, range(60))),
        "word.txt": "1\n\ntwo\n",
        "cut.json": "[1, 2",
        "model.pth": "",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.save(folder / "objects.npy", np.array([{}]), allow_pickle=True)
    (folder / "pickled.safetensors").write_bytes(pickle.dumps({"fc.weight": 1}))
    (folder / "cut.safetensors").write_bytes((folder / "original.safetensors").read_bytes()[:-7])
    save_file({**weights, "fc.bias": weights["fc.bias"] * float("nan")}, folder / "nan.safetensors")
    save_file({"other": torch.zeros(2)}, folder / "other.safetensors")
    (folder / "run2").mkdir()
    save_file(weights, folder / "run2" / "unlearned.safetensors")
    return folder


def shown(text: str, folder: Path) -> str:
    """A message with the folder's own path taken out of it."""
    return text.replace(f"{folder}/", "")


def assert_one_sentence(text: str) -> None:
    assert re.fullmatch(r"(\S+( line \d+)?: )?Expected [^\n]+, but found [^\n]+: [^\n]+\.\n?", text), text


@pytest.mark.parametrize(("changes", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_bad_request_ends_in_one_sentence(bad, changes, expected):
    write_request(bad, **changes)
    before = written(bad)
    result = CliRunner().invoke(app, ["run", "request.yaml", *(["--overwrite"] if "run2" in str(changes) else [])])
    assert (result.exit_code, result.stdout) == (2, "")
    assert_one_sentence(result.stderr)
    assert expected in shown(result.stderr, bad)
    assert written(bad) == before
    assert not (bad / "run").exists()


@pytest.mark.parametrize("name", ["everything", "NaN weights", "another architecture", "a factory that fails"])
def test_python_gets_the_same_sentence(bad, name):
    changes, expected = REQUESTS[name]
    before = written(bad)
    with pytest.raises(ExpungeError) as caught:
        run_request(config(bad, **changes))
    assert expected in shown(str(caught.value), bad)
    (bad / "request.yaml").unlink()
    assert written(bad) == before


def test_in_a_process_of_its_own_there_is_no_traceback(bad):
    write_request(bad, checkpoint="nan.safetensors")
    command = [sys.executable, "-m", "expunge", "run", "request.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=bad)
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_sentence(done.stderr)


def test_a_finished_run_is_not_replaced(folder):
    run_request(config(folder))
    before = written(folder)
    for command in (["run", "request.yaml"], ["demo", "--out", "run"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert "Expected a folder without an earlier run, but found 'result.json' in " in result.stderr
        assert_one_sentence(result.stderr)
    assert written(folder) == before


def test_a_folder_without_the_right_to_write_is_refused(folder, monkeypatch):
    """By the answer of the system: tests may run as a user who may do anything."""
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and may(path, mode))
    result = CliRunner().invoke(app, ["run", str(write_request(folder))])
    assert result.exit_code == 2
    assert f"(no right to write into '{folder}'): choose another with out (--out)." in result.stderr
    assert_one_sentence(result.stderr)
    assert not (folder / "run").exists()


def test_weights_that_vanished_are_not_replaced_by_chance(folder):
    request = config(folder)
    (folder / "original.safetensors").unlink()
    with pytest.raises(ExpungeError, match=r"line 2: Expected a weights file at .*original.safetensors', but found"):
        run_request(request)
    assert not (folder / "run").exists()


def test_a_refused_request_leaves_the_run_that_it_was_to_replace(bad):
    run_request(config(bad))
    for changes in ({"checkpoint": "nan.safetensors"}, own(data="{factory: mine:data, options: {broken: 59}}")):
        write_request(bad, **changes)
        before = written(bad)
        result = CliRunner().invoke(app, ["run", "request.yaml", "--overwrite"])
        assert result.exit_code == 2
        assert written(bad) == before


def test_a_loss_that_is_not_finite_at_the_first_batch_leaves_no_trace(folder):
    """The first look sees 64 examples of each side; here the one that is broken comes later."""
    (folder / "late.py").write_text(
        "import torch\nfrom torch.utils.data import TensorDataset\ndef data():\n"
        "    x, y = torch.ones(150, 6), torch.arange(150) % 3\n    x[140:] = float('nan')\n"
        "    return TensorDataset(x, y), TensorDataset(x[:60], y[:60])\n"
    )
    write_request(folder, **own(data="{factory: late:data}"))
    before = written(folder)
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert result.exit_code == 2
    assert_one_sentence(result.stderr)
    assert written(folder) == before


def test_a_run_that_diverges_keeps_its_last_good_weights_and_says_where(folder):
    write_request(folder, method="{name: ga, lr: 1.0e30, epochs: 3, batch_size: 8, max_grad_norm: null}")
    result = CliRunner().invoke(app, ["run", "request.yaml"])
    assert result.exit_code == 2
    assert_one_sentence(result.stderr)
    assert "the last good weights are in 'run/last-good.safetensors'" in " ".join(result.stderr.split())
    good, original = load_file(folder / "run" / "last-good.safetensors"), load_file(folder / "original.safetensors")
    assert good.keys() == original.keys()
    assert all(torch.equal(good[name], original[name]) for name in good), "the first update broke it"
    assert not (folder / "run" / "unlearned.safetensors").exists()
    assert "last-good.safetensors" in " ".join(purge(folder / "run").removed)


@pytest.mark.parametrize("command", ["train", "run"])
def test_training_is_refused_before_it_begins(bad, command):
    for changes in (own(model="{name: mine:net, options: {classes: 2}}"), own(model="mine:pictures")):
        write_request(bad, **changes | {"train": "{epochs: 1}", "checkpoint": "new/deep.safetensors"})
        before = written(bad)
        result = CliRunner().invoke(app, [command, "request.yaml"])
        assert result.exit_code == 2
        assert_one_sentence(result.stderr)
        assert written(bad) == before
        assert not (bad / "new").exists()


def test_train_does_not_replace_weights_and_needs_its_section(folder):
    write_request(folder)
    result = CliRunner().invoke(app, ["train", "request.yaml"])
    assert result.exit_code == 2
    assert result.stderr == "request.yaml: Expected the section 'train', but found none: add `train: {epochs: 20}`.\n"
    write_request(folder, train="{epochs: 1}")
    before = written(folder)
    result = CliRunner().invoke(app, ["train", "request.yaml"])
    assert result.stderr.startswith("request.yaml line 2: Expected no weights yet, but found ")
    assert written(folder) == before


def test_convert_refuses_what_is_no_checkpoint(bad):
    before = written(bad)
    for source in ("pickled.safetensors", "mine.py", "gone.pth", "original.safetensors"):
        result = CliRunner().invoke(app, ["convert", source, "new.safetensors"])
        assert (result.exit_code, result.stdout) == (2, "")
        assert_one_sentence(result.stderr)
    assert written(bad) == before


# From Python, on the user's own objects.


def unlearn(model: nn.Module, forget: object, retain: object, **options):
    return flat_unlearn(model, forget=forget, retain=retain, **{"method": "rl", "epochs": 1, **options})


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(6), 0


def pair(change: str) -> tuple[object, object]:
    """Sides with one thing wrong."""
    first, second = sides()
    inputs, targets = torch.randn(30, 6), torch.arange(30) % 3
    whole, plain = TensorExamples(inputs, targets), TensorDataset(inputs, targets)
    return {
        "empty forget": (Subset(whole, []), whole),
        "empty retain": (whole, TorchSubset(plain, [])),
        "duplicate": (Subset(whole, [1, 1]), Subset(whole, [2, 3])),
        "duplicate retain": (TorchSubset(plain, [0]), TorchSubset(plain, [2, 3, 2])),
        "overlap": (Subset(whole, [1, 2]), Subset(whole, [2, 3])),
        "overlap of torch's subsets": (TorchSubset(plain, [1, 2]), TorchSubset(plain, [2, 3])),
        "overlap of arrays": ((inputs, targets), (inputs, targets)),
        "overlap of numpy's arrays": ((inputs.numpy(), targets.numpy()), (inputs.numpy(), targets.numpy())),
        "labels": (TensorExamples(first.inputs, first.targets + 2), second),
        "labels of retain": (first, TensorExamples(second.inputs, second.targets + 1)),
        "negative labels": (first, [(torch.zeros(6), -1)] * 4),
        "NaN inputs": (first, TensorExamples(second.inputs * float("nan"), second.targets)),
        "out of range": (first, TorchSubset(plain, [99])),
        "iterable": (Stream(), second),
        "loader": (first, DataLoader(plain)),
        "nothing": (None, second),
        "a shape of its own": (TensorExamples(first.inputs[:, :4], first.targets), second),
    }[change]


SIDES = {
    "empty forget": (RequestError, "at least one example to forget, but found none"),
    "empty retain": (RequestError, "at least one example to retain, but found none"),
    "duplicate": (RequestError, "every example to forget once, but found 1 repeated"),
    "duplicate retain": (RequestError, "every example to retain once"),
    "overlap": (RequestError, "disjoint examples to forget and to retain, but found 1 in both"),
    "overlap of torch's subsets": (RequestError, "found 1 in both"),
    "overlap of arrays": (RequestError, "found 30 in both"),
    "overlap of numpy's arrays": (RequestError, "found 30 in both"),
    "labels": (RequestError, "labels from 0 to 2, one for each of the head's 3 outputs, but found 3, 4"),
    "labels of retain": (RequestError, "labels from 0 to 2"),
    "negative labels": (DataError, "the label -1"),
    "NaN inputs": (DataError, "finite inputs"),
    "out of range": (DataError, "positions from 0 to 29"),
    "iterable": (DataError, "a map-style data set"),
    "loader": (DataError, "pass the data set itself rather than a loader"),
    "nothing": (DataError, "NoneType"),
    "a shape of its own": (ModelError, r"takes inputs \(12, 4\)"),
}


@pytest.mark.parametrize("change", SIDES)
def test_sides_that_do_not_fit(change):
    error, part = SIDES[change]
    model = classifier()
    before = everything(model)
    with pytest.raises(error, match=part) as caught:
        unlearn(model, *pair(change), config=RunConfig(inplace=True))
    assert_one_sentence(str(caught.value))
    assert_same(before, everything(model))


def test_a_holdout_that_was_trained_on():
    inputs, targets = torch.randn(30, 6), torch.arange(30) % 3
    whole = TensorExamples(inputs, targets)
    first, second, held = Subset(whole, range(5)), Subset(whole, range(5, 20)), Subset(whole, range(18, 30))
    with pytest.raises(RequestError, match="to retain and to hold out, but found 2 in both"):
        unlearn(classifier(), first, second, holdout=held)
    with pytest.raises(RequestError, match="to forget and to hold out, but found 1 in both"):
        unlearn(classifier(), first, second, holdout=Subset(whole, [4]))


def broken_models() -> dict[str, tuple[nn.Module, type[ExpungeError], str]]:
    infinite, frozen, buffers = classifier(), classifier().requires_grad_(False), classifier()
    with torch.no_grad():
        infinite.head.weight[0, 0] = float("inf")
        buffers.norm.running_mean.fill_(float("nan"))
    return {
        "weights": (infinite, NotFiniteError, "NaN or infinity in 'head.weight'"),
        "buffers": (
            buffers,
            NotFiniteError,
            "finite logits, but found NaN or infinity for 12 of the first 12",
        ),
        "frozen": (frozen, ModelError, "a model with trainable weights, but found none"),
        "without weights": (nn.Flatten(), ModelError, "a model with trainable weights"),
    }


@pytest.mark.parametrize("name", broken_models())
@pytest.mark.parametrize("inplace", [False, True])
def test_models_that_cannot_be_unlearned(name, inplace):
    model, error, part = broken_models()[name]
    before = everything(model)
    with pytest.raises(error, match=part) as caught:
        unlearn(model, *sides(), config=RunConfig(inplace=inplace))
    assert_one_sentence(str(caught.value))
    if name not in ("weights", "buffers"):  # NaN is not equal to itself
        assert_same(before, everything(model))


class Climb(Method):
    """Ascent under a surgery that takes logarithms."""

    published = False

    def recipe(self, seed=0):
        surgery = EUPMUOfficialSurgery("log") if self.published else EUPMUSurgery(log_loss=True)
        objectives = Pair(NegativeCrossEntropy(), CrossEntropy())
        return MethodRecipe((TrainStage(objectives, surgery, OptimizerConfig(0.1), 1, Pair(8, 8)),))


class ClimbAsPublished(Climb):
    published = True


@pytest.mark.parametrize("method", [Climb(), ClimbAsPublished()], ids=["log", "published"])
@pytest.mark.parametrize("inplace", [False, True])
def test_ascent_under_the_log_form(method, inplace):
    model, (first, second) = classifier(), sides()
    before = everything(model)
    with pytest.raises(ObjectiveError, match=r"takes? their logarithm.*random_label instead of ascent") as caught:
        expunge.unlearn(model, forget=first, retain=second, method=method, config=expunge.RunConfig(inplace=inplace))
    assert_one_sentence(str(caught.value))
    assert_same(before, everything(model))


def test_ascent_under_the_log_form_in_a_loop_of_ones_own():
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = expunge.Stepper(model, optimizer, EUPMUSurgery(log_loss=True), Pair(NegativeCrossEntropy(), CrossEntropy()))
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = torch.randn(8, 6), torch.arange(8) % 3
    with pytest.raises(ObjectiveError, match="random_label instead of ascent"):
        step(batch, batch)
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters())


def test_an_optimizer_without_trainable_weights():
    model = classifier().requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ModelError, match="at least one trainable weight, but found none") as caught:
        expunge.Stepper(model, optimizer, WeightedSum(1.0, 1.0), Pair(CrossEntropy(), CrossEntropy()))
    assert_one_sentence(str(caught.value))


def test_a_message_of_several_lines_becomes_one():
    error = DataError("one\nsentence", "two\r\nlines", "join\nthem")
    assert str(error) == "Expected one sentence, but found two lines: join them."
    error.location = "request.yaml line 3"
    assert str(error).startswith("request.yaml line 3: Expected one sentence")
    assert json.dumps(error.args)


def test_the_published_form_takes_no_tolerance():
    with pytest.raises(ExpungeError, match="margin= to steer the released form"):
        EUPMU(as_published=True, tolerance=0.1)
