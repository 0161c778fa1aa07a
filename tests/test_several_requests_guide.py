"""The code of the guide on several requests runs from top to bottom, and its request files are read."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from expunge.request.config import load_request

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guides" / "several-requests.md"
TEXT = GUIDE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
FILES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the code has defined, and what it printed."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra 'data')")
    printed, names = io.StringIO(), {"__name__": "guide"}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("EXPUNGE_KEY_FILE", str(tmp_path_factory.mktemp("key") / "key"))
        for block in BLOCKS:
            exec(compile(block, "several-requests.md", "exec"), names)
    return names, printed.getvalue()


def accuracy(names, model, label):
    test = names["data"].test
    batch = test.batch((test.targets == label).nonzero().flatten())
    return float((model.eval()(batch.inputs).argmax(1) == batch.targets).float().mean())


def test_the_first_class_stays_deleted(ran):
    names, _ = ran
    assert accuracy(names, names["model"], 3) > 0.85
    for result in ("first", "second", "third"):
        assert accuracy(names, names[result].model, 3) < 0.15


def test_without_leaving_it_out_it_comes_back(ran):
    names, _ = ran
    import expunge

    back = expunge.unlearn(names["first"].model, **names["sides"](5), **names["settings"])
    assert accuracy(names, back.model, 3) > 0.7


def test_it_prints_what_the_page_shows(ran):
    (shown,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert shown in ran[1]
    assert "classes that are gone: (3,)" in ran[1]
    assert "entry 1 rose: False" in ran[1]
    assert "2 rows of one customer" in ran[1]


def test_its_request_files_are_read(tmp_path):
    whole = FILES[0].splitlines()
    assert FILES[1].startswith("exclude:")
    (tmp_path / "customers.txt").write_text("C-17\n")
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "unlearned.safetensors").touch()
    others = [line for line in whole if not line.startswith("forget:")]
    for lines in (whole, [*whole, FILES[1]], [*others, FILES[2]]):
        (tmp_path / "request.yaml").write_text("\n".join(lines))
        assert load_request(tmp_path / "request.yaml").ledger == tmp_path / "ledger.sqlite"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_its_links_lead_somewhere(target):
    assert (GUIDE.parent / target).exists()


def test_the_picture_shows_the_class_gone_back_and_gone_for_good():
    picture = (GUIDE.parent / "../images/several-requests.svg").read_text(encoding="utf-8")
    told = re.findall(r"<desc>(.*?), class [^:]*: (.*?) %</desc>", picture)
    rows = {title: [float(one) for one in text.split(", ")] for title, text in told[::3]}
    assert rows["Earlier deletions left in the data"][1] < 2
    assert rows["Earlier deletions left in the data"][2] > 50
    assert max(rows["Earlier deletions left out"][1:]) < 10
    assert torch.tensor(list(rows.values())).shape == (2, 4)
