"""A study with shadow models: each is trained on a random half of the candidates, unlearns it, and is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

from expunge.api.unlearning import unlearn
from expunge.batch import Examples, Predictor
from expunge.data import Subset
from expunge.errors import ConfigError, RequestError
from expunge.metrics import collect_outputs
from expunge.run_config import RunConfig
from expunge.shadows import Shadow, ShadowStore, ShadowTraining, draw_complementary_halves, hash_values, train_shadows
from expunge.shadows.store import hash_examples, hash_positions

REFERENCE_SEED_OFFSET = 500_000
"""Added to the seed of a shadow model for the retrained one, which starts from weights of its own."""
MIN_SHADOW_MODELS = 6
"""Shadow models, at least: two of each kind beside a pair that is judged."""

OnDone = Callable[[str, int, int], None]
"""Called with what is being done, how many models are ready, and how many there are."""

ShadowOutput = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""What one model says: logits, and its accuracies with the seconds it took."""


def ignore_progress(what: str, ready: int, every: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class ShadowOutputs:
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
    def stack(cls, answers: Sequence[ShadowOutput]) -> ShadowOutputs:
        """Return the answers of all models from those of each."""
        facts = [about for _, about in answers]
        return cls(
            torch.stack([tensors["candidates"] for tensors, _ in answers]),
            torch.stack([tensors["test"] for tensors, _ in answers]),
            *(tuple(about[key] for about in facts) for key in ("retain_accuracy", "test_accuracy", "seconds")),
        )


@dataclass(frozen=True, eq=False)
class ShadowStudy:
    """Shadow models for one request, shared by all methods that are judged on it.

    Args:
        training: How models are trained, and on what data; with a store, models and answers are kept beside each other.
        candidates: Positions of the examples of which each shadow model is trained on a random half and forgets it.
        test: Examples that no model is trained on.
        holdout: Other such examples, for methods and budgets that need them. Default none.
        num_models: How many shadow models, an even number. Default 32.
        seed: Of the halves, the initializations, the orders and the unlearning. Default 0.

    Raises:
        RequestError: If nothing is left to retain, or a candidate is named twice or is none.
        ConfigError: If there are fewer than 6 shadow models, or an odd number.
    """

    training: ShadowTraining
    candidates: Tensor
    test: Examples
    holdout: Examples | None = None
    num_models: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        every, named = len(self.training.examples), self.candidates
        if len(named) and not 0 <= int(named.min()) <= int(named.max()) < every:
            actual = f"{int(named.min())} to {int(named.max())}"
            raise RequestError(f"candidates from 0 to {every - 1}", actual, "name positions in the training set")
        if len(named.unique()) < len(named):
            raise RequestError("every candidate once", "one twice", "remove the duplicates")
        if len(named) >= every:
            raise RequestError("examples to retain beside the candidates", "none", "name fewer candidates")
        if self.num_models < MIN_SHADOW_MODELS:
            hint = "use 32; of each kind two must be left where one model is judged"
            raise ConfigError(f"at least {MIN_SHADOW_MODELS} shadow models", f"{self.num_models}", hint)
        _ = self.membership

    @cached_property
    def membership(self) -> Tensor:
        """Which model is trained on which candidate, booleans ``(models, candidates)``."""
        return draw_complementary_halves(len(self.candidates), self.num_models, self.seed)

    @cached_property
    def groups(self) -> Tensor:
        """The number of each model's pair, of which every candidate is in one, ``(models,)``."""
        return torch.arange(self.num_models) // 2

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
        sides = [torch.cat([self.retained, self.candidates[row]]).sort().values for row in self.membership]
        return [Shadow(side, self.seed * self.num_models + number) for number, side in enumerate(sides)]

    @cached_property
    def references(self) -> list[Shadow]:
        """As many models that no candidate was ever shown to, with seeds of their own."""
        return [Shadow(self.retained, shadow.seed + REFERENCE_SEED_OFFSET) for shadow in self.shadows]

    @cached_property
    def output_store(self) -> ShadowStore | None:
        """Where answers are kept: beside the models."""
        store = self.training.store
        return None if store is None else ShadowStore(store.folder / "answers")

    @cached_property
    def query_hash(self) -> str:
        """The hash of the questions: candidates, test set and held-out examples."""
        holdout = None if self.holdout is None else hash_examples(self.holdout)
        return hash_values(hash_positions(self.candidates), hash_examples(self.test), holdout)

    def cache_key(self, shadow: Shadow, origin: Mapping[str, Any]) -> str:
        """Return the name of a model's answers in the store."""
        return hash_values(self.training.key(shadow), self.query_hash, origin)

    def collect_shadow_outputs(self, on_done: OnDone = ignore_progress) -> ShadowOutputs:
        """Return what the shadow models say before they unlearn."""
        return self.collect_trained_outputs("shadow models", self.shadows, on_done)

    def collect_reference_outputs(self, on_done: OnDone = ignore_progress) -> ShadowOutputs:
        """Return what models say that no candidate was ever shown to."""
        return self.collect_trained_outputs("retrained models", self.references, on_done)

    def collect_trained_outputs(self, what: str, shadows: list[Shadow], on_done: OnDone) -> ShadowOutputs:
        """Return what models say as they are trained."""
        models = train_shadows(self.training, shadows, lambda *counts: on_done(what, *counts))
        model_store = self.training.store
        origin: dict[str, Any] = {"unlearned": False}
        answers = []
        for model, shadow in zip(models, shadows, strict=True):
            seconds = (
                0.0
                if model_store is None
                else float(model_store.load_metadata(self.training.key(shadow)).get("seconds", 0.0))
            )
            cached = self.load_cached(shadow, origin)
            answers.append(cached or self.store_output(shadow, origin, self.collect_outputs(model, seconds)))
        return ShadowOutputs.stack(answers)

    def collect_unlearned_outputs(
        self, options: Mapping[str, Any], jobs: int = 1, on_done: OnDone = ignore_progress
    ) -> ShadowOutputs:
        """Return what the shadow models say after each has unlearned its half of the candidates."""
        origin = {"unlearned": {name: repr(value) for name, value in sorted(options.items())}}
        cached = {number: self.load_cached(shadow, origin) for number, shadow in enumerate(self.shadows)}
        missing = [number for number, answer in cached.items() if answer is None]
        on_done("unlearned models", self.num_models - len(missing), self.num_models)
        models = train_shadows(self.training, self.shadows) if missing else []
        work = run_all(self, {number: models[number] for number in missing}, options, jobs)
        for ready, (number, answer) in enumerate(work, start=1):
            cached[number] = self.store_output(self.shadows[number], origin, answer)
            on_done("unlearned models", self.num_models - len(missing) + ready, self.num_models)
        return ShadowOutputs.stack([answer for answer in cached.values() if answer is not None])

    def load_cached(self, shadow: Shadow, origin: Mapping[str, Any]) -> ShadowOutput | None:
        """Return a model's answers if the store has them."""
        if self.output_store is None:
            return None
        name = self.cache_key(shadow, origin)
        about = self.output_store.load_metadata(name)
        return (self.output_store.load(name), about) if self.output_store.has(name) and about else None

    def store_output(self, shadow: Shadow, origin: Mapping[str, Any], answer: ShadowOutput) -> ShadowOutput:
        """Put a model's answers into the store, if there is one, and return them."""
        if self.output_store is not None:
            tensors, about = answer
            self.output_store.save(self.cache_key(shadow, origin), tensors, {**about, "made": dict(origin)})
        return answer

    def collect_outputs(self, model: nn.Module, seconds: float) -> ShadowOutput:
        """Return what a model says about candidates and test examples, and its accuracies."""
        predict, examples = Predictor(model, self.training.logits), self.training.examples
        candidates, retain = (
            collect_outputs(predict, Subset(examples, positions)) for positions in (self.candidates, self.retained)
        )
        test = collect_outputs(predict, self.test)
        forgotten_classes = self.targets.unique()
        forgotten_classes = forgotten_classes[~torch.isin(forgotten_classes, retain.targets)]
        facts = {
            "retain_accuracy": retain.accuracy,
            "test_accuracy": test.without(forgotten_classes).accuracy,
            "seconds": seconds,
        }
        return {"candidates": candidates.logits, "test": test.logits}, facts


def unlearn_one(study: ShadowStudy, model: nn.Module, number: int, options: Mapping[str, Any]) -> ShadowOutput:
    """Let a shadow model unlearn its half of the candidates, and return its answers."""
    examples, shadow = study.training.examples, study.shadows[number]
    config = replace(options.get("config", RunConfig()), logits=study.training.logits, progress=False)
    began = time.perf_counter()
    result = unlearn(
        model,
        forget=Subset(examples, study.candidates[study.membership[number]]),
        retain=Subset(examples, study.retained),
        holdout=study.holdout,
        **{**options, "seed": shadow.seed, "config": config},
    )
    return study.collect_outputs(result.model, time.perf_counter() - began)


def run_all(
    study: ShadowStudy, models: Mapping[int, nn.Module], options: Mapping[str, Any], jobs: int
) -> Iterator[tuple[int, ShadowOutput]]:
    """Yield the number and the answers of every model, in its turn."""
    if jobs < 1:
        raise ConfigError("at least 1 job", f"{jobs}", "use 1")
    if jobs == 1 or len(models) < 2:
        for number, model in models.items():
            yield number, unlearn_one(study, model, number, options)
        return
    alone, threads = (
        replace(study, training=replace(study.training, store=None)),
        max(1, torch.get_num_threads() // jobs),
    )
    check_picklable(alone, options, next(iter(models.values())))
    tasks = (delayed(unlearn_in_worker)(alone, models[number], number, options, threads) for number in models)
    yield from zip(models, Parallel(n_jobs=jobs, return_as="generator")(tasks), strict=True)


def unlearn_in_worker(
    study: ShadowStudy, model: nn.Module, number: int, options: Mapping[str, Any], threads: int
) -> ShadowOutput:
    """Let a model unlearn in another process, which keeps nothing."""
    torch.set_num_threads(threads)
    return unlearn_one(study, model, number, options)


def check_picklable(*things: Any) -> None:
    """Refuse what cannot be handed to another process."""
    try:
        ForkingPickler.dumps(things)
    except Exception as error:  # whatever the user's objects raise
        actual = f"one that cannot be sent to another process ({str(error)[:120]})"
        raise ConfigError("a network and data made by functions of a module", actual, "use jobs=1") from error
