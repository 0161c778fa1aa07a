"""Image classifiers of timm and transformers, where they are installed; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from expunge.errors import ConfigError, ExpungeError, MissingExtraError, ModelError
from expunge.paths import at_home
from expunge.tasks.pretrained import check_pretrained, variant_of


def made(name: str, make: Callable[[], Any]) -> Any:
    """Return what ``make`` makes; a failure of foreign code becomes one sentence."""
    try:
        return make()
    except ExpungeError:
        raise
    except Exception as error:
        raise ModelError(f"to build '{name}'", sentence(error), "correct the name, the options or the code") from error


def sentence(error: BaseException) -> str:
    """Return an error's type and the beginning of its message."""
    lines = str(error).strip().splitlines() or ["no message"]
    text = lines[0] if len(lines[0]) <= 160 else f"{lines[0][:160]} …"
    return f"{type(error).__name__} ({text.rstrip('. ')})"


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
    return ModelError(f"to import '{package}'", sentence(error), cure)


def _timm(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _refuse_download(options)
    timm = _library("timm")
    if not timm.is_model(name):
        raise ConfigError("the name of a timm model", f"'{name}'", "timm.list_models() shows all")
    return made(f"timm/{name}", lambda: timm.create_model(name, num_classes=classes, in_chans=channels, **options))


def _transformers(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _refuse_download(options)
    library, path = _library("transformers"), f"transformers/{name}"
    auto = made(path, lambda: library.AutoModelForImageClassification)
    folder = at_home(name)
    if folder.is_dir():
        check_pretrained(folder)
    default = made(path, lambda: _configuration(library, name, folder))
    strange = [word for word in options if not hasattr(default, word)]
    if strange:
        raise ConfigError(f"options of '{path}'", f"'{strange[0]}'", f"see the fields of {type(default).__name__}")
    sizes = {"num_labels": classes, "num_channels": channels, **options}
    if any(folder.glob("*.safetensors")):
        safe: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
        variant = variant_of(folder)
        safe |= {} if variant is None else {"variant": variant}
        return made(path, lambda: auto.from_pretrained(folder, **safe, **sizes))
    return made(path, lambda: auto.from_config(_configuration(library, name, folder, sizes)))


def _configuration(library: ModuleType, name: str, folder: Path, sizes: Mapping[str, Any] | None = None) -> Any:
    """Return the configuration in a local folder, or the default one of a model type."""
    if folder.is_dir():
        safe = {"local_files_only": True, "trust_remote_code": False}
        return library.AutoConfig.from_pretrained(folder, **safe, **(sizes or {}))
    if name not in library.CONFIG_MAPPING:
        cure = "fetch the model into a folder and name that, or name a type such as 'vit'"
        raise ConfigError("a local folder or a model type of transformers", f"'{name}'", cure)
    return library.AutoConfig.for_model(name, **(sizes or {}))


def _refuse_download(options: dict[str, Any]) -> None:
    for word in {"pretrained", "checkpoint_path", "trust_remote_code"} & options.keys():
        cure = "fetch the weights yourself and name the safetensors file"
        raise ConfigError("a model that is built from local files", f"the option '{word}'", cure)


LIBRARIES: dict[str, Callable[[str, int, int, dict[str, Any]], Any]] = {"timm": _timm, "transformers": _transformers}
"""Prefix of a name → (name, classes, channels, options) → model."""
