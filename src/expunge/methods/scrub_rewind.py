"""SCRUB+R: SCRUB, rewound to where forgotten examples are judged like unseen ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.methods.scrub import Scrub


@dataclass(frozen=True, kw_only=True)
class ScrubRewind(Scrub):
    """Train as SCRUB does, then go back to the epoch that judges D_f like unseen examples (SCRUB+R).

    It is for requests where too high an error on D_f would itself betray it.

    Paper: SCRUB+R in "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023, arXiv 2302.09880).

    Formula: see ``Scrub``.

    Args:
        rewind: Default true. It needs held-out examples.

    Examples:
        >>> type(ScrubRewind().recipe().stages[-1]).__name__
        'SelectStage'
    """

    name: ClassVar[str] = "scrub_r"
    aliases: ClassVar[tuple[str, ...]] = ("scrub+r", "scrub_rewind")
    paper: ClassVar[str] = "Kurmanji et al., NeurIPS 2023"
    label: ClassVar[str] = "SCRUB+R"

    rewind: bool = True
