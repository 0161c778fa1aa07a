"""Models by name: built-in, from the user's own Python, from timm or transformers; and the check before any step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from expunge.errors import ConfigError, ModelError
from expunge.python_path import import_object
from expunge.registry import find_component
from expunge.tasks.libraries import LIBRARIES, call_factory
from expunge.tasks.model_check import check_model
from expunge.type_checks import check_argument_types

__all__ = ["build_model", "check_model"]


@check_argument_types
def build_model(name: str, /, classes: int, channels: int, **options: Any) -> nn.Module:
    """Return a new image classifier.

    Args:
        name: One of four forms. A built-in (``resnet18``; ``expunge list models`` shows all). A Python path
            ``package.module:factory``; the factory gets the options, and ``classes`` and ``channels`` if its signature
            has them. ``timm/NAME``. ``transformers/NAME``, where NAME is a local folder with a configuration (and
            weights as safetensors, which are then loaded) or a model type such as ``vit``. Nothing is downloaded.
        classes: Number of classes of the head.
        channels: Channels of the images.
        options: More options of the model.

    Raises:
        ConfigError: If the name or an option is not known.
        ModelError: If the model cannot be made or is not an ``nn.Module``.
        MissingExtraError: If timm or transformers is asked for and not installed.

    Examples:
        >>> build_model("small_cnn", classes=10, channels=1).fc
        Linear(in_features=64, out_features=10, bias=True)
    """
    library, slash, rest = name.partition("/")
    if slash and library in LIBRARIES:
        return _validate_module(name, LIBRARIES[library](rest, classes, channels, options))
    if ":" in name or "." in name:
        return _build_from_path(name, {"classes": classes, "channels": channels}, options)
    factory = find_component("models", name)
    return _validate_module(name, _bind_and_call(name, factory, {"classes": classes, "channels": channels, **options}))


def _build_from_path(path: str, sizes: dict[str, int], options: dict[str, Any]) -> nn.Module:
    factory = import_object(path)
    if not callable(factory):
        raise ModelError(f"'{path}' to be a function that makes a model", type(factory).__name__, "name a function")
    accepted = _keyword_names(factory)
    arguments = {name: value for name, value in sizes.items() if accepted is None or name in accepted}
    return _validate_module(path, _bind_and_call(path, factory, {**arguments, **options}))


def _signature(factory: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(factory)
    except ValueError:
        return None


def _keyword_names(factory: Callable[..., Any]) -> set[str] | None:
    signature = _signature(factory)
    parameters = signature.parameters.values() if signature is not None else []
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}


def _bind_and_call(name: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    signature = _signature(factory)
    try:
        if signature is not None:
            signature.bind(**arguments)
    except TypeError as error:
        actual = f"{', '.join(arguments) or 'no options'} ({error})"
        raise ConfigError(f"options that '{name}' takes", actual, "correct the options") from error
    return call_factory(name, lambda: factory(**arguments))


def _validate_module(name: str, model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ModelError(f"'{name}' to give an nn.Module", type(model).__name__, "return the model from the function")
    return model
