"""The request file: what may stand in it, checked before anything heavy is imported.

Examples:
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "request.yaml")
    >>> lines = "model: package.module:factory", "data: {factory: package.module:data}", "forget: {clas: 0}"
    >>> _ = file.write_text(chr(10).join(lines))
    >>> load_request(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    expunge.errors.ConfigError: request.yaml line 3: Expected one of class, ... but found 'clas': did you mean 'class'.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import ValidationError

from expunge.errors import ConfigError
from expunge.registry import NAMES, find_component
from expunge.request.checks import format_value, suggest
from expunge.request.document import RequestDocument, read_document
from expunge.request.request_file import RequestFile
from expunge.request.validation_errors import translate_validation_error
from expunge.type_checks import check_argument_types

TASK_REQUESTS: Mapping[str, str] = {
    "classification": "expunge.tasks.classification.request:ClassificationConfig",
    "diffusion": "expunge.tasks.diffusion.request:DiffusionConfig",
    "stable_diffusion": "expunge.tasks.stable_diffusion.request:StableDiffusionConfig",
}
"""Task of ours → what its request file may say, ``Task.request``, imported only where it is asked for."""


@check_argument_types
def load_request(path: Path | str) -> RequestFile:
    """Return the request that a YAML file holds; paths in it are relative to its folder.

    Args:
        path: The file.

    Raises:
        ConfigError: With the line of the first thing that is wrong, and the cure.
    """
    document = read_document(Path(path))
    data = {"out": f"runs/{document.path.stem}", **document.data}
    config_class = find_request_class(validate_task(document))
    try:
        config = config_class.model_validate(data, context={"folder": document.path.parent})
    except ValidationError as error:
        raise translate_validation_error(error, document, config_class) from None
    config.attach_document(document)
    return config


def validate_task(document: RequestDocument) -> str:
    """Return the family of models that a request file is about."""
    task = document.data.get("task", "classification")
    tasks = [*TASK_REQUESTS, *(point.name for point in entry_points(group="expunge.tasks"))]
    if not isinstance(task, str) or task not in tasks:
        hint = suggest(str(task), tasks, "write for example `task: classification`")
        if task in NAMES["tasks"].split():
            hint = f"call `expunge.unlearn(…, task='{task}')` in Python"
        raise ConfigError(f"one of {', '.join(tasks)} for 'task'", format_value(task), hint, document.where("task"))
    return task


def find_request_class(task: str) -> type[RequestFile]:
    """Return what a request file about a task may say: of ours without importing torch, of others' what they bring."""
    module, _, name = TASK_REQUESTS.get(task, "").partition(":")
    request: type[RequestFile] = (
        getattr(import_module(module), name) if module else find_component("tasks", task).request
    )
    return request
