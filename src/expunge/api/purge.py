"""Remove from a run folder what still holds the deleted data, and say what is out of reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.api.audits.ulira_result import CACHE_FOLDER, FIGURES_FILE
from expunge.api.documents import ORIGINAL_ELSEWHERE, ORIGINAL_IN_FOLDER, REPORT_SHOWS_EXAMPLES
from expunge.api.folder import (
    CHECKPOINTS_FOLDER,
    CONFIG_FILE,
    GRID_FILE,
    LAST_GOOD_FILE,
    ORIGINAL_FILE,
    PARTIAL_NAMES,
    REPORT_FILE,
    RESULT_FILE,
    RUN_FILES,
    ULIRA_FOLDER,
    clear_checkpoints,
)
from expunge.api.generative.grids import STILL_CONTAINS_DATA as GRID_HOLDS
from expunge.api.recording import find_entry_of_run, hash_evidence
from expunge.api.saving import finish_saving
from expunge.api.seal import reseal_document
from expunge.errors import ConfigError, DataError
from expunge.files import (
    PARTIAL_SUFFIX,
    is_real_folder,
    list_partial,
    read_regular_file,
    remove_matching,
    remove_partial,
)
from expunge.key import load_or_create_key
from expunge.ledger import Content, Ledger, LedgerEntry
from expunge.report import read_document, write_report
from expunge.type_checks import check_argument_types
from expunge.weights import atomic_write, folder_lock

MAX_RESULT_BYTES = 256 * 2**20
OUT_OF_REACH = (
    "The training data, and every cache and copy of them.",
    "Copies of the run folder, its backups, and disk blocks that the file system has freed but not overwritten.",
)
"""What no purge of a run folder reaches."""

_ORIGINAL_NAME = re.compile(r"original(-\d+)?\.safetensors")
_SHADOW_MODEL_NAME = re.compile(
    rf"[0-9a-f]{{32}}\.(json|safetensors)|\.[0-9a-f]{{32}}\.(json|safetensors){PARTIAL_SUFFIX}"
)


@dataclass(frozen=True)
class PurgeResult:
    """What a purge did.

    Args:
        removed: What it removed, in words.
        remaining: What still holds the data and is out of its reach, in words.
        entry: The ledger's entry about it, if there is a ledger.
    """

    removed: tuple[str, ...]
    remaining: tuple[str, ...]
    entry: LedgerEntry | None = None


@check_argument_types
def purge(folder: Path | str, ledger: Path | str | None = None) -> PurgeResult:
    """Remove what holds the deleted data from a run folder; what is left to remove decides, so that it can be repeated.

    Removed are the original's weights where the run left them in its folder, half unlearned ones, its checkpoints, the
    shadow models of ``expunge ulira``, the grid and the pictures of the report (which is written anew without them),
    and files that a killed run left half written. Figures, manifest, history and the unlearned weights stay. Nothing
    outside the folder is touched, and links are not followed.

    Args:
        folder: The run folder.
        ledger: A ledger in which the run is recorded, to add the purge to. Default: none.

    Raises:
        ConfigError: If it is no run folder, or a run is at work in it.
        DataError: If a file cannot be read or removed, or the ledger has no entry of this run.
    """
    run_folder, opened_ledger = Path(folder), None if ledger is None else Ledger(ledger)
    finish_saving(run_folder)
    check_run_folder(run_folder)
    with folder_lock(run_folder, "wait for the run to end, or stop it, and purge then"):
        return purge_folder(run_folder, opened_ledger)


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that no run has written."""
    if (
        not any((folder / name).is_file() for name in (*RUN_FILES, ORIGINAL_FILE))
        and not (folder / ULIRA_FOLDER).is_dir()
    ):
        raise ConfigError("a run folder", f"none of a run's files in '{folder}'", "name the folder that a run wrote")


def purge_folder(folder: Path, ledger: Ledger | None) -> PurgeResult:
    """Purge a run folder that nobody else is at work in."""
    number = None if ledger is None else find_entry_number(ledger, folder)
    try:
        partial_files = list_partial(folder, PARTIAL_NAMES)
        has_pictures, removed = strip_pictures(folder), [path.name for path in find_files_with_data(folder)]
        for path in find_files_with_data(folder):
            path.unlink(missing_ok=True)
        remove_partial(folder, PARTIAL_NAMES)
        removed += [path.name for path in partial_files if not path.exists()]
        removed += [*remove_shadow_models(folder), *(["the run's checkpoints"] if clear_checkpoints(folder) else [])]
    except OSError as error:
        actual = f"'{error.filename}' ({error.strerror})"
        raise DataError("files that can be removed", actual, "mend its rights, and purge again") from error
    words = (*(["the pictures in the report"] if has_pictures else []), *removed)
    entry = None if ledger is None else record_purge(ledger, folder, number)
    return PurgeResult(words, (*list_external_copies(folder), *OUT_OF_REACH), entry)


def find_files_with_data(folder: Path) -> list[Path]:
    """Return the files right in a run folder that hold the deleted data, or may, and links under their names."""
    paths = (path for path in folder.iterdir() if path.is_symlink() or path.is_file())
    return sorted(
        path for path in paths if path.name in (GRID_FILE, LAST_GOOD_FILE) or _ORIGINAL_NAME.fullmatch(path.name)
    )


def remove_shadow_models(folder: Path) -> list[str]:
    """Remove the shadow models, most of which know forgotten examples, and say so; the audit's figures stay."""
    cache = folder / ULIRA_FOLDER / CACHE_FOLDER
    if (folder / ULIRA_FOLDER).is_symlink() or not is_real_folder(cache):
        return []
    removed = sum(
        remove_matching(folder_of_models, _SHADOW_MODEL_NAME) for folder_of_models in (*sorted(cache.iterdir()), cache)
    )
    return ["the shadow models of the audit"] if removed else []


def strip_pictures(folder: Path) -> bool:
    """Take the pictures out of report and result, and what is no longer there out of ``holds_data``.

    The report comes first: a purge that is killed in between finds the pictures in the result, and begins anew.
    """
    path = folder / RESULT_FILE
    if not path.is_file():
        return False
    document = read_result(path)
    pictures = sum(len(part.get(key) or ()) for part in iterate_requests(document) for key in ("examples", "grids"))
    for part in iterate_requests(document):
        part["examples"] = []
        part.pop("grids", None)
    before = document.get("data_still_in", [])
    document["data_still_in"] = [ORIGINAL_ELSEWHERE if line == ORIGINAL_IN_FOLDER else line for line in before]
    document["data_still_in"] = [
        line for line in document["data_still_in"] if line not in (REPORT_SHOWS_EXAMPLES, GRID_HOLDS)
    ]
    if pictures or before != document["data_still_in"]:
        write_report(document, folder / REPORT_FILE)
        with atomic_write(path, overwrite=True) as temporary:
            text = json.dumps(reseal_document(document, folder), indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    return pictures > 0


def iterate_requests(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the requests' parts of a result document."""
    yield from document["requests"]


def read_result(path: Path) -> dict[str, Any]:
    """Return a result document from a file of bounded size."""
    expected, hint = "a result.json that Expunge wrote", "restore it, or remove the run folder as a whole"
    try:
        content = json.loads(read_regular_file(path, MAX_RESULT_BYTES))
    except OSError as error:
        raise DataError(expected, f"'{path}' ({error.strerror})", hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(expected, f"'{path}', which is no JSON", hint) from error
    read_document(content)
    return dict(content)


def list_external_copies(folder: Path) -> list[str]:
    """Return what the run's request names outside its folder that holds the data, as far as it is still there."""
    config = read_mapping(folder / CONFIG_FILE)
    latents = config.get("latents")
    cache = latents.get("cache") if isinstance(latents, dict) else None
    named = {"The original's weights": ("checkpoint", "model"), "The cache of latents": ("cache",)}
    values = {**config, "cache": cache}
    copies = [
        f"{what}, '{values[key]}'." for what, keys in named.items() for key in keys if path_exists(values.get(key))
    ]
    if not any("original" in line for line in copies):
        copies.insert(0, "The original's weights, wherever they are.")
    if path_exists(config.get("checkpoint")):
        checkpoint = Path(config["checkpoint"])
        copies += [
            f"Half-written weights of the original, '{path}'."
            for path in list_partial(checkpoint.parent, [checkpoint.name])
        ]
    shadows = read_mapping(folder / ULIRA_FOLDER / FIGURES_FILE).get(CACHE_FOLDER)
    copies += [f"The shadow models of the audit, '{shadows}'."] if path_exists(shadows) else []
    links = (folder / CHECKPOINTS_FOLDER, folder / ULIRA_FOLDER, folder / ULIRA_FOLDER / CACHE_FOLDER)
    return copies + [f"What the link '{path}' leads to." for path in links if path.is_symlink()]


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of the run folder; nothing if it cannot be read."""
    try:
        content = json.loads(read_regular_file(path, MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def path_exists(path: Any) -> bool:
    """Return whether a value is the path of something that exists."""
    try:
        return isinstance(path, str) and Path(path).is_absolute() and Path(path).exists()
    except (OSError, ValueError):
        return False


def find_entry_number(ledger: Ledger, folder: Path) -> int:
    """Return the number of the ledger's entry about a run."""
    entry = find_entry_of_run(ledger.entries(), folder, load_or_create_key())
    if entry is None:
        raise DataError(f"an entry of this run in '{ledger.path}'", "none", "leave out --ledger; nothing was removed")
    return entry.number


def record_purge(ledger: Ledger, folder: Path, number: int | None) -> LedgerEntry:
    """Add the purge of a run folder to the ledger, with the hashes of what is left of the evidence."""
    key = load_or_create_key()
    return ledger.append("purge", Content(evidence=hash_evidence(folder, key)), key=key, of=number)
