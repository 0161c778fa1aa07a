"""Photograph the first screen of a report in headless Chromium, for the README.

Run: python benchmarks/report_picture.py     (docs/results/demo.json → docs/images/report.png)

Needs a Chromium on the path; the page is made from the committed result of ``make demo``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from expunge.report import write_report

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT = 1280, 1180


def photograph(page: Path, picture: Path, profile: Path) -> None:
    """Write what a window shows of a page."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("no Chromium is installed (Debian: apt-get install chromium)")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    size, target = f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"
    subprocess.run([browser, *options, size, target, page.as_uri()], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Make the page of a result and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=DOCS / "results" / "demo.json")
    parser.add_argument("--out", type=Path, default=DOCS / "images" / "report.png")
    given = parser.parse_args()
    document = json.loads(given.result.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(document, Path(folder) / "report.html")
        photograph(page, given.out.resolve(), Path(folder) / "profile")


if __name__ == "__main__":
    main()
