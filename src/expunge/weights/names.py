"""Names of weights: those of the model inside its wrappers, and prefixes that a file's names share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

WRAPPER_NAMES = {"DataParallel": "module", "DistributedDataParallel": "module", "AveragedModel": "module"}
"""Class of a wrapper → the name of the model in it; a compiled model is known by ``_orig_mod``."""
WRAPPER_SEGMENTS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that only wrappers put in, at whatever depth."""
AVERAGED_COUNT_KEY = "n_averaged"
"""How many models an ``AveragedModel`` has averaged: a number of the wrapper, not of the model."""


def unwrap_state(model: nn.Module) -> dict[str, Any]:
    """Return a model's ``state_dict`` with the names of the model inside its wrappers.

    Wrappers are ``DataParallel``, ``DistributedDataParallel``, ``AveragedModel`` and ``torch.compile``, in any order
    and at any depth.

    Examples:
        >>> list(unwrap_state(nn.DataParallel(nn.Linear(2, 3))))
        ['weight', 'bias']
    """
    state = model.state_dict()
    return {plain: state[name] for name, plain in unwrap_names(model, state).items()}


def unwrap_names(model: nn.Module, state: Mapping[str, Any]) -> dict[str, str]:
    """Return, for each name of a model's state, the name inside its wrappers; their own numbers are left out."""
    inner = dict(_find_wrapped(model))
    if not inner:
        return {name: name for name in state}
    counts = {f"{outer}.{AVERAGED_COUNT_KEY}" if outer else AVERAGED_COUNT_KEY for outer in inner.values()}
    names = {name: _strip_wrappers(name, inner) for name in state if name not in counts}
    # Two names that become one would lose a weight.
    return names if len(set(names.values())) == len(names) else {name: name for name in state}


def _find_wrapped(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the path of every wrapped model with that of its wrapper."""
    for path, module in model.named_modules(remove_duplicate=False):
        name = next(
            (WRAPPER_NAMES[kind.__name__] for kind in type(module).__mro__ if kind.__name__ in WRAPPER_NAMES), ""
        )
        name = "_orig_mod" if isinstance(getattr(module, "_orig_mod", None), nn.Module) else name
        if name:
            yield (f"{path}.{name}" if path else name), path


def _strip_wrappers(name: str, inner: Collection[str]) -> str:
    """Return a name without the parts that lead from a wrapper to the model in it."""
    parts, path = [], ""
    for part in name.split("."):
        path = f"{path}.{part}" if path else part
        if path not in inner:
            parts.append(part)
    return ".".join(parts)


def match_names(state: Mapping[str, Tensor], model_names: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """Return a file's weights with the names that fit a model best, and the prefix that was taken off all of them.

    Examples:
        >>> import torch
        >>> state = {"module._orig_mod.weight": torch.ones(2), "n_averaged": torch.tensor(3)}
        >>> match_names(state, ["weight"])
        ({'weight': tensor([1., 1.])}, 'module._orig_mod.')
    """
    known_names = set(model_names)
    if known_names.issuperset(state):
        return dict(state), ""
    names = {name: name for name in state if name != AVERAGED_COUNT_KEY or AVERAGED_COUNT_KEY in known_names}
    best, removed = dict(names), ""
    for candidate, prefix in _name_candidates(names):
        if len(known_names.intersection(candidate.values())) > len(known_names.intersection(best.values())):
            best, removed = candidate, prefix
    return {plain: state[name] for name, plain in best.items()} if removed else dict(state), removed


def _name_candidates(names: Mapping[str, str]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield names with more and more taken off: what wrappers put in at any depth, then the part that all share."""
    present = [part for part in sorted(WRAPPER_SEGMENTS) if any(part in name.split(".") for name in names)]
    bare = {name: ".".join(part for part in name.split(".") if part not in WRAPPER_SEGMENTS) for name in names}
    for start, removed in ((dict(names), ""), (bare, "".join(f"{part}." for part in present))):
        current = start
        if removed and len(set(current.values())) == len(current):
            yield current, removed
        while current and len({name.partition(".")[0] for name in current.values()}) == 1:
            first = next(iter(current.values())).partition(".")[0]
            if any("." not in name for name in current.values()):
                break
            current = {name: plain.partition(".")[2] for name, plain in current.items()}
            removed = f"{removed}{first}."
            yield current, removed


def describe_removed_prefix(prefix: str, path: object) -> str:
    """Return the sentence that says what was taken off the names of a file."""
    return f"All names in '{path}' carry the prefix '{prefix}' of a wrapper, which was taken off."
