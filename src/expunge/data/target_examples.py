"""Examples whose targets are numbers: values to predict, or labels of which an example may carry several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset as TorchSubset

from expunge.batch import Batch, Examples, map_tensors
from expunge.data.augment import Augment
from expunge.data.dataset_examples import DatasetExamples, collate_inputs
from expunge.data.examples import Subset, as_examples, attach_ids, get_root, get_root_indices
from expunge.data.labels import as_tensor, read_item
from expunge.data.tensor_examples import Normalize, TensorExamples
from expunge.errors import DataError

READ_SIZE = 256


class TargetExamples(TensorExamples):
    """Examples in memory whose targets are numbers, ``(n,)`` or ``(n, k)``.

    Args:
        inputs: A tensor ``(n, ...)`` or a mapping of such tensors.
        targets: What a model is to predict, finite numbers.
        names: Names of the k columns, if they have any.
        augment: What training may do to a batch of inputs.
        scale: Normalization of the inputs, see ``TensorExamples``.
        groups: Group of each example, ``(n,)``, in the place of a class. Default: all are in group 0.

    Raises:
        DataError: If targets are no finite numbers, or not one row for each example.

    Examples:
        >>> rows = TargetExamples(torch.rand(3, 2), [0.5, 1.5, -2.0])
        >>> rows.targets, rows.batch(torch.tensor([2])).targets
        (tensor([0, 0, 0]), tensor([[-2.]]))
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        names: Sequence[str] | None = None,
        augment: Augment | None = None,
        *,
        scale: Normalize | None = None,
        groups: Any = None,
    ) -> None:
        values = as_values(targets)
        zeros = torch.zeros(len(values), dtype=torch.int64) if groups is None else groups
        super().__init__(inputs, zeros, names, augment, scale=scale)
        self.batch_targets = values


class TargetDatasetExamples(DatasetExamples):
    """The examples of a map-style data set whose items are pairs ``(input, target)`` of numbers.

    A mapping has its target under ``target``, ``targets``, ``label`` or ``labels``.

    Args:
        dataset: Anything with a length and items by number.
        groups: Group of each example, ``(n,)``. Default: all are in group 0.

    Examples:
        >>> TargetDatasetExamples([(torch.zeros(2), 0.5)]).batch(torch.tensor([0])).targets
        tensor([[0.5000]])
    """

    def __init__(self, dataset: Any, groups: Tensor | None = None) -> None:
        super().__init__(dataset, [0] * len(dataset) if groups is None else groups)

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, collated."""
        items = [split_target(item) for item in read_item(self.dataset, indices.tolist() or [0])]
        inputs = map_tensors(collate_inputs([inputs for inputs, _ in items]), lambda tensor: tensor[: len(indices)])
        return Batch(inputs, as_values([target for _, target in items])[: len(indices)], indices)


def split_target(item: Any) -> tuple[Any, Any]:
    """Return the input and the target of an item."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    names = [name for name in ("target", "targets", "label", "labels") if isinstance(item, Mapping) and name in item]
    if not names:
        raise DataError("items (input, target), or mappings with 'target'", type(item).__name__, "wrap the data set")
    return {key: value for key, value in item.items() if key != names[0]}, item[names[0]]


def as_values(targets: Any) -> Tensor:
    """Return targets as finite numbers, ``(n, k)`` float32; float64 stays."""
    hint = "pass one number, or a row of as many numbers, for each example"
    try:
        values = torch.stack([as_tensor(one) for one in targets]) if isinstance(targets, list) else as_tensor(targets)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError("targets as numbers", type(targets).__name__, hint) from error
    if values.is_complex() or values.is_meta or values.layout != torch.strided or values.ndim not in (1, 2):
        raise DataError("targets (n,) or (n, k)", f"{values.dtype} of shape {tuple(values.shape)}", hint)
    values = values if values.is_floating_point() else values.float()
    values = (values.float() if values.dtype.itemsize < 4 else values).reshape(len(values), -1)
    if not bool(torch.isfinite(values).all()):
        broken = int((~torch.isfinite(values)).any(1).sum())
        raise DataError("finite targets", f"NaN or infinity in {broken:,} examples", "leave these examples out")
    return values


def as_target_examples(dataset: Any) -> Examples:
    """Return ``dataset`` as examples whose targets are numbers.

    Args:
        dataset: What ``expunge.data.as_examples`` takes; labels of examples in memory are taken for numbers.

    Raises:
        DataError: If it is none of these, or a target is no finite number.

    Examples:
        >>> as_target_examples((torch.rand(2, 3), torch.tensor([0.25, 4.0]))).batch(torch.arange(2)).targets.flatten()
        tensor([0.2500, 4.0000])
    """
    arrays = getattr(dataset, "tensors", dataset)
    is_pair = isinstance(arrays, tuple) and len(arrays) == 2 and all(hasattr(one, "shape") for one in arrays)
    if is_pair:
        return attach_ids(dataset, TargetExamples(*arrays))
    if type(dataset) is TorchSubset:
        return Subset(as_target_examples(dataset.dataset), list(dataset.indices))
    if isinstance(dataset, Subset):
        return Subset(as_target_examples(dataset.root), dataset.positions)
    if isinstance(dataset, TargetExamples | TargetDatasetExamples):
        return dataset
    if isinstance(dataset, TensorExamples):
        settings: dict[str, Any] = {"names": dataset.names, "augment": dataset.augment, "scale": dataset.scale}
        return attach_ids(dataset, TargetExamples(dataset.inputs, dataset.targets, **settings))
    if isinstance(dataset, DatasetExamples):
        return attach_ids(dataset, TargetDatasetExamples(dataset.dataset))
    examples = as_examples(dataset)
    return attach_ids(dataset, TargetDatasetExamples(dataset)) if isinstance(examples, DatasetExamples) else examples


def read_values(examples: Examples) -> Tensor:
    """Return the targets of all examples, ``(n, k)`` on the CPU.

    Examples:
        >>> read_values(TargetExamples(torch.rand(2, 3), [0.25, 4.0])).flatten()
        tensor([0.2500, 4.0000])
    """
    root = get_root(examples)
    if isinstance(root, TargetExamples):
        return root.batch_targets[examples.positions] if isinstance(examples, Subset) else root.batch_targets
    parts = [examples.batch(part).targets.cpu() for part in torch.arange(len(examples)).split(READ_SIZE)]
    return torch.cat(parts).reshape(len(examples), -1)


def find_members(examples: Examples, groups: Sequence[int]) -> Tensor:
    """Return which examples are of one of some groups, ``(n,)`` bool; one with several labels is of several.

    Examples:
        >>> find_members(TensorExamples(torch.rand(3, 2), [0, 4, 1]), [1, 4])
        tensor([False,  True,  True])
    """
    table = getattr(get_root(examples), "memberships", None)
    wanted = torch.tensor(groups, dtype=torch.int64)
    if table is None:
        return torch.isin(examples.targets, wanted)
    members: Tensor = table[get_root_indices(examples)]
    return members[:, wanted[(wanted >= 0) & (wanted < members.shape[1])]].any(1)


def list_groups(examples: Examples) -> list[int]:
    """Return the groups that some of the examples are of.

    Examples:
        >>> list_groups(TensorExamples(torch.rand(3, 2), [0, 4, 1]))
        [0, 1, 4]
    """
    table = getattr(get_root(examples), "memberships", None)
    if table is None:
        return [int(group) for group in examples.targets.unique()]
    return [int(group) for group in table[get_root_indices(examples)].any(0).nonzero().flatten()]


def regroup(
    examples: Examples,
    find_groups: Callable[[Tensor], Tensor],
    find_memberships: Callable[[Tensor], Tensor] | None = None,
) -> Examples:
    """Return the same examples in other groups, which count in the place of classes.

    Args:
        examples: From ``as_target_examples``; examples of another kind keep their groups.
        find_groups: Takes the targets ``(n, k)`` of examples and returns the group of each, ``(n,)`` int64.
        find_memberships: Returns all groups that each is of, ``(n, groups)`` bool. Default: the one.

    Examples:
        >>> rows = TargetExamples(torch.rand(2, 3), [0.25, 4.0])
        >>> regroup(Subset(rows, [1]), lambda values: (values[:, 0] > 1).long()).targets
        tensor([1])
    """
    root: Any = copy(get_root(examples))
    if not isinstance(root, TargetExamples | TargetDatasetExamples):
        return examples
    values = read_values(root)
    if isinstance(root, TargetDatasetExamples):
        root = attach_ids(root, TargetDatasetExamples(root.dataset, find_groups(values)))
    else:
        root.targets = find_groups(values)
    root.memberships = None if find_memberships is None else find_memberships(values)
    return Subset(root, examples.positions) if isinstance(examples, Subset) else root
