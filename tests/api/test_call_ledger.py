"""``unlearn(…, ledger=…)``: requests from Python are recorded, recognized, and added up over a stream."""

from __future__ import annotations

import pytest
import torch
from flat_calls import flat_unlearn
from small_requests import assert_same, classifier, config, everything, own, sides
from torch.utils.data import Subset, TensorDataset

import expunge
from expunge.api import run_request
from expunge.api.steering import controller
from expunge.budget.selection import Selection
from expunge.callbacks import LambdaCallback
from expunge.data import TensorExamples
from expunge.errors import ConfigError, DataError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger, compute_chain_totals, request_chains, unpack_hash_prefixes

RL = {"method": "rl", "epochs": 1, "lr": 0.01, "batch_size": 16}
BUDGETED = {"method": "random_labels_with_budget", "epochs": 2, "lr": 0.01, "batch_size": 16, "sanity_check": False}


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.sqlite")


def run(ledger, model=None, forget=None, **changes):
    first, second = sides()
    parts = {"forget": first if forget is None else forget, "retain": second}
    return flat_unlearn(model or classifier(), **parts, ledger=ledger.path, **{**RL, **changes})


def held(seed: int, count: int = 400) -> TensorExamples:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return TensorExamples(inputs, torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed)))


def test_a_request_is_recorded_once_it_is_answered(ledger):
    result = run(ledger)
    (entry,) = ledger.entries()
    assert result.ledger_entry == entry
    assert (entry.content.method, entry.content.evidence) == ("rl", {})
    assert (entry.content.asked.forget, entry.content.asked.retain) == (12, 48)
    assert entry.header.models.original != entry.header.models.unlearned
    assert entry.header.spent is None
    assert ledger.verify(load_or_create_key()).is_valid


def test_nothing_is_recorded_that_was_not_asked_for(tmp_path):
    first, second = sides()
    assert flat_unlearn(classifier(), forget=first, retain=second, **RL).ledger_entry is None
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_was_served_is_recognized_before_the_first_update(ledger):
    result = run(ledger)
    updates = []
    for model in (classifier(), result.model):
        with pytest.raises(RequestError, match=r"entry 1 of .*again=True"):
            run(ledger, model, on_step=updates.append, method="ft")
    assert updates == []
    assert run(ledger, force=True).ledger_entry.number == 2


def test_the_same_examples_in_another_order_are_recognized_and_others_with_their_labels_are_not(ledger):
    first, _ = sides()
    run(ledger)
    order = torch.arange(len(first)).flip(0)
    with pytest.raises(RequestError, match="entry 1"):
        run(ledger, forget=TensorExamples(first.inputs[order], first.targets[order]))
    assert run(ledger, forget=TensorExamples(first.inputs + 1, first.targets)).ledger_entry.number == 2
    swapped = first.inputs.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert run(ledger, forget=TensorExamples(swapped, first.targets)).ledger_entry.number == 3


def parts_of(data: TensorDataset, gone: list[int]) -> dict[str, Subset]:
    kept = [index for index in range(len(data)) if index not in gone]
    return {"forget": Subset(data, gone), "retain": Subset(data, kept)}


def test_parts_of_one_data_set_are_recognized_as_those_of_a_request_file(folder):
    import mine

    place = Ledger(folder / "ledger.sqlite")
    run_request(config(folder, **own(), ledger="ledger.sqlite"))
    data, _ = mine.data()
    gone = list(range(1, 60, 3))
    with pytest.raises(RequestError, match="entry 1"):
        flat_unlearn(mine.net(), **parts_of(data, gone), ledger=place.path, **RL)
    result = flat_unlearn(
        mine.net(scale=2.0), **parts_of(data, gone), ledger=place.path, config=expunge.RunConfig(force=True), **RL
    )
    by_file, by_call = place.entries()
    assert (by_call.content.asked.forgotten, by_call.content.asked.data) == (
        by_file.content.asked.forgotten,
        by_file.content.asked.data,
    )
    with pytest.raises(RequestError, match="entry 2"):
        flat_unlearn(result.model, **parts_of(data, gone), ledger=place.path, **RL)


def test_a_stream_is_accounted_with_its_budgets_and_certificates(ledger):
    inputs, targets = torch.randn(60, 6, generator=torch.Generator().manual_seed(1)), torch.arange(60) % 3
    data, model, results = TensorDataset(inputs, targets), classifier(), []
    for number in range(3):
        parts = parts_of(data, list(range(number, 60, 12)))
        wish = {"holdout": held(10 + number), "budget": expunge.Budget(accuracy_points=60.0), "exclude": "ledger"}
        results.append(flat_unlearn(model, **parts, **wish, ledger=ledger.path, **BUDGETED))
        model = results[-1].model
    entries = ledger.entries()
    assert [[entry.number for entry in stream] for stream in request_chains(entries)] == [[1, 2, 3]]
    (account,) = compute_chain_totals(entries, entries)
    certificates = [result.budget.certificate for result in results]
    assert account.unit == "points"
    assert account.drop == pytest.approx(sum(100 * one.drop for one in certificates))
    assert account.bound == pytest.approx(sum(100 * one.bound for one in certificates))
    assert account.level == pytest.approx(sum(one.delta for one in certificates))
    assert (account.budget, account.reopened, account.uncertified) == (180.0, (), ())


def test_held_out_data_that_are_opened_again_certify_nothing(ledger):
    first, second = sides()
    model = classifier()
    for number in range(2):
        forget = TensorExamples(first.inputs + number, first.targets)
        wish = {"holdout": held(7), "budget": expunge.Budget(accuracy_points=60.0)}
        parts = {"forget": forget, "retain": second}
        model = flat_unlearn(model, **parts, **wish, ledger=ledger.path, **BUDGETED).model
    (account,) = compute_chain_totals(ledger.entries(), ledger.entries())
    assert (account.bound, account.reopened) == (None, (2,))


def known(examples: TensorExamples) -> TensorExamples:
    """Examples with the labels that the classifier gives them."""
    return TensorExamples(examples.inputs, classifier()(examples.inputs).argmax(1))


@pytest.mark.parametrize("change", ["shuffled", "less one", "one again"])
def test_held_out_examples_that_were_opened_are_recognized_and_the_second_result_says_so(ledger, change):
    first, second, both, fresh = map(known, (*sides(), held(7), held(8)))
    wish = {"retain": second, "budget": expunge.Budget(accuracy_points=60.0)}
    result = flat_unlearn(classifier(), forget=first, holdout=both, **wish, ledger=ledger.path, **BUDGETED)
    assert (result.budget.certified, result.budget.reopened) == (True, ())
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    again = {
        "shuffled": TensorExamples(both.inputs[order], both.targets[order]),
        "less one": TensorExamples(both.inputs[1:].clone(), both.targets[1:]),
        "one again": TensorExamples(
            torch.cat([fresh.inputs, both.inputs[:1]]), torch.cat([fresh.targets, both.targets[:1]])
        ),
    }[change]
    parts = {"forget": TensorExamples(first.inputs + 1, first.targets), "holdout": again}
    told = flat_unlearn(result.model, **parts, **wish, ledger=ledger.path, **BUDGETED).budget
    assert (told.certified, told.reopened) == (False, (1,))
    assert "This is not certified: entry 1 of the ledger has opened some of these" in told.summary
    assert told.as_dict()["reopened"] == [1]
    (account,) = compute_chain_totals(ledger.entries(), ledger.entries())
    assert (account.bound, account.reopened) == (None, (2,))


def test_a_held_out_set_is_written_into_the_ledger_once(ledger):
    wish = {"holdout": held(7), "budget": expunge.Budget(accuracy_points=60.0)}
    for _ in range(2):
        run(ledger, **{**BUDGETED, **wish}, force=True)
    first, second = (entry.header.spent for entry in ledger.entries())
    assert len(unpack_hash_prefixes(first.opened)) == 400
    assert (second.opened, second.split) == ("", first.split)


def test_a_model_that_comes_back_as_it_was_has_answered_nothing(ledger, monkeypatch):
    monkeypatch.setattr(
        controller, "select_checkpoint", lambda *_: Selection(chosen=0, within_budget=False, target_met=False)
    )
    wish = {"holdout": held(7), "budget": expunge.Budget(accuracy_points=60.0)}
    result = run(ledger, **{**BUDGETED, **wish})
    assert result.budget.chosen == 0
    assert (result.ledger_entry, ledger.entries()) == (None, [])
    assert all(torch.equal(a, b) for a, b in zip(result.model.parameters(), classifier().parameters(), strict=True))


def test_the_file_holds_neither_numbers_nor_places(ledger):
    data = TensorDataset(torch.arange(360.0).view(60, 6) + 0.123456, torch.arange(60) % 3)
    flat_unlearn(classifier(), **parts_of(data, [21, 23, 25]), ledger=ledger.path, **RL)
    content = ledger.path.read_bytes()
    assert data.tensors[0][0].numpy().tobytes() not in content
    assert b"[21" not in content
    assert str(ledger.path.parent).encode() not in content


def test_a_ledger_that_cannot_be_used_is_refused_and_the_model_left_alone(tmp_path):
    (tmp_path / "other").write_text("no ledger " * 200)
    model = classifier()
    before = everything(model)
    for path, error, words in (
        (tmp_path / "other", DataError, "ledger"),
        (tmp_path / "other" / "ledger", ConfigError, "is a file"),
        (3, ConfigError, "for 'ledger' of unlearn, but found 3"),
    ):
        with pytest.raises(error, match=words):
            flat_unlearn(
                model, forget=sides()[0], retain=sides()[1], ledger=path, config=expunge.RunConfig(inplace=True), **RL
            )
    assert_same(before, everything(model))


def test_a_ledger_that_fails_in_the_end_does_not_lose_the_model(ledger, monkeypatch):
    def full(*arguments, **keywords):
        raise DataError("a ledger that can be opened", "a full disk", "free it")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.warns(UserWarning, match="is answered, but the ledger has no entry of it.*a full disk"):
        result = run(ledger)
    assert result.ledger_entry is None
    assert len(result.history) == 3


@pytest.mark.parametrize("inplace", [True, False])
def test_a_ledger_whose_folder_goes_meanwhile_does_not_lose_the_model(tmp_path, inplace):
    place = tmp_path / "folder" / "ledger.sqlite"

    def lose(row):
        if not place.parent.exists():
            place.parent.write_text("a file now")

    forget, retain = sides()
    with pytest.warns(UserWarning, match="is answered, but the ledger has no entry of it"):
        result = flat_unlearn(
            classifier(),
            forget=forget,
            retain=retain,
            ledger=place,
            callbacks=[LambdaCallback(on_step=lose)],
            config=expunge.RunConfig(inplace=inplace),
            **RL,
        )
    assert (result.ledger_entry, len(result.history)) == (None, 3)


def test_a_request_that_another_process_answers_meanwhile_is_recorded_once(ledger):
    def meanwhile(row):
        if not ledger.path.exists():
            run(ledger)

    with pytest.warns(UserWarning, match="the ledger has no entry of it.*entry 1 of"):
        result = run(ledger, on_step=meanwhile)
    assert (result.ledger_entry, len(ledger.entries()), len(result.history)) == (None, 1, 3)
