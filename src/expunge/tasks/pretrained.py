"""Folders of ``save_pretrained`` and ``save_to_disk`` that somebody else wrote: checked before a library opens them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expunge.errors import CheckpointError, ExpungeError
from expunge.weights import check_header

MAX_FILES = 10_000
MAX_JSON_BYTES = 64 * 2**20
"""Bytes; a tokenizer's vocabulary is the largest."""
MAX_CONFIG_NUMBER = 2**24
MAX_LAYERS, MAX_BLOCKS = 200, 64
CONFIG_FILES = ("config.json", "scheduler_config.json")
MAPPING_FILES = (*CONFIG_FILES, "model_index.json", "preprocessor_config.json", "tokenizer_config.json", "state.json")
WEIGHTS_FILE_PATTERN = re.compile(r"(?:diffusion_pytorch_)?model(?:\.([A-Za-z]\w*))?(?:-\d+-of-\d+)?\.safetensors")
"""Files whose numbers say what is built."""
SHADOWING_FILES = frozenset(("diffusers.py", "transformers.py", "stable_diffusion.py"))
"""Names under which older versions of diffusers take code from a part's folder instead of the library."""
HINT = "get the folder from whom you trust, as it was saved"


def check_pretrained(folder: Path, *subfolders: str) -> None:
    """Refuse a folder that leads elsewhere, holds code in the place of a library, or promises what it does not hold.

    Its links stay inside it (or lead to the store of a Hugging Face cache, if it is a snapshot there), it holds plain
    files alone, the headers of its weights fit their files, the files that its indices name are beside them, and what
    its configurations would have built is bounded.
    """
    allowed_roots = find_allowed_roots(folder)
    paths = (path for part in subfolders or (".",) for path in iter_paths(folder / part))
    for number, path in enumerate(paths):
        if number == MAX_FILES:
            raise folder_error(f"at most {MAX_FILES} files", "more", folder)
        check_location(path, allowed_roots)
        if path.suffix == ".safetensors":
            check_header(path)
        elif path.name in SHADOWING_FILES:
            raise folder_error("a model without code", f"'{path.name}'", folder)
        elif path.suffix == ".json":
            check_json(path)


def iter_paths(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder but folders that are no links; a folder that is a link yields itself."""
    if folder.name and folder.is_symlink():
        yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in files)
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def find_allowed_roots(folder: Path) -> tuple[Path, ...]:
    """Return where the files of a folder may lie."""
    real = Path(os.path.realpath(folder))
    hub = real.parent.name == "snapshots" and real.parent.parent.name.startswith("models--")
    return (real, real.parent.parent / "blobs") if hub else (real,)


def check_location(path: Path, allowed_roots: tuple[Path, ...]) -> None:
    """Refuse a link that leads elsewhere, and what is no plain file: a pipe would never end."""
    real = Path(os.path.realpath(path))  # unlike resolve() no error where a link leads to itself
    if not any(real.is_relative_to(home) for home in allowed_roots):
        raise folder_error(
            "links that stay inside the folder", f"'{path.name}', which leads out of it", allowed_roots[0]
        )
    if not (real.is_file() or real.is_dir()):
        raise folder_error("plain files", f"'{path.name}'", allowed_roots[0])


def check_json(path: Path) -> None:
    """Refuse JSON that is endless, and configurations and indices whose content is."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise folder_error(f"JSON of at most {MAX_JSON_BYTES >> 20} MiB", f"more in '{path.name}'", path.parent)
    if path.name in MAPPING_FILES:
        check_mapping(read_json(path), path)
    if path.name in CONFIG_FILES:
        check_numbers(read_json(path), "", path)
    elif path.name.endswith(".index.json"):
        check_shards(read_json(path), path)
    elif path.name == "state.json":
        check_data_files(read_json(path), path)


def check_mapping(value: Any, path: Path) -> None:
    """Refuse a configuration that is no mapping."""
    if not isinstance(value, dict):
        raise folder_error(f"a mapping of settings in '{path.name}'", f"{type(value).__name__}", path.parent)


def find_variant(folder: Path) -> str | None:
    """Return the variant of the weights in a folder, such as ``fp16``; None where there are plain ones too, or no one.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     Path(name, "diffusion_pytorch_model.fp16.safetensors").touch()
        ...     find_variant(Path(name))
        'fp16'
    """
    named = [WEIGHTS_FILE_PATTERN.fullmatch(path.name) for path in folder.glob("*.safetensors")]
    variants = {match[1] for match in named if match is not None}
    return variants.pop() if len(variants) == 1 else None


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise folder_error(f"JSON in '{path.name}'", type(error).__name__, path.parent) from error


def check_numbers(value: Any, key: str, path: Path) -> None:
    """Refuse numbers of layers, blocks and anything else that no model has."""
    limit = MAX_LAYERS if "layers" in key else MAX_CONFIG_NUMBER
    if isinstance(value, int) and abs(value) > limit:
        raise folder_error(f"'{key}' of at most {limit} in '{path.name}'", "more", path.parent)
    if isinstance(value, list) and "block" in key and len(value) > MAX_BLOCKS:
        raise folder_error(f"at most {MAX_BLOCKS} blocks in '{path.name}'", f"{len(value)}", path.parent)
    for name, part in value.items() if isinstance(value, dict) else ():
        check_numbers(part, name, path)
    for part in value if isinstance(value, list) else ():
        check_numbers(part, key, path)


def check_shards(index: Any, path: Path) -> None:
    """Refuse an index of weights that names files elsewhere."""
    names = index.get("weight_map") if isinstance(index, dict) else None
    check_file_names(list(names.values()) if isinstance(names, dict) else [None], path)


def check_data_files(state: Any, path: Path) -> None:
    """Refuse a saved data set whose parts lie elsewhere."""
    files = state.get("_data_files") if isinstance(state, dict) else None
    parts = files if isinstance(files, list) else [None]
    check_file_names([part.get("filename") if isinstance(part, dict) else None for part in parts], path)


def check_file_names(names: list[Any], path: Path) -> None:
    """Refuse names in a file that are not those of files beside it."""
    for name in names:
        if not isinstance(name, str) or name in ("", "..") or Path(name).name != name or "\\" in name:
            raise folder_error(f"names of files beside it in '{path.name}'", f"{name!r}", path.parent)


def folder_error(expected: str, actual: str, folder: Path) -> CheckpointError:
    return CheckpointError(f"{expected} in '{folder}'", actual, HINT)


@contextmanager
def library_error_translation(expected: str, hint: str) -> Iterator[None]:
    """Turn whatever a library raises over somebody's files into one sentence; its readers fail in many ways."""
    try:
        yield
    except ExpungeError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise CheckpointError(expected, first[:300], hint) from error
