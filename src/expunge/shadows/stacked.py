"""Many small networks trained at once: their weights stacked, the forward pass mapped over the stack."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from expunge.batch import Predictor
from expunge.data.device_examples import to_device
from expunge.errors import DataError, ExpungeError, ModelError, NotFiniteError
from expunge.shadows.config import ShadowTrainingConfig
from expunge.shadows.plan import Shadow
from expunge.tasks.classification.training import isolated_randomness
from expunge.tasks.train_settings import TrainSettings

TensorDict = dict[str, Tensor]


class StackedModels:
    """Networks of one form as one: every weight and buffer of all of them in one tensor, the model first.

    A forward pass is mapped over them, so that batch statistics are each network's own and its buffers are updated
    with them. The losses depend on one network each; the gradient of their sum is each one's gradient.

    Args:
        models: The networks, in training mode, on one device.
        logits: Reads the logits from a network's output, as in ``Predictor``.

    Raises:
        ModelError: If they cannot be stacked.
    """

    def __init__(self, models: Sequence[nn.Module], logits: Callable[[Any], Tensor] | None = None) -> None:
        self.models = list(models)
        try:
            weights, buffers = stack_module_state(self.models)
        except RuntimeError as error:
            raise stacking_error(error) from error
        trained = {name for name, weight in models[0].named_parameters() if weight.requires_grad}
        self.state: TensorDict = {name: value.detach().clone() for name, value in {**weights, **buffers}.items()}
        self.trainable: TensorDict = {name: self.state[name].requires_grad_() for name in self.state if name in trained}
        self.functional = FunctionalModule(copy.deepcopy(models[0]))
        self.predict = Predictor(self.functional, logits)

    def losses(self, inputs: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each network on its batch, ``(k,)``, and the number of its right answers, ``(k,)``.

        Args:
            inputs: ``(k, n, …)``.
            targets: ``(k, n)``.
            smoothing: Share of the target that is spread over all classes.

        Raises:
            ModelError: If the network does what cannot be mapped, such as drawing random numbers.
        """

        def one(state: TensorDict, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            self.functional.state = state
            logits = self.predict(images).float()
            loss = cross_entropy(logits, labels, label_smoothing=smoothing)
            return loss, (logits.detach().argmax(1) == labels).sum()

        try:
            losses_and_correct: tuple[Tensor, Tensor] = vmap(one)(self.state, inputs, targets)
        except ExpungeError:
            raise
        except Exception as error:  # torch raises errors of several kinds here, and so may the network
            raise stacking_error(error) from error
        return losses_and_correct

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every network its own weights and buffers."""
        for number, model in enumerate(self.models):
            tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            for name, value in self.state.items():
                tensors[name].copy_(value[number])


class FunctionalModule(nn.Module):
    """A network without weights of its own, called with those that are lent to it.

    Args:
        template: A copy of the network, whose own weights are not used; on the meta device shared ones would come
            apart.
    """

    def __init__(self, template: nn.Module) -> None:
        super().__init__()
        self.template = template
        self.state: TensorDict = {}

    def forward(self, inputs: Tensor) -> Any:
        """Return what the network says with the lent weights."""
        return functional_call(self.template, self.state, (inputs,))


def stacking_error(error: Exception) -> ModelError:
    """Return the sentence for networks that cannot be trained at once."""
    actual = str(error).strip().split("\n", 1)[0].rstrip(".")[:200] or type(error).__name__
    return ModelError("networks that can be trained at once", actual, "train them one by one (parallelism='loop')")


class StackedTrainer:
    """One training of several networks at once, each on its own examples in its own order.

    Args:
        models: The networks with their starting weights, on one device; changed when ``finish`` is called.
        shadows: Which of the examples and which seed, model for model; as many examples each.
        config: What they learn, and how; the seed of its settings is not used.

    Raises:
        DataError: If they have not as many examples each.
        ModelError: If they cannot be trained at once.
    """

    def __init__(self, models: Sequence[nn.Module], shadows: Sequence[Shadow], config: ShadowTrainingConfig) -> None:
        settings = config.settings
        check_stackable(shadows, settings)
        self.settings, self.augment = settings, config.augment
        self.positions = torch.stack([shadow.positions for shadow in shadows])
        self.order_generators, self.augment_generators = (
            [make_generator(shadow.seed) for shadow in shadows] for _ in range(2)
        )
        self.num_batches = math.ceil(self.positions.shape[1] / settings.batch_size)
        self.stacked = StackedModels([model.train() for model in models], config.logits)
        self.device = next(iter(self.stacked.state.values())).device
        self.examples = to_device(config.examples, self.device, config.augment)
        self.optimizer = torch.optim.SGD(
            list(self.stacked.trainable.values()),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def run_epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Make one pass; return each network's mean loss and accuracy over its updates."""
        size = self.positions.shape[1]
        drawn = torch.stack([torch.randperm(size, generator=order) for order in self.order_generators])
        sums = torch.zeros(2, len(self.positions), dtype=torch.float64, device=self.device)
        for update, part in enumerate(
            drawn.tensor_split(self.num_batches, dim=1), start=(epoch - 1) * self.num_batches
        ):
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.lr_at(update, self.num_batches)
            sums += self.run_update(self.positions.gather(1, part))
        loss, accuracy = sums / size
        if not bool(loss.isfinite().all()):
            hint = f"lower the rate (now {self.settings.lr:g}) and check that the inputs are finite"
            raise NotFiniteError("finite training losses", f"{float(loss.sum())} at epoch {epoch}", hint)
        return loss, accuracy

    def run_update(self, positions: Tensor) -> Tensor:
        """Make one update of every network, each on its row of positions; return summed losses and right answers."""
        inputs, targets = self.load_batch(positions)
        self.optimizer.zero_grad(set_to_none=True)
        losses, right = self.stacked.losses(inputs, targets, self.settings.label_smoothing)
        losses.sum().backward()
        self.optimizer.step()
        return torch.stack([losses.detach().double() * positions.shape[1], right.double()])

    def load_batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs ``(k, n, …)`` and targets ``(k, n)``, read at once and augmented model by model."""
        batch = self.examples.batch(positions.flatten())
        if not isinstance(batch.inputs, Tensor):
            raise stacking_error(TypeError(f"inputs of type {type(batch.inputs).__name__}"))
        inputs = batch.inputs.unflatten(0, positions.shape)
        if self.augment is not None:
            augment, pairs = self.augment, zip(inputs, self.augment_generators, strict=True)
            inputs = torch.stack([augment(images, luck) for images, luck in pairs])
        return inputs.to(self.device), batch.targets.view(positions.shape).to(self.device)

    def finish(self) -> None:
        """Write the trained weights into the networks, which are then in evaluation mode."""
        self.stacked.write_back()
        for model in self.stacked.models:
            model.eval()


def train_stacked(models: Sequence[nn.Module], shadows: Sequence[Shadow], config: ShadowTrainingConfig) -> None:
    """Train networks in place, all at once, to what ``fit`` makes of each alone, up to rounding.

    Args:
        models: The networks with their starting weights, on one device.
        shadows: Which of the examples and which seed, model for model; as many examples each.
        config: What they learn, and how; the seed of its settings is not used. Single precision only.

    Raises:
        DataError: If they have not as many examples each.
        ModelError: If they cannot be trained at once; dropout is of that kind, since it could not draw as ``fit`` does.
        NotFiniteError: If a loss is NaN or infinite.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> examples = TensorExamples(torch.randn(12, 4), torch.arange(12) % 3)
        >>> shadows = [Shadow(torch.arange(8), 0), Shadow(torch.arange(4, 12), 1)]
        >>> lesson = ShadowTrainingConfig(examples, TrainSettings(epochs=1, batch_size=4))
        >>> train_stacked([nn.Linear(4, 3), nn.Linear(4, 3)], shadows, lesson)
    """
    training = StackedTrainer(models, shadows, config)
    with isolated_randomness(config.settings.seed, training.device):
        for epoch in range(1, config.settings.epochs + 1):
            training.run_epoch(epoch)
    training.finish()


def check_stackable(shadows: Sequence[Shadow], settings: TrainSettings) -> None:
    """Refuse what cannot be trained at once before anything is stacked."""
    sizes = {len(shadow.positions) for shadow in shadows}
    if len(sizes) != 1 or 0 in sizes:
        actual = ", ".join(map(str, sorted(sizes))) or "no model"
        raise DataError("as many examples for each model that is trained at once", actual, "train them one by one")
    if settings.precision != "fp32":
        raise stacking_error(ValueError(f"precision {settings.precision}"))


def make_generator(seed: int) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)
