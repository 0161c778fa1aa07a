"""What reaches a terminal: no control character of a file, a name or a message that others wrote."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from expunge.errors import escape_controls


class SafeConsole(Console):
    """A console for words of others: without their control characters, and without markup in them."""

    def __init__(self) -> None:
        super().__init__(highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the pieces of what is shown, each as ``printable`` has it; what Rich itself commands stays."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_controls(segment.text), segment.style)
