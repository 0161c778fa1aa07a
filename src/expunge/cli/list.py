"""``expunge list``: what is registered, ours and third parties'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from expunge.registry import KINDS, RegistryEntry

if TYPE_CHECKING:
    from rich.table import Table

MAX_WIDTH, NAME_WIDTH = 80, 30
AUTO_ENTRY = RegistryEntry(
    "auto",
    (),
    "",
    "The default: for classifiers neighbor_labels, with a learning rate that is searched where there is a budget; for "
    "other families what did best in their study.",
    None,
)
"""What is taken where no method is named; it is none itself."""


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds that begin with what was typed, for the shell."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def list_components(
    kind: Annotated[
        str, typer.Argument(help=f"One of {', '.join(KINDS)}.", autocompletion=complete_kind, show_default=False)
    ],
) -> None:
    """Show what is registered under a kind.

    On the left the name and its other names, on the right what it does, its paper and its presets.
    """
    from expunge.registry import list_entries
    from expunge.screen import SafeConsole

    console = SafeConsole()
    console.width = min(console.width, MAX_WIDTH)
    components = {**list_entries(kind), **({AUTO_ENTRY.name: AUTO_ENTRY} if kind == "methods" else {})}
    console.print(format_listing([entry for _, entry in sorted(components.items())]))


def format_listing(components: list[RegistryEntry]) -> Table:
    """Return names with aliases below on the left, sentences with paper, presets and family below on the right."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 1, 0), show_header=False)
    grid.add_column(overflow="fold", max_width=NAME_WIDTH)
    grid.add_column(overflow="fold")
    for entry in components:
        names = Text(entry.name, style="bold").append("".join(f"\n{alias}" for alias in entry.aliases), style="dim")
        presets = ", ".join(getattr(entry.target, "presets", ()))
        family = getattr(entry.target, "task", None)
        alone = f"for {family} models" if family not in (None, "classification") else ""
        notes = [note for note in (entry.paper, f"presets: {presets}" if presets else "", alone) if note]
        grid.add_row(names, Text(entry.summary.replace("``", "")).append("".join(f"\n{n}" for n in notes), style="dim"))
    return grid
