"""The page in a real browser, under its own policy; a frame around it gives it the width and asks the questions."""

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
HARNESS = """<!doctype html><meta charset="utf-8"><body>
<iframe id="page" width="WIDTH" height="900" style="border:0" srcdoc="PAGE"></iframe>
<script>
document.getElementById("page").addEventListener("load", (event) => {
  const page = event.target.contentDocument;
  const names = () => [...page.querySelectorAll("tbody.methods th")].map((head) => head.firstChild.data.trim());
  const button = page.querySelector('button[data-column="1"]');
  const sorted = () => button.closest("th").getAttribute("aria-sort");
  const found = { first: names(), shown: !button.hidden };
  button.click();
  Object.assign(found, { up: names(), upward: sorted() });
  button.click();
  Object.assign(found, { down: names(), downward: sorted() });
  button.focus();
  for (const details of page.querySelectorAll("details")) details.open = true;
  const root = page.documentElement;
  Object.assign(found, { focused: page.activeElement === button, wide: root.scrollWidth, room: root.clientWidth });
  const told = { id: "probe", textContent: JSON.stringify(found) };
  document.body.append(Object.assign(document.createElement("pre"), told));
});
</script>"""


def browse(path, folder, *options):
    command = [BROWSER, *QUIET, f"--user-data-dir={folder}", *options, f"file://{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("width", [400, 1600])
def test_sorting_works_and_nothing_overflows(document, tmp_path, width):
    document["command"] = document["title"] = "x" * 500
    path = tmp_path / "probe.html"
    frame = HARNESS.replace("WIDTH", str(width)).replace("PAGE", html.escape(render(document)))
    path.write_text(frame, encoding="utf-8")
    dom = browse(path, tmp_path / "profile", "--dump-dom", "--hide-scrollbars", "--window-size=1700,1000").stdout
    found = json.loads(html.unescape(re.search(r'<pre id="probe">(.*?)</pre>', dom).group(1)))
    assert found["shown"]
    assert (found["first"], found["up"], found["down"]) == (["EUPMU", "GA"], ["GA", "EUPMU"], ["EUPMU", "GA"])
    assert (found["upward"], found["downward"]) == ("ascending", "descending")
    assert found["focused"]
    assert found["room"] == width
    assert found["wide"] <= found["room"]


def test_the_page_loads_without_a_complaint_and_a_foreign_script_does_not_run(document, tmp_path):
    path, text = tmp_path / "report.html", render(document)
    path.write_text(text, encoding="utf-8")
    calm = browse(path, tmp_path / "profile", "--dump-dom", "--enable-logging=stderr")
    assert "CONSOLE" not in calm.stderr
    path.write_text(text.replace("</body>", "<script>document.title = 'taken'</script></body>"), encoding="utf-8")
    foreign = browse(path, tmp_path / "profile", "--dump-dom", "--enable-logging=stderr")
    assert "CONSOLE" in foreign.stderr
    assert "<title>A title</title>" in foreign.stdout
