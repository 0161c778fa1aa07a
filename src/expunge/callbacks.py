"""Callbacks: functions of the user's that ``unlearn`` calls while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from expunge.engine.actions import CONTINUE, LoopAction
from expunge.errors import ConfigError
from expunge.paths import describe_value

if TYPE_CHECKING:
    from expunge.api.result import Result
    from expunge.budget import ControlEvaluation
    from expunge.surgery import Progress


class Callback:
    """Called by ``unlearn`` while it runs; override what you need.

    An error that a callback raises ends the run, and the user's model is put back.

    Examples:
        >>> class StopEarly(Callback):
        ...     def on_step(self, progress):
        ...         return LoopAction(stop=progress.step >= 99)
    """

    def on_step(self, progress: Progress) -> LoopAction | None:
        """Act after an update.

        Args:
            progress: The update's number, the total, and the losses.

        Returns:
            ``LoopAction(stop=True)`` to end the run after this update, ``LoopAction(lr_factor=…)`` to scale the
            learning rate, or None to continue.
        """
        return None

    def on_log(self, rows: list[dict[str, Any]]) -> None:
        """Take new rows of the history.

        Args:
            rows: One for each update since the last call.
        """

    def on_evaluation(self, evaluation: ControlEvaluation) -> None:
        """Take an evaluation on the control examples of a budget.

        Args:
            evaluation: Its figures.
        """

    def on_end(self, result: Result) -> None:
        """Take the result before ``unlearn`` returns it.

        Args:
            result: The result.
        """


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_step: Called with the progress after every update.
        on_log: Called with new rows of the history.
        on_evaluation: Called with every evaluation of a budget.
        on_end: Called with the result.

    Examples:
        >>> callback = LambdaCallback(on_log=lambda rows: print(len(rows)))
        >>> callback.on_log([{"step": 0}])
        1
    """

    def __init__(
        self,
        *,
        on_step: Callable[[Progress], Any] | None = None,
        on_log: Callable[[list[dict[str, Any]]], None] | None = None,
        on_evaluation: Callable[[ControlEvaluation], None] | None = None,
        on_end: Callable[[Result], None] | None = None,
    ) -> None:
        functions = {"on_step": on_step, "on_log": on_log, "on_evaluation": on_evaluation, "on_end": on_end}
        for name, function in functions.items():
            if function is not None and not callable(function):
                raise ConfigError(f"a function for '{name}' of LambdaCallback", describe_value(function), "pass one")
        vars(self).update({name: function for name, function in functions.items() if function is not None})


class CallbackList(Callback):
    """Several callbacks, called one after the other."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)

    def on_step(self, progress: Progress) -> LoopAction:
        """Return what the callbacks ask for together: a product of factors, and a stop where one asks for it."""
        action = CONTINUE
        for callback in self.callbacks:
            answer = callback.on_step(progress)
            if isinstance(answer, LoopAction):
                action = action.merge(answer)
        return action

    def on_log(self, rows: list[dict[str, Any]]) -> None:
        """Hand rows to all."""
        for callback in self.callbacks:
            callback.on_log(rows)

    def on_evaluation(self, evaluation: ControlEvaluation) -> None:
        """Hand an evaluation to all."""
        for callback in self.callbacks:
            callback.on_evaluation(evaluation)

    def on_end(self, result: Result) -> None:
        """Hand the result to all."""
        for callback in self.callbacks:
            callback.on_end(result)


def as_callback_list(callbacks: Any) -> CallbackList:
    """Return the callbacks of a call as one.

    Args:
        callbacks: A ``Callback``, several, or None.

    Raises:
        ConfigError: If one is no ``Callback``.
    """
    single = [] if callbacks is None else [callbacks]
    items = list(callbacks) if isinstance(callbacks, (list, tuple)) else single
    for item in items:
        if not isinstance(item, Callback):
            hint = "pass an instance of a subclass of expunge.Callback, or LambdaCallback(on_step=…)"
            raise ConfigError("a Callback in 'callbacks' of unlearn", describe_value(item), hint)
    return CallbackList(items)
