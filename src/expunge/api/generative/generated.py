"""The rows of a request to a generative model: all models draw the same images, and one judge looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from expunge.api.chain import EarlierRequest
from expunge.api.generative.grids import ImageGrid, image_grid
from expunge.api.relapse import FindCorrect
from expunge.api.requests import Asked
from expunge.api.rows import Role, settings_of
from expunge.batch import Split
from expunge.errors import ConfigError
from expunge.evaluation import SECONDS, Trial, tabulate
from expunge.methods import Method
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.evaluation import ImageEvaluation, Judge, ShownImages
from expunge.tasks.diffusion.sampling import sample

SPAN = (-1.0, 1.0)
SHOWN_EACH = 3
"""Pictures of each class in the grid of the report."""
OnImages = Callable[[int, int], None]


@dataclass(frozen=True)
class Drawing:
    """Which images every model draws.

    Args:
        forgotten: How many of the forgotten classes. Default 500.
        remaining: How many of the other classes together, as many of each as can be. Default 5000.
        guidance: w of classifier-free guidance; 1 is none. Default 2.
        steps: Of the sampler. Default 25.
        seed: Of the starting noise; image i of every model starts from the same. Default 0.

    Raises:
        ConfigError: If a count is not positive.

    Examples:
        >>> Drawing(forgotten=2, remaining=3).labels([1], 4)
        tensor([1, 1, 0, 2, 3])
    """

    forgotten: int = 500
    remaining: int = 5000
    guidance: float = 2.0
    steps: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if min(self.forgotten, self.remaining, self.steps) < 1:
            found = f"{self.forgotten}, {self.remaining} and {self.steps}"
            raise ConfigError("numbers of images and steps of at least 1", found, "change them")

    def labels(self, forgotten: Sequence[int], classes: int, gone: Sequence[int] = ()) -> Tensor:
        """Return the class of each image, the forgotten ones first; none of a class that is gone already."""
        lost = torch.tensor(sorted(forgotten))
        kept = torch.tensor([one for one in range(classes) if one not in {*forgotten, *gone}])
        return torch.cat([repeated(lost, self.forgotten), repeated(kept, self.remaining)])

    def drawn(self, model: DDPM, labels: Tensor, on_images: OnImages | None = None) -> ShownImages:
        """Return what a model draws."""
        settings: dict[str, Any] = {"guidance": self.guidance, "steps": self.steps, "seed": self.seed}
        images = sample(model, labels, **settings, on_images=on_images)
        return ShownImages(images, labels, SPAN, seeds=torch.arange(len(labels)))


def repeated(classes: Tensor, count: int) -> Tensor:
    """Return ``count`` classes in turn; none of no class."""
    return classes[torch.arange(count if len(classes) else 0) % max(1, len(classes))]


@dataclass(frozen=True)
class Drawn:
    """A model's place in the table."""

    key: str
    label: str
    role: Role
    images: ShownImages | None
    made: Mapping[str, Any] = field(default_factory=dict)


class GeneratedRows:
    """What every model draws for one request at one seed, and the figures of it.

    The original comes first: its images are what the others' are compared with.

    Args:
        split: The examples of the request.
        real: Real images that neither judge nor model was trained on.
        judge: The named classifier; None for pictures without figures.
        drawing: Which images are drawn. Default: those of ``Drawing``.
        seed: Of the run that the models belong to. Default 0.
        gone: Classes that earlier requests forgot, of which nothing is drawn. Default none.
    """

    def __init__(
        self,
        split: Split,
        real: ShownImages,
        judge: Judge | None,
        drawing: Drawing | None = None,
        seed: int = 0,
        gone: Sequence[int] = (),
    ) -> None:
        self.split, self.real, self.judge, self.seed = split, real, judge, seed
        self.drawing = drawing or Drawing()
        self.forgotten: list[int] = split.forget.targets.unique().tolist()
        self.labels = self.drawing.labels(self.forgotten, split.classes, gone)
        self.rows: list[Drawn] = []

    def original(self, model: DDPM, seconds: float | None = None, on_images: OnImages | None = None) -> None:
        """Add the model before unlearning."""
        timed = {} if seconds is None else {SECONDS.key: seconds}
        self.rows.append(Drawn("original", "Original", "original", self.ask(model, on_images), {"scores": timed}))

    def unlearned(
        self,
        model: DDPM | None,
        key: str,
        method: Method,
        seconds: float | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        on_images: OnImages | None = None,
    ) -> None:
        """Add an unlearned model; None for one that diverged, which keeps a row without figures."""
        images = None if model is None else self.ask(model, on_images)
        timed = {} if seconds is None or model is None else {SECONDS.key: seconds}
        made = {"scores": timed, "history": history, "settings": settings_of(method)}
        self.rows.append(Drawn(key, method.label or type(method).__name__, "method", images, made))

    def ask(self, model: DDPM, on_images: OnImages | None = None) -> ShownImages:
        """Return what a model draws."""
        return self.drawing.drawn(model, self.labels, on_images)

    def table(self) -> dict[str, Any]:
        """Return metrics and rows of the request's part of a result document."""
        trials, columns = self.judged() if self.judge is not None else ([self.trial(row) for row in self.rows], ())
        return tabulate(trials, metrics=columns)

    def judged(self) -> tuple[list[Trial], Any]:
        """Return the trials of all models with their figures, and the columns of these."""
        before = next(row.images for row in self.rows if row.role == "original")
        judge = self.judge
        if judge is None:
            raise ConfigError("a judge", "none", "pass one to have figures")
        evaluation = ImageEvaluation(judge, self.real, self.forgotten, original=before)
        trials = []
        for row in self.rows:
            figures = None if row.images is None else evaluation(row.images)
            trials.append(self.trial(row, figures.scores, figures.evidence) if figures else self.trial(row))
        return trials, evaluation.columns

    def trial(self, row: Drawn, scores: Mapping[str, Any] | None = None, evidence: Any = None) -> Trial:
        """Return a model with its figures."""
        every = {**(scores or {}), **row.made["scores"]}
        told = {name: row.made[name] for name in ("history", "settings") if name in row.made}
        return Trial(row.key, row.label, row.role, self.seed, every, evidence=evidence or {}, **told)

    def grid(self, names: Sequence[str], each: int = SHOWN_EACH) -> ImageGrid:
        """Return the first pictures of every class, a row for each model.

        Args:
            names: Name of each class.
            each: Pictures of a class. Default 3.
        """
        chosen = [(self.labels == one).nonzero().flatten()[:each] for one in self.labels.unique()]
        lost = [part for part in chosen if int(self.labels[part[0]]) in self.forgotten]
        others = [part for part in chosen if int(self.labels[part[0]]) not in self.forgotten]
        at = torch.cat([*lost, *others])
        heads = [f"{names[int(self.labels[i])]}, image {int(i)}" for i in at]
        rows = {row.label: row.images.images[at] for row in self.rows if row.images is not None}
        return image_grid(rows, heads, span=(0, 1), title="What each model draws from the same noise")


def find_correct_drawings(drawing: Drawing, judge: Judge | None, on_images: OnImages | None = None) -> FindCorrect:
    """Return how a diffusion model is asked for the classes of an earlier request: which images the judge sees them in.

    Args:
        drawing: Which images are drawn; as many of an earlier request's classes as of the forgotten ones.
        judge: The classifier; None where nobody looks.
        on_images: Called after each batch. Default: nothing.
    """

    def find_correct(model: Any, one: EarlierRequest, part: str) -> Tensor | None:
        if judge is None or not one.classes:
            return None
        labels = repeated(torch.tensor(one.classes), drawing.forgotten)
        seen = judge(drawing.drawn(model, labels, on_images).images).classes
        return torch.isin(torch.from_numpy(seen), labels)

    return find_correct


def generated_part(asked: Asked, rows: GeneratedRows, real: int) -> dict[str, Any]:
    """Return the part of a result document that belongs to one request to a generative model.

    Args:
        asked: The request.
        rows: All models.
        real: Number of real images that the figures rest on.
    """
    split = rows.split
    sizes = {"forget": len(split.forget), "retain": len(split.retain), "test": real}
    return {
        "id": asked.id,
        "question": asked.question,
        "kind": asked.kind,
        "sizes": {"train": sizes["forget"] + sizes["retain"], **sizes},
        "classes": list(asked.class_names),
        "seeds": [rows.seed],
        "reference": False,
        **rows.table(),
        "examples": [],
        "grids": [rows.grid(asked.class_names).part()],
    }
