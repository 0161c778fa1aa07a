"""What entries may say, recognition of served requests, and the budget of a stream."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import KEY, content, digest, serve, stream

from expunge.errors import DataError
from expunge.ledger import (
    BudgetRecord,
    Content,
    ForgottenHashes,
    Header,
    Ledger,
    ModelHashes,
    RequestRecord,
    compute_chain_totals,
    find_earlier_requests,
    find_openings,
    find_served,
    pack_hash_prefixes,
    request_chains,
    unpack_hash_prefixes,
)
from expunge.ledger.entry import read_content, read_header, serialize

TIME = "2026-01-31T12:00:00+00:00"
A, B = digest("a"), digest("b")

REFUSED = {
    "an index as hash": lambda: RequestRecord("17", B, "indices", 1, 2),
    "a name as kind": lambda: RequestRecord(A, B, "Jane Doe", 1, 2),
    "indices as size": lambda: RequestRecord(A, B, "indices", [17, 18], 2),
    "a truth value as size": lambda: RequestRecord(A, B, "indices", True, 2),
    "a path as evidence": lambda: Content(evidence={"/home/jane/result.json": A}),
    "an index in a file's name": lambda: Content(evidence={"example17.png": A}),
    "text as evidence": lambda: Content(evidence={"result.json": "Jane"}),
    "too much evidence": lambda: Content(
        evidence={f"{'a' * n}.json": A for n in range(1, 20)} | {f"{'b' * n}.json": A for n in range(1, 20)}
    ),
    "a line break in the method": lambda: Content(method="rl\nJane"),
    "an escape in the method": lambda: Content(method="\x1b[31mrl"),
    "a time without a zone": lambda: Header("purge", "2026-01-31T12:00:00", "0" * 8),
    "no models in a request": lambda: Header("request", TIME, "0" * 8),
    "a budget in a purge": lambda: Header("purge", TIME, "0" * 8, None, BudgetRecord("points")),
    "a redaction of nothing": lambda: Header("redaction", TIME, "0" * 8),
    "a key as its name": lambda: Header("purge", TIME, KEY.hex()),
    "no number": lambda: BudgetRecord("points", drop=math.nan),
    "a level of 1": lambda: BudgetRecord("points", bound=1.0, level=1.0, split=A),
    "a bound without a level": lambda: BudgetRecord("points", bound=1.0, split=A),
    "a bound without its split": lambda: BudgetRecord("points", bound=1.0, level=0.05),
    "another unit": lambda: BudgetRecord("per cent"),
    "a name among the examples": lambda: Content(forgotten=ForgottenHashes(examples="Jane Doe")),
    "unsorted examples": lambda: Content(forgotten=ForgottenHashes(examples="QkJCQkJCQkJBQUFBQUFBQQ==")),
    "a ticket in plain words": lambda: Content(note={"ticket": "T-17"}),
    "another note": lambda: Content(note={"name": A}),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_is_no_hash_count_or_figure_is_refused(make):
    with pytest.raises(DataError, match="record hashes, counts and figures only"):
        make()


digests = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
numbers = st.none() | st.floats(-1e6, 1e6)


@given(
    models=st.builds(ModelHashes, digests, digests), drop=numbers, budget=numbers, of=st.none() | st.integers(1, 2**62)
)
def test_headers_come_back_as_they_were_written(models, drop, budget, of):
    header = Header("request", TIME, "0" * 8, models, BudgetRecord("points", drop=drop, budget=budget), of)
    assert read_header(serialize(header)) == header


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        *("kind", "done", "key", "models", "spent", "of", "asked", "method", "evidence"),
                        *("states", "forgotten", "note"),
                    ]
                ),
                x,
            )
        ),
    )
)
def test_any_json_is_read_or_refused(value):
    for read in (read_header, read_content):
        try:
            assert isinstance(read(json.dumps(value)), Header | Content)
        except DataError:
            continue


@pytest.mark.parametrize("text", ["", "[" * 50_000, " " * 70_000, '{"kind": "x"}', "[]", '{"other": 1}'])
def test_texts_that_are_no_entries_are_refused(text):
    for read in (read_header, read_content):
        with pytest.raises(DataError):
            read(text)


@pytest.fixture
def ledger(tmp_path):
    """Three requests in a row from model 0 to 3, and one that was made to model 0 apart."""
    made = stream(tmp_path / "ledger.sqlite", 3)
    serve(made, "ids 9", 0, "fork")
    return made


@pytest.mark.parametrize(
    ("what", "model", "number"),
    [
        ("ids 0", 0, 1),  # the same request to the same model
        ("ids 0", 1, 1),  # to the model that answered it
        ("ids 0", 3, 1),  # to one that was made of that
        ("ids 2", 2, 3),
        ("ids 2", 1, None),  # to one that it was not yet made to
        ("ids 0", "fork", None),  # to one that comes from elsewhere
        ("ids 9", 3, None),
        ("ids 9", 0, 4),
        ("other", 0, None),
        ("ids 0", "unknown", None),
    ],
)
def test_a_request_that_was_served_is_recognized(ledger, what, model, number):
    found = find_served(ledger.entries(), content(what).asked, digest(model))
    assert (found and found.number) == number


def test_other_examples_or_a_redaction_are_not_recognized_and_more_data_are(ledger):
    asked = content("ids 0").asked
    assert (
        find_served(ledger.entries(), RequestRecord(asked.forgotten, digest("x"), "indices", 3, 99), digest(0)).number
        == 1
    )
    assert find_served(ledger.entries(), RequestRecord(digest("x"), asked.data, "indices", 3, 97), digest(0)) is None
    ledger.redact(1, key=KEY)
    assert find_served(ledger.entries(), asked, digest(0)) is None


def test_models_that_answer_themselves_do_not_go_round_for_ever(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for before, after in ((0, 0), (0, 1), (1, 0), (0, 1)):
        serve(ledger, "ids", before, after)
    assert find_served(ledger.entries(), content("x").asked, digest(1)) is None
    assert [[entry.number for entry in one] for one in request_chains(ledger.entries())] == [[1, 2, 3, 4]]


def test_streams_follow_the_models(ledger):
    assert [[entry.number for entry in one] for one in request_chains(ledger.entries())] == [[1, 2, 3], [4]]


def points(drop, bound=None, level=None, split=None, **more):
    return BudgetRecord("points", drop, bound, level, 100, None if split is None else digest(split), **more)


def one_account(tmp_path, *shares):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for number, share in enumerate(shares):
        serve(ledger, number, number, number + 1, share)
    (stream_,) = request_chains(ledger.entries())
    (found,) = compute_chain_totals(stream_, ledger.entries())
    return found, ledger


def test_drops_bounds_levels_and_budgets_add_up(tmp_path):
    shares = [points(0.1 * k, 0.5 + k, 0.01, f"split {k}", budget=2.0) for k in range(10)]
    found, _ = one_account(tmp_path, *shares)
    assert found.requests == 10
    assert found.drop == pytest.approx(4.5)
    assert found.bound == pytest.approx(50.0)
    assert found.level == pytest.approx(0.1)
    assert (found.budget, found.remaining_budget()) == (20.0, pytest.approx(-30.0))
    assert (found.unmeasured, found.uncertified, found.reopened) == ((), (), ())


def test_redaction_does_not_change_what_was_spent(tmp_path):
    shares = [points(1.0, 2.0, 0.01, k) for k in range(3)]
    found, ledger = one_account(tmp_path, *shares)
    ledger.redact(2, key=KEY)
    (after,) = request_chains(ledger.entries())
    assert compute_chain_totals(after, ledger.entries()) == [found]


def test_one_request_without_a_certificate_leaves_the_stream_without(tmp_path):
    found, _ = one_account(tmp_path, points(0.1, 0.5, 0.01, "a"), None, points(0.2))
    assert (found.bound, found.uncertified, found.unmeasured) == (None, (2, 3), (2,))
    assert found.drop == pytest.approx(0.3)
    assert found.remaining_budget() is None


def test_a_split_that_was_opened_before_certifies_nothing(tmp_path):
    found, _ = one_account(tmp_path, points(0.1, 0.5, 0.01, "a"), points(0.1, 0.5, 0.01, "a"))
    assert (found.bound, found.reopened) == (None, (2,))


def opened(*names):
    return pack_hash_prefixes(bytes.fromhex(digest(name)) for name in names)


@pytest.mark.parametrize(
    ("second", "reopened"),
    [
        (("c", "b", "a"), (2,)),  # the same set in another order
        (("a", "b"), (2,)),  # less one example
        (("b", "x", "y", "z"), (2,)),  # one example is enough
        (("x", "y"), ()),
    ],
)
def test_held_out_examples_that_an_earlier_entry_opened_certify_nothing(tmp_path, second, reopened):
    shares = [points(0.1, 0.5, 0.01, "a b c", opened=opened("a", "b", "c"))]
    shares.append(points(0.1, 0.5, 0.01, " ".join(second), opened=opened(*second)))
    account, _ = one_account(tmp_path, *shares)
    assert account.reopened == reopened
    assert (account.bound is None) == bool(reopened)


def test_examples_that_steered_a_request_without_a_certificate_count_as_opened(tmp_path):
    shares = [points(0.1, opened=opened("a")), points(0.1, 0.5, 0.01, "a b", opened=opened("a", "b"))]
    assert one_account(tmp_path, *shares)[0].reopened == (2,)


def test_a_set_that_is_opened_a_third_time_is_known_by_the_first(tmp_path):
    first = points(0.1, 0.5, 0.01, "a b", opened=opened("a", "b"))
    account, ledger = one_account(tmp_path, first, points(0.1, 0.5, 0.01, "a b"))
    assert account.reopened == (2,)
    assert find_openings(ledger.entries(), points(0.1, 0.5, 0.01, "b", opened=opened("b"))) == (1,)
    assert find_openings(ledger.entries(), points(0.1, 0.5, 0.01, "a b")) == (1,)
    assert find_openings(ledger.entries(), points(0.1)) == ()


def test_entries_hold_many_held_out_examples_and_refuse_what_is_no_list_of_hashes(tmp_path):
    many = pack_hash_prefixes(number.to_bytes(8, "big") for number in range(200_000))
    _, ledger = one_account(tmp_path, points(0.1, 0.5, 0.01, "many", opened=many))
    assert ledger.entries()[0].header.spent.opened == many
    assert ledger.verify(KEY).is_valid
    for text in ("index 17", many[1:], 17):
        with pytest.raises(DataError, match="packed keyed hashes"):
            points(0.1, opened=text)


def test_a_bound_since_the_streams_start_replaces_those_before(tmp_path):
    shares = (
        points(1.0, budget=1.0),
        points(1.5, 2.5, 0.05, "a", since="stream", budget=3.0),
        points(0.25, 0.5, 0.01, "b"),
    )
    found, _ = one_account(tmp_path, *shares)
    assert (found.drop, found.bound, found.level) == (1.75, 3.0, pytest.approx(0.06))
    assert (found.uncertified, found.unmeasured) == ((), ())


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=8))
def test_relative_losses_compound(losses):
    from expunge.ledger.chains import combine_drops

    loss = 1.0
    for share in losses:
        loss *= 1 + share
    assert combine_drops("relative loss", losses) == pytest.approx(loss - 1)


def test_units_have_accounts_of_their_own(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    serve(ledger, 0, 0, 1, points(1.0))
    serve(ledger, 1, 1, 2, BudgetRecord("relative loss", 0.1))
    (one,) = request_chains(ledger.entries())
    first, second = compute_chain_totals(one, ledger.entries())
    assert (first.unit, first.drop, first.unmeasured) == ("points", 1.0, (2,))
    assert (second.unit, second.drop, second.unmeasured) == ("relative loss", pytest.approx(0.1), (1,))


def test_what_each_entry_forgot_comes_back_one_by_one():
    hashes = [bytes([n]) * 16 for n in (9, 3, 200, 3)]
    forgotten = ForgottenHashes(examples=pack_hash_prefixes(hashes), classes=pack_hash_prefixes(hashes[:1]))
    part = Content(forgotten=forgotten, note={"ticket": A})
    assert read_content(serialize(part)) == part
    assert unpack_hash_prefixes(forgotten.examples) == [bytes([n]) * 8 for n in (3, 9, 200)]


def test_entries_of_earlier_versions_are_read_and_written_as_they_were():
    old = {"asked": None, "evidence": {}, "method": "rl"}
    assert read_content(json.dumps(old)) == Content(method="rl")
    assert json.loads(serialize(Content(method="rl"))) == old
    assert "states" not in json.loads(serialize(Header("request", TIME, "0" * 8, ModelHashes(A, B))))


def test_an_entry_names_at_least_a_hundred_thousand_examples(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    marks = pack_hash_prefixes(n.to_bytes(8, "big") for n in range(100_000))
    models = ModelHashes(A, B)
    ledger.append("request", content(forgotten=ForgottenHashes(marks)), key=KEY, models=models)
    assert ledger.entries()[0].content.forgotten.examples == marks


@pytest.mark.parametrize(
    ("model", "numbers"), [(0, []), (1, [1]), (3, [1, 2, 3]), ("fork", [4]), ("unknown", [])], ids=str
)
def test_earlier_requests_are_those_that_led_to_the_model(ledger, model, numbers):
    assert [entry.number for entry in find_earlier_requests(ledger.entries(), digest(model))] == numbers


def test_a_chain_goes_on_between_files_and_models_in_memory(tmp_path):
    ledger, made = Ledger(tmp_path / "ledger.sqlite"), {name: digest(name) for name in ("f0", "f1", "s0", "s1", "s2")}
    files, states = ModelHashes(made["f0"], made["f1"]), ModelHashes(made["s0"], made["s1"])
    ledger.append("request", content("a"), key=KEY, models=files, states=states)
    ledger.append("request", content("b"), key=KEY, models=ModelHashes(made["s1"], made["s2"]))
    entries = ledger.entries()
    assert [entry.number for entry in find_earlier_requests(entries, made["s2"])] == [1, 2]
    assert [[entry.number for entry in chain] for chain in request_chains(entries)] == [[1, 2]]
    assert find_served(entries, content("a").asked, made["s0"]).number == 1
