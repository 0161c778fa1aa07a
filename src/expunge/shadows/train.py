"""``train_shadows``: many small classifiers, each on its own part of the data, as fast as this machine can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from expunge.batch import Examples
from expunge.data import Subset, device_cache
from expunge.errors import ConfigError
from expunge.shadows.config import ShadowTrainingConfig
from expunge.shadows.plan import Shadow, group_by_size
from expunge.shadows.speed_test import SpeedTest, Strategy, measure_speed
from expunge.shadows.stacked import train_stacked
from expunge.shadows.store import ShadowStore, hash_examples, hash_model, hash_positions, hash_values
from expunge.tasks.classification.training import Augment, train_classifier
from expunge.tasks.train_settings import TrainSettings

StrategyChoice = Literal["auto", "together", "loop"]
MAX_MODELS_AT_ONCE = 32
"""Models in one stack at most."""


@dataclass
class ShadowTraining:
    """How shadow models are made.

    Args:
        model_factory: Returns a network with fresh weights, drawn from the global generator.
        examples: What ``Shadow.positions`` count in.
        settings: How each is trained; the seed is the shadow's own.
        augment: As for ``fit``. Default none.
        logits: As for ``fit``. Default none.
        device: Where. Default the CPU.
        group_size: Models that are trained at once at most. Default 32.
        parallelism: ``together``, ``loop``, or ``auto`` (default), which measures both on a few updates.
        store: Where finished models are kept and looked for. Default nowhere.
        speed_tests: What was measured, filled by the training.
    """

    model_factory: Callable[[], nn.Module]
    examples: Examples
    settings: TrainSettings
    augment: Augment | None = None
    logits: Callable[[Any], Tensor] | None = None
    device: torch.device | str = "cpu"
    group_size: int = MAX_MODELS_AT_ONCE
    parallelism: StrategyChoice = "auto"
    store: ShadowStore | None = None
    speed_tests: list[SpeedTest] = field(default_factory=list)
    _data: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.parallelism not in get_args(StrategyChoice):
            expected = f"one of {', '.join(get_args(StrategyChoice))} for parallelism"
            raise ConfigError(expected, f"{self.parallelism!r}", "choose one of them")
        if self.group_size < 1:
            raise ConfigError("a group_size of 1 or more", f"{self.group_size}", "use for example 32")

    @property
    def config(self) -> ShadowTrainingConfig:
        """What they learn, and how."""
        return ShadowTrainingConfig(self.examples, self.settings, self.augment, self.logits)

    def make_model(self, shadow: Shadow) -> nn.Module:
        """Return the network of a shadow model as it starts; the caller's random state is untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(shadow.seed)
            return self.model_factory().to(self.device)

    def key(self, shadow: Shadow) -> str:
        """Return the hash of everything that determines a shadow model, but for the last bits.

        Whether it is trained at once with others is not in it: both ways come to the same, up to rounding.
        """
        self._data = self._data or hash_examples(self.examples)
        augment = None if self.augment is None else getattr(self.augment, "__qualname__", repr(self.augment))
        parts = {"settings": asdict(self.config.settings_for(shadow)), "augment": augment, "data": self._data}
        return hash_values(parts, hash_positions(shadow.positions), hash_model(self.make_model(shadow)))


def train_shadows(
    training: ShadowTraining, shadows: Sequence[Shadow], on_done: Callable[[int, int], None] | None = None
) -> list[nn.Module]:
    """Return the trained shadow models, in evaluation mode, in the order in which they were asked for.

    Those that the store has are read from it; the others are trained group by group and kept, so that a training that
    was stopped goes on after its last group.

    Args:
        training: How.
        shadows: Which.
        on_done: Called as ``on_done(models that are ready, all models)``.

    Raises:
        ExpungeError: If a network or the data do not fit, or a training diverges.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> examples = TensorExamples(torch.randn(20, 4), torch.arange(20) % 3)
        >>> training = ShadowTraining(lambda: nn.Linear(4, 3), examples, TrainSettings(epochs=1, batch_size=8))
        >>> models = train_shadows(training, [Shadow(torch.arange(10), 0), Shadow(torch.arange(10, 20), 1)])
        >>> [type(model).__name__ for model in models]
        ['Linear', 'Linear']
    """
    models = dict(load_stored(training, shadows))
    missing = [number for number in range(len(shadows)) if number not in models]
    report = on_done or (lambda ready, every: None)
    report(len(models), len(shadows))
    with device_cache(torch.device(training.device), training.examples):
        for group in group_by_size([shadows[number] for number in missing], training.group_size):
            numbers = [missing[index] for index in group]
            models |= zip(numbers, train_group(training, [shadows[number] for number in numbers]), strict=True)
            report(len(models), len(shadows))
    return [models[number] for number in range(len(shadows))]


def load_stored(training: ShadowTraining, shadows: Sequence[Shadow]) -> Iterator[tuple[int, nn.Module]]:
    """Yield the number and the network of every shadow model that the store has."""
    if training.store is None:
        return
    for number, shadow in enumerate(shadows):
        key = training.key(shadow)
        if training.store.has(key):
            model = training.make_model(shadow)
            model.load_state_dict(training.store.load(key))
            yield number, model.eval()


def train_group(training: ShadowTraining, shadows: Sequence[Shadow]) -> list[nn.Module]:
    """Train models that can be trained at once, in the faster way, keep them and return them."""
    models = [training.make_model(shadow) for shadow in shadows]
    strategy, start_time = choose_strategy(training, models, shadows), time.perf_counter()
    if strategy == "together":
        train_stacked(models, shadows, training.config)
        store_models(training, models, shadows, strategy, (time.perf_counter() - start_time) / len(models))
        return models
    for model, shadow in zip(models, shadows, strict=True):
        start_time = time.perf_counter()
        train_alone(training, model, shadow)
        store_models(training, [model], [shadow], strategy, time.perf_counter() - start_time)
    return models


def train_alone(training: ShadowTraining, model: nn.Module, shadow: Shadow) -> None:
    """Train one network in place, by the plain loop."""
    train_classifier(
        model,
        Subset(training.examples, shadow.positions),
        training.config.settings_for(shadow),
        device=training.device,
        augment=training.augment,
        logits=training.logits,
    )


def choose_strategy(training: ShadowTraining, models: Sequence[nn.Module], shadows: Sequence[Shadow]) -> Strategy:
    """Return how a group is trained; measured once for each number of models."""
    if training.parallelism != "auto":
        return training.parallelism
    if len(models) == 1:
        return "loop"
    for earlier in training.speed_tests:
        if earlier.models == len(models) or earlier.reason:
            return earlier.strategy
    speed_test = measure_speed(models, shadows, training.config)
    training.speed_tests.append(speed_test)
    return speed_test.strategy


def store_models(
    training: ShadowTraining, models: Sequence[nn.Module], shadows: Sequence[Shadow], strategy: Strategy, seconds: float
) -> None:
    if training.store is None:
        return
    settings = asdict(training.settings)
    del settings["seed"]
    for model, shadow in zip(models, shadows, strict=True):
        shadow_facts = {"settings": settings, "seed": shadow.seed, "examples": len(shadow.positions)}
        metadata = {**shadow_facts, "strategy": strategy, "seconds": seconds}
        training.store.save(training.key(shadow), model.state_dict(), metadata)
