"""What is checked before anything is touched: the two sides, the model, and both together on a few examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from expunge.api.coincidence import describe_repetition, is_coincidence
from expunge.batch import Batch, Examples, Predictor, Split, device_of, map_tensors
from expunge.data import check_labels, find_copies, find_duplicates, get_root, get_root_indices
from expunge.errors import DataError, ModelError, NotFiniteError, RequestError
from expunge.forward import check_grad_enabled
from expunge.metrics.inference import preserving_state
from expunge.tasks.model_check import check_trainable, validate_logits

NUM_PROBE_EXAMPLES = 64
"""Examples of each side that are read and passed through the model beforehand."""


def validate_split(
    predict: Predictor,
    forget: Examples,
    retain: Examples,
    holdout: Examples | None = None,
    *,
    trainable: bool = True,
    count_classes: Callable[..., int | None] | None = None,
) -> Split:
    """Return the split, after everything that can be checked without a training step has been.

    The model is left as it was, buffers and modes included.
    """
    caveat = check_sides(forget, retain, holdout)
    check_weights(predict.model)
    if trainable:
        check_trainable(predict.model)
    parts = tuple(part for part in (forget, retain, holdout) if part is not None)
    check_input_types(*parts)
    classes = count_classes(predict, *parts) if count_classes is not None else None
    if classes is None:
        classes = infer_num_classes(predict, forget, retain)
        if trainable:
            check_grad_enabled()
            check_gradient(predict, retain)
    for examples in parts:
        check_labels(examples, classes)
    return Split(forget, retain, classes, holdout, caveat=caveat)


def check_sides(forget: Examples, retain: Examples, holdout: Examples | None = None) -> str:
    """Refuse sides that are empty, name an example twice or share examples, and held-out examples that repeat.

    Where the data repeat themselves anyway, copies are no reason to; a sentence that says so is returned.
    """
    for name, examples in (("forget", forget), ("retain", retain)):
        if not len(examples):
            raise RequestError(f"at least one example to {name}", "none", "check how the data set was made")
        repeated = len(examples) - len(torch.unique(get_root_indices(examples)))
        if repeated:
            raise RequestError(f"every example to {name} once", f"{repeated} repeated", "remove the duplicates")
    sides = (retain, forget)
    coincidences = [check_disjoint("forget", forget, "retain", retain, sides)]
    if holdout is not None:
        coincidences.append(check_disjoint("forget", forget, "hold out", holdout, sides))
        coincidences.append(check_disjoint("retain", retain, "hold out", holdout, sides))
        coincidences.append(check_unique("hold out", holdout, sides))
    return describe_repetition(retain) if any(coincidences) else ""


def check_unique(name: str, examples: Examples, sides: Sequence[Examples]) -> bool:
    """Refuse held-out or test examples that are there more than once: no certificate counts them as one each."""
    count = int(find_duplicates(examples).sum())
    if count and not is_coincidence(count, examples, examples, sides):
        actual = f"{count:,} of {len(examples):,} that hold the same as another one"
        part = name.replace("hold out", "holdout")
        hint = f"pass distinct({part}), from expunge.data; where they are of different people, give the data set ids"
        raise RequestError(f"every example to {name} once", actual, hint)
    return count > 0


def check_disjoint(one: str, first: Examples, other: str, second: Examples, sides: Sequence[Examples]) -> bool:
    """Refuse two parts that share examples: those of one data set by position, and all by what they hold."""
    if identify_root(first) == identify_root(second):
        shared = int(torch.isin(get_root_indices(first), get_root_indices(second)).sum())
        if shared:
            hint = "take these examples out of one of them"
            raise RequestError(f"disjoint examples to {one} and to {other}", f"{shared} in both", hint)
    count = int(find_copies(second, first).sum())
    checked, others = (first, second) if other == "retain" else (second, first)
    if count and not is_coincidence(int(find_copies(checked, others).sum()), checked, others, sides):
        actual = f"{count:,} of {len(second):,} to {other} that hold the same as examples to {one}"
        hint = f"leave them out of the examples to {other} with distinct(…, …), from expunge.data; where they are of \
different people, give both data sets ids"
        raise RequestError(f"disjoint examples to {one} and to {other}", actual, hint)
    return count > 0


def identify_root(examples: Examples) -> object:
    """Return what tells where examples are finally read from: the user's data set, or the memory of the inputs."""
    root = get_root(examples)
    inputs = getattr(root, "inputs", None)
    tensor_ids: list[tuple[Any, ...]] = []
    map_tensors(inputs, lambda tensor: collect_tensor_id(tensor, tensor_ids))
    return tuple(tensor_ids) if tensor_ids else id(getattr(root, "dataset", root))


def collect_tensor_id(tensor: Tensor, tensor_ids: list[tuple[Any, ...]]) -> Tensor:
    """Note where a tensor lies, and return it."""
    tensor_ids.append((tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride()))
    return tensor


def check_weights(model: nn.Module) -> None:
    """Refuse a model whose weights are not there or not finite."""
    if not isinstance(model, nn.Module):
        raise ModelError("a model, an nn.Module", type(model).__name__, "pass the trained model itself")
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            hint = "pass one batch through the model, then load its weights"
            raise ModelError("a model whose layers know their sizes", f"the lazy '{name}'", hint)
        if value.is_meta:
            hint = "load the weights into it (to_empty, then load_state_dict)"
            raise ModelError("a model with its weights in memory", f"'{name}' on the meta device", hint)
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.detach()).all()):
            hint = "use a checkpoint from before the training diverged"
            raise NotFiniteError("finite weights in the model", f"NaN or infinity in '{name}'", hint)


def validate_changeable(model: nn.Module) -> nn.Module:
    """Return a model that is to be changed itself if its weights can be written to."""
    for name, weight in model.named_parameters():
        hint = "leave out inplace=True, or give the weight memory of its own with clone()"
        if weight.is_inference():
            raise ModelError("weights that can be changed", f"'{name}', made under torch.inference_mode", hint)
        if any(size > 1 and stride == 0 for size, stride in zip(weight.shape, weight.stride(), strict=True)):
            raise ModelError("weights that can be changed", f"'{name}', an expanded tensor", hint)
    return model


def check_gradient(predict: Predictor, examples: Examples) -> None:
    """Refuse a model whose logits do not depend on its weights, as far as autograd can see."""
    if any(weight.is_inference() for weight in predict.model.parameters()):
        return  # Their copies, which are what is changed, can have gradients.
    batch = take_probe_batch(examples).slice(0, 2).to(device_of(predict.model))
    with preserving_state(predict.model), torch.enable_grad():
        tracked = predict(batch.inputs).requires_grad
    if not tracked:
        hint = "take detach(), no_grad, inference_mode and NumPy out of the model's forward pass (and of logits=)"
        raise ModelError("logits with a gradient", "none: the model's output is cut off from its weights", hint)


def infer_num_classes(predict: Predictor, *sides: Examples) -> int:
    """Return the number of logits of one example, after a few of each side passed through the model."""
    classes: int | None = None
    for examples in sides:
        batch = take_probe_batch(examples).to(device_of(predict.model))
        check_inputs(batch)
        with preserving_state(predict.model):
            logits = validate_logits(predict.model, predict, batch, classes)
        check_logits(logits)
        classes = int(logits.shape[1])
    return classes or 0


def take_probe_batch(examples: Examples) -> Batch:
    """Return the first examples."""
    return examples.batch(torch.arange(min(NUM_PROBE_EXAMPLES, len(examples))))


def check_inputs(batch: Batch) -> None:
    """Refuse inputs that are not finite."""
    map_tensors(batch.inputs, validate_finite)


def check_input_types(*parts: Examples) -> None:
    """Refuse parts of one call that yield inputs of different kinds: bytes and floats are rarely of one scale."""
    forms: dict[tuple[bool, ...], str] = {}
    for examples in filter(len, parts):
        types = _collect_dtypes(examples.batch(torch.tensor([0])).inputs)
        forms.setdefault(tuple(each.is_floating_point for each in types), ", ".join(map(str, types)) or "no tensor")
    if len(forms) > 1:
        hint = "convert the inputs of all parts in the same way"
        raise DataError("inputs of one kind in every part", " and ".join(forms.values()), hint)


def _collect_dtypes(inputs: Any) -> list[torch.dtype]:
    types: list[torch.dtype] = []

    def note(tensor: Tensor) -> Tensor:
        types.append(tensor.dtype)
        return tensor

    map_tensors(inputs, note)
    return types


def validate_finite(inputs: Tensor) -> Tensor:
    broken = int((~torch.isfinite(inputs)).unsqueeze(-1).flatten(1).any(1).sum()) if inputs.is_floating_point() else 0
    if broken:
        actual = f"NaN or infinity in {broken} of the first {len(inputs)} examples"
        raise DataError("finite inputs", actual, "repair the data or leave these examples out")
    return inputs


def check_logits(logits: Tensor) -> None:
    """Refuse logits of which a loss cannot be made."""
    broken = int((~torch.isfinite(logits.amax(1))).sum())
    if broken:
        actual = f"NaN or infinity for {broken} of the first {len(logits)} examples"
        raise NotFiniteError("finite logits", actual, "check the model's buffers and the scale of the inputs")
