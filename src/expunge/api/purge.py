"""Remove from a run folder what still holds the deleted data, and say what is out of reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.api.audits.leakage import CACHE, FIGURES
from expunge.api.documents import HELD_ELSEWHERE, HELD_HERE, SHOWN
from expunge.api.folder import (
    CONFIG,
    FINISHED,
    GRID,
    HALVES,
    LAST_GOOD,
    ORIGINAL,
    REPORT,
    SAVEPOINTS,
    SHADOWS,
    WRITTEN,
    forget_savepoints,
)
from expunge.api.generative.grids import HOLDS as GRID_HOLDS
from expunge.api.recording import entry_of_run, evidence_of
from expunge.api.saving import finish_saving
from expunge.api.seal import sealed_anew
from expunge.errors import ConfigError, DataError
from expunge.files import (
    HALF,
    half_written,
    is_plain_folder,
    read_plain,
    remove_halves,
    remove_named,
)
from expunge.key import load_key
from expunge.kinds import kinds_checked
from expunge.ledger import Content, Entry, Ledger
from expunge.report import read_document, write_report
from expunge.weights import locked, replacing

LARGEST = 256 * 2**20
BEYOND = (
    "The training data, and every cache and copy of them.",
    "Copies of the run folder, its backups, and disk blocks that the file system has freed but not overwritten.",
)
"""What no purge of a run folder reaches."""

_ORIGINALS = re.compile(r"original(-\d+)?\.safetensors")
_SHADOW = re.compile(rf"[0-9a-f]{{32}}\.(json|safetensors)|\.[0-9a-f]{{32}}\.(json|safetensors){HALF}")


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


@kinds_checked
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
        ConfigError: If it is no run folder, or a run is at work in it.
        DataError: If a file cannot be read or removed, or the ledger has no entry of this run.
    """
    place, book = Path(folder), None if ledger is None else Ledger(ledger)
    finish_saving(place)
    check_run_folder(place)
    with locked(place, "wait for the run to end, or stop it, and purge then"):
        return purged(place, book)


def check_run_folder(place: Path) -> None:
    """Refuse a folder that no run has written.

    Raises:
        ConfigError: If it is one.
    """
    if not any((place / name).is_file() for name in (*WRITTEN, ORIGINAL)) and not (place / SHADOWS).is_dir():
        raise ConfigError("a run folder", f"none of a run's files in '{place}'", "name the folder that a run wrote")


def purged(place: Path, book: Ledger | None) -> Purged:
    """Purge a run folder that nobody else is at work in."""
    number = None if book is None else number_of(book, place)
    try:
        halves = half_written(place, HALVES)
        told, removed = without_pictures(place), [path.name for path in holding(place)]
        for path in holding(place):
            path.unlink(missing_ok=True)
        remove_halves(place, HALVES)
        removed += [path.name for path in halves if not path.exists()]
        removed += [*without_shadows(place), *(["the run's savepoints"] if forget_savepoints(place) else [])]
    except OSError as error:
        found = f"'{error.filename}' ({error.strerror})"
        raise DataError("files that can be removed", found, "mend its rights, and purge again") from error
    words = (*(["the pictures in the report"] if told else []), *removed)
    entry = None if book is None else recorded(book, place, number)
    return Purged(words, (*elsewhere(place), *BEYOND), entry)


def holding(folder: Path) -> list[Path]:
    """Return the files right in a run folder that hold the deleted data, or may, and links under their names."""
    found = (path for path in folder.iterdir() if path.is_symlink() or path.is_file())
    return sorted(path for path in found if path.name in (GRID, LAST_GOOD) or _ORIGINALS.fullmatch(path.name))


def without_shadows(folder: Path) -> list[str]:
    """Remove the shadow models, most of which know forgotten examples, and say so; the audit's figures stay."""
    cache = folder / SHADOWS / CACHE
    if (folder / SHADOWS).is_symlink() or not is_plain_folder(cache):
        return []
    removed = sum(remove_named(place, _SHADOW) for place in (*sorted(cache.iterdir()), cache))
    return ["the shadow models of the audit"] if removed else []


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
            told = json.dumps(sealed_anew(document, folder), indent=1, allow_nan=False)
            temporary.write_text(told + "\n", encoding="utf-8")
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
    try:
        found = json.loads(read_plain(path, LARGEST))
    except OSError as error:
        raise DataError(expected, f"'{path}' ({error.strerror})", cure) from error
    except (ValueError, RecursionError) as error:
        raise DataError(expected, f"'{path}', which is no JSON", cure) from error
    read_document(found)
    return dict(found)


def elsewhere(folder: Path) -> list[str]:
    """Return what the run's request names outside its folder that holds the data, as far as it is still there."""
    told = mapping_in(folder / CONFIG)
    latents = told.get("latents")
    cache = latents.get("cache") if isinstance(latents, dict) else None
    named = {"The original's weights": ("checkpoint", "model"), "The cache of latents": ("cache",)}
    values = {**told, "cache": cache}
    found = [f"{what}, '{values[key]}'." for what, keys in named.items() for key in keys if is_there(values.get(key))]
    if not any("original" in line for line in found):
        found.insert(0, "The original's weights, wherever they are.")
    if is_there(told.get("checkpoint")):
        kept = Path(told["checkpoint"])
        found += [f"Half-written weights of the original, '{path}'." for path in half_written(kept.parent, [kept.name])]
    shadows = mapping_in(folder / SHADOWS / FIGURES).get(CACHE)
    found += [f"The shadow models of the audit, '{shadows}'."] if is_there(shadows) else []
    links = (folder / SAVEPOINTS, folder / SHADOWS, folder / SHADOWS / CACHE)
    return found + [f"What the link '{path}' leads to." for path in links if path.is_symlink()]


def mapping_in(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file of the run folder; nothing if it cannot be read."""
    try:
        told = json.loads(read_plain(path, LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def is_there(path: Any) -> bool:
    """Return whether a value is the path of something that exists."""
    try:
        return isinstance(path, str) and Path(path).is_absolute() and Path(path).exists()
    except (OSError, ValueError):
        return False


def number_of(ledger: Ledger, folder: Path) -> int:
    """Return the number of the ledger's entry about a run.

    Raises:
        DataError: If there is none.
    """
    entry = entry_of_run(ledger.entries(), folder, load_key())
    if entry is None:
        raise DataError(f"an entry of this run in '{ledger.path}'", "none", "leave out --ledger; nothing was removed")
    return entry.number


def recorded(ledger: Ledger, folder: Path, number: int | None) -> Entry:
    """Add the purge of a run folder to the ledger, with the hashes of what is left of the evidence."""
    key = load_key()
    return ledger.append("purge", Content(evidence=evidence_of(folder, key)), key=key, of=number)
