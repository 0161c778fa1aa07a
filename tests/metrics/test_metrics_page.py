"""The page on metrics names every one of them, and its code runs."""

import contextlib
import io
import re
from pathlib import Path

from expunge.registry import list_entries

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_metric_is_on_the_page():
    parts = TEXT.replace("`_retain`", "`js_retain` `kl_retain`").replace("`_test`", "`js_test` `kl_test`")
    named = set(re.findall(r"`(\w+)`", parts.replace("`l2_…`", "`l2_forget` `l2_retain` `l2_test`")))
    every = {
        entry.name: {type(entry.target).__name__, entry.name, *entry.aliases}
        for entry in list_entries("metrics").values()
    }
    missing = [name for name, names in every.items() if not named & names]
    assert missing == []


def test_its_code_runs():
    printed, names = io.StringIO(), {"__name__": "page"}
    with contextlib.redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
            exec(compile(block, "metrics.md", "exec"), names)
    assert 0 < float(printed.getvalue().split()[0]) < names["found"].control + 0.5
