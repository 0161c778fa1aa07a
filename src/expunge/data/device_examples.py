"""Examples kept on the device of a model: moved there once, gathered, normalized and augmented there batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Split, map_tensors
from expunge.data.augment import Augment, crop_flip, none
from expunge.data.examples import Subset, get_root
from expunge.data.tensor_examples import TensorExamples, normalize_values
from expunge.errors import ConfigError

GIB = 2**30
MAX_CACHE_GIB = 2.0
"""GiB of examples on one device, unless ``device_cache_limit`` says otherwise."""
MAX_FREE_MEMORY_FRACTION = 0.25
"""Of the memory that is free on the device: the rest is the model's."""

_cache_limit_gib: ContextVar[float] = ContextVar("most", default=MAX_CACHE_GIB)
_cached_examples: WeakValueDictionary[tuple[int, torch.device], DeviceExamples] = WeakValueDictionary()


class DeviceExamples:
    """The examples of a ``TensorExamples`` on a device: the same batches, made there.

    Labels and lengths are answered where they were, so that nothing waits for the device; a batch is wholly on it.

    Args:
        source: The examples.
        device: Where they go.

    Examples:
        >>> near = DeviceExamples(TensorExamples(torch.ones(3, 1), [0, 1, 0]), torch.device("cpu"))
        >>> near.batch(torch.tensor([1])).targets
        tensor([1])
    """

    def __init__(self, source: TensorExamples, device: torch.device) -> None:
        self.source, self.device, self.targets = source, device, source.targets
        self.source_state, self.source_tensors = (
            _content_state(source),
            _collect_tensors(source),
        )  # an id means something while they live
        self.inputs = map_tensors(source.inputs, lambda values: values.to(device))
        self.batch_targets = source.batch_targets.to(device)
        self.scale = None if source.scale is None else source.scale.to(device)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.source)

    @property
    def augment(self) -> Augment:
        """What training may do to a batch of inputs."""
        return self.source.augment

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, which may be anywhere, on the device; without waiting for it."""
        at = indices.to(self.device, non_blocking=True)
        inputs = map_tensors(self.inputs, lambda values: normalize_values(values.index_select(0, at), self.scale))
        return Batch(inputs, self.batch_targets.index_select(0, at), at)


@contextmanager
def device_cache_limit(gib: float) -> Iterator[None]:
    """Move examples to an accelerator only up to so many GiB inside the context; 0 moves none.

    Args:
        gib: GiB on each device, of 2³⁰ bytes, at least 0. Default outside of any such context: 2.

    Raises:
        ConfigError: If it is negative.

    Examples:
        >>> with device_cache_limit(0.5):
        ...     max_cache_bytes(None)
        0
    """
    if not gib >= 0:
        raise ConfigError("0 GiB or more of examples on the device", f"{gib}", "use 0 to move none")
    token = _cache_limit_gib.set(gib)
    try:
        yield
    finally:
        _cache_limit_gib.reset(token)


def to_device(examples: Examples, device: torch.device, augment: Callable[..., Any] | None = None) -> Examples:
    """Return the same examples, read on the device where that is possible and they fit; else as they are.

    Examples that are on the device already for somebody else are shared, a subset with its root. They leave it with the
    last who holds what is returned here.

    Args:
        examples: ``TensorExamples`` and subsets of them go; others are returned as they are.
        device: Of the model. On the CPU examples stay as they are.
        augment: What will be done to batches of them, which has to work on any device: ``crop_flip``, ``none``, or one
            with a true attribute ``any_device``. Default: nothing.

    Examples:
        >>> examples = TensorExamples(torch.ones(3, 1), [0, 1, 0])
        >>> to_device(examples, torch.device("cpu")) is examples
        True
    """
    root = get_root(examples)
    if is_cpu(device) or not isinstance(root, TensorExamples) or not supports_any_device(augment):
        return examples
    device_examples = copy_to_device(torch.empty(0, device=device).device, root)  # "cuda" is "cuda:0"
    if device_examples is None:
        return examples
    return Subset(device_examples, examples.positions) if isinstance(examples, Subset) else device_examples


@contextmanager
def device_cache(device: torch.device, *examples: Examples) -> Iterator[None]:
    """Keep examples on the device inside the context, for all who ask for them there one after another.

    Args:
        device: The device.
        examples: Those that ``to_device`` would move.

    Examples:
        >>> with device_cache(torch.device("cpu"), TensorExamples(torch.ones(3, 1), [0, 1, 0])):
        ...     pass
    """
    cached_examples = [to_device(part, device) for part in examples]
    try:
        yield
    finally:
        cached_examples.clear()


def move_split_to_device(split: Split, device: torch.device) -> Split:
    """Return a split whose examples are read on the device and augmented there, as far as ``to_device`` allows."""

    def move(examples: Examples) -> Examples:
        return to_device(examples, device, getattr(examples, "augment", None))

    holdout = None if split.holdout is None else move(split.holdout)
    return replace(split, forget=move(split.forget), retain=move(split.retain), holdout=holdout)


def to_host(examples: Examples) -> Examples:
    """Return the examples as they were before ``to_device``.

    Examples:
        >>> examples = TensorExamples(torch.ones(3, 1), [0, 1, 0])
        >>> to_host(DeviceExamples(examples, torch.device("cpu"))) is examples
        True
    """
    root = get_root(examples)
    if not isinstance(root, DeviceExamples):
        return examples
    return Subset(root.source, examples.positions) if isinstance(examples, Subset) else root.source


def move_split_to_host(split: Split) -> Split:
    """Return a split whose examples are as they were before ``move_split_to_device``."""
    holdout = None if split.holdout is None else to_host(split.holdout)
    return replace(split, forget=to_host(split.forget), retain=to_host(split.retain), holdout=holdout)


def is_cpu(device: torch.device) -> bool:
    """Return whether examples are where the model is anyway."""
    return device.type == "cpu"


def supports_any_device(augment: Callable[..., Any] | None) -> bool:
    """Return whether an augmentation takes inputs on any device; a user's own says so by an attribute."""
    return augment is None or augment is none or augment is crop_flip or getattr(augment, "any_device", False) is True


def copy_to_device(device: torch.device, root: TensorExamples) -> DeviceExamples | None:
    """Return the examples on the device, moved unless they are there; None where they do not fit."""
    existing = _cached_examples.get((id(root), device))
    if existing is not None and existing.source_state == _content_state(root):
        return existing
    used_bytes = sum(count_bytes(other.source) for other in list(_cached_examples.values()) if other.device == device)
    if count_bytes(root) > max_cache_bytes(free_memory(device)) - used_bytes:
        return None
    try:
        device_examples = _cached_examples[id(root), device] = DeviceExamples(root, device)
    except RuntimeError:  # the allocator knows best, and each kind of device has its own class of error
        return None
    return device_examples


def _content_state(examples: TensorExamples) -> tuple[Any, ...]:
    """Return what tells whether examples hold what they held: their tensors, how often those changed, and the scale."""
    versions = [(id(part), None if part.is_inference() else part._version) for part in _collect_tensors(examples)]
    return examples.scale, *versions


def _collect_tensors(examples: TensorExamples) -> list[Tensor]:
    own = [] if examples.batch_targets is examples.targets else [examples.batch_targets]
    parts = [examples.targets, *own]

    def note(values: Tensor) -> Tensor:
        parts.append(values)
        return values

    map_tensors(examples.inputs, note)
    return parts


def count_bytes(examples: TensorExamples) -> int:
    """Return the bytes that examples take on a device."""
    return sum(part.nbytes for part in _collect_tensors(examples))


def max_cache_bytes(free: int | None) -> int:
    """Return the most bytes of examples on a device with so many free bytes; none where that is not known."""
    return 0 if free is None else int(min(_cache_limit_gib.get() * GIB, MAX_FREE_MEMORY_FRACTION * free))


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on an accelerator, those in torch's own store included; None if not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
