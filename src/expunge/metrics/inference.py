"""Asking a model about the examples of a split without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from expunge.batch import Examples, Predictor, Split, device_of, evaluation_mode
from expunge.data.device_examples import to_device
from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics.outputs import ModelOutputs, ModelUnderTest, Outputs


@contextmanager
def preserving_state(model: nn.Module) -> Iterator[None]:
    """Set a model to eval mode without gradients; leave every module's flag and every buffer as they were.

    An embedding with ``max_norm`` scales its weights down when it is read; they are put back too.
    """
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    scaled = [(weight, weight.detach().clone()) for weight in find_max_norm_weights(model)]
    try:
        with evaluation_mode(model):
            yield
    finally:
        for module, name, buffer, before in buffers:
            restore_buffer(module, name, buffer, before)
        with torch.no_grad():
            for weight, before in scaled:
                weight.copy_(before)


def find_max_norm_weights(model: nn.Module) -> list[Tensor]:
    """Return the weights that a forward pass changes: those of embeddings with ``max_norm``."""
    kinds = nn.Embedding | nn.EmbeddingBag
    return [m.weight for m in model.modules() if isinstance(m, kinds) and m.max_norm is not None]


@torch.no_grad()
def restore_buffer(module: nn.Module, name: str, buffer: Tensor, before: Tensor) -> None:
    """Make ``buffer`` the module's again and give it its value; one that did not change is not written to."""
    if getattr(module, name) is not buffer:
        setattr(module, name, buffer)
    if not torch.equal(buffer, before):
        buffer.copy_(before)


def collect_outputs(
    predict: Predictor, examples: Examples, batch_size: int = 256, device: torch.device | str | None = None
) -> Outputs:
    """Return the logits of all examples, in eval mode and their order; the model is left as it was.

    Args:
        predict: The model with the way to read its logits.
        examples: What to read; with the test transform, since augmentation would blur every score.
        batch_size: Examples per forward pass.
        device: Where the model is; by default the device of its first parameter.

    Raises:
        ConfigError: If the batch size is not positive.
        DataError: If there are no examples.
        NotFiniteError: If a logit is NaN or +inf.

    Examples:
        >>> from expunge.batch import Batch
        >>> class Four:
        ...     targets = torch.tensor([0, 1, 2, 1])
        ...     def __len__(self): return 4
        ...     def batch(self, indices): return Batch(torch.eye(4)[indices], self.targets[indices], indices)
        >>> collect_outputs(Predictor(nn.Linear(4, 3)), Four(), batch_size=3).logits.shape
        torch.Size([4, 3])
    """
    if batch_size < 1:
        raise ConfigError("a batch size of at least 1", f"{batch_size}", "pass for example 256")
    if not len(examples):
        raise DataError("at least one example to evaluate", "none", "pass a data set that is not empty")
    target_device = torch.device(device) if device is not None else device_of(predict.model)
    cached = to_device(examples, target_device)
    with preserving_state(predict.model):
        parts = [
            read_batch(predict, cached, part, target_device)
            for part in torch.arange(len(cached)).split(min(batch_size, len(cached)))
        ]
    logits, targets = (torch.cat(pieces) for pieces in zip(*parts, strict=True))
    check_finite_logits(logits)
    return Outputs(logits, targets)


def read_batch(predict: Predictor, examples: Examples, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return logits in float32 and labels of the examples at ``indices``, on the CPU."""
    batch = examples.batch(indices).to(device)
    return predict(batch.inputs).float().cpu(), batch.targets.cpu()


def check_finite_logits(logits: Tensor) -> None:
    """Stop before a score is made of nothing."""
    broken = int((~torch.isfinite(logits.amax(1))).sum())
    if broken:
        actual = f"NaN or infinity for {broken:,} of {len(logits):,} examples"
        raise NotFiniteError("finite logits", actual, "the model diverged; lower the learning rate and unlearn again")


def collect_model_outputs(
    predict: Predictor,
    split: Split,
    test: Examples,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    *,
    keep_model: bool = False,
) -> ModelOutputs:
    """Return the outputs of a model on the forget, retain and test examples.

    Args:
        predict: The model with the way to read its logits.
        split: What was forgotten and what was kept; with the test transform.
        test: Examples of all classes that no model was trained on.
        batch_size: Examples per forward pass.
        device: Where the model is; by default the device of its first parameter.
        keep_model: Keep the model with its outputs, for metrics that have to ask it more. Default false.

    Raises:
        DataError: If one of the parts is empty.
        NotFiniteError: If a logit is NaN or +inf.

    Examples:
        >>> from expunge.batch import Batch
        >>> class Four:
        ...     targets = torch.tensor([0, 1, 2, 1])
        ...     def __len__(self): return 4
        ...     def batch(self, indices): return Batch(torch.eye(4)[indices], self.targets[indices], indices)
        >>> outputs = collect_model_outputs(Predictor(nn.Linear(4, 3)), Split(Four(), Four(), 3), Four())
        >>> len(outputs.forget), len(outputs.test)
        (4, 4)
    """
    target_device = torch.device(device) if device is not None else device_of(predict.model)
    # All are moved before the first is read: parts of one data set go together, and once.
    cached = [to_device(part, target_device) for part in (split.forget, split.retain, test)]
    forget, retain, held_out = (collect_outputs(predict, part, batch_size, target_device) for part in cached)
    subject = ModelUnderTest(predict, split, test, batch_size) if keep_model else None
    return ModelOutputs(forget, retain, held_out, subject)
