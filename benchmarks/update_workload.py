"""What every candidate works on: a network, batches of random images, an optimiser."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from expunge.pair import Role
from expunge.registry import find_component

CLASSES = 10
FURTHER = 24
"""Further batches of a side at hand in an update; a certified mask's first update uses 16."""
RATE = 1e-4
"""So small that some hundred updates on the same two batches leave the losses where they were."""


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
    pool: list[tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model: nn.Module = find_component("models", self.network)(CLASSES, NETWORKS[self.network].channels)
        self.model = model.to(self.device)
        self.forget, self.retain = self._batch(self.batch, generator), self._batch(self.batch, generator)
        self.union = (torch.cat([self.forget[0], self.retain[0]]), torch.cat([self.forget[1], self.retain[1]]))
        self.fresh = self._batch(max(1, self.batch // 2), generator)
        self.pool = [self._batch(self.batch, generator) for _ in range(2 * FURTHER)]

    def _batch(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        network = NETWORKS[self.network]
        images = torch.randn(count, network.channels, network.edge, network.edge, generator=generator)
        return images.to(self.device), torch.randint(0, CLASSES, (count,), generator=generator).to(self.device)

    def further(self, side: Role, number: int) -> tuple[Tensor, Tensor]:
        """Return the batch that a side is lent as its number-th further one in an update; each only once."""
        return self.pool[2 * number + (side == "retain")]

    def optimiser(self) -> torch.optim.Optimizer:
        """Return the optimiser of every candidate."""
        return torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)

    def parameter_bytes(self) -> int:
        """Return the bytes of all trainable weights."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self.model.parameters())
