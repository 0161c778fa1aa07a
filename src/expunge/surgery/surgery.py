"""The base of all surgeries: rules that turn the pair of losses into one update."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.pair import Pair, Role
from expunge.surgery.step import Step
from expunge.type_checks import enforce_constructor_types


class Surgery(nn.Module, ABC):
    """A rule that decides one update with the step it is lent.

    A surgery sees neither the model nor the data, devices, precision, micro-batches, masks or normalization layers:
    the step hides them. All memory is in ``state_dict``. ``tolerance`` and ``multiplier``, where a surgery has them,
    are buffers that a controller may set.

    Attributes:
        distributed: Whether the rule gives the single-process result when the data are spread over ranks. Where it does
            not, several ranks are refused.
        keeps_gradients: Whether the optimizer's gradients accumulate from update to update, clipped each time before
            the new one is added. The engine keeps them beside the optimizer's moments.
        requires_sync: Whether an update waits for the device, because the rule is solved on the host.
        aliases: Other names in the registry, the paper's acronym among them.
        paper: Where the rule comes from.
    """

    distributed: bool = True
    keeps_gradients: bool = False
    requires_sync: ClassVar[bool] = False
    aliases: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor of every subclass refuse arguments of the wrong kind."""
        super().__init_subclass__(**options)
        enforce_constructor_types(cls)

    @abstractmethod
    def forward(self, step: Step) -> None:
        """Decide: exactly one ``step.backward`` or one ``step.propose``. State changes belong into ``follow_up``."""

    def after_step(self, step: Step) -> None:
        """Learn from the move. Not called when the optimizer skipped it (overflow in half precision)."""

    def check_losses(self, losses: Pair[float]) -> None:
        """Refuse losses that the rule cannot use; called once with the first batch's, before anything moves.

        Raises:
            ObjectiveError: If the rule cannot use them.
        """

    def relative_weight(self) -> Tensor | None:
        """Return the weight of the retain gradient relative to the forget gradient in the last decision, if known."""
        multiplier = getattr(self, "multiplier", None)
        return multiplier if isinstance(multiplier, Tensor) else None

    def get_unevaluated_side(self) -> Role | None:
        """Return the side whose loss and gradient at the weights themselves the rule does not need, if there is one.

        Where gradients are observed, the engine looks at that side aside, for the record alone.
        """
        return None

    def __repr__(self) -> str:
        """Return the call that rebuilds the surgery with the settings it has now."""
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{n}={format_setting(getattr(self, n))}' for n in names)})"


def format_setting(value: Any) -> str:
    """Return a setting as source text; tensors of one element as the number they hold."""
    return repr(value.item()) if isinstance(value, Tensor) else repr(value)
