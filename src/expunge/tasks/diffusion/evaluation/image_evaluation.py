"""The evaluation of a generative model by its images: what is still shown of the forgotten, what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from expunge.errors import ConfigError, DataError
from expunge.metrics import Column, clopper_pearson, entropy
from expunge.metrics.arrays import Floats
from expunge.tasks.diffusion.evaluation.columns import classifier_columns, feature_columns
from expunge.tasks.diffusion.evaluation.features import FeatureReference
from expunge.tasks.diffusion.evaluation.image_classifier import ClassifierOutput, FeatureExtractor, ImageClassifier
from expunge.tasks.diffusion.evaluation.image_results import ImageResults, format_ranges
from expunge.tasks.diffusion.evaluation.labeled_images import LabeledImages
from expunge.tasks.diffusion.evaluation.prompt_evaluation import PromptEvaluation, PromptImages
from expunge.tasks.diffusion.evaluation.torchmetrics_distances import TorchmetricsDistances


class ImageEvaluation:
    """Judges models by their images, all against the same real images and the same original.

    Images asked for a forgotten class give UA and entropy; those asked for the other classes give the accuracy and the
    distances, against real images and the original's images *of those classes*.

    Args:
        classifier: The named classifier.
        real: Real images that the classifier was not trained on.
        forgotten: The classes that were to be forgotten.
        original: Images of the model before unlearning; without them the columns that need them are absent.
        extractors: More networks to take features from (``Inception``). Default: the classifier's alone.
        prompt_evaluation: CLIP score and counts of nudity, for models that are asked with prompts. Default: no such
            columns.
        prompts: The prompt that asks for each class, in the order of their numbers; needed with ``prompt_evaluation``.
        torchmetrics_distances: FID and KID by torchmetrics, for every extractor. Default: no such columns.
        splits: Random splits for an interval of a Fréchet distance. Default 50.
        seed: Of splits and subsets. Default 0.

    Raises:
        ConfigError: If no class was forgotten, two extractors share a key, or prompts are missing.
        DataError: If the real images lack remaining classes or have classes that the classifier has no logit for.

    Examples:
        >>> import torch
        >>> from expunge.registry import find_component
        >>> def made(seed):
        ...     images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        ...     return LabeledImages(images, torch.arange(60) % 3, (0, 1), seeds=torch.arange(60))
        >>> classifier = ImageClassifier(find_component("models", "small_cnn")(3, channels=1, width=2), "small_cnn")
        >>> evaluation = ImageEvaluation(classifier, made(1), [0], original=made(2))
        >>> figures = evaluation(made(3))
        >>> figures.evidence["asked"], sorted(figures.scores)[:3]
        ({'0': 20}, ['feature_coverage', 'feature_density', 'feature_fid_excess'])
    """

    def __init__(
        self,
        classifier: ImageClassifier,
        real: LabeledImages,
        forgotten: Sequence[int],
        *,
        original: LabeledImages | None = None,
        extractors: Sequence[FeatureExtractor] = (),
        prompt_evaluation: PromptEvaluation | None = None,
        prompts: Sequence[str] = (),
        torchmetrics_distances: TorchmetricsDistances | None = None,
        splits: int = 50,
        seed: int = 0,
    ) -> None:
        self.classifier, self.forgotten, self.original = classifier, sorted({int(one) for one in forgotten}), original
        self.extractors: tuple[FeatureExtractor, ...] = (classifier, *extractors)
        if not self.forgotten:
            raise ConfigError("at least one forgotten class", "none", "name the class that was to be forgotten")
        if len({one.key for one in self.extractors}) < len(self.extractors):
            raise ConfigError(
                "one extractor of each key", "two of one", "the classifier's own features are taken already"
            )
        self.prompt_evaluation, self.prompts, self.torchmetrics_distances = (
            prompt_evaluation,
            tuple(prompts),
            torchmetrics_distances,
        )
        highest = max(*self.forgotten, *map(int, real.count_by_class()))
        if prompt_evaluation is not None and len(self.prompts) <= highest:
            raise ConfigError(f"a prompt for each of {highest + 1} classes", f"{len(self.prompts)}", "pass prompts=")
        self.real_kept, self.real_forgotten = real.exclude_classes(self.forgotten), real.select_classes(self.forgotten)
        self.classifier_accuracy = self.measure_classifier_accuracy()
        original_kept = None if original is None else self.select_kept(original)
        self.feature_references = {
            one.key: FeatureReference(
                self.extract_or_none(one, self.real_kept), self.extract_or_none(one, original_kept), splits, seed
            )
            for one in self.extractors
        }

    def __call__(self, generated: LabeledImages) -> ImageResults:
        """Return the figures of a model from its images.

        Args:
            generated: Images asked for the forgotten and for every remaining class, with their seeds.

        Raises:
            DataError: If a part is missing, its remaining classes are not those of the real images, or there are too
                few for the features.
            NotFiniteError: If a number is not finite.
        """
        forget_images = generated.select_classes(self.forgotten)
        if not len(forget_images):
            actual = f"images of the classes {', '.join(generated.count_by_class()) or 'none'}"
            raise DataError(f"images asked for class {self.forgotten[0]}", actual, "generate some of that class")
        kept_images = self.select_kept(generated)
        scores, evidence = self.score_forgotten(forget_images, self.classifier(forget_images.images))
        answers = self.classifier(kept_images.images)
        scores["generated_accuracy"] = 100.0 * accuracy(answers, kept_images.labels)
        evidence |= {
            "kept": kept_images.count_by_class(),
            "kept_right": accuracy_by_class(answers, kept_images.labels),
            "kept_shown_as_forgotten": int(np.isin(answers.classes, self.forgotten).sum()),
            "classifier": self.classifier_accuracy,
        }
        for extractor in self.extractors:
            features = (
                answers.features if extractor is self.classifier else extractor.extract_features(kept_images.images)
            )
            reference = self.feature_references[extractor.key]
            distances = reference.measure(features, is_original=generated is self.original)
            scores |= reference.scores(distances, extractor.key)
            evidence[extractor.key] = extractor.describe() | reference.evidence(distances)
            if self.torchmetrics_distances is not None:
                scores |= self.torchmetrics_distances(reference.real, features, extractor.key)
                evidence["published"] = self.torchmetrics_distances.describe()
        if self.prompt_evaluation is not None:
            prompt_results = self.prompt_evaluation(self.with_prompts(forget_images), self.with_prompts(kept_images))
            scores |= prompt_results.scores
            evidence |= prompt_results.evidence
        return ImageResults(scores, evidence)

    def with_prompts(self, images: LabeledImages) -> PromptImages:
        """Return images with the prompts that asked for them."""
        return PromptImages(images.images, [self.prompts[one] for one in images.labels.tolist()], seeds=images.seeds)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the scores, in their order."""
        from_features = [feature_columns(one.key, one.prefix) for one in self.extractors]
        if self.torchmetrics_distances is not None:
            from_features += [self.torchmetrics_distances.columns(one.key, one.prefix) for one in self.extractors]
        prompted = () if self.prompt_evaluation is None else self.prompt_evaluation.columns
        from_classifier = classifier_columns(self.classifier.name, self.classifier_accuracy)
        return (*from_classifier, *(column for columns in from_features for column in columns), *prompted)

    def score_forgotten(
        self, images: LabeledImages, answers: ClassifierOutput
    ) -> tuple[dict[str, float | None], dict[str, Any]]:
        """Return the scores of images asked for what was forgotten, and what stands behind them."""
        hits, total = int(np.isin(answers.classes, self.forgotten).sum()), len(images)
        interval = clopper_pearson(hits, total)
        scores: dict[str, float | None] = {
            "generated_ua": 100.0 * (1.0 - hits / total),
            "generated_ua_low": 100.0 * (1.0 - interval.high),
            "generated_entropy": float(entropy(answers.logits).mean()),
        }
        seeds = None if images.seeds is None else format_ranges(images.seeds)
        class_counts = dict(zip(*np.unique(answers.classes, return_counts=True), strict=True))
        return scores, {
            "asked": images.count_by_class(),
            "seeds": seeds,
            "still_assigned": hits,
            "ua_interval": [100.0 * (1.0 - interval.high), 100.0 * (1.0 - interval.low)],
            "assigned_to": {str(one): int(count) for one, count in class_counts.items()},
        }

    def measure_classifier_accuracy(self) -> dict[str, float | None]:
        """Return how often the classifier is right about real images: no figure of generated ones means more than that.

        Raises:
            DataError: If a real image has a class without a logit.
        """
        accuracies: dict[str, float | None] = {"kept_accuracy": None, "forgotten_recall": None}
        for name, part in (("kept_accuracy", self.real_kept), ("forgotten_recall", self.real_forgotten)):
            if len(part):
                answers = self.classifier(part.images)
                check_known_classes(part, answers)
                accuracies[name] = 100.0 * accuracy(answers, part.labels)
        return accuracies

    def select_kept(self, images: LabeledImages) -> LabeledImages:
        """Return the images of the classes that were not forgotten.

        Raises:
            DataError: If these are not the classes of the real images.
        """
        kept_images = images.exclude_classes(self.forgotten)
        if kept_images.count_by_class().keys() != self.real_kept.count_by_class().keys() or not len(kept_images):
            actual = f"classes {', '.join(kept_images.count_by_class()) or 'none'}"
            expected = f"images of the remaining classes {', '.join(self.real_kept.count_by_class()) or 'of the data'}"
            raise DataError(expected, actual, "show the same classes as the real images, in about the same numbers")
        return kept_images

    def extract_or_none(self, extractor: FeatureExtractor, images: LabeledImages | None) -> Any:
        """Return the features of images, None for none."""
        return None if images is None else extractor.extract_features(images.images)


def accuracy(answers: ClassifierOutput, labels: Tensor) -> float:
    """Return the share of images that are assigned to their class."""
    return float((answers.classes == labels.numpy()).mean())


def accuracy_by_class(answers: ClassifierOutput, labels: Tensor) -> dict[str, float]:
    """Return class → percent of its images that are assigned to it."""
    correct: Floats = answers.classes == labels.numpy()
    return {str(one): 100.0 * float(correct[labels.numpy() == one].mean()) for one in labels.unique().tolist()}


def check_known_classes(images: LabeledImages, answers: ClassifierOutput) -> None:
    """Refuse images of a class that the classifier cannot name."""
    classes = answers.logits.shape[1]
    if int(images.labels.max()) >= classes:
        actual = f"images of class {int(images.labels.max())}"
        expected, hint = f"a classifier with a logit for every class, here {classes}", "take a classifier of these data"
        raise DataError(expected, actual, hint)
