"""``train_shadows``: many small classifiers, each on its own part of the data, as fast as this machine can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from expunge.batch import Examples
from expunge.data import Subset, kept_on
from expunge.errors import ConfigError
from expunge.shadows.calibration import Calibration, Way, calibrate
from expunge.shadows.lesson import Lesson
from expunge.shadows.plan import Shadow, groups
from expunge.shadows.store import Store, hash_of_examples, hash_of_model, hash_of_positions, hashed
from expunge.shadows.together import train_together
from expunge.tasks.classification.train_settings import TrainSettings
from expunge.tasks.classification.training import Augment, fit

Choice = Literal["auto", "together", "loop"]
AT_ONCE = 32
"""Models in one stack at most."""


@dataclass
class Training:
    """How shadow models are made.

    Args:
        make: Returns a network with fresh weights, drawn from the global generator.
        examples: What ``Shadow.positions`` count in.
        settings: How each is trained; the seed is the shadow's own.
        augment: As for ``fit``. Default none.
        logits: As for ``fit``. Default none.
        device: Where. Default the CPU.
        at_once: Models that are trained at once at most. Default 32.
        way: ``together``, ``loop``, or ``auto`` (default), which measures both on a few updates.
        store: Where finished models are kept and looked for. Default nowhere.
        calibrations: What was measured, filled by the training.
    """

    make: Callable[[], nn.Module]
    examples: Examples
    settings: TrainSettings
    augment: Augment | None = None
    logits: Callable[[Any], Tensor] | None = None
    device: torch.device | str = "cpu"
    at_once: int = AT_ONCE
    way: Choice = "auto"
    store: Store | None = None
    calibrations: list[Calibration] = field(default_factory=list)
    _data: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.way not in get_args(Choice):
            raise ConfigError(f"a way ({', '.join(get_args(Choice))})", f"{self.way!r}", "choose one of them")
        if self.at_once < 1:
            raise ConfigError("at least 1 model at once", f"{self.at_once}", "use for example 32")

    @property
    def lesson(self) -> Lesson:
        """What they learn, and how."""
        return Lesson(self.examples, self.settings, self.augment, self.logits)

    def fresh(self, shadow: Shadow) -> nn.Module:
        """Return the network of a shadow model as it starts; the caller's random state is untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(shadow.seed)
            return self.make().to(self.device)

    def key(self, shadow: Shadow) -> str:
        """Return the hash of everything that determines a shadow model, but for the last bits.

        Whether it is trained at once with others is not in it: both ways come to the same, up to rounding.
        """
        self._data = self._data or hash_of_examples(self.examples)
        augment = None if self.augment is None else getattr(self.augment, "__qualname__", repr(self.augment))
        parts = {"settings": asdict(self.lesson.settings_of(shadow)), "augment": augment, "data": self._data}
        return hashed(parts, hash_of_positions(shadow.positions), hash_of_model(self.fresh(shadow)))


def train_shadows(
    training: Training, shadows: Sequence[Shadow], on_done: Callable[[int, int], None] | None = None
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
        >>> training = Training(lambda: nn.Linear(4, 3), examples, TrainSettings(epochs=1, batch=8))
        >>> models = train_shadows(training, [Shadow(torch.arange(10), 0), Shadow(torch.arange(10, 20), 1)])
        >>> [type(model).__name__ for model in models]
        ['Linear', 'Linear']
    """
    made = dict(stored(training, shadows))
    missing = [number for number in range(len(shadows)) if number not in made]
    report = on_done or (lambda ready, every: None)
    report(len(made), len(shadows))
    with kept_on(torch.device(training.device), training.examples):
        for group in groups([shadows[number] for number in missing], training.at_once):
            numbers = [missing[place] for place in group]
            made |= zip(numbers, train_group(training, [shadows[number] for number in numbers]), strict=True)
            report(len(made), len(shadows))
    return [made[number] for number in range(len(shadows))]


def stored(training: Training, shadows: Sequence[Shadow]) -> Iterator[tuple[int, nn.Module]]:
    """Yield the number and the network of every shadow model that the store has."""
    if training.store is None:
        return
    for number, shadow in enumerate(shadows):
        key = training.key(shadow)
        if training.store.has(key):
            model = training.fresh(shadow)
            model.load_state_dict(training.store.tensors(key))
            yield number, model.eval()


def train_group(training: Training, shadows: Sequence[Shadow]) -> list[nn.Module]:
    """Train models that can be trained at once, in the faster way, keep them and return them."""
    models = [training.fresh(shadow) for shadow in shadows]
    way, began = chosen_way(training, models, shadows), time.perf_counter()
    if way == "together":
        train_together(models, shadows, training.lesson)
        keep(training, models, shadows, way, (time.perf_counter() - began) / len(models))
        return models
    for model, shadow in zip(models, shadows, strict=True):
        began = time.perf_counter()
        train_alone(training, model, shadow)
        keep(training, [model], [shadow], way, time.perf_counter() - began)
    return models


def train_alone(training: Training, model: nn.Module, shadow: Shadow) -> None:
    """Train one network in place, by the plain loop."""
    fit(
        model,
        Subset(training.examples, shadow.positions),
        training.lesson.settings_of(shadow),
        device=training.device,
        augment=training.augment,
        logits=training.logits,
    )


def chosen_way(training: Training, models: Sequence[nn.Module], shadows: Sequence[Shadow]) -> Way:
    """Return how a group is trained; measured once for each number of models."""
    if training.way != "auto":
        return training.way
    if len(models) == 1:
        return "loop"
    for known in training.calibrations:
        if known.models == len(models) or known.reason:
            return known.way
    found = calibrate(models, shadows, training.lesson)
    training.calibrations.append(found)
    return found.way


def keep(training: Training, models: Sequence[nn.Module], shadows: Sequence[Shadow], way: Way, seconds: float) -> None:
    """Put trained models into the store, if there is one."""
    if training.store is None:
        return
    settings = asdict(training.settings)
    del settings["seed"]
    for model, shadow in zip(models, shadows, strict=True):
        about = {"settings": settings, "seed": shadow.seed, "examples": len(shadow.positions)}
        told = {**about, "way": way, "seconds": seconds}
        training.store.keep(training.key(shadow), model.state_dict(), told)
