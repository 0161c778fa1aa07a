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
from expunge.data.residency import resident
from expunge.errors import DataError, ExpungeError, ModelError, NotFiniteError
from expunge.shadows.lesson import Lesson
from expunge.shadows.plan import Shadow
from expunge.tasks.classification.train_settings import TrainSettings
from expunge.tasks.classification.training import own_randomness

State = dict[str, Tensor]


class Stack:
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
            raise refused(error) from error
        trained = {name for name, weight in models[0].named_parameters() if weight.requires_grad}
        self.state: State = {name: value.detach().clone() for name, value in {**weights, **buffers}.items()}
        self.leaves: State = {name: self.state[name].requires_grad_() for name in self.state if name in trained}
        self.bound = Bound(copy.deepcopy(models[0]))
        self.predict = Predictor(self.bound, logits)

    def losses(self, inputs: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each network on its batch, ``(k,)``, and the number of its right answers, ``(k,)``.

        Args:
            inputs: ``(k, n, …)``.
            targets: ``(k, n)``.
            smoothing: Share of the target that is spread over all classes.

        Raises:
            ModelError: If the network does what cannot be mapped, such as drawing random numbers.
        """

        def one(state: State, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            self.bound.state = state
            logits = self.predict(images).float()
            loss = cross_entropy(logits, labels, label_smoothing=smoothing)
            return loss, (logits.detach().argmax(1) == labels).sum()

        try:
            found: tuple[Tensor, Tensor] = vmap(one)(self.state, inputs, targets)
        except ExpungeError:
            raise
        except Exception as error:  # torch raises errors of several kinds here, and so may the network
            raise refused(error) from error
        return found

    @torch.no_grad()
    def write_back(self) -> None:
        """Give every network its own weights and buffers."""
        for number, model in enumerate(self.models):
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            for name, value in self.state.items():
                own[name].copy_(value[number])


class Bound(nn.Module):
    """A network without weights of its own, called with those that are lent to it.

    Args:
        form: A copy of the network, whose own weights are not used; on the meta device shared ones would come apart.
    """

    def __init__(self, form: nn.Module) -> None:
        super().__init__()
        self.form = form
        self.state: State = {}

    def forward(self, inputs: Tensor) -> Any:
        """Return what the network says with the lent weights."""
        return functional_call(self.form, self.state, (inputs,))


def refused(error: Exception) -> ModelError:
    """Return the sentence for networks that cannot be trained at once."""
    found = str(error).strip().split("\n", 1)[0].rstrip(".")[:200] or type(error).__name__
    return ModelError("networks that can be trained at once", found, "train them one by one (way='loop')")


class TrainingTogether:
    """One training of several networks at once, each on its own examples in its own order.

    Args:
        models: The networks with their starting weights, on one device; changed when ``finish`` is called.
        shadows: Which of the examples and which seed, model for model; as many examples each.
        lesson: What they learn, and how; the seed of its settings is not used.

    Raises:
        DataError: If they have not as many examples each.
        ModelError: If they cannot be trained at once.
    """

    def __init__(self, models: Sequence[nn.Module], shadows: Sequence[Shadow], lesson: Lesson) -> None:
        settings = lesson.settings
        check(shadows, settings)
        self.settings, self.augment = settings, lesson.augment
        self.positions = torch.stack([shadow.positions for shadow in shadows])
        self.orders, self.luck = ([generator(shadow.seed) for shadow in shadows] for _ in range(2))
        self.parts = math.ceil(self.positions.shape[1] / settings.batch)
        self.stack = Stack([model.train() for model in models], lesson.logits)
        self.device = next(iter(self.stack.state.values())).device
        self.examples = resident(lesson.examples, self.device, lesson.augment)
        self.optimizer = torch.optim.SGD(
            list(self.stack.leaves.values()),
            lr=settings.rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def epoch(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Make one pass; return each network's mean loss and accuracy over its updates.

        Raises:
            NotFiniteError: If the loss of one is NaN or infinite.
        """
        size = self.positions.shape[1]
        drawn = torch.stack([torch.randperm(size, generator=order) for order in self.orders])
        sums = torch.zeros(2, len(self.positions), dtype=torch.float64, device=self.device)
        for update, part in enumerate(drawn.tensor_split(self.parts, dim=1), start=(epoch - 1) * self.parts):
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.rate_at(update, self.parts)
            sums += self.update(self.positions.gather(1, part))
        loss, accuracy = sums / size
        if not bool(loss.isfinite().all()):
            cure = f"lower the rate (now {self.settings.rate:g}) and check that the inputs are finite"
            raise NotFiniteError("finite training losses", f"{float(loss.sum())} at epoch {epoch}", cure)
        return loss, accuracy

    def update(self, positions: Tensor) -> Tensor:
        """Make one update of every network, each on its row of positions; return summed losses and right answers."""
        inputs, targets = self.batch(positions)
        self.optimizer.zero_grad(set_to_none=True)
        losses, right = self.stack.losses(inputs, targets, self.settings.label_smoothing)
        losses.sum().backward()
        self.optimizer.step()
        return torch.stack([losses.detach().double() * positions.shape[1], right.double()])

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs ``(k, n, …)`` and targets ``(k, n)``, read at once and augmented model by model."""
        batch = self.examples.batch(positions.flatten())
        if not isinstance(batch.inputs, Tensor):
            raise refused(TypeError(f"inputs of type {type(batch.inputs).__name__}"))
        inputs = batch.inputs.unflatten(0, positions.shape)
        if self.augment is not None:
            augment, pairs = self.augment, zip(inputs, self.luck, strict=True)
            inputs = torch.stack([augment(images, luck) for images, luck in pairs])
        return inputs.to(self.device), batch.targets.view(positions.shape).to(self.device)

    def finish(self) -> None:
        """Write the trained weights into the networks, which are then in evaluation mode."""
        self.stack.write_back()
        for model in self.stack.models:
            model.eval()


def train_together(models: Sequence[nn.Module], shadows: Sequence[Shadow], lesson: Lesson) -> None:
    """Train networks in place, all at once, to what ``fit`` makes of each alone, up to rounding.

    Args:
        models: The networks with their starting weights, on one device.
        shadows: Which of the examples and which seed, model for model; as many examples each.
        lesson: What they learn, and how; the seed of its settings is not used. Single precision only.

    Raises:
        DataError: If they have not as many examples each.
        ModelError: If they cannot be trained at once; dropout is of that kind, since it could not draw as ``fit`` does.
        NotFiniteError: If a loss is NaN or infinite.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> examples = TensorExamples(torch.randn(12, 4), torch.arange(12) % 3)
        >>> shadows = [Shadow(torch.arange(8), 0), Shadow(torch.arange(4, 12), 1)]
        >>> lesson = Lesson(examples, TrainSettings(epochs=1, batch=4))
        >>> train_together([nn.Linear(4, 3), nn.Linear(4, 3)], shadows, lesson)
    """
    training = TrainingTogether(models, shadows, lesson)
    with own_randomness(lesson.settings.seed, training.device):
        for epoch in range(1, lesson.settings.epochs + 1):
            training.epoch(epoch)
    training.finish()


def check(shadows: Sequence[Shadow], settings: TrainSettings) -> None:
    """Refuse what cannot be trained at once before anything is stacked.

    Raises:
        DataError: If the models have not as many examples each, or none.
        ModelError: If the precision is not single.
    """
    sizes = {len(shadow.positions) for shadow in shadows}
    if len(sizes) != 1 or 0 in sizes:
        found = ", ".join(map(str, sorted(sizes))) or "no model"
        raise DataError("as many examples for each model that is trained at once", found, "train them one by one")
    if settings.precision != "fp32":
        raise refused(ValueError(f"precision {settings.precision}"))


def generator(seed: int) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)
