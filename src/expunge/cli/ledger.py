"""``expunge ledger``: show what was recorded, check that nobody changed it, redact an entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.commands import validate_paths
from expunge.cli.echo import echo
from expunge.errors import DataError
from expunge.formatting import format_number
from expunge.key import load_key_if_present, load_or_create_key
from expunge.ledger import BudgetRecord, ChainTotal, Ledger, LedgerEntry, compute_chain_totals, request_chains

LedgerPath = Annotated[Path, typer.Argument(metavar="LEDGER", help="The ledger's file.", show_default=False)]
UNSOUND_CODE = 1
REDACTION_WARNING = (
    "Later requests of the chain can no longer leave out what entry {} forgot: name it with `exclude:` in their files."
)

ledger = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, check and redact a ledger of requests.")


@ledger.command()
@validate_paths
def show(
    file: LedgerPath,
    ticket: Annotated[
        str | None, typer.Option(help="Show only the entries of this ticket.", show_default=False)
    ] = None,
) -> None:
    """Show the entries, and what each stream of requests spent."""
    key, bad = load_valid_key()
    for problem in bad:
        echo(f"{problem}\n")
    if not Ledger(file).verify(key).is_valid:
        echo("This ledger is NOT SOUND: `expunge ledger verify` says why.\n")
    entries = Ledger(file).entries()
    if ticket is not None:
        echo("\n".join(map(format_entry, filter_by_ticket(entries, ticket))) or "No entry has this ticket.")
        return
    for entry in entries:
        echo(format_entry(entry))
    for number, stream in enumerate(request_chains(entries), 1):
        echo(f"\nStream {number}: entries {join_numbers(entry.number for entry in stream)}")
        for account in compute_chain_totals(stream, entries):
            for sentence in format_account(account):
                echo(f"  {sentence}")


@ledger.command()
@validate_paths
def verify(
    file: LedgerPath,
    head: Annotated[
        str | None,
        typer.Option(
            "--expect-head",
            help="Fail unless the chain holds this head, which was noted elsewhere.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check the whole chain; exit code 1 if it does not hold.

    The head file beside the ledger shows when an earlier copy was put in its
    place. Where both were replaced, only a head that was noted elsewhere does.
    """
    key, bad = load_valid_key()
    verification = Ledger(file).verify(key, None if head is None else head.strip().lower())
    for problem in (*bad, *verification.problems):
        echo(problem)
    unknown = (
        f"the seal was not checked, key {verification.key} is not at hand"
        if verification.key
        else "nothing to check a seal on"
    )
    seal = {True: "the seal holds", False: "the seal does not hold", None: unknown}
    verdict = "NOT SOUND" if not verification.is_valid else "NOT CHECKED" if bad else "Sound"
    echo(f"{verdict}: {verification.count:,} entries, {seal[verification.seal_holds]}")
    if verification.redacted:
        echo(f"Redacted: {join_numbers(verification.redacted)}")
    if not verification.has_head_file:
        echo("No head file beside it: an earlier copy in its place is noticed with --expect-head alone")
    echo(f"Head: {verification.head}")
    if bad or not verification.is_valid:
        raise typer.Exit(UNSOUND_CODE)


def load_valid_key() -> tuple[bytes | None, tuple[str, ...]]:
    """Return the key at hand, and what is wrong with its file: a secret that others can read seals nothing."""
    try:
        return load_key_if_present(), ()
    except DataError as error:
        return None, (str(error),)


@ledger.command()
@validate_paths
def redact(
    file: LedgerPath, number: Annotated[int, typer.Argument(metavar="NUMBER", help="The entry.", show_default=False)]
) -> None:
    """Erase the content of an entry; the chain still verifies.

    Its time, the models' hashes and its share of the budget stay. The request is
    no longer recognized, and later requests of its chain no longer leave out what
    it forgot: there, name that with `exclude:`.
    """
    Ledger(file).verify()  # a misspelled name is refused, no new ledger begun
    if any(one.number == number and one.forgotten for one in Ledger(file).entries()):
        echo(REDACTION_WARNING.format(number))
    entry = Ledger(file).redact(number, key=load_or_create_key())
    echo(f"Redacted entry {number}; entry {entry.number} says so\nHead: {entry.hash}")


def filter_by_ticket(entries: Iterable[LedgerEntry], ticket: str) -> list[LedgerEntry]:
    """Return the entries whose request has a ticket; it is compared as a keyed hash."""
    from expunge.api.notes import note_digests

    ticket_digest = note_digests({"ticket": ticket}, load_or_create_key())["ticket"]
    return [
        entry for entry in entries if entry.content is not None and entry.content.note.get("ticket") == ticket_digest
    ]


def format_entry(entry: LedgerEntry) -> str:
    """Return an entry in two lines of words."""
    header, content = entry.header, entry.content
    about = f" of entry {header.of}" if header.of else ""
    first = f"{entry.number}  {header.done[:16].replace('T', ' ')} UTC  {header.kind}{about}"
    if content is None:
        return f"{first}\n   content redacted{format_spent(header.spent)}"
    if content.asked is None:
        return first
    request_record = content.asked
    total = request_record.forget + request_record.retain
    forgotten = (
        f"{request_record.kind} {request_record.forgotten[:8]}, {request_record.forget:,} of {total:,} forgotten"
    )
    return f"{first}\n   {forgotten} by {content.method}{format_spent(header.spent)}"


def format_spent(spent: BudgetRecord | None) -> str:
    """Return what an entry spent, in words, after a comma; nothing where nothing is known."""
    if spent is None:
        return ""
    drop = "" if spent.drop is None else f", {name_change(spent.drop)} {format_number(abs(spent.drop))} {spent.unit}"
    if spent.bound is None or spent.level is None:
        return drop
    about = "" if spent.exact else "about "
    return f"{drop}, at most {format_number(spent.bound)} with confidence {about}{100 * (1 - spent.level):.4g} %"


def format_account(account: ChainTotal) -> list[str]:
    """Return what a stream spent, a sentence each."""
    unit, budget = account.unit, account.budget
    moved = f"{name_change(account.drop)}, all together: {format_number(abs(account.drop))} {unit}"
    sentences = [f"Measured {moved}{format_missing(account.unmeasured)}"]
    if account.bound is not None:
        confidence = 100 * (1 - account.level)
        how = "Certified: at most" if account.exact else "Bounded, approximately: at most"
        sentences.append(f"{how} {format_number(account.bound)} {unit} with confidence {confidence:.4g} %")
    elif account.uncertified:
        sentences.append(f"Not certified: no certificate in {join_numbers(account.uncertified)}")
    if account.reopened:
        sentences.append(
            f"Not certified: {join_numbers(account.reopened)} opened held-out data that were opened before"
        )
    remaining = account.remaining_budget()
    if budget is not None and remaining is not None:
        # What was gained is no allowance for later requests.
        remainder = (
            f"of which {format_number(min(remaining, budget))} are left"
            if remaining >= 0
            else f"overspent by {format_number(-remaining)}"
        )
        sentences.append(f"Budget: {format_number(budget)} {unit}, {remainder}")
    return sentences


def name_change(drop: float) -> str:
    """Return whether it was a drop or a gain."""
    return "gain" if drop < 0 else "drop"


def format_missing(numbers: Sequence[int]) -> str:
    """Return which entries are not in a sum."""
    return f", without {join_numbers(numbers)}" if numbers else ""


def join_numbers(numbers: Iterable[int]) -> str:
    """Return numbers with commas between them."""
    return ", ".join(map(str, numbers))
