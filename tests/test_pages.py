"""The code of every page runs from top to bottom and prints what the page shows; its request files can be read."""

from __future__ import annotations

import contextlib
import io
import json
import re
import statistics
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_pipeline import libraries, tiny_pipeline
from torch import nn

from expunge import registry
from expunge.data import Subset
from expunge.pair import Pair
from expunge.request import config
from expunge.request.config import load_request
from expunge.tasks.classification.models import small_cnn
from expunge.tasks.classification.readers import digits
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.testing import ToyStep, check_surgery, linear

ROOT = Path(__file__).parents[1]
GUIDES = sorted(path.stem for path in (ROOT / "docs" / "guides").glob("*.md"))
OWN_TEST = {"one-problem-all-methods", "index"}  # test_guide.py reads its tables and figures too; the list has no code
PAGES = ["README.md", "docs/quickstart.md", *(f"docs/guides/{name}.md" for name in GUIDES if name not in OWN_TEST)]
NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?")
RUNS: dict[str, tuple[dict[str, Any], list[tuple[str, str]], Path]] = {}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def find_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.DOTALL)


def add_digits(names: dict[str, Any]) -> None:
    """Define what the README takes for granted: a trained model, its examples, and examples that it never saw."""
    torch.manual_seed(0)
    data = digits(test_share=0.5, seed=0)
    train = data.train.batch(torch.arange(898))
    test = data.test.batch(torch.arange(len(data.test)))
    model = small_cnn(10, 1)
    train_classifier(model, Subset(data.train, torch.arange(300)), TrainSettings(epochs=30, batch_size=32, lr=0.05))
    names |= {"model": model, "x": train.inputs[:300], "y": train.targets[:300]}
    names |= {"x_new": train.inputs[300:], "y_new": train.targets[300:]}
    names |= {"x_test": test.inputs, "y_test": test.targets}


def add_diffusion_folders() -> None:
    """Write the folders that the pages on diffusion models start with."""
    libraries()
    pytest.importorskip("peft", reason="peft is not installed (extra 'diffusion')")
    from expunge.tasks.diffusion.small_unet import small_ddpm

    tiny_pipeline().save_pretrained("stable-diffusion")
    small_ddpm(8).save_pretrained("ddpm")


def add_task(page: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Save the page's first block as the module that the page says, and register the task that it defines."""
    (folder / "ratings.py").write_text(find_blocks(page, "python")[0], encoding="utf-8")
    patch.syspath_prepend(folder)
    point = EntryPoint("ratings", "ratings:Ratings", "expunge.tasks")
    for module in (registry, config):
        patch.setattr(module, "entry_points", lambda group: [point] if group == "expunge.tasks" else [])
    registry.list_entries.cache_clear()


def run_page(page: str, factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[tuple[str, str]], Path]:
    """Return what the code defines, each shown output beside the printed one, and the folder it ran in."""
    if page in RUNS:
        return RUNS[page]
    folder, names, outputs, printed = factory.mktemp("page"), {"__name__": "page"}, [], ""
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPUNGE_KEY_FILE", str(folder / "key"))
        if page == "README.md":
            add_digits(names)
        if "diffusion" in page:
            add_diffusion_folders()
        if "own-task" in page:
            add_task(page, folder, patch)
        for language, block in re.findall(r"```(python|text)\n(.*?)```", read(page), re.DOTALL):
            if language == "text":
                outputs.append((block, printed))
                continue
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block, page, "exec", dont_inherit=True), names)
            printed = output.getvalue()
    registry.list_entries.cache_clear()
    return RUNS.setdefault(page, (names, outputs, folder))


@pytest.mark.parametrize("page", PAGES)
def test_page_code_prints_what_the_page_shows(page, tmp_path_factory):
    _, outputs, _ = run_page(page, tmp_path_factory)
    for shown, printed in outputs:
        words, printed_words = (" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed))
        assert printed_words == words
        numbers, printed_numbers = ([float(n.replace("−", "-")) for n in NUMBER.findall(t)] for t in (shown, printed))
        assert printed_numbers == pytest.approx(numbers, rel=0.3, abs=3)


def expand_requests(page: str) -> list[dict[str, Any]]:
    """Return the request files of a page; one without a model completes the one before it."""
    requests: list[dict[str, Any]] = []
    for block in find_blocks(page, "yaml"):
        keys = yaml.safe_load(block)
        requests.append(keys if "model" in keys else {**requests[0], **keys})
    return requests


@pytest.mark.parametrize("page", [page for page in PAGES if find_blocks(page, "yaml")])
def test_page_request_files_are_read(page, tmp_path, monkeypatch):
    if "own-task" in page:
        add_task(page, tmp_path, monkeypatch)
    for request in expand_requests(page):
        text = yaml.safe_dump(request, allow_unicode=True)
        for name in re.findall(r"[\w/-]+\.(?:safetensors|txt)", text):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        if "diffusion" in str(request.get("task")):
            (tmp_path / str(request["model"])).mkdir(exist_ok=True)
        if isinstance(request.get("data"), dict) and "dir" in request["data"]:
            (tmp_path / request["data"]["dir"]).mkdir()
        (tmp_path / "request.yaml").write_text(text, encoding="utf-8")
        assert load_request(tmp_path / "request.yaml").out == tmp_path / "runs" / "request"
    registry.list_entries.cache_clear()


@pytest.mark.parametrize("page", ["README.md", "docs/guides/own-loop.md"])
def test_loop_diff_makes_updates(page):
    (diff,) = find_blocks(page, "diff")
    code = "\n".join(line[1:] for line in diff.splitlines() if not line.startswith("-"))
    model = nn.Linear(4, 3)
    names = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "before": model.weight.clone()}
    batch = torch.randn(8, 4), torch.arange(8) % 3
    imports = "import expunge\nfrom expunge.objectives import *\nfrom expunge.surgery import *\n"
    exec(imports + code, names | {"loader": [(batch, batch)] * 2})
    assert not torch.equal(model.weight, names["before"])


def count_recognized(model: nn.Module, examples: Any, label: int) -> float:
    batch = examples.batch(torch.arange(len(examples)))
    return float((model.eval()(batch.inputs).argmax(1) == label).float().mean())


def test_readme_unlearns_a_class_and_saves_it(tmp_path_factory):
    names, _, folder = run_page("README.md", tmp_path_factory)
    assert names["result"].budget.within_budget
    assert names["result"].budget.target_met
    assert (folder / "run" / "unlearned.safetensors").is_file()
    assert (folder / "report.html").stat().st_size > 10_000


def test_readme_serves_25_rows_too(tmp_path_factory):
    names, _, _ = run_page("README.md", tmp_path_factory)
    first = find_blocks("README.md", "python")[0].replace("gone = y == 3", "gone = torch.arange(300) < 25")
    later = {key: value for key, value in names.items() if key != "result"} | {"torch": torch}
    quick = first.replace("accuracy_points=3)", "accuracy_points=3), time_limit='20s'")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(quick, later)
    assert len(later["result"].split.forget) == 25
    assert later["result"].budget.within_budget
    assert later["result"].budget.verdict == "undecided"


def test_budget_guide_keeps_the_budget_and_the_original(tmp_path_factory):
    names, outputs, _ = run_page("docs/guides/budget.md", tmp_path_factory)
    assert "The budget of 3 points was kept, and the request was met" in names["result"].budget.summary
    assert count_recognized(names["result"].model, names["forget"], 3) <= 0.005
    assert count_recognized(names["model"], names["forget"], 3) > 0.9
    certified = [float(text) for text in re.findall(r"drop of ([\d.]+)", outputs[0][1])]
    assert certified == sorted(certified, reverse=True)


def test_several_requests_guide_keeps_the_first_class_deleted(tmp_path_factory):
    import expunge

    names, _, _ = run_page("docs/guides/several-requests.md", tmp_path_factory)
    test = names["data"].test
    threes = Subset(test, (test.targets == 3).nonzero().flatten())
    assert count_recognized(names["model"], threes, 3) > 0.85
    for result in ("first", "second", "third"):
        assert count_recognized(names[result].model, threes, 3) < 0.15
    relearned = expunge.unlearn(names["first"].model, **names["split"](5), **names["settings"])
    assert count_recognized(relearned.model, threes, 3) > 0.7


def test_several_requests_picture_shows_the_class_back_and_gone():
    picture = read("docs/images/several-requests.svg")
    curves = re.findall(r"<desc>(.*?), class [^:]*: (.*?) %</desc>", picture)
    rows = {title: [float(one) for one in text.split(", ")] for title, text in curves[::3]}
    assert rows["Earlier deletions left in the data"][1] < 2
    assert rows["Earlier deletions left in the data"][2] > 50
    assert max(rows["Earlier deletions left out"][1:]) < 10


def test_stable_diffusion_guide_changes_copies_and_hands_over_a_pipeline(tmp_path_factory):
    names, _, folder = run_page("docs/guides/stable-diffusion.md", tmp_path_factory)
    with contextlib.chdir(folder):
        fresh = names["TextToImage"].from_pretrained("stable-diffusion").unet.state_dict()
    original = names["original"].unet.state_dict()
    assert all(torch.equal(weight, original[key]) for key, weight in fresh.items())
    for result in ("quick", "careful"):
        changed = names[result].model.unet.state_dict()
        assert any(not torch.equal(weight, changed[key]) for key, weight in fresh.items())
    saved, unlearned = names["pipeline"].unet.state_dict(), names["careful"].model.unet.state_dict()
    assert all(torch.equal(weight, unlearned[key]) for key, weight in saved.items())
    layout = {path.name for path in (folder / "stable-diffusion").iterdir()}
    assert {path.name for path in (folder / "run" / "unlearned").iterdir()} == layout
    assert [path.suffix for path in (folder / "adapter").iterdir()] == [".safetensors"]
    assert list(names["grid"].rows) == ["original", "UCE", "EUPMU"]
    assert (folder / "before-and-after.png").read_bytes()[1:4] == b"PNG"
    assert (names["drawn"].prompts, names["drawn"].seeds.tolist()) == (("a red car", "a cat"), [17, 4])


def test_diffusion_guide_saves_the_layout_it_started_with(tmp_path_factory):
    _, _, folder = run_page("docs/guides/diffusion.md", tmp_path_factory)
    assert (folder / "run-digits" / "unlearned" / "unet").is_dir()


def test_contributing_example_keeps_every_contract(tmp_path, monkeypatch):
    (code,) = find_blocks("CONTRIBUTING.md", "python")
    assert len(code.splitlines()) <= 30
    (tmp_path / "balanced.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from balanced import Balanced

    check_surgery(Balanced)
    step = ToyStep([torch.zeros(2)], Pair(linear(torch.tensor([3.0, 0.0])), linear(torch.tensor([0.0, 0.1]))))
    Balanced(share=0.5)(step)
    torch.testing.assert_close(step.decision.pieces[0], torch.tensor([3.0, 1.5]))


def test_readme_picture_shows_the_committed_benchmark():
    from tradeoff_picture import PICTURE, RESULT, describe

    assert describe(json.loads(RESULT.read_text(encoding="utf-8"))) in PICTURE.read_text(encoding="utf-8")


def test_readme_is_short_and_shows_code_first():
    text = read("README.md")
    lines = text.splitlines()
    assert len(lines) <= 140
    assert lines.index("```text") < 25
    blocks = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    prose = re.sub(r"`[^`\n]*`|\]\([^)]*\)", " x ", re.sub(r"^(\||#|    ).*$", "", blocks, flags=re.MULTILINE))
    sentences = [part.split() for part in re.split(r"[.!?:]\s+|\n\s*\n|\n- ", prose) if len(part.split()) > 1]
    assert statistics.mean(map(len, sentences)) <= 12


def test_readme_figures_are_those_of_the_results():
    results = read("docs/results/aims.md")
    table = read("README.md").split("## Benchmark")[1]
    figures = re.findall(r"\d+\.\d\d ± \d+\.\d\d", table)
    assert len(figures) > 10
    assert [figure for figure in figures if figure not in results] == []


ALL_PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *map(str, sorted((ROOT / "docs").rglob("*.md")))]


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page).removeprefix(f"{ROOT}/"))
def test_page_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not ((ROOT / page).parent / target).exists()] == []
