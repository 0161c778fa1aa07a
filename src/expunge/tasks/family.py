"""The base of all families: what unlearning has to know of a kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.engine import Conditions, Descend, Recipe
from expunge.errors import ConfigError
from expunge.methods import Method
from expunge.methods.parts import Part, read_parts
from expunge.objectives import Objective
from expunge.registry import describe, entries, find, is_registered
from expunge.tasks.fit import Fit
from expunge.tasks.image_sampler import ImageSampler


class Recognised(NamedTuple):
    """What a model still knows of examples, by a measure of its family.

    Args:
        share: Of the examples that are recognised.
        limit: Up to which share they count as forgotten.
    """

    share: float
    limit: float


class Family(ABC):
    """A family of models: how they are read, checked and saved, and which objectives are theirs.

    Attributes:
        aliases: Other names in the registry.
        paper: Not used by families.
        shares: Other families whose objectives serve this one too, after its own.
        votes: Whether its models are classifiers, so that ``auto`` can teach neighbours' votes.
        automatic: What ``auto`` stands for where they are none: a method's name, or a composition in words.
        steerable: What ``auto`` stands for there inside a budget. Default: the same, which keeps none.
        rates: Learning rates that ``auto`` tries there, from the smallest up. Default: none, it keeps the method's.
        accounted: Whether ``afford`` reckons with all of the device's memory, so that nothing takes any to be faster.
        by_prompt: Whether an example is known by its prompt, the name of its label, and not by what it holds.
        defaults: Settings of methods for this family, wherever a method has no value of its own and none is written.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    shares: ClassVar[tuple[str, ...]] = ()
    votes: ClassVar[bool] = False
    automatic: ClassVar[str] = "eupmu"
    steerable: ClassVar[str] = ""
    rates: ClassVar[tuple[float, ...]] = ()
    accounted: ClassVar[bool] = False
    by_prompt: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return describe(type(self)).name

    def stands_for(self, *, budgeted: bool) -> str:
        """Return the name of what ``auto`` stands for, where its models are no classifiers.

        Args:
            budgeted: Whether there is a budget to keep.
        """
        return self.steerable if budgeted and self.steerable else self.automatic

    @abstractmethod
    def predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the way to read it.

        Raises:
            ModelError: If it is no model of the family.
        """

    @abstractmethod
    def classes(self, predict: Predictor, *sides: Examples) -> int | None:
        """Return the number of classes, after what is special to the family has been checked; None if logits tell.

        Raises:
            ExpungeError: If model and examples do not fit together.
        """

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> Path:
        """Write an unlearned model into a run folder, in the layout of its family, and return where it is."""

    def holds(self, folder: Path) -> bool:
        """Return whether a folder looks like a model of the family that draws images."""
        return False

    def load(self, folder: Path) -> nn.Module:
        """Return the model in a folder.

        Raises:
            ExpungeError: If it cannot be read, or the models of the family draw no images.
        """
        raise self.no_images()

    def sampler(self, model: nn.Module, guidance: float | None = None, steps: int | None = None) -> ImageSampler:
        """Return what draws the images of a model.

        Args:
            model: What ``load`` returned.
            guidance: w of classifier-free guidance. Default: the family's.
            steps: Of the sampler. Default: the family's.

        Raises:
            ConfigError: If the models of the family draw no images.
        """
        raise self.no_images()

    def no_images(self) -> ConfigError:
        """Return the error about models that draw no images."""
        return ConfigError("a family of models that draw images", f"{self.name}", "name a diffusion model")

    def recognised(self, predict: Predictor, examples: Examples) -> Recognised | None:
        """Return how many of the examples a model still recognises; None where the family cannot say."""
        return None

    def fit(self, predict: Predictor, split: Split, *, budgeted: bool) -> tuple[Fit, ...]:
        """Return how well a model knows the examples of a request before the run; nothing where it cannot be told.

        Args:
            predict: The model, left as it was found.
            split: The request.
            budgeted: Whether there is a budget to keep, which costs more looks anyway.
        """
        return ()

    def afford(self, model: nn.Module, recipe: Recipe, split: Split, conditions: Conditions, *, inplace: bool) -> None:
        """Refuse a run for which there is too little memory; a family that cannot tell beforehand lets it start."""

    def settings(self, method: str, written: Mapping[str, Any]) -> dict[str, Any]:
        """Return a method's settings: those that are written, then a preset's, then those of the family.

        Args:
            method: A registered name, or a composition in words.
            written: Settings by name, beside those in the words.
        """
        base = Part(method) if is_registered("methods", method) else read_parts(method)[0]
        if {**base.settings, **written}.get("preset") is not None:
            return dict(written)
        common, own = (defaults_of(kind) for kind in (Method, find("methods", base.name)))
        usual = {name: value for name, value in self.defaults.items() if own.get(name) == common[name]}
        return {name: value for name, value in usual.items() if name not in base.settings} | dict(written)

    def admit(self, method: Method) -> Method:
        """Return the method if it serves the family.

        Raises:
            ConfigError: If it is for another one alone.
        """
        own: Method = getattr(method, "base", method)
        if own.task not in (None, self.name, *self.shares):
            cure = f"choose one of those that `expunge list methods` shows for {self.name}"
            raise ConfigError(f"a method for {self.name}", f"{own.label}, which is for {own.task}", cure)
        return method

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the family's objectives in the place of those for classifiers.

        Raises:
            ConfigError: If the family has nothing that could take the place of one.
        """
        return Recipe(tuple(self.translated(stage) if isinstance(stage, Descend) else stage for stage in recipe.stages))

    def translated(self, stage: Descend) -> Descend:
        """Return a descent with the family's objectives."""
        return replace(stage, objectives=stage.objectives.map(self.objective))

    def objective(self, objective: Objective) -> Objective:
        """Return the objective, or the family's own in its place.

        Raises:
            ConfigError: If there is none.
        """
        served = (self.name, *self.shares)
        if objective.task in served:
            return objective
        every = [entry.target for entry in entries("objectives").values()]
        for candidate in (target for task in served for target in every if target.task == task):
            if candidate.stands_for is type(objective):
                found: Objective = candidate()
                return found
        name = type(objective).__name__
        cure = f"choose a method or an objective that serves {self.name}"
        raise ConfigError(f"an objective for {self.name}", f"{name}, which is for {objective.task}", cure)


def defaults_of(method: type[Method]) -> dict[str, Any]:
    """Return the settings of a method as they are where nothing is written."""
    return {field.name: field.default for field in fields(method)}
