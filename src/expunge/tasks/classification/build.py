"""Models by name: built-in, from the user's own Python, from timm or transformers; and the check before any step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Batch
from expunge.errors import ConfigError, MissingExtraError, ModelError
from expunge.python_path import import_object
from expunge.registry import find


def build_model(name: str, classes: int, channels: int, **options: Any) -> nn.Module:
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
    if slash and library in _LIBRARIES:
        return _is_module(name, _LIBRARIES[library](rest, classes, channels, options))
    if ":" in name or "." in name:
        return _from_path(name, {"classes": classes, "channels": channels}, options)
    factory = find("models", name)
    return _is_module(name, _call(name, factory, {"classes": classes, "channels": channels, **options}))


def check_model(model: nn.Module, classes: int, predict: Callable[[Any], Tensor], example_batch: Batch) -> None:
    """Refuse a model that cannot be unlearned as it is, by one forward pass without gradients.

    The modes of the modules and the buffers are as before afterwards.

    Args:
        model: The model.
        classes: Number of classes of the data.
        predict: Reads logits from inputs, usually ``Predictor(model, logits)``.
        example_batch: A few examples, on the model's device.

    Raises:
        ModelError: If no weight is trainable, the examples do not pass through, the result is not a floating-point
            tensor ``(n, classes)`` of logits, or a label is outside it.
    """
    if not any(weight.requires_grad for weight in model.parameters()):
        cure = "set requires_grad on the weights that unlearning may change"
        raise ModelError("a model with trainable weights", "none that requires a gradient", cure)
    logits = _logits(model, predict, example_batch)
    _check_form(logits, len(example_batch), classes)
    low, high = int(example_batch.targets.min()), int(example_batch.targets.max())
    if low < 0 or high >= classes:
        found = f"the label {low if low < 0 else high}"
        raise ModelError(f"labels from 0 to {classes - 1}", found, "renumber the labels or build a head for them")


def _logits(model: nn.Module, predict: Callable[[Any], Tensor], batch: Batch) -> Any:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return predict(batch.inputs)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        form = tuple(batch.inputs.shape) if isinstance(batch.inputs, Tensor) else type(batch.inputs).__name__
        cure = "give the model the channels and size of the images"
        raise ModelError(f"a model that takes inputs {form}", _sentence(error), cure) from error
    finally:
        for module, training in modes:
            module.training = training


def _check_form(logits: Any, examples: int, classes: int) -> None:
    expected = f"logits of the form ({examples}, {classes}), one per example and class"
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        found = str(logits.dtype) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(expected, found, "pass logits=, a function that reads the logits tensor from the output")
    if tuple(logits.shape) != (examples, classes):
        raise ModelError(expected, str(tuple(logits.shape)), "build the model with as many classes as the data have")
    sums = logits.float().sum(1)
    if classes > 1 and bool((logits >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ModelError(expected, "rows of probabilities that add up to 1", "take the softmax off the model's end")


def _from_path(path: str, sizes: dict[str, int], options: dict[str, Any]) -> nn.Module:
    factory = import_object(path)
    if not callable(factory):
        raise ModelError(f"'{path}' to be a function that makes a model", type(factory).__name__, "name a function")
    taken = _parameters(factory)
    wanted = {name: value for name, value in sizes.items() if taken is None or name in taken}
    return _is_module(path, _call(path, factory, {**wanted, **options}))


def _parameters(factory: Callable[..., Any]) -> set[str] | None:
    """Return the keywords that a factory takes; None if it takes any."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return set()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}


def _call(name: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        found = f"{', '.join(arguments) or 'no options'} ({error})"
        raise ConfigError(f"options that '{name}' takes", found, "correct the options") from error
    return _make(name, lambda: factory(**arguments))


def _make(name: str, make: Callable[[], Any]) -> Any:
    """Return what ``make`` makes; a failure of foreign code becomes one sentence."""
    try:
        return make()
    except Exception as error:
        raise ModelError(f"to build '{name}'", _sentence(error), "correct the name, the options or the code") from error


def _is_module(name: str, made: Any) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ModelError(f"'{name}' to give an nn.Module", type(made).__name__, "return the model from the function")
    return made


def _sentence(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__} ({lines[0].rstrip('. ')})"


def _library(package: str) -> ModuleType:
    """Import an optional library; its own failures (a torchvision that does not fit) become one sentence."""
    try:
        return __import__(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise MissingExtraError("its image classifiers", package, package) from error
        raise _broken(package, error) from error
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise _broken(package, error) from error


def _broken(package: str, error: Exception) -> ModelError:
    cure = f"mend its installation (torch, torchvision and {package} must fit each other)"
    return ModelError(f"to import '{package}'", _sentence(error), cure)


def _timm(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _refuse_download(options)
    timm = _library("timm")
    if not timm.is_model(name):
        raise ConfigError("the name of a timm model", f"'{name}'", "timm.list_models() shows all")
    return _make(f"timm/{name}", lambda: timm.create_model(name, num_classes=classes, in_chans=channels, **options))


def _transformers(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _refuse_download(options)
    library, folder = _library("transformers"), Path(name).expanduser()
    sizes = {"num_labels": classes, "num_channels": channels, **options}
    auto = _make(f"transformers/{name}", lambda: library.AutoModelForImageClassification)
    if not folder.is_dir():
        return _make(f"transformers/{name}", lambda: auto.from_config(library.AutoConfig.for_model(name, **sizes)))
    if not any(folder.glob("*.safetensors")):
        read = library.AutoConfig.from_pretrained
        return _make(f"transformers/{name}", lambda: auto.from_config(read(folder, local_files_only=True, **sizes)))
    safe = {"local_files_only": True, "use_safetensors": True}
    return _make(f"transformers/{name}", lambda: auto.from_pretrained(folder, **safe, **sizes))


def _refuse_download(options: dict[str, Any]) -> None:
    for word in {"pretrained", "trust_remote_code"} & options.keys():
        cure = "fetch the weights yourself and name the safetensors file"
        raise ConfigError("a model that is built from local files", f"the option '{word}'", cure)


_LIBRARIES: dict[str, Callable[[str, int, int, dict[str, Any]], Any]] = {"timm": _timm, "transformers": _transformers}
