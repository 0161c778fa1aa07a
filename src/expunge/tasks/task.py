"""The base of all families: what unlearning has to know of a kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split
from expunge.budget import Criterion
from expunge.data import as_examples
from expunge.engine import MethodRecipe, RunOptions, TrainStage
from expunge.errors import ConfigError
from expunge.methods import Method
from expunge.methods.component_spec import ComponentSpec, parse_components
from expunge.metrics import Column
from expunge.objectives import Objective
from expunge.registry import find_component, is_registered, make_entry
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import RequestFile
from expunge.tasks.build import build_model
from expunge.tasks.image_sampler import ImageSampler
from expunge.tasks.loss_figures import LOSS_COLUMNS, ModelFigures, Recognition, measure_by_loss
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.train_settings import TrainRecord, TrainSettings
from expunge.weights import cast_like, load_into, load_matching, save_weights, unwrap_state


class Task(ABC):
    """A family of models: how they are read, checked and saved, and which objectives are theirs.

    Attributes:
        aliases: Other names in the registry.
        paper: Not used by families.
        request: What its request files may say.
        job: The subclass of ``expunge.api.job.Job`` that carries such a request out, as ``package.module:Class``.
        weights_name: What ``save`` writes into a folder.
        is_distributable: Whether several processes can share the updates of a request.
        objectives: The objective that a method names → the family's own in its place.
        inherits_objectives_from: Other families whose objectives serve this one too, after its own.
        is_classifier: Whether its models are classifiers, so that ``auto`` can teach neighbors' votes.
        default_method: What ``auto`` stands for where they are none: a method's name, or a composition in words.
        budget_method: What ``auto`` stands for there inside a budget. Default: the same, which keeps none.
        learning_rates: Learning rates that ``auto`` tries there, from the smallest up. Default: none, it keeps the
            method's.
        estimates_memory: Whether ``check_memory`` reckons with all of the device's memory, so that nothing takes any to
            be faster.
        identified_by_prompt: Whether an example is known by its prompt, the name of its label, and not by what it
            holds.
        defaults: Settings of methods for this family, wherever a method has no value of its own and none is written.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    request: ClassVar[type[RequestFile]] = ModelRequest
    job: ClassVar[str] = "expunge.api.model_job:ModelJob"
    weights_name: ClassVar[str] = "unlearned.safetensors"
    is_distributable: ClassVar[bool] = True
    objectives: ClassVar[Mapping[type[Objective], type[Objective]]] = {}
    inherits_objectives_from: ClassVar[tuple[str, ...]] = ()
    is_classifier: ClassVar[bool] = False
    default_method: ClassVar[str] = "eupmu"
    budget_method: ClassVar[str] = ""
    learning_rates: ClassVar[tuple[float, ...]] = ()
    estimates_memory: ClassVar[bool] = False
    identified_by_prompt: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = {}

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return make_entry(type(self)).name

    def select_default_method(self, *, has_budget: bool) -> str:
        """Return the name of what ``auto`` stands for, where its models are no classifiers.

        Args:
            has_budget: Whether there is a budget to keep.
        """
        return self.budget_method if has_budget and self.budget_method else self.default_method

    def read_examples(self, dataset: Any) -> Examples:
        """Return a data set as examples; see ``expunge.data.as_examples``.

        Raises:
            DataError: If it is none.
        """
        return as_examples(dataset)

    def prepare_examples(
        self, forget: Examples, retain: Examples, holdout: Examples | None
    ) -> tuple[Examples, Examples, Examples | None]:
        """Take note of what the loss depends on, and return the examples as the request groups them."""
        return forget, retain, holdout

    @abstractmethod
    def make_predictor(self, model: nn.Module, logits: Callable[[Any], Tensor] | None = None) -> Predictor:
        """Return the model with the way to read it.

        Raises:
            ModelError: If it is no model of the family.
        """

    def count_classes(self, predict: Predictor, *sides: Examples) -> int | None:
        """Return the number of classes, after what is special to the family has been checked; None if logits tell.

        Raises:
            ExpungeError: If model and examples do not fit together.
        """
        return None

    def create_model(self, name: str, /, classes: int, channels: int, **options: Any) -> nn.Module:
        """Return the network that a request names, as its factory makes it, see ``build_model``."""
        return build_model(name, classes=classes, channels=channels, **options)

    def train(self, model: nn.Module, examples: Examples, settings: TrainSettings, **options: Any) -> TrainRecord:
        """Train a model in place, as ``train`` in a request asks.

        Args:
            model: The model with its starting weights.
            examples: What it is trained on.
            settings: How.
            **options: ``device``, ``on_epoch``, ``augment`` and ``channels_last``, see ``train_classifier``.

        Raises:
            ConfigError: If models of the family are not trained here.
        """
        raise ConfigError("a task that trains its models", self.name, "name trained weights with `checkpoint`")

    def save(self, model: nn.Module, folder: Path, like: Path | None = None) -> Path:
        """Write an unlearned model into a run folder, in the layout of its family, and return where it is.

        Args:
            model: The model.
            folder: The folder.
            like: The file that the original came from, whose precision is kept. Default: the model's own.
        """
        state = unwrap_state(model)
        if like is not None:
            state = cast_like(state, load_matching(model, like))
        return save_weights(state, folder / self.weights_name, overwrite=True)

    def reload(self, model: nn.Module, path: Path) -> nn.Module:
        """Return the model with what ``save`` wrote, so that what is measured is what a file holds.

        Args:
            model: One of the same form, which may be changed.
            path: What ``save`` returned.
        """
        load_into(model, path)
        return model

    def detects(self, folder: Path) -> bool:
        """Return whether a folder looks like a model of the family that draws images."""
        return False

    def load(self, folder: Path) -> nn.Module:
        """Return the model in a folder.

        Raises:
            ExpungeError: If it cannot be read, or the models of the family draw no images.
        """
        raise self.no_images_error()

    def make_sampler(self, model: nn.Module, guidance: float | None = None, steps: int | None = None) -> ImageSampler:
        """Return what draws the images of a model.

        Args:
            model: What ``load`` returned.
            guidance: w of classifier-free guidance. Default: the family's.
            steps: Of the sampler. Default: the family's.

        Raises:
            ConfigError: If the models of the family draw no images.
        """
        raise self.no_images_error()

    def no_images_error(self) -> ConfigError:
        """Return the error about models that draw no images."""
        return ConfigError("a family of models that draw images", f"{self.name}", "name a diffusion model")

    def measure_recognition(self, predict: Predictor, examples: Examples) -> Recognition | None:
        """Return how many of the examples a model still recognizes; None where the family cannot say."""
        return None

    def name_classes(self, names: Sequence[str] | None, classes: int) -> Sequence[str]:
        """Return the name of every class, its number by default.

        Raises:
            ConfigError: If there is not one name for each class.
        """
        hint = "give one for each logit, in order"
        if names is None:
            return [str(number) for number in range(classes)]
        is_list = isinstance(names, Collection) and not isinstance(names, str)
        if not is_list or not all(isinstance(name, str) for name in names):
            raise ConfigError("class names as a list of texts", type(names).__name__, hint)
        if len(names) != classes:
            raise ConfigError(f"{classes} class names", f"{len(names)}", hint)
        return list(names)

    def make_criterion(self, split: Split, control: Examples) -> Criterion | None:
        """Return what says how much of the forgetting is missing; None where ``measure_recognition`` does.

        Args:
            split: The request.
            control: Held-out examples of the classes that stay.
        """
        return None

    def list_columns(self) -> tuple[Column, ...]:
        """Return what ``measure`` measures, in the order of a table's columns."""
        return LOSS_COLUMNS

    def measure(
        self, predict: Predictor, split: Split, test: Examples, retrained: Predictor | None, batch_size: int
    ) -> ModelFigures:
        """Return what a model shows on the examples of a request and on test examples.

        Args:
            predict: The model, left as it was found.
            split: The request.
            test: Examples that no model was trained on.
            retrained: A model that never saw what is forgotten, if there is one.
            batch_size: Examples in one forward pass.
        """
        return measure_by_loss(predict, split, test, batch_size, self.measure_recognition)

    def measure_fit(self, predict: Predictor, split: Split, *, has_budget: bool) -> tuple[ModelFit, ...]:
        """Return how well a model knows the examples of a request before the run; nothing where it cannot be told.

        Args:
            predict: The model, left as it was found.
            split: The request.
            has_budget: Whether there is a budget to keep, which costs more looks anyway.
        """
        return ()

    def check_memory(
        self, model: nn.Module, recipe: MethodRecipe, split: Split, conditions: RunOptions, *, inplace: bool
    ) -> None:
        """Refuse a run for which there is too little memory; a family that cannot tell beforehand lets it start."""

    def resolve_settings(self, method: str, explicit: Mapping[str, Any]) -> dict[str, Any]:
        """Return a method's settings: those that are written, then a preset's, then those of the family.

        Args:
            method: A registered name, or a composition in words.
            explicit: Settings by name, beside those in the words.
        """
        base = ComponentSpec(method) if is_registered("methods", method) else parse_components(method)[0]
        if {**base.settings, **explicit}.get("preset") is not None:
            return dict(explicit)
        common, specific = (method_defaults(kind) for kind in (Method, find_component("methods", base.name)))
        task_defaults = {name: value for name, value in self.defaults.items() if specific.get(name) == common[name]}
        return {name: value for name, value in task_defaults.items() if name not in base.settings} | dict(explicit)

    def validate_method(self, method: Method) -> Method:
        """Return the method if it serves the family.

        Raises:
            ConfigError: If it is for another one alone.
        """
        base_method: Method = getattr(method, "base", method)
        if base_method.task not in (None, self.name, *self.inherits_objectives_from):
            hint = f"choose one of those that `expunge list methods` shows for {self.name}"
            raise ConfigError(
                f"a method for {self.name}", f"{base_method.label}, which is for {base_method.task}", hint
            )
        return method

    def translate_recipe(self, recipe: MethodRecipe) -> MethodRecipe:
        """Return a recipe with the family's objectives in the place of those for classifiers.

        Raises:
            ConfigError: If the family has nothing that could take the place of one.
        """
        return MethodRecipe(
            tuple(self.translate_stage(stage) if isinstance(stage, TrainStage) else stage for stage in recipe.stages)
        )

    def translate_stage(self, stage: TrainStage) -> TrainStage:
        """Return a descent with the family's objectives."""
        return replace(stage, objectives=stage.objectives.map(self.translate_objective))

    def translate_objective(self, objective: Objective) -> Objective:
        """Return the objective, or the family's own in its place.

        Raises:
            ConfigError: If there is none.
        """
        if objective.task in (self.name, *self.inherits_objectives_from):
            return objective
        if type(objective) in self.objectives:
            return self.objectives[type(objective)]()
        name = type(objective).__name__
        hint = f"choose a method or an objective that serves {self.name}"
        raise ConfigError(f"an objective for {self.name}", f"{name}, which is for {objective.task}", hint)


def method_defaults(method: type[Method]) -> dict[str, Any]:
    """Return the settings of a method as they are where nothing is written."""
    return {field.name: field.default for field in fields(method)}
