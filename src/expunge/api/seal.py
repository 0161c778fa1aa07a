"""The seal of a finished run: ``result.json`` says which files the run wrote, under the key, and so does the document.

A run that is gone on with when it is finished is not taken for what it was if somebody replaced its weights meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.api.digests import file_digest, keyed, weights_digest
from expunge.api.folder import CONFIG, FINISHED, GRID, HISTORY, MANIFEST, ORIGINAL, REPORT, RETRAINED, UNLEARNED
from expunge.api.request.request_file import UNLEARNED_FOLDER
from expunge.errors import CheckpointError, DataError
from expunge.files import is_plain, is_plain_folder, read_plain
from expunge.key import key_at_hand, key_id, load_key

SEAL = "seal"
FILES = (CONFIG, MANIFEST, HISTORY, REPORT, GRID, UNLEARNED, RETRAINED, ORIGINAL)
MAY_GO = (GRID, RETRAINED, ORIGINAL)
"""Files that may be removed from a finished run, as a purge does."""
LARGEST = 256 * 2**20


def sealed(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a result document with the keyed hashes of the run's files, and of itself."""
    key, plain = load_key(), {name: value for name, value in document.items() if name != SEAL}
    files = digests_of(folder, key)
    return {**plain, SEAL: {"key": key_id(key), "files": files, "document": _digest(plain, files, key)}}


def sealed_anew(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a result document whose seal is of the files as they are now; none if it had none or the key is gone."""
    had, key = document.get(SEAL), key_at_hand()
    if isinstance(had, dict) and key is not None and had.get("key") == key_id(key):
        return sealed(document, folder)
    return {name: value for name, value in document.items() if name != SEAL}


def check_seal(folder: Path) -> dict[str, Any]:
    """Return the result document of a finished run, after everything in its folder was compared with what it wrote.

    Raises:
        DataError: If something is another than the run wrote, or the key is.
    """
    path, cure = folder / FINISHED, "restore it from a copy, or pass --overwrite to answer the request anew"
    try:
        document = json.loads(read_plain(path, LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("the result of the finished run", f"'{path}', which cannot be read", cure) from error
    if not isinstance(document, dict) or not isinstance(document.get("requests"), list):
        raise DataError("the result of the finished run", f"something else in '{path}'", cure)
    seal = document.get(SEAL)
    if seal is None:
        if began_with_seals(folder):
            raise DataError("what the finished run wrote", f"no seal in '{path}'", cure)
        return document
    changed = changed_names(document, folder)
    if changed:
        found = f"another {' and '.join(changed[:3])} in '{folder}'"
        raise DataError("what the finished run wrote", found, cure)
    return document


def began_with_seals(folder: Path) -> bool:
    """Return whether a run was begun by code that seals what it finishes: it notes which code it is."""
    try:
        begun = json.loads(read_plain(folder / CONFIG, LARGEST))
    except (OSError, ValueError, RecursionError):
        return False
    environment = begun.get("environment") if isinstance(begun, dict) else None
    return isinstance(environment, dict) and "code" in environment


def changed_names(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what in a run folder is not as it was sealed.

    Raises:
        DataError: If the seal was made with another key.
    """
    seal, key = document[SEAL], load_key()
    files = seal.get("files") if isinstance(seal, dict) else None
    if not isinstance(files, dict) or not isinstance(seal.get("document"), str):
        return [FINISHED]
    if seal.get("key") != key_id(key):
        cure = "name its key file in EXPUNGE_KEY_FILE"
        raise DataError(f"the key that the run in '{folder}' was sealed with", "another", cure)
    now = digests_of(folder, key)
    plain = {name: value for name, value in document.items() if name != SEAL}
    changed = [] if _digest(plain, files, key) == seal["document"] else [FINISHED]
    names = sorted({*files, *now})
    return changed + [name for name in names if now.get(name) != files.get(name) and not _may_go(name, now)]


def digests_of(folder: Path, key: bytes) -> dict[str, str]:
    """Return the keyed hashes of a run's files, and of its model where that is a folder."""
    found = {name: file_digest(folder / name, key) for name in FILES if is_plain(folder / name)}
    if is_plain_folder(folder / UNLEARNED_FOLDER):
        try:
            found[UNLEARNED_FOLDER] = weights_digest(folder / UNLEARNED_FOLDER, key)
        except CheckpointError:
            found[UNLEARNED_FOLDER] = ""
    return found


def _may_go(name: str, now: Mapping[str, str]) -> bool:
    return name in MAY_GO and name not in now


def _digest(plain: Mapping[str, Any], files: Mapping[str, str], key: bytes) -> str:
    told = json.dumps([plain, files], sort_keys=True, allow_nan=False, default=str)
    return keyed(key, "result", [told.encode()])
