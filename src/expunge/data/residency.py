"""Examples kept on the device of a model: moved there once, gathered, normalised and augmented there batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from expunge.batch import Batch, Examples, Split, on_tensors
from expunge.data.augment import Augment, crop_flip, none
from expunge.data.examples import Subset, root_of
from expunge.data.tensor_examples import TensorExamples, as_numbers
from expunge.errors import ConfigError

GIB = 2**30
MOST = 2.0
"""GiB of examples on one device, unless ``resident_up_to`` says otherwise."""
SHARE = 0.25
"""Of the memory that is free on the device: the rest is the model's."""

_most: ContextVar[float] = ContextVar("most", default=MOST)
_alive: WeakValueDictionary[tuple[int, torch.device], Resident] = WeakValueDictionary()


class Resident:
    """The examples of a ``TensorExamples`` on a device: the same batches, made there.

    Labels and lengths are answered where they were, so that nothing waits for the device; a batch is wholly on it.

    Args:
        source: The examples.
        device: Where they go.

    Examples:
        >>> near = Resident(TensorExamples(torch.ones(3, 1), [0, 1, 0]), torch.device("cpu"))
        >>> near.batch(torch.tensor([1])).targets
        tensor([1])
    """

    def __init__(self, source: TensorExamples, device: torch.device) -> None:
        self.source, self.device, self.targets = source, device, source.targets
        self.moved, self.originals = _contents(source), _tensors(source)  # an id means something while they live
        self.inputs = on_tensors(source.inputs, lambda values: values.to(device))
        self.labels = source.targets.to(device)
        self.scale = None if source.scale is None else source.scale.on(device)

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
        inputs = on_tensors(self.inputs, lambda values: as_numbers(values.index_select(0, at), self.scale))
        return Batch(inputs, self.labels.index_select(0, at), at)


@contextmanager
def resident_up_to(gib: float) -> Iterator[None]:
    """Move examples to an accelerator only up to so many GiB inside the context; 0 moves none.

    Args:
        gib: GiB on each device, of 2³⁰ bytes, at least 0. Default outside of any such context: 2.

    Raises:
        ConfigError: If it is negative.

    Examples:
        >>> with resident_up_to(0.5):
        ...     limit(None)
        0
    """
    if not gib >= 0:
        raise ConfigError("0 GiB or more of examples on the device", f"{gib}", "use 0 to move none")
    before = _most.set(gib)
    try:
        yield
    finally:
        _most.reset(before)


def resident(examples: Examples, device: torch.device, augment: Callable[..., Any] | None = None) -> Examples:
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
        >>> resident(examples, torch.device("cpu")) is examples
        True
    """
    root = root_of(examples)
    if stays(device) or type(root) is not TensorExamples or not goes_anywhere(augment):
        return examples
    found = copy_on(torch.empty(0, device=device).device, root)  # "cuda" is "cuda:0"
    if found is None:
        return examples
    return Subset(found, examples.positions) if isinstance(examples, Subset) else found


@contextmanager
def kept_on(device: torch.device, *examples: Examples) -> Iterator[None]:
    """Keep examples on the device inside the context, for all who ask for them there one after another.

    Args:
        device: The device.
        examples: Those that ``resident`` would move.

    Examples:
        >>> with kept_on(torch.device("cpu"), TensorExamples(torch.ones(3, 1), [0, 1, 0])):
        ...     pass
    """
    near = [resident(part, device) for part in examples]
    try:
        yield
    finally:
        near.clear()


def resident_split(split: Split, device: torch.device) -> Split:
    """Return a split whose examples are read on the device and augmented there, as far as ``resident`` allows."""

    def moved(examples: Examples) -> Examples:
        return resident(examples, device, getattr(examples, "augment", None))

    held = None if split.holdout is None else moved(split.holdout)
    return replace(split, forget=moved(split.forget), retain=moved(split.retain), holdout=held)


def at_home(examples: Examples) -> Examples:
    """Return the examples as they were before ``resident``.

    Examples:
        >>> examples = TensorExamples(torch.ones(3, 1), [0, 1, 0])
        >>> at_home(Resident(examples, torch.device("cpu"))) is examples
        True
    """
    root = root_of(examples)
    if not isinstance(root, Resident):
        return examples
    return Subset(root.source, examples.positions) if isinstance(examples, Subset) else root.source


def split_at_home(split: Split) -> Split:
    """Return a split whose examples are as they were before ``resident_split``."""
    held = None if split.holdout is None else at_home(split.holdout)
    return replace(split, forget=at_home(split.forget), retain=at_home(split.retain), holdout=held)


def stays(device: torch.device) -> bool:
    """Return whether examples are where the model is anyway."""
    return device.type == "cpu"


def goes_anywhere(augment: Callable[..., Any] | None) -> bool:
    """Return whether an augmentation takes inputs on any device; a user's own says so by an attribute."""
    return augment is None or augment is none or augment is crop_flip or getattr(augment, "any_device", False) is True


def copy_on(device: torch.device, root: TensorExamples) -> Resident | None:
    """Return the examples on the device, moved unless they are there; None where they do not fit."""
    known = _alive.get((id(root), device))
    if known is not None and known.moved == _contents(root):
        return known
    taken = sum(weight(other.source) for other in list(_alive.values()) if other.device == device)
    if weight(root) > limit(free_memory(device)) - taken:
        return None
    try:
        found = _alive[id(root), device] = Resident(root, device)
    except RuntimeError:  # the allocator knows best, and each kind of device has its own class of error
        return None
    return found


def _contents(examples: TensorExamples) -> tuple[Any, ...]:
    """Return what tells whether examples hold what they held: their tensors, how often those changed, and the scale."""
    held = [(id(part), None if part.is_inference() else part._version) for part in _tensors(examples)]
    return examples.scale, *held


def _tensors(examples: TensorExamples) -> list[Tensor]:
    parts = [examples.targets]

    def note(values: Tensor) -> Tensor:
        parts.append(values)
        return values

    on_tensors(examples.inputs, note)
    return parts


def weight(examples: TensorExamples) -> int:
    """Return the bytes that examples take on a device."""
    return sum(part.nbytes for part in _tensors(examples))


def limit(free: int | None) -> int:
    """Return the most bytes of examples on a device with so many free bytes; none where that is not known."""
    return 0 if free is None else int(min(_most.get() * GIB, SHARE * free))


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on an accelerator, those in torch's own store included; None if not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
