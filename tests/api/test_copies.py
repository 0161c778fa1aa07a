"""The same examples on two sides, whatever objects they are read through, are refused with how many and what to do."""

from __future__ import annotations

import json

import pytest
import torch
from small_requests import classifier, config, own, result_of, sides
from torch.utils.data import TensorDataset

import expunge
from expunge.api import run_request
from expunge.api.steering.budget_validation import make_holdout_split
from expunge.batch import Split
from expunge.budget import Budget
from expunge.data import Subset, TensorExamples, as_examples, drop_duplicates, find_copies
from expunge.errors import DataError, DuplicateDataWarning, RequestError
from expunge.tasks.classification.readers import digits

RL = {"method": "rl", "epochs": 1, "lr": 0.01, "batch_size": 16}


def unlearn(**parts):
    forget, retain = sides()
    return expunge.unlearn(classifier(), **{"forget": forget, "retain": retain, **parts}, **RL)


def copied(examples, count):
    return TensorExamples(examples.inputs[:count].clone(), examples.targets[:count].clone())


def joined(*parts):
    return TensorExamples(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts]))


def other(count=30):
    inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(99))[:count]
    return TensorExamples(inputs, torch.arange(count) % 3)


def test_the_same_rows_behind_two_data_set_objects():
    forget, retain = sides()
    both = joined(retain, copied(forget, 3))
    for wrapped in (both, list(zip(both.inputs, both.targets.tolist(), strict=True))):
        with pytest.raises(RequestError, match=r"disjoint .* forget and to retain, but found 3 of 51 .*distinct"):
            unlearn(retain=wrapped)


def test_overlapping_slices_of_one_tensor():
    inputs, targets = other(60).inputs, other(60).targets
    with pytest.raises(RequestError, match="found 4 of 54 to retain"):
        unlearn(forget=TensorDataset(inputs[:10], targets[:10]), retain=TensorDataset(inputs[6:], targets[6:]))


@pytest.mark.parametrize("side", ["forget", "retain"])
def test_copies_of_a_side_as_held_out_examples(side):
    forget, retain = sides()
    part = {"forget": forget, "retain": retain}[side]
    with pytest.raises(RequestError, match=f"{side} and to hold out, but found 5 of 35 to hold out"):
        unlearn(holdout=joined(other(), copied(part, 5)))


def test_copies_of_examples_that_are_stored_in_another_form():
    source = digits()
    gone = source.train.targets == 3
    batch = Subset(source.train, torch.arange(40)).batch(torch.arange(40))
    copy = TensorExamples(batch.inputs.clone(), batch.targets)
    assert find_copies(copy, source.train).all()
    assert find_copies(copy, Subset(source.train, gone.nonzero().flatten())).sum() == int(gone[:40].sum())
    assert not find_copies(copy, source.test).any()
    assert not find_copies(Subset(source.train, torch.arange(40, 80)), copy).any()


def test_held_out_examples_that_repeat():
    with pytest.raises(RequestError, match=r"every example to hold out once, but found 30 of 60 .*distinct\(holdout\)"):
        unlearn(holdout=joined(other(), other()))


def test_test_examples_that_were_trained_on_or_steered():
    forget, retain = sides()
    result = unlearn(holdout=other())
    for test, count in ((other(), 30), (copied(retain, 9), 9), (joined(other(64), copied(forget, 1)), 1)):
        with pytest.raises(RequestError, match=f"to test, but found {count} of {len(test)} to test that hold the same"):
            expunge.evaluate(result, test=test)
    fresh = drop_duplicates(joined(other(40), copied(forget, 1)), forget, retain, result.split.holdout)
    assert len(fresh) == 10
    assert expunge.evaluate(result, test=fresh).scores["ta"] is not None


def test_repeats_inside_a_side_are_the_users_own_affair():
    forget, retain = sides()
    assert len(unlearn(forget=joined(forget, forget), retain=joined(retain, retain)).history) > 0


def test_rows_of_different_people_may_agree_where_ids_tell_them_apart():
    forget, retain = sides()
    retain = joined(retain, copied(forget, 3))
    forget.ids, retain.ids = [f"a{n}" for n in range(len(forget))], [f"b{n}" for n in range(len(retain))]
    assert len(unlearn(forget=forget, retain=retain).history) > 0
    retain.ids = [f"a{n % 12}" for n in range(len(retain))]
    with pytest.raises(RequestError, match="that hold the same"):
        unlearn(forget=forget, retain=Subset(retain, range(48, 51)))


def test_data_that_change_whenever_they_are_read_are_compared_by_position_alone():
    generator = torch.Generator()

    class Noisy(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            return torch.randn(6, generator=generator), index % 3

    assert len(unlearn(forget=Noisy(), retain=Noisy()).history) > 0
    data = as_examples(Noisy())
    with pytest.raises(RequestError, match="4 in both"):
        unlearn(forget=Subset(data, range(8)), retain=Subset(data, range(4, 12)))


TABLE = '''
import torch
from torch.utils.data import TensorDataset


def copies(everything=False):
    """Sixty training and thirty test rows, some of which hold the same."""
    inputs = torch.randn(90, 6, generator=torch.Generator().manual_seed(2))
    inputs[3], inputs[63], inputs[66], inputs[72] = inputs[0], inputs[0], inputs[69], inputs[6]
    if everything:
        inputs[60:] = inputs[:30]
    targets = torch.arange(90) % 3
    return TensorDataset(inputs[:60], targets[:60]), TensorDataset(inputs[60:], targets[60:])
'''


def test_of_a_request_file_natural_copies_are_left_out_and_said(folder):
    (folder / "table.py").write_text(TABLE)
    (folder / "list.txt").write_text("0\n1\n2\n")
    changes = own(data="{factory: table:copies}", forget="{indices: list.txt}", holdout="0.5")
    place = run_request(config(folder, **changes))
    part, manifest = result_of(place)["requests"][0], json.loads((place / "manifest.json").read_text())
    assert manifest["sizes"] == {"forget": 3, "retain": 56, "all": 60}
    assert 12 <= part["sizes"]["test"] < 15
    said = [sentence for sentence in result_of(place)["limitations"] if sentence.startswith("Of ")]
    assert said[0] == "Of 57 retained examples 1 holds the same as forgotten ones and is left out."
    assert any("test examples" in sentence or "held-out examples" in sentence for sentence in said[1:])
    assert said[0] in (place / "report.html").read_text()


def test_of_a_request_file_all_test_examples_as_copies_are_refused_with_a_cure(folder):
    (folder / "table.py").write_text(TABLE)
    changes = own(data="{factory: table:copies, options: {everything: true}}", forget="{class: 1}")
    with pytest.raises(RequestError, match="30 test examples that all hold the same as training"):
        run_request(config(folder, **changes))


def coarse(count, seed, levels=3):
    """Rows of four features of few values: nearly every row has others like it."""
    inputs = torch.randint(0, levels, (count, 6), generator=torch.Generator().manual_seed(seed)).float()
    inputs[:, 3:] = 0
    return TensorExamples(inputs, torch.arange(count) % 3)


def test_rows_that_agree_by_chance_are_told_and_not_refused(tmp_path):
    with pytest.warns(
        DuplicateDataWarning, match="The data repeat themselves .* % of the retained .*give the data set ids"
    ):
        result = unlearn(forget=coarse(12, 1), retain=coarse(200, 2), holdout=coarse(60, 3))
    saved = json.loads((result.save(tmp_path / "run") / "result.json").read_text())
    measured = expunge.evaluate(result, test=coarse(60, 4)).document
    for caveats in (saved["limitations"], measured["limitations"]):
        assert sum(sentence.startswith("The data repeat themselves") for sentence in caveats) == 1


def test_more_copies_than_chance_are_refused_though_data_repeat_themselves():
    retain = coarse(200, 2, levels=20)
    with pytest.raises(RequestError, match="disjoint examples to forget and to retain"):
        unlearn(
            forget=copied(coarse(12, 1, levels=20), 12), retain=joined(retain, copied(coarse(12, 1, levels=20), 12))
        )
    held = coarse(20, 5, levels=20)
    with pytest.raises(RequestError, match="every example to hold out once"):
        unlearn(retain=joined(sides()[1], retain), holdout=joined(*[held] * 30))


def test_a_single_row_may_have_a_twin_where_many_have_one():
    retain = coarse(400, 2, levels=9)
    twin = copied(retain, 1)
    with pytest.warns(DuplicateDataWarning):
        assert len(unlearn(forget=twin, retain=retain).history) > 0


def test_a_person_may_have_two_rows_that_are_the_same():
    parts = {"forget": coarse(12, 1), "retain": coarse(200, 2), "holdout": coarse(60, 3)}
    for name, examples in parts.items():
        examples.ids = [f"{name} {number // 30}" for number in range(len(examples))]
    with pytest.warns(DuplicateDataWarning, match=r"goes unnoticed\.$"):
        assert len(unlearn(**parts).history) > 0


def test_halves_of_a_budget_hold_each_content_once():
    split = Split(coarse(12, 1), coarse(200, 2), 3, coarse(120, 3))
    halves = make_holdout_split(Budget(accuracy_points=50.0), split, 0)
    assert len(halves.control) + len(halves.certify) == len(drop_duplicates(coarse(120, 3))) < 120
    with pytest.raises(DataError, match=r"but found \d+ distinct ones of 120, of which half steer"):
        make_holdout_split(Budget(accuracy_points=1.0), split, 0)


def test_an_audit_counts_no_held_out_example_twice():
    forget, retain = sides()
    with pytest.raises(RequestError, match="every example to test once, but found 580 of 600"):
        expunge.audit(classifier(), classifier(), forget=forget, retain=retain, test=joined(*[other(20)] * 30))
    with pytest.raises(RequestError, match="every example to test once"):
        expunge.evaluate(classifier(), forget=forget, retain=retain, test=joined(other(), other()))
    told = expunge.audit(classifier(), classifier(), forget=coarse(12, 1), retain=coarse(200, 2), test=coarse(120, 3))
    assert told.certificate.examples < 60
    assert any(sentence.startswith("The data repeat themselves") for sentence in told.document["limitations"])


def test_a_later_request_leaves_out_no_one_who_agrees_with_a_forgotten_row(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    book, retain = tmp_path / "ledger.sqlite", coarse(200, 2)
    with pytest.warns(DuplicateDataWarning):
        first = unlearn(forget=coarse(12, 1), retain=retain, ledger=book)
    sides = {"forget": Subset(retain, range(12)), "retain": Subset(retain, range(12, 200))}
    with pytest.warns(DuplicateDataWarning):
        result = expunge.unlearn(first.model, **sides, ledger=book, **RL)
    assert len(result.split.retain) == 188


def test_a_row_of_another_person_that_agrees_with_a_forgotten_one_was_not_served(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    rows, book = coarse(200, 2), tmp_path / "ledger.sqlite"
    rows.ids = [f"C-{number}" for number in range(200)]
    alike = (rows.inputs == rows.inputs[0]).all(1) & (rows.targets == rows.targets[0])
    ann, bob = alike.nonzero().flatten()[:2].tolist()

    def request(model, gone, *before):
        kept = [place for place in range(200) if place not in {gone, *before}]
        return expunge.unlearn(model, forget=Subset(rows, [gone]), retain=Subset(rows, kept), ledger=book, **RL)

    first = request(classifier(), ann)
    assert request(first.model, bob, ann).ledger_entry.number == 2
    with pytest.raises(RequestError, match="not served yet"):
        request(first.model, ann, bob)


COARSE = '''
import torch
from torch.utils.data import TensorDataset


def few():
    """A table of few distinct rows."""
    inputs = torch.randint(0, 3, (300, 6), generator=torch.Generator().manual_seed(2)).float()
    inputs[:, 3:] = 0
    targets = torch.arange(300) % 3
    return TensorDataset(inputs[:200], targets[:200]), TensorDataset(inputs[200:], targets[200:])
'''


def test_a_request_file_keeps_rows_that_agree_by_chance_and_says_so(folder, capsys):
    (folder / "coarse_table.py").write_text(COARSE)
    (folder / "list.txt").write_text("0\n1\n2\n")
    place = run_request(config(folder, **own(data="{factory: coarse_table:few}", forget="{indices: list.txt}")))
    manifest, result = json.loads((place / "manifest.json").read_text()), result_of(place)
    assert (manifest["sizes"], result["requests"][0]["sizes"]["test"]) == (
        {"forget": 3, "retain": 197, "all": 200},
        100,
    )
    assert sum(sentence.startswith("The data repeat themselves") for sentence in result["limitations"]) == 1
    assert "The data repeat themselves" in (place / "report.html").read_text()
