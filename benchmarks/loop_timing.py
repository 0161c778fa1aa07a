"""Our loops and the bare training loop by turns, in one process, on the same network and batches of the same size.

Not a script: ``throughput.py`` calls it. The loops are timed from inside, in the callbacks that every user has, so that
nothing of them is left out: order, gathering, augmentation, schedule, history, checks.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from update_timing import spread, synchronise

from expunge.batch import Predictor, Split
from expunge.data import Normalize, Subset, TensorExamples, crop_flip
from expunge.engine import MethodRecipe, OptimizerConfig, RunOptions, TrainStage, run_recipe
from expunge.engine.channels_last import channels_last_memory
from expunge.objectives import CrossEntropy
from expunge.pair import Pair
from expunge.registry import find_component
from expunge.surgery import WeightedSum
from expunge.tasks.classification.training import TrainSettings, train_classifier

CLASSES = 10
UNCOUNTED = 1
"""Rounds before those that count."""


@dataclass(frozen=True)
class Case:
    """A network and what it is fed: examples in a batch, channels and edge of an image, updates in one round."""

    title: str
    batch: int
    channels: int
    edge: int
    updates: int


CASES = {
    "resnet18": Case("ResNet-18 (CIFAR stem)", 32, 3, 32, 1),
    "resnet20": Case("ResNet-20", 64, 3, 32, 2),
    "resnet8": Case("ResNet-8", 64, 1, 28, 6),
}


def now(device: str) -> float:
    """Return the time in seconds: of the processor on one thread, which others on the machine hardly stretch."""
    return time.process_time() if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter()


def network(name: str, device: str) -> nn.Module:
    """Return a network, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = find_component("models", name)(classes=CLASSES, channels=CASES[name].channels).to(device)
    return model


def examples(case: Case, batches: int) -> TensorExamples:
    """Return images as a reader does, bytes in memory."""
    generator, count = torch.Generator().manual_seed(0), case.batch * batches
    shape = (count, case.channels, case.edge, case.edge)
    drawn = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return TensorExamples(drawn, torch.arange(count) % CLASSES, augment=crop_flip, scale=Normalize((0.0,), (1.0,)))


@dataclass
class Bare:
    """The bare loop: forward, backward and the optimiser's step on batches that are where the network is already.

    Args:
        model: The network, in the mode in which it stays.
        batches: Inputs and labels; several of them in one update are added up.
        channels_last: Whether the network's weights have channels last.
    """

    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    channels_last: bool = False
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        settings: dict[str, Any] = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}
        fused = next(self.model.parameters()).device.type == "cuda"
        self.optimizer = torch.optim.SGD(self.model.parameters(), **settings, **({"fused": True} if fused else {}))

    def update(self) -> None:
        """Make one update."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = [functional.cross_entropy(self.model(inputs), targets) for inputs, targets in self.batches]
        torch.stack(losses).sum().backward()
        self.optimizer.step()

    def seconds(self, updates: int, device: str) -> float:
        """Return what so many updates take."""
        with channels_last_memory(self.model, self.channels_last):
            synchronise(device)
            began = now(device)
            for _ in range(updates):
                self.update()
            synchronise(device)
            return now(device) - began


class Turns:
    """Takes the time of our loop between two calls of ``turn``, and of the bare ones inside it.

    Args:
        bare: Loops to be compared with.
        updates: In one turn.
        device: Where.
        strict: Whether an operation that waits for the device between two turns is an error. Default false.
    """

    def __init__(self, bare: dict[str, Bare], updates: int, device: str, strict: bool = False) -> None:
        self.bare, self.updates, self.device, self.strict = bare, updates, device, strict
        self.rounds: list[dict[str, float]] = []
        self.begun = 0.0

    def begin(self) -> None:
        """Begin to take our time."""
        synchronise(self.device)
        if self.strict and self.rounds:  # the first update reads its losses on purpose
            torch.cuda.set_sync_debug_mode("error")
        self.begun = now(self.device)

    def turn(self) -> None:
        """Note our time, let the others have theirs, and begin anew."""
        if self.strict:
            torch.cuda.set_sync_debug_mode("default")
        synchronise(self.device)
        row = {"ours": now(self.device) - self.begun}
        self.rounds.append(row | {name: loop.seconds(self.updates, self.device) for name, loop in self.bare.items()})
        self.begin()

    def found(self, images: int) -> dict[str, Any]:
        """Return images per second and ratios of what counts, each ratio within one round."""
        rounds, base = self.rounds[UNCOUNTED:], "bare"
        rates = {name: spread([self.updates * images / row[name] for row in rounds]) for name in rounds[0]}
        times = {name: spread([row[name] / row[base] for row in rounds]) for name in rounds[0] if name != base}
        return {"images_per_second": rates, "time_over_bare": times, "rounds": len(rounds)}


def batch_of(data: TensorExamples, size: int, device: str) -> tuple[Tensor, Tensor]:
    """Return a batch on the device as ours come to it: of one channel, a crop has the strides of channels last."""
    batch = data.batch(torch.arange(size))
    return crop_flip(batch.inputs, torch.Generator().manual_seed(0)).to(device), batch.targets.to(device)


def training(name: str, rounds: int, device: str, batch: int | None) -> dict[str, Any]:
    """Return what training an original comes to beside the bare loop, and what channels last would."""
    case = replace(CASES[name], batch=batch or CASES[name].batch)
    data, model = examples(case, case.updates), network(name, device)
    given = [batch_of(data, case.batch, device)]
    others = {
        "bare": Bare(copy.deepcopy(model).train(), given),
        "bare, channels last": Bare(copy.deepcopy(model).train(), given, channels_last=True),
    }
    turns = Turns(others, case.updates, device)
    settings = TrainSettings(epochs=rounds + UNCOUNTED, batch_size=case.batch, lr=1e-4, schedule="constant")
    turns.begin()
    train_classifier(model, data, settings, device=device, on_epoch=lambda *_: turns.turn(), augment=crop_flip)
    return {"title": case.title, "batch": [case.batch], "updates_per_round": case.updates} | turns.found(case.batch)


def unlearning(name: str, rounds: int, device: str, batch: int | None) -> dict[str, Any]:
    """Return what a descent of two losses with weights 1 and 1 comes to beside the bare loop on both batches."""
    case = replace(CASES[name], batch=(batch or CASES[name].batch) // 2)
    made = (rounds + UNCOUNTED) * case.updates
    data, model = examples(case, 1 + made), network(name, device).eval()
    split = Split(Subset(data, range(case.batch)), Subset(data, range(case.batch, len(data))), CLASSES)
    given = [batch_of(data, case.batch, device)] * 2
    turns = Turns({"bare": Bare(copy.deepcopy(model), given)}, case.updates, device, device.startswith("cuda"))
    optimiser = OptimizerConfig(1e-4)
    stage = TrainStage(Pair(CrossEntropy(), CrossEntropy()), WeightedSum(), optimiser, 1, Pair(case.batch, case.batch))
    calls = iter(range(1, made + 1))

    def on_step(_: object) -> None:
        if next(calls) % case.updates == 0:
            turns.turn()

    # A reading waits for the device, which the design allows every 25 updates; here it would be called an error.
    conditions = RunOptions(on_step=on_step, log_every=25 if not turns.strict else made + 1)
    turns.begin()
    run_recipe(Predictor(model), MethodRecipe((stage,)), split, conditions)
    return {"title": case.title, "batch": [case.batch] * 2, "updates_per_round": case.updates} | turns.found(
        2 * case.batch
    )


LOOPS: dict[str, Callable[[str, int, str, int | None], dict[str, Any]]] = {
    "training": training,
    "unlearning": unlearning,
}
