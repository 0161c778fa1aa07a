"""Program of the process that reads one pickle: ``_convert_worker.py SOURCE TARGET [KEY]``.

It answers with one line of JSON, ``{"tensors": n, "prefix": taken off}`` or the three parts of an error, and never with
a traceback. It runs isolated (``python -I``), so it puts the folder of this package on ``sys.path`` itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WRAPPER_KEYS = ("state_dict", "model", "model_state_dict", "net")
_PREFIXES = ("module.", "_orig_mod.")
_AVERAGE_COUNT_KEY = "n_averaged"
_HINT = "write it with torch.save(model.state_dict(), path) where the model is at home"


def main(arguments: list[str]) -> int:
    """Convert and answer on the standard output; returns the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from expunge.errors import ExpungeError
    from expunge.weights import save_weights

    source, target, *key = arguments
    try:
        state, prefix = extract_state(load_pickle(source), *key)
        save_weights(state, target)
    except ExpungeError as error:
        return write_answer({"expected": error.expected, "found": error.actual, "cure": error.hint})
    except MemoryError:
        return write_answer(
            {"expected": "memory for the checkpoint", "found": "too little", "cure": "use a larger machine"}
        )
    return write_answer({"tensors": len(state), "prefix": prefix})


def write_answer(parts: Mapping[str, str | int]) -> int:
    """Write one line of JSON and return the exit code that belongs to it."""
    sys.stdout.write(json.dumps(parts) + "\n")
    return 0 if "tensors" in parts else 1


def load_pickle(source: str) -> Any:
    """Return what the pickle holds, if that is tensors and plain containers only."""
    import pickle
    import warnings

    import torch

    from expunge.errors import CheckpointError

    warnings.simplefilter("ignore")
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        actual = f"something else in it ({summarize_error(error)})"
        raise CheckpointError(f"'{source}' to hold tensors only", actual, _HINT) from error
    except Exception as error:  # a damaged pickle fails in many ways
        actual = f"a file that cannot be read ({type(error).__name__}: {summarize_error(error)})"
        raise CheckpointError(f"'{source}' to be a whole checkpoint of torch.save", actual, "fetch it again") from error


def summarize_error(error: Exception) -> str:
    """Return the line of PyTorch's message that names what was refused, or the first one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    text = (named or lines or [type(error).__name__])[0]
    return text.split(" was not an allowed")[0].removeprefix("WeightsUnpickler error: ")[:160].rstrip(".")


def extract_state(loaded: Any, key: str | None = None) -> tuple[dict[str, Any], str]:
    """Return the ``state_dict`` in a checkpoint, without the prefixes of wrappers, and these."""
    from torch import Tensor

    state = dict(unwrap(loaded, key))
    if not state:
        raise build_error("a state_dict of tensors", "no tensor at all", loaded)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise build_error("a state_dict of tensors", f"{type(value).__name__} under '{name}'", loaded)
    return strip_prefixes(state)


def strip_prefixes(state: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return a ``state_dict`` without the prefixes of wrappers that all names share, and these.

    ``AveragedModel`` puts the number of its models beside the names that it prefixes.
    """
    removed = ""
    while prefix := find_common_prefix(state):
        state = {name.removeprefix(prefix): value for name, value in state.items() if name != _AVERAGE_COUNT_KEY}
        removed += prefix
    return state, removed


def find_common_prefix(state: Mapping[str, Any]) -> str:
    """Return the prefix of a wrapper that all names share; empty if there is none."""
    names = [str(name) for name in state if name != _AVERAGE_COUNT_KEY]
    return next((prefix for prefix in _PREFIXES if names and all(name.startswith(prefix) for name in names)), "")


def unwrap(loaded: Any, key: str | None) -> Mapping[str, Any]:
    """Return the mapping under ``key``, or under the first common wrapping that is there, or the checkpoint itself."""
    if not isinstance(loaded, Mapping):
        raise build_error("a state_dict", type(loaded).__name__, {})
    keys = WRAPPER_KEYS if key is None else (key,)
    nested: list[Mapping[str, Any]] = [loaded[name] for name in keys if isinstance(loaded.get(name), Mapping)]
    if key is not None and not nested:
        raise build_error(f"a state_dict under the key '{key}'", "none", loaded)
    return nested[0] if nested else loaded


def build_error(expected: str, actual: str, loaded: Mapping[str, Any]) -> Exception:
    """Return the error, with the checkpoint's mappings as the keys to choose from."""
    from expunge.errors import CheckpointError

    nested = [str(name) for name, value in loaded.items() if isinstance(value, Mapping)]
    hint = f"choose one of the keys {', '.join(nested)} with --state-dict-key (key=)" if nested else _HINT
    return CheckpointError(expected, actual, hint)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
