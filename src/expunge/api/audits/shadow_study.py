"""A study with shadow models: each is trained on a random half of the candidates, unlearns it, and is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch import Tensor, nn

from expunge.api.unlearning import unlearn
from expunge.batch import Examples, Predictor
from expunge.data import Subset
from expunge.errors import ConfigError, RequestError
from expunge.evaluation import Outputs, collect
from expunge.metrics import accuracy
from expunge.shadows import Shadow, Store, Training, halves, hashed, train_shadows
from expunge.shadows.store import hash_of_examples, hash_of_positions

REFERENCES = 500_000
"""Added to the seed of a shadow model for the retrained one, which starts from weights of its own."""
FEWEST = 6
"""Shadow models, at least: two of each kind beside a pair that is judged."""

OnDone = Callable[[str, int, int], None]
"""Called with what is being done, how many models are ready, and how many there are."""

Answer = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""What one model says: logits, and its accuracies with the seconds it took."""


def ignore(what: str, ready: int, every: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Answers:
    """What many models say.

    Args:
        candidates: Logits of the candidates, ``(models, candidates, classes)``.
        test: Logits of the test examples, ``(models, test examples, classes)``.
        retain_accuracy: Of each model, in percent.
        test_accuracy: Of each model, in percent, without forgotten classes; None where nothing is left.
        seconds: That each model took to make.
    """

    candidates: Tensor
    test: Tensor
    retain_accuracy: tuple[float, ...]
    test_accuracy: tuple[float | None, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Answers:
        """Return the answers of all models from those of each."""
        told = [about for _, about in answers]
        return cls(
            torch.stack([tensors["candidates"] for tensors, _ in answers]),
            torch.stack([tensors["test"] for tensors, _ in answers]),
            *(tuple(about[key] for about in told) for key in ("retain_accuracy", "test_accuracy", "seconds")),
        )


@dataclass(frozen=True, eq=False)
class Study:
    """Shadow models for one request, shared by all methods that are judged on it.

    Args:
        training: How models are trained, and on what data; with a store, models and answers are kept beside each other.
        candidates: Positions of the examples of which each shadow model is trained on a random half and forgets it.
        test: Examples that no model is trained on.
        holdout: Other such examples, for methods and budgets that need them. Default none.
        models: How many shadow models, an even number. Default 32.
        seed: Of the halves, the initialisations, the orders and the unlearning. Default 0.

    Raises:
        RequestError: If nothing is left to retain, or a candidate is named twice or is none.
        ConfigError: If there are fewer than 6 shadow models, or an odd number.
    """

    training: Training
    candidates: Tensor
    test: Examples
    holdout: Examples | None = None
    models: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        every, named = len(self.training.examples), self.candidates
        if len(named) and not 0 <= int(named.min()) <= int(named.max()) < every:
            found = f"{int(named.min())} to {int(named.max())}"
            raise RequestError(f"candidates from 0 to {every - 1}", found, "name positions in the training set")
        if len(named.unique()) < len(named):
            raise RequestError("every candidate once", "one twice", "remove the duplicates")
        if len(named) >= every:
            raise RequestError("examples to retain beside the candidates", "none", "name fewer candidates")
        if self.models < FEWEST:
            cure = "use 32; of each kind two must be left where one model is judged"
            raise ConfigError(f"at least {FEWEST} shadow models", f"{self.models}", cure)
        _ = self.inside

    @cached_property
    def inside(self) -> Tensor:
        """Which model is trained on which candidate, booleans ``(models, candidates)``."""
        return halves(len(self.candidates), self.models, self.seed)

    @cached_property
    def groups(self) -> Tensor:
        """The number of each model's pair, of which every candidate is in one, ``(models,)``."""
        return torch.arange(self.models) // 2

    @cached_property
    def retained(self) -> Tensor:
        """Positions of the training examples that are no candidates."""
        free = torch.ones(len(self.training.examples), dtype=torch.bool)
        free[self.candidates] = False
        return free.nonzero().flatten()

    @cached_property
    def targets(self) -> Tensor:
        """Labels of the candidates."""
        return self.training.examples.targets[self.candidates]

    @cached_property
    def shadows(self) -> list[Shadow]:
        """The shadow models: the retained examples and a half of the candidates."""
        sides = [torch.cat([self.retained, self.candidates[row]]).sort().values for row in self.inside]
        return [Shadow(side, self.seed * self.models + number) for number, side in enumerate(sides)]

    @cached_property
    def references(self) -> list[Shadow]:
        """As many models that no candidate was ever shown to, with seeds of their own."""
        return [Shadow(self.retained, shadow.seed + REFERENCES) for shadow in self.shadows]

    @cached_property
    def answers(self) -> Store | None:
        """Where answers are kept: beside the models."""
        store = self.training.store
        return None if store is None else Store(store.folder / "answers")

    @cached_property
    def asked(self) -> str:
        """The hash of the questions: candidates, test set and held-out examples."""
        holdout = None if self.holdout is None else hash_of_examples(self.holdout)
        return hashed(hash_of_positions(self.candidates), hash_of_examples(self.test), holdout)

    def name(self, shadow: Shadow, made: Mapping[str, Any]) -> str:
        """Return the name of a model's answers in the store."""
        return hashed(self.training.key(shadow), self.asked, made)

    def trained(self, on_done: OnDone = ignore) -> Answers:
        """Return what the shadow models say before they unlearn."""
        return self.plainly("shadow models", self.shadows, on_done)

    def retrained(self, on_done: OnDone = ignore) -> Answers:
        """Return what models say that no candidate was ever shown to."""
        return self.plainly("retrained models", self.references, on_done)

    def plainly(self, what: str, shadows: list[Shadow], on_done: OnDone) -> Answers:
        """Return what models say as they are trained."""
        models = train_shadows(self.training, shadows, lambda *counts: on_done(what, *counts))
        kept = self.training.store
        made: dict[str, Any] = {"unlearned": False}
        answers = []
        for model, shadow in zip(models, shadows, strict=True):
            seconds = 0.0 if kept is None else float(kept.about(self.training.key(shadow)).get("seconds", 0.0))
            known = self.known(shadow, made)
            answers.append(known or self.keep(shadow, made, self.ask(model, seconds)))
        return Answers.of(answers)

    def unlearned(self, options: Mapping[str, Any], jobs: int = 1, on_done: OnDone = ignore) -> Answers:
        """Return what the shadow models say after each has unlearned its half of the candidates.

        Args:
            options: Of ``unlearn``: method, settings, conditions. The seed is each model's own.
            jobs: Processes that unlearn side by side.
            on_done: Called after each model.
        """
        made = {"unlearned": {name: repr(value) for name, value in sorted(options.items())}}
        known = {number: self.known(shadow, made) for number, shadow in enumerate(self.shadows)}
        missing = [number for number, answer in known.items() if answer is None]
        on_done("unlearned models", self.models - len(missing), self.models)
        models = train_shadows(self.training, self.shadows) if missing else []
        work = carried_out(self, {number: models[number] for number in missing}, options, jobs)
        for ready, (number, answer) in enumerate(work, start=1):
            known[number] = self.keep(self.shadows[number], made, answer)
            on_done("unlearned models", self.models - len(missing) + ready, self.models)
        return Answers.of([answer for answer in known.values() if answer is not None])

    def known(self, shadow: Shadow, made: Mapping[str, Any]) -> Answer | None:
        """Return a model's answers if the store has them."""
        if self.answers is None:
            return None
        name = self.name(shadow, made)
        about = self.answers.about(name)
        return (self.answers.tensors(name), about) if self.answers.has(name) and about else None

    def keep(self, shadow: Shadow, made: Mapping[str, Any], answer: Answer) -> Answer:
        """Put a model's answers into the store, if there is one, and return them."""
        if self.answers is not None:
            tensors, about = answer
            self.answers.keep(self.name(shadow, made), tensors, {**about, "made": dict(made)})
        return answer

    def ask(self, model: nn.Module, seconds: float) -> Answer:
        """Return what a model says about candidates and test examples, and its accuracies."""
        predict, examples = Predictor(model, self.training.logits), self.training.examples
        candidates, retain = (
            collect(predict, Subset(examples, positions)) for positions in (self.candidates, self.retained)
        )
        test = collect(predict, self.test)
        gone = self.targets.unique()
        gone = gone[~torch.isin(gone, retain.targets)]
        told = {"retain_accuracy": percent(retain), "test_accuracy": percent(test.without(gone)), "seconds": seconds}
        return {"candidates": candidates.logits, "test": test.logits}, told


def percent(outputs: Outputs) -> float | None:
    """Return an accuracy; None if there are no examples."""
    return accuracy(outputs.logits, outputs.targets)


def unlearn_one(study: Study, model: nn.Module, number: int, options: Mapping[str, Any]) -> Answer:
    """Let a shadow model unlearn its half of the candidates, and return its answers."""
    examples, shadow = study.training.examples, study.shadows[number]
    began = time.perf_counter()
    result = unlearn(
        model,
        forget=Subset(examples, study.candidates[study.inside[number]]),
        retain=Subset(examples, study.retained),
        holdout=study.holdout,
        logits=study.training.logits,
        **{**options, "seed": shadow.seed},
    )
    return study.ask(result.model, time.perf_counter() - began)


def carried_out(
    study: Study, models: Mapping[int, nn.Module], options: Mapping[str, Any], jobs: int
) -> Iterator[tuple[int, Answer]]:
    """Yield the number and the answers of every model, in its turn.

    Raises:
        ConfigError: If there is no job, or the work cannot be handed to other processes.
    """
    if jobs < 1:
        raise ConfigError("at least 1 job", f"{jobs}", "use 1")
    if jobs == 1 or len(models) < 2:
        for number, model in models.items():
            yield number, unlearn_one(study, model, number, options)
        return
    # The other processes keep nothing, and need the data once each.
    common = (replace(study, training=replace(study.training, store=None)), options, threads_of(jobs))
    check_portable(common, next(iter(models.values())))
    with ProcessPoolExecutor(jobs, get_context("spawn"), begin, common) as pool:
        waiting = [(number, pool.submit(unlearn_given, model, number)) for number, model in models.items()]
        for number, future in waiting:
            yield number, future.result()


def threads_of(jobs: int) -> int:
    """Return how many threads each of so many processes may use."""
    return max(1, torch.get_num_threads() // jobs)


GIVEN: dict[str, Any] = {}
"""In a process that unlearns beside others: the study and the options, sent once."""


def begin(study: Study, options: Mapping[str, Any], threads: int) -> None:
    """Take note of what all work of this process shares."""
    torch.set_num_threads(threads)
    GIVEN.update(study=study, options=options)


def unlearn_given(model: nn.Module, number: int) -> Answer:
    """Let a model unlearn as this process was told to."""
    return unlearn_one(GIVEN["study"], model, number, GIVEN["options"])


def check_portable(*things: Any) -> None:
    """Refuse what cannot be handed to another process.

    Raises:
        ConfigError: If it cannot.
    """
    try:
        ForkingPickler.dumps(things)
    except Exception as error:  # whatever the user's objects raise
        found = f"one that cannot be sent to another process ({str(error)[:120]})"
        raise ConfigError("a network and data made by functions of a module", found, "use jobs=1") from error
