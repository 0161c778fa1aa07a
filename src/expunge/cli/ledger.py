"""``expunge ledger``: show what was recorded, check that nobody changed it, redact an entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.commands import paths_checked
from expunge.cli.echo import echo
from expunge.errors import DataError
from expunge.formatting import format_number
from expunge.key import key_at_hand, load_key
from expunge.ledger import Account, Entry, Ledger, Spent, accounts, streams

File = Annotated[Path, typer.Argument(metavar="LEDGER", help="The ledger's file.", show_default=False)]
UNSOUND = 1
UNKNOWN_AFTERWARDS = (
    "Later requests of the chain can no longer leave out what entry {} forgot: name it with `exclude:` in their files."
)

ledger = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show, check and redact a ledger of requests.")


@ledger.command()
@paths_checked
def show(
    file: File,
    ticket: Annotated[str | None, typer.Option(help="Only the entries of this ticket.", show_default=False)] = None,
) -> None:
    """Show the entries, and what each stream of requests spent."""
    key, bad = key_if_good()
    for problem in bad:
        echo(f"{problem}\n")
    if not Ledger(file).verify(key).sound:
        echo("This ledger is NOT SOUND: `expunge ledger verify` says why.\n")
    entries = Ledger(file).entries()
    if ticket is not None:
        echo("\n".join(map(line, of_ticket(entries, ticket))) or "No entry has this ticket.")
        return
    for entry in entries:
        echo(line(entry))
    for number, stream in enumerate(streams(entries), 1):
        echo(f"\nStream {number}: entries {listed(entry.number for entry in stream)}")
        for account in accounts(stream, entries):
            for sentence in told(account):
                echo(f"  {sentence}")


@ledger.command()
@paths_checked
def verify(
    file: File,
    head: Annotated[
        str | None,
        typer.Option("--expect-head", "--head", help="A head that was noted elsewhere.", show_default=False),
    ] = None,
) -> None:
    """Check the whole chain; exit code 1 if it does not hold.

    The head file beside the ledger shows when an earlier copy was put in its
    place. Where both were replaced, only a head that was noted elsewhere does.
    """
    key, bad = key_if_good()
    found = Ledger(file).verify(key, None if head is None else head.strip().lower())
    for problem in (*bad, *found.problems):
        echo(problem)
    unknown = f"the seal was not checked, key {found.key} is not at hand" if found.key else "nothing to check a seal on"
    seal = {True: "the seal holds", False: "the seal does not hold", None: unknown}
    verdict = "NOT SOUND" if not found.sound else "NOT CHECKED" if bad else "Sound"
    echo(f"{verdict}: {found.count:,} entries, {seal[found.sealed]}")
    if found.redacted:
        echo(f"Redacted: {listed(found.redacted)}")
    if not found.noted:
        echo("No head file beside it: an earlier copy in its place is noticed with --expect-head alone")
    echo(f"Head: {found.head}")
    if bad or not found.sound:
        raise typer.Exit(UNSOUND)


def key_if_good() -> tuple[bytes | None, tuple[str, ...]]:
    """Return the key at hand, and what is wrong with its file: a secret that others can read seals nothing."""
    try:
        return key_at_hand(), ()
    except DataError as error:
        return None, (str(error),)


@ledger.command()
@paths_checked
def redact(
    file: File, number: Annotated[int, typer.Argument(metavar="NUMBER", help="The entry.", show_default=False)]
) -> None:
    """Erase the content of an entry; the chain still verifies.

    Its time, the models' hashes and its share of the budget stay. The request is
    no longer recognised, and later requests of its chain no longer leave out what
    it forgot: there, name that with `exclude:`.
    """
    Ledger(file).verify()  # a misspelt name is refused, no new ledger begun
    if any(one.number == number and one.forgotten for one in Ledger(file).entries()):
        echo(UNKNOWN_AFTERWARDS.format(number))
    entry = Ledger(file).redact(number, key=load_key())
    echo(f"Redacted entry {number}; entry {entry.number} says so\nHead: {entry.hash}")


def of_ticket(entries: Iterable[Entry], ticket: str) -> list[Entry]:
    """Return the entries whose request has a ticket; it is compared as a keyed hash."""
    from expunge.api.notes import note_digests

    wanted = note_digests({"ticket": ticket}, load_key())["ticket"]
    return [entry for entry in entries if entry.content is not None and entry.content.note.get("ticket") == wanted]


def line(entry: Entry) -> str:
    """Return an entry in two lines of words."""
    header, content = entry.header, entry.content
    about = f" of entry {header.of}" if header.of else ""
    first = f"{entry.number}  {header.done[:16].replace('T', ' ')} UTC  {header.kind}{about}"
    if content is None:
        return f"{first}\n   content redacted{share(header.spent)}"
    if content.asked is None:
        return first
    asked = content.asked
    told_of = f"{asked.kind} {asked.forgotten[:8]}, {asked.forget:,} of {asked.forget + asked.retain:,} forgotten"
    return f"{first}\n   {told_of} by {content.method}{share(header.spent)}"


def share(spent: Spent | None) -> str:
    """Return what an entry spent, in words, after a comma; nothing where nothing is known."""
    if spent is None:
        return ""
    drop = "" if spent.drop is None else f", {change(spent.drop)} {format_number(abs(spent.drop))} {spent.unit}"
    if spent.bound is None or spent.level is None:
        return drop
    about = "" if spent.exact else "about "
    return f"{drop}, at most {format_number(spent.bound)} with confidence {about}{100 * (1 - spent.level):.4g} %"


def told(account: Account) -> list[str]:
    """Return what a stream spent, a sentence each."""
    unit, budget = account.unit, account.budget
    moved = f"{change(account.drop)}, all together: {format_number(abs(account.drop))} {unit}"
    said = [f"Measured {moved}{without(account.unmeasured)}"]
    if account.bound is not None:
        confidence = 100 * (1 - account.level)
        how = "Certified: at most" if account.exact else "Bounded, approximately: at most"
        said.append(f"{how} {format_number(account.bound)} {unit} with confidence {confidence:.4g} %")
    elif account.uncertified:
        said.append(f"Not certified: no certificate in {listed(account.uncertified)}")
    if account.reopened:
        said.append(f"Not certified: {listed(account.reopened)} opened held-out data that were opened before")
    left = account.left()
    if budget is not None and left is not None:
        # What was gained is no allowance for later requests.
        rest = (
            f"of which {format_number(min(left, budget))} are left"
            if left >= 0
            else f"overspent by {format_number(-left)}"
        )
        said.append(f"Budget: {format_number(budget)} {unit}, {rest}")
    return said


def change(drop: float) -> str:
    """Return whether it was a drop or a gain."""
    return "gain" if drop < 0 else "drop"


def without(numbers: Sequence[int]) -> str:
    """Return which entries are not in a sum."""
    return f", without {listed(numbers)}" if numbers else ""


def listed(numbers: Iterable[int]) -> str:
    """Return numbers with commas between them."""
    return ", ".join(map(str, numbers))
