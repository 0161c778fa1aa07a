"""A run that several ranks share and that ends at any moment is gone on with to the same bits."""

from __future__ import annotations

import random
import signal

import pytest
from killed_runs import digests, ended, killed, started, straight
from rank_runs import both, one_killed_while_writing
from rank_sittings import RUNS, SIZE, acted
from small_requests import write_request

from expunge.api import train_request
from expunge.request.config import load_request

REQUEST = {
    "method": "{name: eupmu, epochs: 2, lr: 0.01, batch_size: 32}",
    "checkpoint_every": "{steps: 1}",
    "train": "{epochs: 2, batch_size: 20, lr: 0.1}",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What three ranks found, scene by scene."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPUNGE_KEY_FILE", str(folder / "key"))
        return acted(str(folder))


def bits(scene):
    return scene["weights"], scene["rows"], scene["spent"]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_on_all_ranks_ends_with_the_bits_of_one_that_saved_nothing(found, name):
    for rank in found:
        straight, resumed = rank[name]
        assert resumed["kills"] == 2
        assert bits(resumed) == bits(straight)
        assert resumed["weights"] == found[0][name][0]["weights"]


ENDS = ["one_behind", "written_anew", "first_cut", "lost", "damaged", "full_disk", "signalled", "struck_at_the_end"]
ENDS += ["on_accelerators"]


@pytest.mark.parametrize("scene", ENDS)
def test_however_it_ends_it_ends_with_the_same_bits(found, scene):
    expected = bits(found[0]["one_behind"])
    assert [bits(rank[scene]) for rank in found] == [expected] * SIZE


def test_the_newest_checkpoint_that_all_have_is_taken(found):
    held = [[int(name[6:12]) for name in rank["one_behind"]["held"]] for rank in found]
    assert held == [[3, 4], [2, 3], [3, 4]]


def test_what_only_some_have_is_removed_before_it_is_written_anew(found):
    assert [rank["written_anew"]["held"] for rank in found] == [["state-000002.safetensors"]] * SIZE


def test_a_signal_to_one_rank_ends_all_after_the_same_update(found):
    assert [rank["signalled"]["told"] for rank in found] == [[143, 3, "state-000004.safetensors"]] * SIZE
    assert [rank["struck_at_the_end"]["told"] for rank in found] == [[130]] * SIZE


def test_an_update_costs_one_collective_of_one_number_more(found):
    for rank in found:
        without, beside = rank["counted"]["collectives"]
        # Once more after the stage, and once at the end.
        assert beside - without == rank["counted"]["updates"] + 2


def test_ranks_agree_through_processors_wherever_the_model_is(found):
    assert [rank["on_accelerators"]["made"] for rank in found] == [["gloo", "gloo"]] * SIZE


SENTENCES = {
    "lost": "a checkpoint that is whole on every rank, but found none that all have",
    "another_number": "begun with, 3, but found 1: start 3",
    "full_disk": "to write into '…/rank-2-of-3', but found No space left on device: free the disk",
    "in_use": "at work in '…/rank-1-of-3'",
    "parts_of_weights": "a model that every rank has whole, but found one under fully_shard",
}


@pytest.mark.parametrize("scene", SENTENCES)
def test_what_cannot_go_on_is_refused_in_one_sentence(found, scene):
    assert SENTENCES[scene] in found[0][scene]["sentences"][0]


def test_every_rank_says_the_same_sentence(found):
    for scene in ("lost", "full_disk", "in_use", "parts_of_weights"):
        assert [rank[scene]["sentences"] for rank in found] == [found[0][scene]["sentences"]] * SIZE
    assert "state-000004.safetensors: 7 bytes" in found[0]["lost"]["sentences"][1]
    assert all("begun with, 1, but found 3" in rank["another_number"]["sentences"][1] for rank in found)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a request whose original is trained."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPUNGE_KEY_FILE", str(folder / "key"))
        patch.chdir(folder)
        train_request(load_request(write_request(folder, **REQUEST)))
        yield folder


@pytest.fixture(scope="module")
def answers(place):
    """What two processes saw of request files that they answered together."""
    return both(place)


def test_a_request_on_two_processes_is_gone_on_with(answers):
    straight, resumed = (answers[0][name] for name in ("straight", "resumed"))
    assert straight == resumed == ["", {"digests": straight[1]["digests"], "checkpoints": False}]


def test_every_process_says_why_it_does_not_go_on(answers):
    for one in answers:
        killed, another, again = one["killed"]
        assert killed == "killed"
        assert "but found another seed: ask for the same as then" in another
        assert "Expected a folder without an earlier run" in again


def test_a_finished_run_is_left_as_it_is_on_every_process(answers):
    for number, one in enumerate(answers):
        ended, said, left = one["done"]
        assert (ended, left) == ("", answers[0]["resumed"][1])
        assert ("is finished" in said) == (number == 0)


def test_a_signal_to_one_process_saves_on_all_and_says_how_to_go_on(answers):
    first, second = (one["stopped"] for one in answers)
    assert first[0] == (
        "Stopped; what was done is saved in 'other', and `expunge run request.yaml --resume` on 2 processes goes on "
        "from there."
    )
    assert second[0] == "Process 1 stopped."
    assert first[1:] == ["", answers[0]["straight"][1]]


def test_one_process_killed_in_the_middle_of_writing_what_the_other_has_written(place, answers):
    out = place / "struck"
    assert one_killed_while_writing(place / "request.yaml", out, 3) == [1, -signal.SIGKILL]
    files = [sorted(path.name for path in (out / "checkpoints" / f"rank-{n}-of-2").glob("state-*")) for n in range(2)]
    assert files[0] == [*files[1][1:], "state-000004.safetensors"]
    assert len(list((out / "checkpoints" / "rank-1-of-2").glob(".state-000004*.tmp"))) == 1
    processes = started(place / "request.yaml", out, 2)
    assert ended(processes)
    assert [process.exitcode for process in processes] == [0, 0]
    assert not list(out.rglob("*.tmp*"))
    assert digests(out) == answers[0]["straight"][1]["digests"]


@pytest.mark.slow
@pytest.mark.parametrize("budgeted", [False, True])
def test_two_processes_killed_at_random(folder, budgeted):
    changes = {**REQUEST, **(BUDGETED if budgeted else {})}
    request = write_request(folder, **changes)
    expected, seconds = straight(request, folder / "straight", 2)
    luck, kills, number = random.Random(4 + budgeted), 0, 0
    while kills < 6:
        number += 1
        found = killed(request, folder / f"killed{number}", seconds, luck, most=6 - kills, ranks=2)
        assert found.digests == expected, f"run {number}, killed {found.kills} times"
        kills += found.kills
        seconds = seconds if found.kills else min(seconds, found.seconds)


BUDGETED = {
    "data": "{name: digits, subset: 300, options: {test_share: 0.6}}",
    "holdout": "0.6",
    "budget": "2.0",
    "method": "{name: auto, lr: 0.02, epochs: 3}",
}
