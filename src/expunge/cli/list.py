"""``expunge list``: what is registered, ours and third parties'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from expunge.registry import ROOMS, Entry

if TYPE_CHECKING:
    from rich.table import Table

WIDTH, NAMES = 80, 30
DEFAULT = Entry(
    "auto",
    (),
    "",
    "The default: for classifiers counterfactual, with a learning rate that is searched where there is a budget; for "
    "other families what did best in their study.",
    None,
)
"""What is taken where no method is named; it is none itself."""


def kinds(incomplete: str) -> list[str]:
    """Return the kinds that begin with what was typed, for the shell."""
    return [kind for kind in ROOMS if kind.startswith(incomplete)]


def show(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(ROOMS)}.", autocompletion=kinds, show_default=False)],
) -> None:
    """Show what is registered under a kind.

    On the left the name and its other names, on the right what it does, its paper and its presets.
    """
    from expunge.registry import entries
    from expunge.screen import Screen

    console = Screen()
    console.width = min(console.width, WIDTH)
    found = {**entries(kind), **({DEFAULT.name: DEFAULT} if kind == "methods" else {})}
    console.print(table([entry for _, entry in sorted(found.items())]))


def table(listed: list[Entry]) -> Table:
    """Return names with aliases below on the left, sentences with paper, presets and family below on the right."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    grid.add_column(overflow="fold", max_width=NAMES)
    grid.add_column(overflow="fold")
    for entry in listed:
        names = Text(entry.name, style="bold").append("".join(f"\n{alias}" for alias in entry.aliases), style="dim")
        presets = ", ".join(getattr(entry.target, "presets", ()))
        family = getattr(entry.target, "task", None)
        alone = f"for {family} models" if family not in (None, "classification") else ""
        notes = [note for note in (entry.paper, f"presets: {presets}" if presets else "", alone) if note]
        grid.add_row(names, Text(entry.summary.replace("``", "")).append("".join(f"\n{n}" for n in notes), style="dim"))
    return grid
