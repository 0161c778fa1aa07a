"""What the result pages show is what the committed results say, or what an archived study has said."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import tables

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("results/*.md"), *(ROOT / "docs").glob("research/*.md")])
ARCHIVED = re.compile(r"<!-- archived: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
COMMIT = re.compile(r"`([0-9a-f]{40})`")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


@each_page
def test_tables_are_those_of_the_results(page):
    assert tables.rewrite(page) == page.read_text(encoding="utf-8"), "run python benchmarks/tables.py"


@each_page
def test_archived_tables_are_those_of_the_commit_that_is_named(page):
    blocks = ARCHIVED.findall(page.read_text(encoding="utf-8"))
    if not blocks:
        return
    (commit,) = {*COMMIT.findall(page.read_text(encoding="utf-8"))}
    if git("cat-file", "-e", commit).returncode:
        pytest.skip("the history is not here")
    old = " ".join(git("grep", "-h", "", commit, "--", "docs/results/*.md").stdout.split())
    for name, text in blocks:
        name = name.replace("batch-norm", "normalisation")
        assert " ".join(f"<!-- table: {name} -->\n{text}<!-- end -->".split()) in old, name


@each_page
def test_every_script_of_a_page_is_here_or_at_the_commit_that_is_named(page):
    text = page.read_text(encoding="utf-8")
    scripts = {f"benchmarks/{name}.py" for name in re.findall(r"benchmarks/(\w+)\.py", text)}
    missing = {script for script in scripts if not (ROOT / script).is_file()}
    if not missing:
        return
    (commit,) = {*COMMIT.findall(text)}
    if git("cat-file", "-e", commit).returncode:
        pytest.skip("the history is not here")
    assert missing <= {*git("ls-tree", "-r", "--name-only", commit, "benchmarks").stdout.splitlines()}


@pytest.mark.parametrize("folder", ["results", "research"])
def test_every_result_is_shown_on_a_page(folder):
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == folder)
    for result in (ROOT / "docs" / folder).glob("*.json"):
        assert result.name in text, result.name


def write(document):
    document = json.loads(json.dumps(document), object_hook=tables.read_object)
    return "\n\n".join(part for part in (table.write(document) for table in tables.BESIDE_DEFAULT) if part)


GAPS = {"auto": [1.0, 2.0, None], "rl": [2.0, 4.0, 9.0], "eupmu": [0.5, 2.5, 1.0]}


def row(key):
    return {"key": key, "label": key.upper(), "role": "method", "scores": {"avg_gap": {"values": GAPS[key]}}}


def document(**changes):
    promise = {
        "seed": 0,
        "within_budget": True,
        "target_met": False,
        "bound": 1.5,
        "true_drop": 0.5,
        "search": {"lr": 0.01},
    }
    promises = [promise, {**promise, "seed": 1, "true_drop": 2.5}, {**promise, "seed": 2, "bound": None} | changes]
    return {"requests": [{"id": "tenth", "rows": [*map(row, GAPS)], "budgets": {"auto": promises}}]}


def test_differences_are_of_the_seeds_that_both_rows_have():
    lines = write(document()).splitlines()
    # −1 and −2: a mean of −1.5, half an interval of 12.7 (one degree of freedom) times .5.
    assert "| tenth | RL | −1.50 ± 6.35 | 4.85 |" in lines
    assert "| tenth | EUPMU | 0.00 ± 6.35 | 6.35 |" in lines
    assert not any("AUTO" in line for line in lines)


COUNTED = "Of 2 runs with a certificate 1 (95 % interval 1.3 to 98.7 %) lost"


@pytest.mark.parametrize(("changes", "words"), [({}, COUNTED), ({"bound": 0.1}, "Of 3 runs")])
def test_promises_are_those_of_every_seed_and_broken_bounds_are_counted(changes, words):
    text = write(document(**changes))
    assert "| tenth | 1 | 0.01 | 2.50 | 1.50 | yes | no |" in text
    assert words in text.splitlines()[-1]


def test_what_was_not_met_is_shown_beside_what_forgot_most():
    spent_and_auc = [(0.0, 0.8), (0.4, 0.75), (9.0, 0.66), (3.0, 0.7)]
    looks = [{"spent": spent, "auc": auc} for spent, auc in spent_and_auc]
    text = write(document(evaluations=looks, chosen=1))
    assert text.splitlines()[-1] == "| tenth | 2 | 0.4 | 0.75 | 9 | 0.66 |"
    assert "not met" not in write(document(evaluations=looks, chosen=1, target_met=True))
