"""An audit of weights in files: read, check, measure, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from torch import nn

from expunge.api.admission import check_weights, checked_split
from expunge.api.audits.auditing import FILES, Audit, Models, apart, audited
from expunge.api.folder import FINISHED, REPORT, RETRAINED, check_folder
from expunge.api.inputs import device_of, fresh_model
from expunge.api.reading import given_weights, leave_out_chain, located, parted
from expunge.api.request.config import AnyConfig, RunConfig
from expunge.api.requests import Asked
from expunge.api.run import from_here
from expunge.api.threads import computing
from expunge.batch import Predictor
from expunge.data import Source
from expunge.engine.conditions import ignore
from expunge.errors import ConfigError, ExpungeError
from expunge.kinds import kinds_checked
from expunge.report import print_tables
from expunge.weights import check_is_safetensors, load_into, taken_off


@kinds_checked
def audit_request(
    config: AnyConfig,
    unlearned: Path,
    *,
    reference: Path | None = None,
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
        reference: Weights of a model that never saw the forgotten data. Default: what the request names or its run
            left, if there is such a file.
        data_dir: Folder of the data. Default: the variable ``EXPUNGE_DATA``.
        out: Where the report goes. Default ``audit``.
        overwrite: Replace an earlier audit. Default false.
        console: Where tables go. Default: nowhere.

    Raises:
        ExpungeError: If something does not fit, before anything is written.
    """
    console = console or Console(quiet=True)
    config = classifier(config)
    with located(config, "out"):
        check_folder(out, overwrite, written=FILES)
    paths = {
        "original": original_path(config),
        "unlearned": unlearned,
        "reference": reference or reference_path(config),
    }
    for path in paths.values():
        if path is not None:
            check_is_safetensors(path)
    with computing(config):
        found = measured(config, paths, data_dir, lambda told: console.print(told, soft_wrap=True))
    folder = found.save(out, overwrite=overwrite)
    print_tables(found.document, console)
    for what, name in {"Figures:": FINISHED, "Report:": REPORT}.items():
        console.print(f"{what:<8} {from_here(folder / name)}", soft_wrap=True)
    return found


def classifier(config: AnyConfig) -> RunConfig:
    """Return the request if it is about a classifier.

    Raises:
        ConfigError: If it is not.
    """
    if isinstance(config, RunConfig):
        return config
    cure = "`expunge images` draws what two diffusion models make of the same noise"
    raise ConfigError("a request to a classifier", f"task: {config.task}", cure, config.where("task"))


def original_path(config: RunConfig) -> Path | None:
    """Return the file of the original's weights; None for a model that comes from Python with weights in it.

    Raises:
        ConfigError: If it is still to be trained.
    """
    path = given_weights(config, overwrite=False)
    if path is None and not config.model.from_python:
        cure = "name its file under checkpoint, or run `expunge train` first"
        raise ConfigError("the original's weights", "none yet", cure, config.where("checkpoint"))
    return path


def reference_path(config: RunConfig) -> Path | None:
    """Return the file of the retrained model's weights that the request names or that its run left."""
    if isinstance(config.reference, Path):
        return config.reference
    left = config.out / RETRAINED
    return left if config.reference == "retrain" and left.exists() else None


def measured(
    config: RunConfig, paths: dict[str, Path | None], data_dir: Path | None, say: Callable[[str], None] = ignore
) -> Audit:
    """Return the audit of the files at ``paths``."""
    drawn = parted(config, data_dir)
    source, request = drawn.source, drawn.request
    original, unlearned = (network(config, source, paths[name], say) for name in ("original", "unlearned"))
    drawn = leave_out_chain(config, drawn, original, paths["original"])
    source = drawn.source
    retrained = None if paths["reference"] is None else network(config, source, paths["reference"], say)
    with located(config, "model"):
        split = checked_split(Predictor(unlearned), *drawn.sides, trainable=False)
    with located(config, "data"):
        parts = apart(split, source.test, None, config.seed)
    names = source.class_names
    asked = Asked("request", f"Forget {request.sentence(names)}", request.kind, names)
    title = f"Audit: {asked.question} ({source.name})"
    return audited(Models(original, unlearned, retrained), parts, asked, "expunge audit", title, seed=config.seed)


def network(config: RunConfig, source: Source, path: Path | None, say: Callable[[str], None] = ignore) -> nn.Module:
    """Return the network that the request names, with the weights of a file where one is given."""
    with located(config, "device"):
        device = device_of(config.device)
    with located(config, "model"):
        model = fresh_model(config, source, config.seed).to(device)
    if path is not None:
        with blamed(path):
            prefix = load_into(model, path)
            check_weights(model)
            if prefix:
                say(taken_off(prefix, path))
    return model


@contextmanager
def blamed(path: Path) -> Iterator[None]:
    """Give an error that the body raises the name of the file, unless it says it already."""
    try:
        yield
    except ExpungeError as error:
        if str(path) not in str(error):
            error.where = str(path)
        raise
