"""An audit of weights in files: read, check, measure, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from torch import nn

from expunge.api.audits.auditing import AUDIT_FILES, Audit, AuditModels, run_audit, split_audit_data
from expunge.api.compute_context import compute_context
from expunge.api.folder import REPORT_FILE, RESULT_FILE, RETRAINED_FILE, check_folder
from expunge.api.inputs import create_model, resolve_device
from expunge.api.loading import error_location, exclude_ledger_requests, find_checkpoint_path, load_request_data
from expunge.api.request_section import RequestInfo
from expunge.api.run import display_path
from expunge.api.validation import check_weights, validate_split
from expunge.batch import Predictor
from expunge.data import LabeledDataset
from expunge.engine.run_options import noop
from expunge.errors import ConfigError, ExpungeError
from expunge.report import print_tables
from expunge.request.model_request import ModelRequest
from expunge.request.request_file import RequestFile
from expunge.type_checks import check_argument_types
from expunge.weights import check_is_safetensors, describe_removed_prefix, load_into


@check_argument_types
def audit_request(
    config: RequestFile,
    unlearned: Path,
    *,
    retrained: Path | None = None,
    data_dir: Path | None = None,
    out: Path = Path("audit"),
    overwrite: bool = False,
    console: Console | None = None,
) -> Audit:
    """Check weights that somebody made in answer to a request, and leave ``report.html`` and ``result.json``.

    Nothing is trained, and no pickle is opened. Test examples that the request holds out steered the run that it asks
    for, so no figure is computed on them.

    Args:
        config: The request: network, original, data, and what was to be forgotten. Its method is not looked at.
        unlearned: The weights to check, a safetensors file.
        retrained: Weights of a model that never saw the forgotten data. Default: what the request names or its run
            left, if there is such a file.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        out: Where the report goes. Default ``audit``.
        overwrite: Replace an earlier audit. Default false.
        console: Where tables go. Default: nowhere.

    Raises:
        ExpungeError: If something does not fit, before anything is written.
    """
    console = console or Console(quiet=True)
    config = config.as_model_request("`expunge sample` draws what two diffusion models make of the same noise")
    with error_location(config, "out"):
        check_folder(out, overwrite, files=AUDIT_FILES)
    paths = {
        "original": find_original_path(config),
        "unlearned": unlearned,
        "retrained": retrained or find_reference_path(config),
    }
    for path in paths.values():
        if path is not None:
            check_is_safetensors(path)
    with compute_context(config):
        result = audit_files(config, paths, data_dir, lambda told: console.print(told, soft_wrap=True))
    folder = result.save(out, overwrite=overwrite)
    print_tables(result.document, console)
    for what, name in {"Figures:": RESULT_FILE, "Report:": REPORT_FILE}.items():
        console.print(f"{what:<8} {display_path(folder / name)}", soft_wrap=True)
    return result


def find_original_path(config: ModelRequest) -> Path | None:
    """Return the file of the original's weights; None for a model that comes from Python with weights in it."""
    path = find_checkpoint_path(config, overwrite=False)
    if path is None and not config.model.from_python:
        hint = "name its file under checkpoint, or run `expunge train` first"
        raise ConfigError("the original's weights", "none yet", hint, config.where("checkpoint"))
    return path


def find_reference_path(config: ModelRequest) -> Path | None:
    """Return the file of the retrained model's weights that the request names or that its run left."""
    if isinstance(config.retrained_model, Path):
        return config.retrained_model
    trained_path = config.out / RETRAINED_FILE
    return trained_path if config.retrained_model == "retrain" and trained_path.exists() else None


def audit_files(
    config: ModelRequest,
    paths: dict[str, Path | None],
    data_dir: Path | None,
    on_message: Callable[[str], None] = noop,
) -> Audit:
    data = load_request_data(config, data_dir)
    source, request = data.source, data.request
    original, unlearned = (
        load_audit_network(config, source, paths[name], on_message) for name in ("original", "unlearned")
    )
    data = exclude_ledger_requests(config, data, original, paths["original"])
    source = data.source
    retrained = (
        None if paths["retrained"] is None else load_audit_network(config, source, paths["retrained"], on_message)
    )
    with error_location(config, "model"):
        split = validate_split(Predictor(unlearned), *data.sides, trainable=False)
    with error_location(config, "data"):
        parts = split_audit_data(split, source.test, None, config.seed)
    names = source.class_names
    info = RequestInfo("request", f"Forget {request.describe(names)}", request.kind, names)
    title = f"Audit: {info.description} ({source.name})"
    return run_audit(AuditModels(original, unlearned, retrained), parts, info, "expunge audit", title, seed=config.seed)


def load_audit_network(
    config: ModelRequest, source: LabeledDataset, path: Path | None, on_message: Callable[[str], None] = noop
) -> nn.Module:
    """Return the network that the request names, with the weights of a file where one is given."""
    with error_location(config, "device"):
        device = resolve_device(config.device)
    with error_location(config, "model"):
        model = create_model(config, source, config.seed).to(device)
    if path is not None:
        with file_error_location(path):
            prefix = load_into(model, path)
            check_weights(model)
            if prefix:
                on_message(describe_removed_prefix(prefix, path))
    return model


@contextmanager
def file_error_location(path: Path) -> Iterator[None]:
    """Give an error that the body raises the name of the file, unless it says it already."""
    try:
        yield
    except ExpungeError as error:
        if str(path) not in str(error):
            error.location = str(path)
        raise
