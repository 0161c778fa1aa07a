"""The base of all methods: named recipes with settings that a request may change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from expunge.engine import (
    MethodRecipe,
    OptimizerConfig,
    OptimizerName,
    Pairing,
    Schedule,
    TrainStage,
    check_optimizer_name,
)
from expunge.errors import ConfigError
from expunge.masks import Mask
from expunge.objectives import CrossEntropy, Objective
from expunge.pair import Pair
from expunge.surgery import Surgery, WeightedSum
from expunge.type_checks import check_field_types


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A composition of objectives, a surgery and perhaps a mask, with an optimizer's settings.

    The defaults are those of the EUPMU authors' classification runs (SGD, momentum .9, weight decay 5e-4, constant
    rate, 5 epochs), with batches of 128 examples a side instead of one mixed batch of 256.

    Args:
        epochs: Passes over the data; which data, says the method. Default 5.
        lr: Learning rate. Default .01.
        batch_size: Retain examples in an update. Default 128.
        forget_batch_size: Forget examples in an update. Default: as many as ``batch_size``; never more than there are.
        optimizer: ``sgd`` (default), ``adamw``, or ``adamw8bit`` of bitsandbytes, where that is installed.
        momentum: Of SGD. Default .9.
        weight_decay: Default 5e-4.
        schedule: ``constant`` (default) or ``cosine``.
        max_grad_norm: Largest norm of the vector given to the optimizer; None for no limit. Default 1: the authors'
            intention, whose code clips before the backward pass. With frozen normalization statistics a memorized class
            has a forget loss of about 10 at the start, and without a limit the first steps diverge.

    Attributes:
        aliases: Other names in the registry.
        paper: Where the method comes from.
        label: How tables call it.
        task: The one family of models that it is for. Default None: every family that has its objectives.
        min_epochs: 0 where the descent is a repair that can be left out.
        presets: Settings by name of the preset. ``build_method(name, preset=…)`` and requests fill them in under what
            is written beside them.
        preset: The preset that the settings started from, if they did; a copy with changes does not keep it.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    label: ClassVar[str] = ""
    task: ClassVar[str | None] = None
    min_epochs: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    preset: ClassVar[str | None] = None

    epochs: int = 5
    lr: float = 0.01
    batch_size: int = 128
    forget_batch_size: int | None = None
    optimizer: OptimizerName = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "constant"
    max_grad_norm: float | None = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            ConfigError: If epochs, rate, a batch size or clip is not positive, or a decay is negative.
            MissingExtraError: If the optimizer needs a library that is not installed.
        """
        check_field_types(self)
        if self.epochs < self.min_epochs:
            raise ConfigError(f"epochs ≥ {self.min_epochs}", f"{self.epochs}", "change it")
        positive = {"lr": self.lr, "batch_size": self.batch_size, "forget_batch_size": self.forget_batch_size}
        positive |= {"max_grad_norm": self.max_grad_norm}
        for name, value in positive.items():
            if value is not None and not value > 0:
                raise ConfigError(f"{name} > 0", f"{value}", "change it")
        check_optimizer_name(self.optimizer)
        if min(self.momentum, self.weight_decay) < 0:
            actual = f"{self.momentum} and {self.weight_decay}"
            raise ConfigError("momentum and weight decay ≥ 0", actual, "change the negative one")

    @abstractmethod
    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the stages, ready to be carried out once: objectives, surgery and mask are made anew.

        Args:
            seed: Of what objectives draw once and for all. Default 0.
        """

    def make_recipe(
        self,
        forget: Objective,
        retain: Objective,
        surgery: Surgery,
        pairing: Pairing = "paired",
        mask: Mask | None = None,
    ) -> MethodRecipe:
        """Return the recipe of one descent with this method's settings."""
        return MethodRecipe((self.make_stage(forget, retain, surgery, pairing, mask),))

    def make_stage(
        self,
        forget: Objective,
        retain: Objective,
        surgery: Surgery,
        pairing: Pairing = "paired",
        mask: Mask | None = None,
    ) -> TrainStage:
        """Return one descent with this method's settings."""
        optimizer = OptimizerConfig(
            self.lr,
            self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            max_grad_norm=self.max_grad_norm,
        )
        batch_size = Pair(self.forget_batch_size or self.batch_size, self.batch_size)
        return TrainStage(Pair(forget, retain), surgery, optimizer, self.epochs, batch_size, pairing, mask)

    def make_finetune_stages(self) -> tuple[TrainStage, ...]:
        """Return fine-tuning on the retain set after a closed-form change; nothing where ``epochs`` is 0."""
        return (
            (self.make_stage(CrossEntropy(), CrossEntropy(), WeightedSum(0.0, 1.0), pairing="retain"),)
            if self.epochs
            else ()
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings by name, as they are; the preset that they started from comes first."""
        origin = {} if self.preset is None else {"preset": self.preset}
        return origin | {field.name: getattr(self, field.name) for field in fields(self)}
