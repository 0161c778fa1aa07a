"""What shadow models that have unlearned still give away: the result of ``audit_ulira``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from expunge.api.audits.shadow_study import Answers
from expunge.api.folder import check_writable
from expunge.errors import ConfigError
from expunge.evaluation import UnlearningLiRA
from expunge.kinds import kinds_checked
from expunge.metrics import LikelihoodRatio, summarise
from expunge.weights import replacing, save_weights

State = Literal["original", "unlearned", "retrained"]
OUTPUTS, FIGURES = "outputs.safetensors", "ulira.json"
CACHE = "cache"
"""Folder of the shadow models, and where the figures name one that lies elsewhere."""


@dataclass(frozen=True, eq=False)
class Leakage:
    """What many models say about the same candidates, before and after unlearning, and what an attack makes of it.

    Args:
        inside: Which model was trained on which candidate, booleans ``(models, candidates)``; every candidate is in for
            half of the models.
        targets: Labels of the candidates.
        answers: By state: ``original`` (the shadow models as they were trained), ``unlearned``, and where asked for
            ``retrained`` (as many models that no candidate was ever shown to).
        test_targets: Labels of the test examples.
        about: What was asked, as plain values.
    """

    inside: Tensor
    targets: Tensor
    answers: Mapping[State, Answers]
    test_targets: Tensor
    about: Mapping[str, Any] = field(default_factory=dict)

    def attack(self, state: State = "unlearned", *, resamples: int = 1000, seed: int = 0) -> LikelihoodRatio:
        """Return how well the likelihood-ratio attack tells what the models of a state were trained on.

        Args:
            state: ``unlearned`` (default); ``original``, what there was to forget; or ``retrained``, where nothing can
                be found, so that it shows how far chance goes.
            resamples: Bootstrap samples for the intervals.
            seed: Of the resampling.

        Raises:
            ConfigError: If there are no models of this state.
        """
        metric = UnlearningLiRA(resamples=resamples, seed=seed)
        logits = self.answers_of(state).candidates.numpy()
        groups = torch.arange(len(self.inside)) // 2
        return metric(logits, self.inside.numpy(), targets=self.targets.numpy(), groups=groups.numpy())

    def answers_of(self, state: State) -> Answers:
        """Return what the models of a state say.

        Raises:
            ConfigError: If there are none.
        """
        if state not in self.answers:
            found = f"'{state}'" if state not in get_args(State) else f"no {state} models"
            cure = "ask for them with reference=True" if state == "retrained" else "choose one of them"
            raise ConfigError(f"one of {', '.join(self.answers)}", found, cure)
        return self.answers[state]

    def forgotten(self, state: State = "unlearned") -> Tensor:
        """Return logits of each candidate under the models that were trained on it.

        They have the form ``(models / 2, candidates, classes)``. With ``answers["retrained"].candidates`` they
        are what metrics of many models compare, such as KLOM and the forgetting quality; the models are others for each
        candidate.
        """
        logits = self.answers_of(state).candidates
        of_each = [logits[self.inside[:, place], place] for place in range(logits.shape[1])]
        return torch.stack(of_each, dim=1)

    def document(self) -> dict[str, Any]:
        """Return the figures of every state as plain values."""
        return {**self.about, "states": {state: self.figures(state) for state in self.answers}}

    def figures(self, state: State) -> dict[str, Any]:
        """Return the attack on the models of a state, their accuracies and what they cost."""
        answers, found = self.answers_of(state), asdict(self.attack(state))
        found["recalls"] = [dict(recall) for recall in found["recalls"]]
        means = {
            "retain_accuracy": answers.retain_accuracy,
            "test_accuracy": answers.test_accuracy,
            "seconds": answers.seconds,
        }
        return {"attack": found, **{name: brief(values) for name, values in means.items()}}

    @kinds_checked
    def save(self, folder: Path | str) -> Path:
        """Write ``ulira.json`` with the figures, and ``outputs.safetensors`` with all logits, and return the folder.

        The logits stand under ``STATE.candidates`` and ``STATE.test``, ``(models, examples, classes)``, beside
        ``inside``, ``targets`` and ``test_targets``; no index and no input of an example is kept.

        Args:
            folder: Where; made if it is not there. What an earlier audit left is replaced.

        Raises:
            ConfigError: If the folder cannot be made.
        """
        place = Path(folder)
        check_writable(place, "folder of an audit", "choose another")
        place.mkdir(parents=True, exist_ok=True)
        tensors = {"inside": self.inside, "targets": self.targets, "test_targets": self.test_targets}
        for state, answers in self.answers.items():
            tensors |= {f"{state}.candidates": answers.candidates, f"{state}.test": answers.test}
        save_weights(tensors, place / OUTPUTS, overwrite=True)
        with replacing(place / FIGURES, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self.document(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return place


def brief(values: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean and half-width of the interval over models."""
    found = summarise(values)
    return {"mean": found.mean, "half": found.half}
