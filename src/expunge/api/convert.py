"""The one door for pickled weights: read in a process of its own, written as safetensors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from expunge.engine.run_options import noop
from expunge.errors import CheckpointError
from expunge.type_checks import check_argument_types
from expunge.weights import atomic_write, describe_removed_prefix, is_safetensors

_WORKER = Path(__file__).with_name("_convert_worker.py")


@check_argument_types
def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    key: str | None = None,
    *,
    overwrite: bool = False,
    limit_s: float = 600.0,
    on_message: Callable[[str], None] = noop,
) -> int:
    """Turn a pickled checkpoint into a safetensors file.

    The pickle is read by ``torch.load(weights_only=True)`` in an isolated Python process, which builds tensors and
    plain containers and calls nothing else that the file names.

    Args:
        source: A file of ``torch.save`` that holds a ``state_dict``, plain or under ``state_dict``, ``model``,
            ``model_state_dict`` or ``net``. Prefixes ``module.`` and ``_orig_mod.`` that all keys share are taken off.
        target: The safetensors file to write.
        key: Where in the checkpoint the ``state_dict`` is; found by itself by default.
        overwrite: Whether a file named ``target`` may be replaced.
        limit_s: Seconds after which the process is ended.
        on_message: Called with a sentence if a prefix was taken off.

    Returns:
        The number of tensors that were written.

    Raises:
        CheckpointError: If the source is missing, holds anything but tensors, is damaged or takes too long, or the
            target exists; the target is then not written.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise CheckpointError(f"a checkpoint at '{source}'", "none", "check the path")
    if is_safetensors(source):
        raise CheckpointError(f"a pickled checkpoint at '{source}'", "that it is safetensors", "use it as it is")
    with atomic_write(target, overwrite=overwrite) as temporary:
        written = temporary.with_name("written.safetensors")
        answer = _run_worker(source, written, key, limit_s)
        if "tensors" not in answer:
            raise CheckpointError(str(answer["expected"]), str(answer["found"]), str(answer["cure"]))
        written.replace(temporary)
    if answer["prefix"]:
        on_message(describe_removed_prefix(str(answer["prefix"]), source))
    return int(answer["tensors"])


def _run_worker(source: Path, written: Path, key: str | None, limit_s: float) -> dict[str, str | int]:
    """Run the worker and return its answer: the number of tensors, or the three parts of an error."""
    command = [sys.executable, "-I", str(_WORKER), str(source), str(written), *([key] if key is not None else [])]
    expected, nothing = f"to read '{source}'", subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=nothing, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        actual = f"no end after {limit_s:g} s"
        return {"expected": expected, "found": actual, "cure": "check the file, or allow more time"}
    try:
        answer: dict[str, str | int] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        actual = f"that the reading process ended with code {done.returncode}"
        return {"expected": expected, "found": actual, "cure": "check that the file is whole and fits into memory"}
    return answer
