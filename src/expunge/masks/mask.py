"""The base of all masks: which coordinates of an update may pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.batch import Predictor, Split
from expunge.surgery import Direction, Step
from expunge.type_checks import enforce_constructor_types


class Mask(nn.Module, ABC):
    """Weighs the *displacement* of an optimizer's step, coordinate by coordinate.

    The engine calls ``compute`` after the optimizer's step and before it is committed, so that momentum, adaptive
    moments and weight decay are judged with the gradient. All memory is in ``state_dict``.

    Attributes:
        aliases: Other names in the registry.
        paper: Where the mask comes from.
        distributed: Whether it gives the single-process result when the data are spread over ranks. Where it does not,
            several ranks are refused.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""
    distributed: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of every subclass refuse arguments of the wrong kind."""
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Look once at the original model and at the data, before the first update."""

    def observe(self, step: Step) -> None:
        """Look at an update before the surgery decides it."""

    def on_gradients(self, weights: Sequence[Tensor], step: Step) -> None:
        """Change the gradients in place after the surgery decided, before clipping and momentum see them.

        For rules that are defined on gradients. It is no guard: what must not move is held by ``choose``.

        Args:
            weights: The trainable weights with the gradients that the optimizer is about to use.
            step: The update they belong to.
        """

    def after_step(self, weights: Sequence[Tensor], step: Step) -> None:
        """Change the weights in place after an update has been committed; not called where it was skipped.

        Args:
            weights: The trainable weights, one piece for each parameter.
            step: The update it belongs to.
        """

    @abstractmethod
    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return weights in [0, 1], bool or float, one piece for each parameter; 0 and 1 are exact to the bit.

        Args:
            displacement: θ − θ⁺, what the optimizer subtracted.
            step: The update it belongs to.
        """

    def list_nested_masks(self, displacement: Direction, step: Step) -> Sequence[Direction]:
        """Return weights from the strictest to ``choose``'s own, in an order fixed beforehand, for a certificate."""
        return [self.compute(displacement, step)]

    def stats(self) -> Mapping[str, Tensor]:
        """Return what the mask has to say of the last update: tensors of one element by column of the history.

        The columns are the same at every update; NaN stands for unknown.
        """
        return {}
