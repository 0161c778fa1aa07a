"""Training a classifier from scratch: the original, and the reference that never saw what is to be forgotten."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from expunge.batch import Batch, Examples, Predictor
from expunge.data.device_examples import to_device
from expunge.engine.channels_last import channels_last_memory
from expunge.engine.optimizers import make_fused
from expunge.errors import ConfigError, DataError, ModelError, NotFiniteError
from expunge.forward import check_grad_enabled
from expunge.seeds import make_generator
from expunge.tasks.train_settings import Augment, OnEpoch, TrainRecord, TrainSettings

__all__ = ["Augment", "TrainRecord", "TrainSettings", "train_classifier"]


@torch.enable_grad()
def train_classifier(
    model: nn.Module,
    examples: Examples,
    settings: TrainSettings,
    *,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch | None = None,
    augment: Augment | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    channels_last: bool | None = None,
) -> TrainRecord:
    """Train a classifier in place; the same seed, machine and number of threads give the same bits.

    The caller's random state is untouched. The model ends in evaluation mode, on ``device``.

    Args:
        model: The classifier with its starting weights.
        examples: What it is trained on.
        settings: How.
        device: Where.
        on_epoch: Called after each epoch with (epoch from 1, epochs, mean loss, accuracy) of its updates.
        augment: Called as ``augment(inputs, generator)`` on every batch, where the examples are: on the CPU, or on the
            device if they fit there and the function says that it works anywhere (``to_device``).
        logits: Reads the logits from the model's output, as in ``Predictor``.
        channels_last: Hold the weights of convolutions with channels last meanwhile. Default: on accelerators.

    Raises:
        ConfigError: If the settings name an augmentation and none is given.
        DataError: If there is no example.
        ModelError: If no weight is trainable.
        NotFiniteError: If the loss is NaN or infinite, at the first update or over an epoch.
    """
    check_grad_enabled()
    _check_inputs(model, examples, settings, augment)
    start_time, device = time.perf_counter(), torch.device(device)
    model.to(device)
    with channels_last_memory(model, channels_last), isolated_randomness(settings.seed, device):
        trainer = ClassifierTrainer(
            Predictor(model, logits), to_device(examples, device, augment), settings, device, augment
        )
        for epoch in range(1, settings.epochs + 1):
            loss, accuracy = trainer.run_epoch(epoch)
            if on_epoch is not None:
                on_epoch(epoch, settings.epochs, loss, accuracy)
    loss, accuracy = trainer.evaluate()
    return TrainRecord(time.perf_counter() - start_time, loss, accuracy, settings.epochs)


def _check_inputs(model: nn.Module, examples: Examples, settings: TrainSettings, augment: Augment | None) -> None:
    if settings.augment and augment is None:
        hint = "pass augment=, or set augment to false"
        raise ConfigError("the function of the augmentation that the settings ask for", "none", hint)
    if len(examples) == 0:
        raise DataError("examples to train on", "none", "check the request and the data")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ModelError("a model with trainable weights", "none", "set requires_grad on the weights to train")


@contextmanager
def isolated_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators (dropout uses them) inside, restore them after, and hold cuDNN to fixed algorithms."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.manual_seed(seed)
        yield


class ClassifierTrainer:
    """One training: its optimizer, the order of its examples, and the count of its updates."""

    def __init__(
        self,
        predict: Predictor,
        examples: Examples,
        settings: TrainSettings,
        device: torch.device,
        augment: Augment | None,
    ) -> None:
        self.predict, self.examples, self.settings = predict, examples, settings
        self.device, self.augment = device, augment
        self.order_generator = make_generator(settings.seed)
        self.augment_generator = make_generator(settings.seed)
        self.num_batches = math.ceil(len(examples) / settings.batch_size)
        self.optimizer = make_fused(
            torch.optim.SGD,
            [weight for weight in predict.model.parameters() if weight.requires_grad],
            has_scaler=False,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def run_epoch(self, epoch: int) -> tuple[float, float]:
        """Make one pass; return the mean loss and the accuracy of its updates."""
        self.predict.model.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        first = (epoch - 1) * self.num_batches
        order = torch.randperm(len(self.examples), generator=self.order_generator)
        for update, indices in enumerate(order.tensor_split(self.num_batches), start=first):
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.lr_at(update, self.num_batches)
            sums += self.update(self.load_batch(indices), check=update == 0)
        loss, accuracy = (sums / len(self.examples)).tolist()
        self.check_finite(loss, f"epoch {epoch}")
        return loss, accuracy

    def load_batch(self, indices: Tensor) -> Batch:
        """Return the augmented batch on the device."""
        batch = self.examples.batch(indices)
        if self.augment is not None:
            batch = Batch(
                self.augment(batch.inputs, self.augment_generator), batch.targets, batch.indices, batch.extras
            )
        return batch.to(self.device)

    def update(self, batch: Batch, *, check: bool) -> Tensor:
        """Make one update; return the summed loss and the number of right answers without waiting for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.logits(batch)
        loss = cross_entropy(logits, batch.targets, label_smoothing=self.settings.label_smoothing)
        if check:
            self.check_finite(float(loss.detach()), "the first update")
        loss.backward()
        self.optimizer.step()
        right = (logits.detach().argmax(1) == batch.targets).sum()
        return torch.stack([loss.detach().double() * len(batch), right.double()])

    def logits(self, batch: Batch) -> Tensor:
        """Return float32 logits, computed in the precision of the settings."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return self.predict(batch.inputs).float()

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Return mean cross entropy and accuracy over all examples in evaluation mode."""
        self.predict.model.eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for indices in torch.arange(len(self.examples)).tensor_split(self.num_batches):
            batch = self.examples.batch(indices).to(self.device)
            logits = self.logits(batch)
            right = (logits.argmax(1) == batch.targets).sum()
            sums += torch.stack([cross_entropy(logits, batch.targets, reduction="sum").double(), right.double()])
        loss, accuracy = (sums / len(self.examples)).tolist()
        self.check_finite(loss, "the finished model")
        return loss, accuracy

    def check_finite(self, loss: float, where: str) -> None:
        """Refuse a loss that is NaN or infinite."""
        if not math.isfinite(loss):
            hint = f"lower the rate (now {self.settings.lr:g}) and check that the inputs are finite"
            raise NotFiniteError("a finite training loss", f"{loss} at {where}", hint)
