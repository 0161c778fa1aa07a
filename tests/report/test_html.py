from __future__ import annotations

import base64
import hashlib
import math
import re
from pathlib import Path

import pytest
from contrast import contrast
from report_pages import HOSTILE, Page, poison

from expunge.errors import DataError
from expunge.report import render_html, write_report


@pytest.fixture(params=["with reference", "without reference"])
def either(request, document, bare):
    return document if request.param == "with reference" else bare(document)


def test_tags_nest_and_ids_and_links_agree(either):
    page = Page(render_html(either))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    labeled = " ".join(attrs["aria-labelledby"] for tag, attrs in page.tags if tag == "svg" and "role" in attrs)
    assert set(labeled.split()) <= set(page.ids)


def test_nothing_comes_from_outside(either):
    text = render_html(either)
    assert all(link.startswith(("#", "data:")) for link in Page(text).links)
    assert not re.search(r"https?://|//\w+\.\w|@import|url\((?!#)", text)


def test_every_column_links_to_its_definition(document):
    text = render_html(document)
    heads = re.findall(r'<th scope="col"><a href="#(term-\d+)">([^<]+)</a>', text)
    terms = dict(re.findall(r'<dt id="(term-\d+)">([^<]+)</dt>', text))
    assert [label for _, label in heads] == ["UA", "RA", "TA", "avg gap", "AUC", "seconds"]
    assert all(terms[anchor] == label for anchor, label in heads)
    assert "What avg gap is." in text


def test_the_policy_allows_its_own_style_and_script_and_nothing_else(document):
    text = render_html(document)
    policy = next(attrs["content"] for _, attrs in Page(text).tags if attrs.get("http-equiv"))
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for kind in ("script", "style"):
        body = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in Page(text).tags)


def test_hostile_strings_stay_text(document):
    plain, page = Page(render_html(document)), Page(render_html(poison(document)))
    assert page.count("script") == plain.count("script") == 1
    assert page.count("img") == 0
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert HOSTILE in "".join(page.text)


def test_hostile_keys_stay_text(document):
    request = document["requests"][0]
    request["metrics"][0]["key"] = HOSTILE
    for row in request["rows"]:
        row["scores"][HOSTILE] = row["scores"].pop("ua")
        row["key"] = HOSTILE
    page = Page(render_html(document))
    assert page.count("script") == 1
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://example.org/a.png",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        "data:image/png;base64,AA AA",
        'data:image/png;base64,AAAA" onerror="alert(1)',
        "data:image/png;base64,AAAA\n",
    ],
)
def test_only_png_data_urls_become_pictures(document, url):
    document["requests"][0]["examples"][0]["image"] = url
    page = Page(render_html(document))
    assert page.count("img") == 0
    assert "no picture" in "".join(page.text)


def test_a_png_data_url_becomes_a_picture_with_words(document):
    images = [attrs for tag, attrs in Page(render_html(document)).tags if tag == "img"]
    assert [image["src"] for image in images] == [document["requests"][0]["examples"][0]["image"]]
    assert images[0]["alt"] == "Forgotten example 1, labeled 0"


def test_without_reference_its_columns_and_words_are_absent(document, bare):
    with_it, without = ("".join(Page(render_html(form)).text) for form in (document, bare(document)))
    assert "avg gap" in with_it
    assert "Noise floor: two" in with_it
    for gone in ("avg gap", "smallest gap", "Noise floor: ", "Average gap to", "RETRAINED"):
        assert gone not in without
    assert "no retrained reference" in without


def test_methods_stand_by_gap_and_the_best_is_marked(document):
    text = render_html(document)
    body = re.search(r'<tbody class="methods">(.*?)</tbody>', text, re.DOTALL).group(1)
    assert body.index("EUPMU") < body.index(">GA")
    assert body.count("smallest gap") == 1
    assert body.index("smallest gap") < body.index(">GA")


def test_empty_history_examples_and_classes_leave_no_empty_figures(document):
    request = document["requests"][0]
    request["examples"], request["classes"] = [], []
    for row in request["rows"]:
        row["history"], row["per_class"] = [], []
    text = render_html(document)
    for gone in ("Step by step", "Forgotten examples", "Test accuracy per class"):
        assert gone not in text
    assert "Trade-off" in text


def test_a_diverged_method_is_shown_without_its_figures(document):
    for values in document["requests"][0]["rows"][2]["scores"].values():
        values["mean"] = values["half_width"] = math.nan
    text = render_html(document)
    assert not re.search(r"\b[Nn]a[Nn]\b|\binf\b|\bNone\b", "".join(Page(text).text))
    assert re.search(r'GA</th>\s*<td data-value="">–</td>', text)


def test_long_histories_are_thinned(document):
    rows = document["requests"][0]["rows"]
    rows[3]["history"] = [{"step": s, "forget_loss": (s * 37) % 101} for s in range(20_000)]
    lines = re.findall(r' d="([^"]+)"', render_html(document))
    assert 100 < max(line.count("L") for line in lines) <= 300


def test_writing_replaces_the_file_whole_or_not_at_all(document, tmp_path):
    path = tmp_path / "run" / "report.html"
    assert write_report(document, path) == path
    assert path.read_text(encoding="utf-8") == render_html(document)
    with pytest.raises(DataError):
        write_report({**document, "schema": 7}, path)
    assert path.read_text(encoding="utf-8") == render_html(document)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("theme", [0, 1])
def test_colors_reach_wcag_aa(theme):
    import expunge.report

    style = (Path(expunge.report.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    color = dict(re.findall(r"--(\w+): (#\w{6})", block))
    for ground in ("paper", "raised", "tint"):
        for text in ("ink", "soft", "accent"):
            assert contrast(color[text], color[ground]) >= 4.5, (text, ground)
    for text in ("forget", "retain"):
        assert contrast(color[text], color["paper"]) >= 4.5
    assert contrast(color["mute"], color["paper"]) >= 3
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
