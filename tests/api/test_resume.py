"""A run that is killed at any moment is gone on with to the same bits."""

from __future__ import annotations

import random

from killed_runs import killed, straight
from small_requests import write_request

EACH = "{updates: 1}"
PLAIN = {"method": "{name: eupmu, epochs: 6, rate: 0.01, batch: 32}", "savepoints": EACH}


def assert_survives(folder, kills, seed, **changes):
    """Kill runs of a request until there were so many kills, and compare each with one that was left alone."""
    request = write_request(folder, **changes)
    expected, seconds = straight(request, folder / "straight")
    luck, done, number = random.Random(seed), 0, 0
    while done < kills:
        number += 1
        found = killed(request, folder / f"killed{number}", seconds, luck, most=8)
        assert found.digests == expected, f"run {number}, killed {found.kills} times"
        done += found.kills


def test_a_run_killed_at_random(folder):
    assert_survives(folder, 20, 0, **PLAIN)
