"""The evaluation of a generative model by its images: what is still shown of the forgotten, what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from expunge.errors import ConfigError, DataError
from expunge.metrics import Column, clopper_pearson, entropy
from expunge.metrics.arrays import Floats
from expunge.tasks.diffusion.evaluation.columns import asked_columns, feature_columns
from expunge.tasks.diffusion.evaluation.features import Yardstick
from expunge.tasks.diffusion.evaluation.figures import ImageFigures, spans
from expunge.tasks.diffusion.evaluation.images import ShownImages
from expunge.tasks.diffusion.evaluation.judge import Answers, Extractor, Judge
from expunge.tasks.diffusion.evaluation.prompted import PromptEvaluation, PromptImages
from expunge.tasks.diffusion.evaluation.published import TorchmetricsDistances


class ImageEvaluation:
    """Judges models by their images, all against the same real images and the same original.

    Images asked for a forgotten class give UA and entropy; those asked for the other classes give the accuracy and the
    distances, against real images and the original's images *of those classes*.

    Args:
        judge: The named classifier.
        real: Real images that the judge was not trained on.
        forgotten: The classes that were to be forgotten.
        original: Images of the model before unlearning; without them the columns that need them are absent.
        extractors: More networks to take features from (``Inception``). Default: the judge's alone.
        prompted: CLIP score and counts of nudity, for models that are asked with prompts. Default: no such columns.
        prompts: The prompt that asks for each class, in the order of their numbers; needed with ``prompted``.
        published: FID and KID by torchmetrics, for every extractor. Default: no such columns.
        splits: Random splits for an interval of a Fréchet distance. Default 50.
        seed: Of splits and subsets. Default 0.

    Raises:
        ConfigError: If no class was forgotten, two extractors share a key, or prompts are missing.
        DataError: If the real images lack remaining classes or have classes that the judge has no logit for.

    Examples:
        >>> import torch
        >>> from expunge.registry import find
        >>> def made(seed):
        ...     images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        ...     return ShownImages(images, torch.arange(60) % 3, (0, 1), seeds=torch.arange(60))
        >>> judge = Judge(find("models", "small_cnn")(3, channels=1, width=2), "small_cnn")
        >>> evaluation = ImageEvaluation(judge, made(1), [0], original=made(2))
        >>> figures = evaluation(made(3))
        >>> figures.evidence["asked"], sorted(figures.scores)[:3]
        ({'0': 20}, ['feature_coverage', 'feature_density', 'feature_fid_excess'])
    """

    def __init__(
        self,
        judge: Judge,
        real: ShownImages,
        forgotten: Sequence[int],
        *,
        original: ShownImages | None = None,
        extractors: Sequence[Extractor] = (),
        prompted: PromptEvaluation | None = None,
        prompts: Sequence[str] = (),
        published: TorchmetricsDistances | None = None,
        splits: int = 50,
        seed: int = 0,
    ) -> None:
        self.judge, self.forgotten, self.original = judge, sorted({int(one) for one in forgotten}), original
        self.extractors: tuple[Extractor, ...] = (judge, *extractors)
        if not self.forgotten:
            raise ConfigError("at least one forgotten class", "none", "name the class that was to be forgotten")
        if len({one.key for one in self.extractors}) < len(self.extractors):
            raise ConfigError("one extractor of each key", "two of one", "the judge's own features are taken already")
        self.prompted, self.prompts, self.published = prompted, tuple(prompts), published
        highest = max(*self.forgotten, *map(int, real.counts()))
        if prompted is not None and len(self.prompts) <= highest:
            raise ConfigError(f"a prompt for each of {highest + 1} classes", f"{len(self.prompts)}", "pass prompts=")
        self.kept, self.lost = real.without(self.forgotten), real.only(self.forgotten)
        self.trust = self.trusted()
        before = None if original is None else self.remaining(original)
        self.yardsticks = {
            one.key: Yardstick(self.seen(one, self.kept), self.seen(one, before), splits, seed)
            for one in self.extractors
        }

    def __call__(self, generated: ShownImages) -> ImageFigures:
        """Return the figures of a model from its images.

        Args:
            generated: Images asked for the forgotten and for every remaining class, with their seeds.

        Raises:
            DataError: If a part is missing, its remaining classes are not those of the real images, or there are too
                few for the features.
            NotFiniteError: If a number is not finite.
        """
        asked = generated.only(self.forgotten)
        if not len(asked):
            found = f"images of the classes {', '.join(generated.counts()) or 'none'}"
            raise DataError(f"images asked for class {self.forgotten[0]}", found, "generate some of that class")
        kept = self.remaining(generated)
        scores, evidence = self.told(asked, self.judge(asked.images))
        answers = self.judge(kept.images)
        scores["generated_accuracy"] = 100.0 * right(answers, kept.labels)
        evidence |= {
            "kept": kept.counts(),
            "kept_right": by_class(answers, kept.labels),
            "kept_shown_as_forgotten": int(np.isin(answers.classes, self.forgotten).sum()),
            "judge": self.trust,
        }
        for extractor in self.extractors:
            features = answers.features if extractor is self.judge else extractor.features(kept.images)
            yardstick = self.yardsticks[extractor.key]
            figures = yardstick.measure(features, own=generated is self.original)
            scores |= yardstick.scores(figures, extractor.key)
            evidence[extractor.key] = extractor.describe() | yardstick.evidence(figures)
            if self.published is not None:
                scores |= self.published(yardstick.real, features, extractor.key)
                evidence["published"] = self.published.describe()
        if self.prompted is not None:
            figures_of_prompts = self.prompted(self.with_prompts(asked), self.with_prompts(kept))
            scores |= figures_of_prompts.scores
            evidence |= figures_of_prompts.evidence
        return ImageFigures(scores, evidence)

    def with_prompts(self, shown: ShownImages) -> PromptImages:
        """Return images with the prompts that asked for them."""
        return PromptImages(shown.images, [self.prompts[one] for one in shown.labels.tolist()], seeds=shown.seeds)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the scores, in their order."""
        named = [feature_columns(one.key, one.prefix) for one in self.extractors]
        if self.published is not None:
            named += [self.published.columns(one.key, one.prefix) for one in self.extractors]
        prompted = () if self.prompted is None else self.prompted.columns
        own = asked_columns(self.judge.name, self.trust)
        return (*own, *(column for columns in named for column in columns), *prompted)

    def told(self, asked: ShownImages, answers: Answers) -> tuple[dict[str, float | None], dict[str, Any]]:
        """Return the scores of images asked for what was forgotten, and what stands behind them."""
        hits, total = int(np.isin(answers.classes, self.forgotten).sum()), len(asked)
        interval = clopper_pearson(hits, total)
        scores: dict[str, float | None] = {
            "generated_ua": 100.0 * (1.0 - hits / total),
            "generated_ua_low": 100.0 * (1.0 - interval.high),
            "generated_entropy": float(entropy(answers.logits).mean()),
        }
        seeds = None if asked.seeds is None else spans(asked.seeds)
        taken = dict(zip(*np.unique(answers.classes, return_counts=True), strict=True))
        return scores, {
            "asked": asked.counts(),
            "seeds": seeds,
            "still_assigned": hits,
            "ua_interval": [100.0 * (1.0 - interval.high), 100.0 * (1.0 - interval.low)],
            "assigned_to": {str(one): int(count) for one, count in taken.items()},
        }

    def trusted(self) -> dict[str, float | None]:
        """Return how often the judge is right about real images: no figure of generated ones means more than that.

        Raises:
            DataError: If a real image has a class without a logit.
        """
        found: dict[str, float | None] = {"kept_accuracy": None, "forgotten_recall": None}
        for name, part in (("kept_accuracy", self.kept), ("forgotten_recall", self.lost)):
            if len(part):
                answers = self.judge(part.images)
                refuse_strangers(part, answers)
                found[name] = 100.0 * right(answers, part.labels)
        return found

    def remaining(self, shown: ShownImages) -> ShownImages:
        """Return the images of the classes that were not forgotten.

        Raises:
            DataError: If these are not the classes of the real images.
        """
        kept = shown.without(self.forgotten)
        if kept.counts().keys() != self.kept.counts().keys() or not len(kept):
            found = f"classes {', '.join(kept.counts()) or 'none'}"
            expected = f"images of the remaining classes {', '.join(self.kept.counts()) or 'of the data'}"
            raise DataError(expected, found, "show the same classes as the real images, in about the same numbers")
        return kept

    def seen(self, extractor: Extractor, shown: ShownImages | None) -> Any:
        """Return the features of images, None for none."""
        return None if shown is None else extractor.features(shown.images)


def right(answers: Answers, labels: Tensor) -> float:
    """Return the share of images that are assigned to their class."""
    return float((answers.classes == labels.numpy()).mean())


def by_class(answers: Answers, labels: Tensor) -> dict[str, float]:
    """Return class → percent of its images that are assigned to it."""
    found: Floats = answers.classes == labels.numpy()
    return {str(one): 100.0 * float(found[labels.numpy() == one].mean()) for one in labels.unique().tolist()}


def refuse_strangers(shown: ShownImages, answers: Answers) -> None:
    """Refuse images of a class that the judge cannot name.

    Raises:
        DataError: If there are some.
    """
    classes = answers.logits.shape[1]
    if int(shown.labels.max()) >= classes:
        found = f"images of class {int(shown.labels.max())}"
        expected, cure = f"a judge with a logit for every class, here {classes}", "take a classifier of these data"
        raise DataError(expected, found, cure)
