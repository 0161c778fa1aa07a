"""Image classifiers of timm and transformers, where they are installed; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from expunge.errors import ConfigError, ExpungeError, ModelError, format_exception
from expunge.optional import import_optional
from expunge.paths import expand_home
from expunge.tasks.pretrained import check_pretrained, find_variant


def call_factory(name: str, factory: Callable[[], Any]) -> Any:
    """Return what ``factory`` makes; a failure of foreign code becomes one sentence."""
    try:
        return factory()
    except ExpungeError:
        raise
    except Exception as error:
        raise ModelError(
            f"to build '{name}'", format_exception(error), "correct the name, the options or the code"
        ) from error


def _build_timm(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _check_no_download(options)
    timm = import_optional("timm", "its image classifiers", "timm")
    if not timm.is_model(name):
        raise ConfigError("the name of a timm model", f"'{name}'", "timm.list_models() shows all")
    return call_factory(
        f"timm/{name}", lambda: timm.create_model(name, num_classes=classes, in_chans=channels, **options)
    )


def _build_transformers(name: str, classes: int, channels: int, options: dict[str, Any]) -> Any:
    _check_no_download(options)
    library, path = import_optional("transformers", "its image classifiers", "transformers"), f"transformers/{name}"
    auto = call_factory(path, lambda: library.AutoModelForImageClassification)
    folder = expand_home(name)
    if folder.is_dir():
        check_pretrained(folder)
    default = call_factory(path, lambda: _load_config(library, name, folder))
    unknown = [word for word in options if not hasattr(default, word)]
    if unknown:
        raise ConfigError(f"options of '{path}'", f"'{unknown[0]}'", f"see the fields of {type(default).__name__}")
    sizes = {"num_labels": classes, "num_channels": channels, **options}
    if any(folder.glob("*.safetensors")):
        loading_options: dict[str, Any] = {
            "local_files_only": True,
            "use_safetensors": True,
            "trust_remote_code": False,
        }
        variant = find_variant(folder)
        loading_options |= {} if variant is None else {"variant": variant}
        return call_factory(path, lambda: auto.from_pretrained(folder, **loading_options, **sizes))
    return call_factory(path, lambda: auto.from_config(_load_config(library, name, folder, sizes)))


def _load_config(library: ModuleType, name: str, folder: Path, sizes: Mapping[str, Any] | None = None) -> Any:
    """Return the configuration in a local folder, or the default one of a model type."""
    if folder.is_dir():
        loading_options = {"local_files_only": True, "trust_remote_code": False}
        return library.AutoConfig.from_pretrained(folder, **loading_options, **(sizes or {}))
    if name not in library.CONFIG_MAPPING:
        hint = "fetch the model into a folder and name that, or name a type such as 'vit'"
        raise ConfigError("a local folder or a model type of transformers", f"'{name}'", hint)
    return library.AutoConfig.for_model(name, **(sizes or {}))


def _check_no_download(options: dict[str, Any]) -> None:
    for option in {"pretrained", "checkpoint_path", "trust_remote_code"} & options.keys():
        hint = "fetch the weights yourself and name the safetensors file"
        raise ConfigError("a model that is built from local files", f"the option '{option}'", hint)


LIBRARIES: dict[str, Callable[[str, int, int, dict[str, Any]], Any]] = {
    "timm": _build_timm,
    "transformers": _build_transformers,
}
"""Prefix of a name → (name, classes, channels, options) → model."""
