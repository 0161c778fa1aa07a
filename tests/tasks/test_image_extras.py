"""Inception, CLIP and NudeNet with stand-ins for their packages: what goes in, what is recorded, what is refused."""

from __future__ import annotations

import hashlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.errors import CheckpointError, ConfigError, DataError, MissingExtraError, ModelError
from expunge.metrics import ModelScores, aggregate, clopper_pearson, frechet_distance, kernel_distance
from expunge.tasks.diffusion.evaluation import (
    ClipScore,
    ImageClassifier,
    ImageEvaluation,
    Inception,
    LabeledImages,
    NudeNetCounts,
    PromptEvaluation,
    PromptImages,
    TorchmetricsDistances,
)
from expunge.tasks.diffusion.evaluation.clip_score import CLIP_MEAN, CLIP_STD
from expunge.weights import save_weights


def stand_in(monkeypatch, name, **things):
    """Put a module of this content in the place of an optional one."""
    parts = name.split(".")
    for at in range(1, len(parts) + 1):
        module = ModuleType(".".join(parts[:at]))
        module.__path__ = []
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for key, value in things.items():
        setattr(module, key, value)
    return module


@pytest.fixture
def missing(monkeypatch):
    for name in ("torch_fidelity", "nudenet", "transformers", "torchmetrics"):
        monkeypatch.setitem(sys.modules, name, None)


class Moments(nn.Module):
    """Gives 2048 (or fewer) numbers of each image of bytes."""

    width = 2048

    def __init__(self, name, features, feature_extractor_weights_path):
        super().__init__()
        assert (name, features) == ("inception-v3-compat", ["2048"])
        self.path, self.seen = feature_extractor_weights_path, []

    def forward(self, images):
        assert images.dtype == torch.uint8
        self.seen.append(images)
        return (images.float().flatten(1).repeat(1, 40)[:, : self.width],)


@pytest.fixture
def fidelity(monkeypatch):
    return stand_in(monkeypatch, "torch_fidelity.feature_extractor_inceptionv3", FeatureExtractorInceptionV3=Moments)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"numbers")
    return path


def test_inception_is_shown_bytes_in_three_channels(fidelity, weights):
    inception = Inception(weights, batch_size=2)
    images = torch.rand(5, 1, 6, 6)
    features = inception.extract_features(images)
    assert features.shape == (5, 2048)
    assert features.dtype == np.float64
    shown = torch.cat(inception.network.seen)
    assert [len(part) for part in inception.network.seen] == [2, 2, 1]
    assert torch.equal(shown, (images * 255).round().byte().expand(5, 3, 6, 6))
    told = inception.describe()
    assert told["weights_sha256"] == hashlib.sha256(b"numbers").hexdigest()
    assert {"name", "features", "torch-fidelity", "torch"} < told.keys()


def test_only_2048_features_may_be_called_fid(fidelity, weights, monkeypatch):
    monkeypatch.setattr(Moments, "width", 64)
    with pytest.raises(ModelError, match="2048 features of each image"):
        Inception(weights).extract_features(torch.rand(2, 3, 6, 6))


def test_inception_stands_beside_the_judge_under_its_own_name():
    class Small:
        key, prefix = "inception", ""

        def extract_features(self, images):
            return images.flatten(1)[:, :3].double().numpy()

        def describe(self):
            return {"name": "small"}

    def shown(seed):
        return LabeledImages(
            torch.rand(90, 1, 2, 2, generator=torch.Generator().manual_seed(seed)), torch.arange(90) % 3, (0, 1)
        )

    judge = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "line")
    evaluation = ImageEvaluation(judge, shown(1), [0], extractors=[Small()], splits=3)
    figures = evaluation(shown(2))
    expected = (part.exclude_classes([0]).images.flatten(1)[:, :3].double().numpy() for part in (shown(1), shown(2)))
    assert figures.scores["inception_fid_real"] == pytest.approx(frechet_distance(*expected))
    assert figures.evidence["inception"]["name"] == "small"
    labels = {column.key: column.label for column in evaluation.columns}
    assert (labels["inception_fid_real"], labels["feature_fid_real"]) == ("FID, real", "line-FID, real")
    with pytest.raises(ConfigError, match="one extractor of each key"):
        ImageEvaluation(judge, shown(1), [0], extractors=[judge])


class Detector:
    """Finds what the first pixels say: red the score of a breast, green that of a face; images come as BGR."""

    def __init__(self, model_path=None):
        self.model_path = model_path

    def detect(self, pixels):
        blue, green, red = (float(value) / 255 for value in pixels[0, 0])
        found = [{"class": "FEMALE_BREAST_EXPOSED", "score": red, "box": [0, 0, 1, 1]}] * 2
        return [*found, {"class": "FACE_FEMALE", "score": green, "box": []}, {"class": "FEET_EXPOSED", "score": blue}]


@pytest.fixture
def nudenet(monkeypatch, tmp_path):
    (tmp_path / "320n.onnx").write_bytes(b"onnx")
    return stand_in(monkeypatch, "nudenet", NudeDetector=Detector, __file__=str(tmp_path / "__init__.py"))


def test_nudity_is_counted_per_label_at_the_threshold(nudenet):
    colors = torch.tensor([[0.9, 0.9, 0.0], [0.59, 0.9, 0.0], [0.0, 0.9, 0.7], [0.0, 0.0, 0.0]])
    counts = NudeNetCounts(0.6)
    found = counts(colors.reshape(4, 3, 1, 1).expand(4, 3, 2, 2))
    assert (found["images"], found["nude_images"]) == (4, 2)
    assert found["images_per_label"]["FEMALE_BREAST_EXPOSED"] == 1
    assert found["detections_per_label"]["FEMALE_BREAST_EXPOSED"] == 2
    assert found["images_per_label"]["FEET_EXPOSED"] == 1
    assert "FACE_FEMALE" not in found["images_per_label"]
    told = counts.describe()
    assert (told["threshold"], told["weights_sha256"]) == (0.6, hashlib.sha256(b"onnx").hexdigest())
    assert "FEET_EXPOSED" in told["labels"]


def test_nudenet_takes_other_weights_and_refuses_empty_questions(nudenet, weights, tmp_path):
    assert NudeNetCounts(weights=weights).detector.model_path == str(weights)
    with pytest.raises(CheckpointError, match="no such file"):
        NudeNetCounts(weights=tmp_path / "none.onnx")
    for threshold in (0.1, 1.0):
        with pytest.raises(ConfigError, match="a threshold from"):
            NudeNetCounts(threshold)
    with pytest.raises(ConfigError, match="at least one label"):
        NudeNetCounts(labels=())


class Clip(nn.Module):
    """Embeds an image as the mean of its channels and a prompt as a row of a unit matrix."""

    config = SimpleNamespace(
        vision_config=SimpleNamespace(image_size=4), text_config=SimpleNamespace(max_position_embeddings=5)
    )

    @classmethod
    def from_pretrained(cls, folder, *, use_safetensors, local_files_only):
        assert use_safetensors
        assert local_files_only
        return cls()

    def forward(self, input_ids, attention_mask, pixel_values):
        assert pixel_values.shape[1:] == (3, 4, 4)
        pixels = pixel_values * torch.tensor(CLIP_STD).view(1, 3, 1, 1) + torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)
        return SimpleNamespace(image_embeds=5 * pixels.mean((2, 3)), text_embeds=torch.eye(3)[input_ids[:, 0]] * 2)


class Words:
    """Reads the first letter: r, g or b."""

    @classmethod
    def from_pretrained(cls, folder, *, local_files_only, trust_remote_code):
        assert not trust_remote_code
        if not (folder / "vocab.json").exists():
            raise OSError("no vocabulary")
        return cls()

    def __call__(self, prompts, padding, return_tensors):
        longest = max(map(len, prompts))
        ids = torch.tensor([["rgb".index(prompt[0])] * longest for prompt in prompts])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.fixture
def clip(monkeypatch, tmp_path):
    stand_in(monkeypatch, "transformers", CLIPModel=Clip, AutoTokenizer=Words)
    save_weights({"weights": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "vocab.json").write_text("{}")
    return tmp_path


def test_clip_score_is_a_hundred_cosines(clip):
    colors = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    score = ClipScore(clip, batch_size=2)
    found = score(colors.reshape(3, 3, 1, 1).expand(3, 3, 7, 7), ["red", "g", "r"])
    assert found == pytest.approx([100.0, 100 / np.sqrt(2), 0.0], abs=1e-3)
    assert score.describe()["weights_sha256"] == hashlib.sha256((clip / "model.safetensors").read_bytes()).hexdigest()


def test_clip_refuses_what_it_cannot_read(clip):
    score = ClipScore(clip)
    with pytest.raises(DataError, match="at most 5 tokens, but found one of 9"):
        score(torch.rand(1, 3, 4, 4), ["red apple"])
    with pytest.raises(DataError, match="a prompt for each image, but found 1 for 2"):
        score(torch.rand(2, 3, 4, 4), ["r"])
    (clip / "vocab.json").unlink()
    with pytest.raises(ModelError, match="found no vocabulary"):
        ClipScore(clip)
    (clip / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="a weights file"):
        ClipScore(clip)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: Inception(path), "expunge[fid]"),
        (lambda path: NudeNetCounts(), "expunge[nudenet]"),
        (lambda path: ClipScore(path.parent), "expunge[transformers]"),
        (lambda path: TorchmetricsDistances(), "expunge[metrics]"),
    ],
)
def test_what_is_not_installed_is_named_with_the_install_line(missing, weights, make, line):
    with pytest.raises(MissingExtraError) as refused:
        make(weights)
    assert line in str(refused.value)


def test_a_package_that_fails_on_import_is_no_traceback(monkeypatch, tmp_path):
    broken = tmp_path / "nudenet.py"
    broken.write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "nudenet", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="operator torchvision::nms does not exist"):
        NudeNetCounts()


def colors(*rows):
    return torch.tensor(rows).reshape(len(rows), 3, 1, 1).expand(-1, 3, 6, 6)


RED, GREEN, BLUE, MIXED = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)


@pytest.fixture
def both(clip, nudenet):
    return PromptEvaluation(ClipScore(clip), NudeNetCounts(0.6))


def test_prompts_of_both_sides_have_their_figures(both):
    forgotten = PromptImages(2 * colors(RED, GREEN, MIXED) - 1, ["red", "r", "g"], (-1, 1), seeds=[4, 5, 6])
    figures = both(forgotten, PromptImages(colors(BLUE, MIXED), ["b", "b"]))
    assert figures.scores["clip_score"] == pytest.approx((100 + 0) / 2, abs=1e-3)
    assert figures.scores["clip_score_forgotten"] == pytest.approx((100 + 0 + 100 / np.sqrt(2)) / 3, abs=1e-3)
    assert figures.scores["nude_images"] == pytest.approx(200 / 3)
    interval = clopper_pearson(2, 3)
    assert figures.evidence["nudity"]["interval"] == pytest.approx([100 * interval.low, 100 * interval.high])
    assert figures.evidence["nudity"]["kept"]["nude_images"] == 2
    assert figures.evidence["forgotten_prompts"] == {"images": 3, "prompts": 3, "seeds": "4–6"}
    assert figures.evidence["clip"]["weights_sha256"] == both.clip.weights_sha256
    assert {column.key for column in both.columns} == figures.scores.keys()
    assert "red" not in str(figures.evidence), "the prompts are the user's own"


def test_what_is_not_asked_for_is_absent(both):
    alone = PromptEvaluation(nudity=both.nudity)
    images = PromptImages(colors(RED), ["red"])
    assert alone(images).scores.keys() == {"nude_images"}
    assert alone(None, images).scores == {}
    assert PromptEvaluation(both.clip)(None, images).scores.keys() == {"clip_score"}
    with pytest.raises(ConfigError, match="a CLIP score or counts of nudity, but found neither"):
        PromptEvaluation()
    with pytest.raises(DataError, match="images of at least one prompt"):
        both(None)
    with pytest.raises(DataError, match="for each of 1 images, but found 2 prompts and no seeds"):
        PromptImages(colors(RED), ["r", "g"])
    with pytest.raises(DataError, match="found 1 prompts and 2 seeds"):
        PromptImages(colors(RED), ["r"], seeds=[1, 2])


def test_prompted_models_have_these_columns_beside_a_judges(both):
    judge = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(108, 3)), "line")

    def shown(seed):
        images = torch.rand(720, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        return LabeledImages(images, torch.arange(720) % 3, (0, 1), seeds=torch.arange(720))

    evaluation = ImageEvaluation(
        judge, shown(1), [0], prompt_evaluation=both, prompts=["red", "green", "blue"], splits=2
    )
    made = shown(2)
    figures = evaluation(made)
    for key, classes in (("clip_score", [1, 2]), ("clip_score_forgotten", [0])):
        part = made.select_classes(classes)
        ours = both.clip(part.images, ["rgb"[one] for one in part.labels.tolist()])
        assert figures.scores[key] == pytest.approx(ours.mean())
    assert 0 < figures.scores["clip_score_forgotten"] < 100
    keys = [column.key for column in evaluation.columns]
    assert keys[-3:] == ["clip_score", "clip_score_forgotten", "nude_images"]
    table = aggregate([ModelScores("a", "A", "original", 0, figures.scores)], metrics=evaluation.columns)
    assert [one["key"] for one in table["metrics"]][-3:] == keys[-3:]
    with pytest.raises(ConfigError, match="a prompt for each of 3 classes, but found 2"):
        ImageEvaluation(judge, shown(1), [0], prompt_evaluation=both, prompts=["red", "green"])


def two_sets(count=60, width=4):
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(width, width))
    return generator.normal(size=(count, width)), generator.normal(size=(count + 20, width)) @ mixing + 0.5


def test_torchmetrics_and_we_agree():
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed (extra 'metrics')")
    real, generated = two_sets()
    state = torch.get_rng_state()
    found = TorchmetricsDistances()(real, generated, "feature")
    assert torch.equal(torch.get_rng_state(), state)
    assert found["feature_torchmetrics_fid"] == pytest.approx(frechet_distance(real, generated), rel=1e-6)
    ours = kernel_distance(real, generated, size=60)
    assert found["feature_torchmetrics_kid"] == pytest.approx(ours.mean, rel=0.25)
    assert TorchmetricsDistances()(real, generated, "feature") == found
    with pytest.raises(DataError, match="at least 4 images of either kind, but found 3 and 80"):
        TorchmetricsDistances()(real[:3], generated, "feature")


class Counted:
    """Has the interface of torchmetrics' distances; says how many images it was shown."""

    def __init__(self, feature, subset_size=None):
        self.width, self.size, self.seen = feature.num_features, subset_size, {}

    def update(self, features, real):
        assert features.shape[1] == self.width
        self.seen[real] = len(features)

    def compute(self):
        return (torch.tensor(float(self.size)), None) if self.size else torch.tensor(float(self.seen[True]))


def test_each_extractors_features_are_measured_under_its_name(monkeypatch):
    stand_in(monkeypatch, "torchmetrics.image.fid", FrechetInceptionDistance=Counted)
    stand_in(monkeypatch, "torchmetrics.image.kid", KernelInceptionDistance=Counted)
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", ModuleType("torchmetrics.image.fid"))
    sys.modules["torchmetrics.image.fid"].FrechetInceptionDistance = Counted
    judge = ImageClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "line")

    def shown(seed, count):
        images = torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
        return LabeledImages(images, torch.arange(count) % 3, (0, 1))

    evaluation = ImageEvaluation(judge, shown(1, 90), [0], torchmetrics_distances=TorchmetricsDistances(), splits=2)
    figures = evaluation(shown(2, 60))
    assert figures.scores["feature_torchmetrics_fid"] == 60.0, "real images of the remaining classes"
    assert figures.scores["feature_torchmetrics_kid"] == 40.0, "a subset is as large as the smaller set"
    labels = {column.key: column.label for column in evaluation.columns}
    assert labels["feature_torchmetrics_fid"] == "line-FID (torchmetrics)"
    assert figures.scores.keys() <= labels.keys()
    (plain, _) = TorchmetricsDistances().columns("inception", "")
    assert (plain.label, "2048 features of Inception" in plain.definition) == ("FID (torchmetrics)", True)
