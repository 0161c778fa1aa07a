"""What is compared: one update of plain fine-tuning, written without Expunge, and of every surgery through Stepper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import Stepper
from expunge.errors import MissingExtraError
from expunge.masks import Saliency
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.registry import entries, find
from expunge.surgery import Fixed, Surgery

Update = Callable[[], object]

CLASSES = 10
RATE = 1e-4
"""So small that some hundred updates on the same two batches leave the losses where they were."""
WAYS = {"frozen": ("joint", "split"), "joint": ("joint",), "separate": ("split",)}
"""Policy → the ways to write plain fine-tuning whose normalisation layers see the same statistics."""
MASKED = "fixed + saliency"
AIMS = {"fixed": 1.03, "implicit_fast": 1.05, "unilateral": 1.08, "implicit": 1.25}
"""Time of one update, as a multiple of the floor; on the CPU with frozen statistics."""
MEMORY_AIMS = {"unilateral": 1.1}
"""Peak memory above the floor's, in units of the parameters' bytes."""


@dataclass(frozen=True)
class Network:
    """A network and what it is fed: examples per side, channels and edge of an image, updates timed in one turn."""

    title: str
    batch: int
    channels: int
    edge: int
    updates: int


NETWORKS = {
    "resnet18": Network("ResNet-18 (CIFAR stem)", 32, 3, 32, 1),
    "small_cnn": Network("small CNN", 64, 1, 8, 10),
}


@dataclass
class Workload:
    """One network's model, optimiser and batches, the same whenever it is built.

    Args:
        network: A key of ``NETWORKS``.
        batch: Examples on each side.
        policy: The normalisation policy.
        device: Where.
    """

    network: str
    batch: int
    policy: str
    device: str
    model: nn.Module = field(init=False)
    forget: tuple[Tensor, Tensor] = field(init=False)
    retain: tuple[Tensor, Tensor] = field(init=False)
    union: tuple[Tensor, Tensor] = field(init=False)
    fresh: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model: nn.Module = find("models", self.network)(CLASSES, NETWORKS[self.network].channels)
        self.model = model.to(self.device)
        self.forget, self.retain = self._batch(self.batch, generator), self._batch(self.batch, generator)
        self.union = (torch.cat([self.forget[0], self.retain[0]]), torch.cat([self.forget[1], self.retain[1]]))
        self.fresh = self._batch(max(1, self.batch // 2), generator)

    def _batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        network = NETWORKS[self.network]
        images = torch.randn(count, network.channels, network.edge, network.edge, generator=generator)
        return images.to(self.device), torch.randint(0, CLASSES, (count,), generator=generator).to(self.device)

    def optimiser(self) -> torch.optim.Optimizer:
        """Return the optimiser of every candidate."""
        return torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)

    def parameter_bytes(self) -> int:
        """Return the bytes of all trainable weights."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())


def joint_way(work: Workload) -> Update:
    """Return plain fine-tuning with one forward and one backward pass over the union, which is in memory as one."""
    model, optimiser = plain(work), work.optimiser()
    images, labels = work.union

    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return update


def split_way(work: Workload) -> Update:
    """Return plain fine-tuning with one forward and one backward pass on each half, gradients accumulated."""
    model, optimiser = plain(work), work.optimiser()

    def update() -> None:
        optimiser.zero_grad(set_to_none=True)
        for images, labels in (work.forget, work.retain):
            functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return update


def plain(work: Workload) -> nn.Module:
    """Return the model in training mode, its batch-norm layers in evaluation mode under the policy ``frozen``."""
    work.model.train()
    if work.policy == "frozen":
        for module in work.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return work.model


def with_surgery(work: Workload, surgery: Surgery, mask: Saliency | None = None) -> Update:
    """Return an update through Stepper; fresh half-size retain batches are at hand for surgeries that ask for them."""
    objectives = Pair(CrossEntropy(), CrossEntropy())
    step = Stepper(work.model, work.optimiser(), surgery, objectives, mask, normalisation=work.policy)
    return lambda: step(work.forget, work.retain, lambda: work.fresh)


def with_mask(work: Workload) -> Update:
    """Return an update of ``Fixed`` under the guard of a saliency mask that keeps half of the weights."""
    forget, retain = TensorExamples(*work.forget), TensorExamples(*work.retain)
    mask = Saliency(keep=0.5)
    mask.prepare(Predictor(work.model.eval()), Split(forget, retain, CLASSES))
    return with_surgery(work, Fixed(), mask)


def names(policy: str) -> list[str]:
    """Return all candidates: the floor's ways, every registered surgery that can be built here, the mask."""
    return [*WAYS[policy], *filter(is_installed, entries("surgeries")), MASKED]


def is_installed(name: str) -> bool:
    """Return whether what a surgery needs is installed."""
    try:
        find("surgeries", name)()
    except MissingExtraError:
        return False
    return True


def build(name: str, work: Workload) -> Update:
    """Return one candidate's update."""
    if name in ("joint", "split"):
        return joint_way(work) if name == "joint" else split_way(work)
    return with_mask(work) if name == MASKED else with_surgery(work, find("surgeries", name)())
