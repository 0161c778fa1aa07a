"""Remove from a run folder what still holds the deleted data, and say what is out of reach."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.api.documents import HELD_ELSEWHERE, HELD_HERE, SHOWN
from expunge.api.folder import (
    CONFIG,
    FINISHED,
    GRID,
    LAST_GOOD,
    MANIFEST,
    ORIGINAL,
    REPORT,
    SHADOWS,
    WRITTEN,
    forget_savepoints,
)
from expunge.api.generative.grids import HOLDS as GRID_HOLDS
from expunge.api.recording import evidence_of
from expunge.errors import ConfigError, DataError
from expunge.key import load_key
from expunge.ledger import Content, Entry, Ledger
from expunge.report import read_document, write_report
from expunge.weights import replacing

LARGEST = 256 * 2**20
BEYOND = (
    "The training data, and every cache and copy of them.",
    "Copies of the run folder, its backups, and disk blocks that the file system has freed but not overwritten.",
)
"""What no purge of a run folder reaches."""

_ORIGINALS = re.compile(r"original(-\d+)?\.safetensors")
_UNFINISHED = re.compile(rf"\.({'|'.join(map(re.escape, (*WRITTEN, ORIGINAL)))})\.[0-9a-f]{{8}}\.tmp")


@dataclass(frozen=True)
class Purged:
    """What a purge did.

    Args:
        removed: What it removed, in words.
        left: What still holds the data and is out of its reach, in words.
        entry: The ledger's entry about it, if there is a ledger.
    """

    removed: tuple[str, ...]
    left: tuple[str, ...]
    entry: Entry | None = None


def purge(folder: Path | str, ledger: Path | str | None = None) -> Purged:
    """Remove what holds the deleted data from a run folder; what is left to remove decides, so that it can be repeated.

    Removed are the original's weights where the run left them in its folder, half unlearned ones, its savepoints, the
    shadow models of ``expunge ulira``, the grid and the pictures of the report (which is written anew without them),
    and files that a killed run left half written. Figures, manifest, history and the unlearned weights stay. Nothing
    outside the folder is touched, and links are not followed.

    Args:
        folder: The run folder.
        ledger: A ledger in which the run is recorded, to add the purge to. Default: none.

    Raises:
        ConfigError: If it is no run folder.
        DataError: If a file cannot be read or removed, or the ledger has no entry of this run.
    """
    place, book = Path(folder), None if ledger is None else Ledger(ledger)
    if not any((place / name).is_file() for name in (*WRITTEN, ORIGINAL)) and not (place / SHADOWS).is_dir():
        raise ConfigError("a run folder", f"none of a run's files in '{place}'", "name the folder that a run wrote")
    number = None if book is None else number_of(book, place)
    try:
        chosen = holding(place)
        told, removed = without_pictures(place), [path.name for path in chosen]
        for path in chosen:
            path.unlink(missing_ok=True)
        removed += [*without_shadows(place), *(["the run's savepoints"] if forget_savepoints(place) else [])]
    except OSError as error:
        found = f"'{error.filename}' ({error.strerror})"
        raise DataError("files that can be removed", found, "mend its rights, and purge again") from error
    words = (*(["the pictures in the report"] if told else []), *removed)
    entry = None if book is None else recorded(book, place, number)
    return Purged(words, (*elsewhere(place), *BEYOND), entry)


def holding(folder: Path) -> list[Path]:
    """Return the files right in a run folder that hold the deleted data, or may."""
    found = (path for path in folder.iterdir() if path.is_symlink() or path.is_file())
    return sorted(path for path in found if path.name in (GRID, LAST_GOOD) or holds_weights(path.name))


def holds_weights(name: str) -> bool:
    """Return whether a file has the name of an original, or of one that a killed run left half written."""
    return _ORIGINALS.fullmatch(name) is not None or _UNFINISHED.fullmatch(name) is not None


def without_shadows(folder: Path) -> list[str]:
    """Remove the shadow models, most of which know forgotten examples, and say so; the audit's figures stay."""
    cache = folder / SHADOWS / "cache"
    if cache.is_symlink() or not cache.is_dir():
        return []
    shutil.rmtree(cache)
    return ["the shadow models of the audit"]


def without_pictures(folder: Path) -> bool:
    """Take the pictures out of report and result, and what is no longer there out of ``holds_data``.

    The report comes first: a purge that is killed in between finds the pictures in the result, and begins anew.

    Returns:
        Whether there were any.
    """
    path = folder / FINISHED
    if not path.is_file():
        return False
    document = read_result(path)
    pictures = sum(len(part.get(key) or ()) for part in parts(document) for key in ("examples", "grids"))
    for part in parts(document):
        part["examples"] = []
        part.pop("grids", None)
    before = document.get("holds_data", [])
    document["holds_data"] = [HELD_ELSEWHERE if line == HELD_HERE else line for line in before]
    document["holds_data"] = [line for line in document["holds_data"] if line not in (SHOWN, GRID_HOLDS)]
    if pictures or before != document["holds_data"]:
        write_report(document, folder / REPORT)
        with replacing(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return pictures > 0


def parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the requests' parts of a result document."""
    yield from document["requests"]


def read_result(path: Path) -> dict[str, Any]:
    """Return a result document from a file of bounded size.

    Raises:
        DataError: If it is none.
    """
    expected, cure = "a result.json that Expunge wrote", "restore it, or remove the run folder as a whole"
    if path.stat().st_size > LARGEST:
        raise DataError(expected, f"'{path}' of more than {LARGEST // 2**20} MB", cure)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(expected, f"'{path}', which is no JSON", cure) from error
    read_document(found)
    return dict(found)


def elsewhere(folder: Path) -> list[str]:
    """Return what the run's request names outside its folder that holds the data, as far as it is still there."""
    told = request_of(folder)
    latents = told.get("latents")
    cache = latents.get("cache") if isinstance(latents, dict) else None
    named = {"The original's weights": ("checkpoint", "model"), "The cache of latents": ("cache",)}
    values = {**told, "cache": cache}
    found = [f"{what}, '{values[key]}'." for what, keys in named.items() for key in keys if is_there(values.get(key))]
    return (
        found if any("original" in line for line in found) else ["The original's weights, wherever they are.", *found]
    )


def request_of(folder: Path) -> dict[str, Any]:
    """Return the run's request as plain values; nothing if it cannot be read."""
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def is_there(path: Any) -> bool:
    """Return whether a value is the path of something that exists."""
    return isinstance(path, str) and Path(path).is_absolute() and Path(path).exists()


def number_of(ledger: Ledger, folder: Path) -> int:
    """Return the number of the ledger's entry about a run: the one with the same manifest or, without one, request.

    Raises:
        DataError: If there is none.
    """
    name = MANIFEST if (folder / MANIFEST).is_file() else CONFIG
    found = evidence_of(folder, load_key()).get(name)
    for entry in reversed(ledger.entries()):
        is_of_it = entry.content is not None and found is not None and entry.content.evidence.get(name) == found
        if entry.header.is_request and is_of_it:
            return entry.number
    raise DataError(f"an entry of this run in '{ledger.path}'", "none", "leave out --ledger; nothing was removed")


def recorded(ledger: Ledger, folder: Path, number: int | None) -> Entry:
    """Add the purge of a run folder to the ledger, with the hashes of what is left of the evidence."""
    key = load_key()
    return ledger.append("purge", Content(evidence=evidence_of(folder, key)), key=key, of=number)
