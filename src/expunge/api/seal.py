"""The seal of a finished run: ``result.json`` says which files the run wrote, under the key, and so does the document.

A run that is gone on with when it is finished is not taken for what it was if somebody replaced its weights meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.api.digests import file_digest, hmac_digest, weights_digest
from expunge.api.folder import (
    CONFIG_FILE,
    GRID_FILE,
    HISTORY_FILE,
    MANIFEST_FILE,
    ORIGINAL_FILE,
    REPORT_FILE,
    RESULT_FILE,
    RETRAINED_FILE,
    UNLEARNED_FILE,
)
from expunge.errors import CheckpointError, DataError
from expunge.files import is_real_folder, is_regular_file, read_regular_file
from expunge.key import key_id, load_key_if_present, load_or_create_key
from expunge.request.request_file import UNLEARNED_FOLDER

SEAL_KEY = "seal"
SEALED_FILES = (
    CONFIG_FILE,
    MANIFEST_FILE,
    HISTORY_FILE,
    REPORT_FILE,
    GRID_FILE,
    UNLEARNED_FILE,
    RETRAINED_FILE,
    ORIGINAL_FILE,
)
REMOVABLE_FILES = (GRID_FILE, RETRAINED_FILE, ORIGINAL_FILE)
"""Files that may be removed from a finished run, as a purge does."""
MAX_RESULT_BYTES = 256 * 2**20


def seal_document(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a result document with the keyed hashes of the run's files, and of itself."""
    key, plain = load_or_create_key(), {name: value for name, value in document.items() if name != SEAL_KEY}
    files = hash_run_files(folder, key)
    return {**plain, SEAL_KEY: {"key": key_id(key), "files": files, "document": _hash_document(plain, files, key)}}


def reseal_document(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a result document whose seal is of the files as they are now; none if it had none or the key is gone."""
    old_seal, key = document.get(SEAL_KEY), load_key_if_present()
    if isinstance(old_seal, dict) and key is not None and old_seal.get("key") == key_id(key):
        return seal_document(document, folder)
    return {name: value for name, value in document.items() if name != SEAL_KEY}


def read_sealed_result(folder: Path) -> dict[str, Any]:
    """Return the result document of a finished run, after everything in its folder was compared with what it wrote."""
    path, hint = folder / RESULT_FILE, "restore it from a copy, or pass --overwrite to answer the request anew"
    try:
        document = json.loads(read_regular_file(path, MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("the result of the finished run", f"'{path}', which cannot be read", hint) from error
    if not isinstance(document, dict) or not isinstance(document.get("requests"), list):
        raise DataError("the result of the finished run", f"something else in '{path}'", hint)
    seal = document.get(SEAL_KEY)
    if seal is None:
        if expects_seal(folder):
            raise DataError("what the finished run wrote", f"no seal in '{path}'", hint)
        return document
    changed = find_changed_files(document, folder)
    if changed:
        actual = f"another {' and '.join(changed[:3])} in '{folder}'"
        raise DataError("what the finished run wrote", actual, hint)
    return document


def expects_seal(folder: Path) -> bool:
    """Return whether a run was begun by code that seals what it finishes: it notes which code it is."""
    try:
        begun = json.loads(read_regular_file(folder / CONFIG_FILE, MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    environment = begun.get("environment") if isinstance(begun, dict) else None
    return isinstance(environment, dict) and "code" in environment


def find_changed_files(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what in a run folder is not as it was sealed."""
    seal, key = document[SEAL_KEY], load_or_create_key()
    files = seal.get("files") if isinstance(seal, dict) else None
    if not isinstance(files, dict) or not isinstance(seal.get("document"), str):
        return [RESULT_FILE]
    if seal.get("key") != key_id(key):
        hint = "name its key file in EXPUNGE_KEY_FILE"
        raise DataError(f"the key that the run in '{folder}' was sealed with", "another", hint)
    now = hash_run_files(folder, key)
    plain = {name: value for name, value in document.items() if name != SEAL_KEY}
    changed = [] if _hash_document(plain, files, key) == seal["document"] else [RESULT_FILE]
    names = sorted({*files, *now})
    return changed + [name for name in names if now.get(name) != files.get(name) and not _is_allowed_removal(name, now)]


def hash_run_files(folder: Path, key: bytes) -> dict[str, str]:
    digests = {name: file_digest(folder / name, key) for name in SEALED_FILES if is_regular_file(folder / name)}
    if is_real_folder(folder / UNLEARNED_FOLDER):
        try:
            digests[UNLEARNED_FOLDER] = weights_digest(folder / UNLEARNED_FOLDER, key)
        except CheckpointError:
            digests[UNLEARNED_FOLDER] = ""
    return digests


def _is_allowed_removal(name: str, now: Mapping[str, str]) -> bool:
    return name in REMOVABLE_FILES and name not in now


def _hash_document(plain: Mapping[str, Any], files: Mapping[str, str], key: bytes) -> str:
    text = json.dumps([plain, files], sort_keys=True, allow_nan=False, default=str)
    return hmac_digest(key, "result", [text.encode()])
