"""The page in a real browser; the probe runs in a copy of the page whose policy lets it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys

import pytest

from expunge.report import render

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="the browser is started as on POSIX systems"),
]
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PROBE = """
const names = () => [...document.querySelectorAll("tbody.methods th")].map((head) => head.firstChild.data.trim());
const first = names();
const button = document.querySelector('button[data-column="1"]');
const shown = !button.hidden;
button.click(); const up = names(); const upward = button.closest("th").getAttribute("aria-sort");
button.click(); const down = names(); const downward = button.closest("th").getAttribute("aria-sort");
button.focus();
for (const details of document.querySelectorAll("details")) details.open = true;
const root = document.documentElement;
const found = {first, shown, up, upward, down, downward, focused: document.activeElement === button,
  wide: root.scrollWidth, room: root.clientWidth};
const box = document.createElement("pre"); box.id = "probe"; box.textContent = JSON.stringify(found);
document.body.append(box);
"""


def browse(path, folder, *options):
    command = [BROWSER, *QUIET, f"--user-data-dir={folder}", *options, f"file://{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("width", [400, 1600])
def test_sorting_works_and_nothing_overflows(document, tmp_path, width):
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(document))
    path = tmp_path / "probe.html"
    path.write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    dom = browse(path, tmp_path / "profile", "--dump-dom", f"--window-size={width},900").stdout
    found = json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', dom).group(1)))
    assert found["shown"]
    assert (found["first"], found["up"], found["down"]) == (["EUPMU", "GA"], ["GA", "EUPMU"], ["EUPMU", "GA"])
    assert (found["upward"], found["downward"]) == ("ascending", "descending")
    assert found["focused"]
    assert found["room"] == width
    assert found["wide"] <= found["room"]


def test_the_page_loads_under_its_own_policy_without_a_complaint(document, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(document), encoding="utf-8")
    result = browse(path, tmp_path / "profile", "--dump-dom", "--enable-logging=stderr")
    assert "CONSOLE" not in result.stderr
    buttons = re.findall(r"<button[^>]*>", result.stdout)
    assert buttons
    assert not any("hidden" in button.replace("aria-hidden", "") for button in buttons)
