"""Generated images judged by a named classifier: known sets have known figures, and the figures reach the report."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from report_pages import Page
from rich.console import Console
from torch import nn

from expunge.errors import ConfigError, DataError, ModelError, NotFiniteError
from expunge.metrics import (
    ModelScores,
    SplitHalf,
    aggregate,
    clopper_pearson,
    frechet_distance,
    kernel_distance,
    split_half,
)
from expunge.registry import find_component
from expunge.report import markdown_table, print_tables, render_html
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.tasks.diffusion.evaluation import (
    ImageClassifier,
    ImageEvaluation,
    LabeledImages,
    as_unit_images,
    max_kept_distance,
)

FORGOTTEN = 3


@pytest.fixture(scope="module")
def source():
    return find_component("readers", "digits")()


@pytest.fixture(scope="module")
def judge(source):
    torch.manual_seed(0)
    classifier = find_component("models", "small_cnn")(10, channels=1, width=4)
    train_classifier(classifier, source.train, TrainSettings(epochs=4, batch_size=64, lr=0.1, seed=0))
    return ImageClassifier(classifier, "small_cnn", prepare=source.train.scale)


@pytest.fixture(scope="module")
def real(source):
    """A third of the digits; the other two thirds are what a perfect generator would make."""
    return LabeledImages.from_examples(source.test)


@pytest.fixture(scope="module")
def made(source):
    shown = LabeledImages.from_examples(source.train)
    return LabeledImages(shown.images, shown.labels, (0, 1), seeds=torch.arange(len(shown)))


def halves(shown):
    first = torch.arange(len(shown)) % 2 == 0
    return shown.select(first), shown.select(~first)


def unlearned(shown, other):
    """The images where noughts (or another class) stand in the place of the forgotten class."""
    images, others = shown.images.clone(), shown.select_classes([other]).images
    chosen = (shown.labels == FORGOTTEN).nonzero().flatten()
    images[chosen] = others[torch.arange(len(chosen)) % len(others)]
    return LabeledImages(images, shown.labels, (0, 1), shown.seeds)


@pytest.fixture(scope="module")
def evaluation(judge, real, made):
    return ImageEvaluation(judge, real, [FORGOTTEN], original=halves(made)[0], splits=10)


def test_a_model_that_forgot_nothing_has_the_judges_own_error(evaluation, made, judge):
    figures = evaluation(halves(made)[1])
    asked = halves(made)[1].select_classes([FORGOTTEN])
    missed = 100 * float((judge(asked.images).classes != FORGOTTEN).mean())
    assert figures.scores["generated_ua"] == pytest.approx(missed)
    assert figures.scores["generated_ua"] < 15
    assert figures.evidence["classifier"]["forgotten_recall"] > 85
    assert figures.evidence["still_assigned"] == round(len(asked) * (1 - missed / 100))
    assert abs(figures.scores["feature_fid_excess"]) < 60
    assert figures.evidence["feature"]["fid_real_kept"] is True
    chance = evaluation(evaluation.original).scores["feature_fid_original"]
    assert 0 < figures.scores["feature_fid_original"] < chance


def test_replaced_images_are_forgotten_and_cost_nothing(evaluation, made):
    model = unlearned(halves(made)[1], other=0)
    before, after = evaluation(halves(made)[1]), evaluation(model)
    assert after.scores["generated_ua"] == 100.0
    count = int((halves(made)[1].labels == FORGOTTEN).sum())
    assert after.scores["generated_ua_low"] == pytest.approx(100 * (1 - clopper_pearson(0, count).high))
    assert after.evidence["ua_interval"][0] == after.scores["generated_ua_low"]
    assert after.evidence["asked"] == {"3": count}
    kept = {key: value for key, value in before.scores.items() if not key.startswith("generated_u")}
    assert {key: after.scores[key] for key in kept if "entropy" not in key} == {
        key: value for key, value in kept.items() if "entropy" not in key
    }


def test_damage_to_the_other_classes_shows_in_every_figure_of_them(evaluation, made):
    good = halves(made)[1]
    generator = torch.Generator().manual_seed(0)
    noisy = LabeledImages(
        (good.images + 0.5 * torch.rand(good.images.shape, generator=generator)).clamp(0, 1), good.labels, (0, 1)
    )
    before, after = evaluation(good), evaluation(noisy)
    for key in ("feature_fid_real", "feature_fid_excess", "feature_fid_original", "feature_kid_real"):
        assert after.scores[key] > 3 * abs(before.scores[key])
    for key in ("generated_accuracy", "feature_precision", "feature_density", "feature_coverage"):
        assert after.scores[key] < before.scores[key]
    assert after.evidence["feature"]["fid_real_kept"] is False


def test_distances_are_those_of_the_remaining_classes_features(evaluation, judge, real, made):
    model = halves(made)[1]
    ours, theirs = (judge(part.exclude_classes([FORGOTTEN]).images).features for part in (real, model))
    scores = evaluation(model).scores
    assert scores["feature_fid_real"] == pytest.approx(frechet_distance(ours, theirs), rel=1e-12)
    assert scores["feature_kid_real"] == pytest.approx(kernel_distance(ours, theirs, size=len(ours)).mean, rel=1e-9)
    before = judge(evaluation.original.exclude_classes([FORGOTTEN]).images).features
    limit = evaluation(model).evidence["feature"]["fid_real_allowed"]
    assert limit == pytest.approx(max_kept_distance(split_half(ours, before, splits=10)))
    assert scores["feature_fid_excess"] + 100 > 0
    assert scores["feature_fid_excess"] == pytest.approx(
        100 * (frechet_distance(ours, theirs) / frechet_distance(ours, before) - 1)
    )


def test_features_are_what_goes_into_the_head(judge, made):
    images = made.images[:7]
    model = judge.predict.model
    with torch.no_grad():
        expected = model[:-1](judge.prepare(images))
        assert judge(images).features == pytest.approx(expected.numpy(), abs=1e-5)
        assert judge(images).logits == pytest.approx(model[-1](expected).numpy(), abs=1e-4)
        maps = model[: list(dict(model.named_children())).index("avgpool")](judge.prepare(images))
    averaged = ImageClassifier(model, "small_cnn", head="avgpool", prepare=judge.prepare)
    assert averaged(images).features == pytest.approx(maps.mean((2, 3)).numpy(), abs=1e-5)


def test_the_judge_is_left_as_it_was_and_known_by_its_weights(source):
    classifier = find_component("models", "small_cnn")(10, channels=1, width=4).train()
    judge = ImageClassifier(classifier, "a judge", batch_size=3)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    one, all_at_once = judge(LabeledImages.from_examples(source.test).images[:8]), ImageClassifier(classifier, "b")
    assert all(module.training for module in classifier.modules())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert not classifier.fc._forward_pre_hooks
    assert one.logits == pytest.approx(
        all_at_once(LabeledImages.from_examples(source.test).images[:8]).logits, abs=1e-6
    )
    assert judge.weights_sha256 == all_at_once.weights_sha256
    with torch.no_grad():
        classifier.fc.bias[0] += 1e-3
    assert ImageClassifier(classifier, "c").weights_sha256 != judge.weights_sha256


@pytest.mark.parametrize("name", ["", "FID", "inception", "x" * 60, "<b>"])
def test_names_that_would_mislead_are_refused(name):
    with pytest.raises(ConfigError, match="a short name of the classifier"):
        ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), name)


class Twice(nn.Module):
    """Calls its head twice."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, images):
        return self.fc(images.flatten(1)) + self.fc(images.flatten(1))


def test_judges_that_cannot_be_read_are_refused():
    with pytest.raises(ModelError, match="the name of a module in the classifier, but found 'nose'"):
        ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "a", head="nose")
    with pytest.raises(ModelError, match="a linear head, but found none"):
        ImageClassifier(nn.Sequential(nn.Flatten()), "a")
    with pytest.raises(ModelError, match="called once with a tensor, but found 2 calls"):
        ImageClassifier(Twice(), "a")(torch.rand(3, 1, 2, 2))
    broken = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.constant_(broken[1].bias, float("nan"))
    with pytest.raises(NotFiniteError, match="finite answers of 'a'"):
        ImageClassifier(broken, "a")(torch.rand(3, 1, 2, 2))


def test_classifiers_with_outputs_of_their_own_are_read_by_logits():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, images):
            return {"answer": self.fc(images.flatten(1))}

    judge = ImageClassifier(Named(), "a", logits=lambda output: output["answer"])
    assert judge(torch.rand(3, 1, 2, 2)).logits.shape == (3, 2)


def test_both_spans_mean_the_same_images():
    unit = torch.rand(4, 3, 5, 5)
    assert torch.allclose(as_unit_images(2 * unit - 1, (-1, 1)), unit, atol=1e-6)
    assert torch.equal(as_unit_images(unit, (0, 1)), unit)
    assert as_unit_images(torch.full((1, 1, 2, 2), 1.005), (0, 1)).max() == 1.0


@pytest.mark.parametrize(
    ("images", "span", "found"),
    [
        (torch.full((2, 1, 2, 2), -0.5), (0, 1), "values from -0.5 to -0.5"),
        (torch.full((2, 1, 2, 2), 255.0), (0, 1), "values from 255"),
        (torch.zeros(2, 2, 2), (0, 1), "shape"),
        (torch.zeros(2, 4, 2, 2), (0, 1), "shape"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), (0, 1), "torch.uint8"),
        (np.zeros((2, 1, 2, 2)), (0, 1), "ndarray"),
    ],
)
def test_images_of_another_form_are_refused(images, span, found):
    with pytest.raises(DataError, match=found):
        as_unit_images(images, span)


def test_images_of_a_model_that_diverged_are_refused():
    images = torch.zeros(5, 1, 2, 2)
    images[3, 0, 0, 1] = float("nan")
    with pytest.raises(NotFiniteError, match="NaN or infinity in 1 of 5"):
        as_unit_images(images, (-1, 1))
    with pytest.raises(ConfigError, match="black and of white"):
        as_unit_images(torch.zeros(1, 1, 2, 2), (1, 0))


def test_sets_that_do_not_fit_are_refused(evaluation, judge, real, made):
    with pytest.raises(DataError, match="images asked for class 3, but found images of the classes 0"):
        evaluation(made.exclude_classes([FORGOTTEN]))
    with pytest.raises(DataError, match=r"remaining classes 0, 1, 2, 4.*but found classes 0, 1, 2, 5"):
        evaluation(made.exclude_classes([4]))
    with pytest.raises(DataError, match="more images in each half than the 16 dimensions"):
        evaluation(LabeledImages(made.images[:20], torch.arange(20) % 10, (0, 1)))
    with pytest.raises(ConfigError, match="at least one forgotten class"):
        ImageEvaluation(judge, real, [])
    narrow = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), "narrow")
    with pytest.raises(DataError, match="a logit for every class, here 5, but found images of class 9"):
        ImageEvaluation(narrow, real, [3])
    with pytest.raises(DataError, match="one seed for each image"):
        LabeledImages(made.images[:3], [0, 1, 2], (0, 1), seeds=[1, 2])
    with pytest.raises(DataError, match="one class from 0 up"):
        LabeledImages(made.images[:3], [0, 1], (0, 1))


def test_without_an_original_its_columns_are_absent(judge, real, made):
    figures = ImageEvaluation(judge, real, [FORGOTTEN], splits=3)(halves(made)[1])
    assert {"feature_fid_excess", "feature_fid_original"} & figures.scores.keys() == set()
    assert figures.evidence["feature"]["fid_real_allowed"] is None


def test_what_counts_as_kept_is_the_interval_and_a_tenth():
    assert max_kept_distance(SplitHalf(4.0, (3.0, 5.0), 4.4, 100)._replace(interval=clopper_pearson(1, 2)), 0.1) < 1.5
    assert max_kept_distance(split_half(np.eye(3).repeat(9, 0), np.eye(3).repeat(9, 0) + 1), fraction=0.0) >= 3.0


@pytest.fixture(scope="module")
def table(evaluation, made):
    rows = [
        ("original", "Original", "original", evaluation.original),
        ("retrain", "Retrain", "retrained", unlearned(halves(made)[1], other=0)),
        ("eupmu", "EUPMU", "method", unlearned(halves(made)[1], other=6)),
        ("ga", "GA", "method", halves(made)[1]),
    ]
    trials = []
    for seed in (0, 1):
        for key, label, role, shown in rows:
            figures = evaluation(shown)
            trials.append(
                ModelScores(key, label, role, seed, {**figures.scores, "seconds": 2.0}, evidence=figures.evidence)
            )
    return aggregate(trials, metrics=evaluation.columns)


@pytest.fixture
def document(table):
    request = {
        "id": "class-3",
        "description": "Forget class 3",
        "kind": "class",
        "sizes": {"train": 1437, "forget": 146, "retain": 1291, "test": 360},
        "seeds": [0, 1],
        "retrained": True,
        **table,
    }
    return {"schema": 2, "kind": "run", "title": "Digits", "requests": [request]}


def test_figures_are_json_and_no_classifiers_distance_is_called_fid(table, evaluation):
    json.dumps(table, allow_nan=False)
    labels = [column["label"] for column in table["metrics"]]
    assert "small_cnn is right about" in table["metrics"][0]["definition"]
    assert [label for label in labels if "FID" in label or "KID" in label] == [
        "small_cnn-FID, real",
        "small_cnn-FID, excess",
        "small_cnn-FID, original",
        "small_cnn-KID, real",
    ]
    evidence = table["rows"][2]["evidence"]
    assert [one["seed"] for one in evidence] == [0, 1]
    assert evidence[0]["feature"]["weights_sha256"] == evaluation.classifier.weights_sha256
    assert evidence[0]["seeds"].startswith(str(int(halves_first_seed(evaluation))))


def halves_first_seed(evaluation):
    """The first seed of the forgotten class in the odd half."""
    train = find_component("readers", "digits")().train
    return next(at for at, label in enumerate(train.targets.tolist()) if label == FORGOTTEN and at % 2)


def test_reports_show_the_figures_in_every_form(document):
    file = io.StringIO()
    print_tables(document, Console(file=file, width=80))
    terminal, markdown, page = file.getvalue(), markdown_table(document["requests"][0]), render_html(document)
    assert max(len(line.rstrip()) for line in terminal.splitlines()) <= 80
    for text in (terminal, markdown, page):
        assert "100.00" in text
        assert "EUPMU" in text
    assert "small" in terminal
    assert "small\\_cnn-FID, real" in markdown
    assert "small_cnn-FID, real" in page


def test_the_first_screen_speaks_of_images(document):
    page = "".join(Page(render_html(document)).text)
    assert "Judged by a classifier that looked at its images" in page
    assert "EUPMU has a UA of 100.00" in page
    assert "Their small_cnn-FID to real images is" in page
    assert "errs on" not in page
    assert "that is no ranking" in page


def test_nothing_that_generates_or_torchvision_is_imported():
    code = (
        "import sys, expunge.tasks.diffusion.evaluation, expunge.api.generative.images, expunge.tasks.builtin_tasks; "
        "print(sorted({'torchvision', 'diffusers', 'transformers', 'peft', 'accelerate', 'torch_fidelity', "
        "'torchmetrics', 'nudenet'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
