"""What shadow models that have unlearned still give away: the result of ``audit_ulira``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from expunge.api.audits.shadow_study import ShadowOutputs
from expunge.api.folder import check_writable
from expunge.errors import ConfigError
from expunge.metrics import LikelihoodRatio, likelihood_ratio_attack, summarize
from expunge.type_checks import check_argument_types
from expunge.weights import atomic_write, save_weights

ModelState = Literal["original", "unlearned", "retrained"]
OUTPUTS_FILE, FIGURES_FILE = "outputs.safetensors", "ulira.json"
CACHE_FOLDER = "cache"
"""Folder of the shadow models, and where the figures name one that lies elsewhere."""


@dataclass(frozen=True, eq=False)
class ULiRAResult:
    """What many models say about the same candidates, before and after unlearning, and what an attack makes of it.

    Args:
        membership: Which model was trained on which candidate, booleans ``(models, candidates)``; every candidate is in
            for half of the models.
        targets: Labels of the candidates.
        outputs: By state: ``original`` (the shadow models as they were trained), ``unlearned``, and where asked for
            ``retrained`` (as many models that no candidate was ever shown to).
        test_targets: Labels of the test examples.
        metadata: What was asked, as plain values.
    """

    membership: Tensor
    targets: Tensor
    outputs: Mapping[ModelState, ShadowOutputs]
    test_targets: Tensor
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def attack(self, state: ModelState = "unlearned", *, resamples: int = 1000, seed: int = 0) -> LikelihoodRatio:
        """Return how well the likelihood-ratio attack tells what the models of a state were trained on.

        Args:
            state: ``unlearned`` (default); ``original``, what there was to forget; or ``retrained``, where nothing can
                be found, so that it shows how far chance goes.
            resamples: Bootstrap samples for the intervals.
            seed: Of the resampling.

        Raises:
            ConfigError: If there are no models of this state.
        """
        logits = self.outputs_of(state).candidates.numpy()
        groups = torch.arange(len(self.membership)) // 2
        return likelihood_ratio_attack(
            logits,
            self.membership.numpy(),
            targets=self.targets.numpy(),
            groups=groups.numpy(),
            resamples=resamples,
            seed=seed,
        )

    def outputs_of(self, state: ModelState) -> ShadowOutputs:
        """Return what the models of a state say.

        Raises:
            ConfigError: If there are none.
        """
        if state not in self.outputs:
            actual = f"'{state}'" if state not in get_args(ModelState) else f"no {state} models"
            hint = "ask for them with reference=True" if state == "retrained" else "choose one of them"
            raise ConfigError(f"one of {', '.join(self.outputs)}", actual, hint)
        return self.outputs[state]

    def select_member_logits(self, state: ModelState = "unlearned") -> Tensor:
        """Return logits of each candidate under the models that were trained on it.

        They have the form ``(models / 2, candidates, classes)``. With ``answers["retrained"].candidates`` they
        are what metrics of many models compare, such as KLOM and the forgetting quality; the models are others for each
        candidate.
        """
        logits = self.outputs_of(state).candidates
        of_each = [logits[self.membership[:, candidate], candidate] for candidate in range(logits.shape[1])]
        return torch.stack(of_each, dim=1)

    def document(self) -> dict[str, Any]:
        """Return the figures of every state as plain values."""
        return {**self.metadata, "states": {state: self.summarize_state(state) for state in self.outputs}}

    def summarize_state(self, state: ModelState) -> dict[str, Any]:
        """Return the attack on the models of a state, their accuracies and what they cost."""
        answers, attack = self.outputs_of(state), asdict(self.attack(state))
        attack["recalls"] = [dict(recall) for recall in attack["recalls"]]
        means = {
            "retain_accuracy": answers.retain_accuracy,
            "test_accuracy": answers.test_accuracy,
            "seconds": answers.seconds,
        }
        return {"attack": attack, **{name: mean_and_half_width(values) for name, values in means.items()}}

    @check_argument_types
    def save(self, folder: Path | str) -> Path:
        """Write ``ulira.json`` with the figures, and ``outputs.safetensors`` with all logits, and return the folder.

        The logits stand under ``STATE.candidates`` and ``STATE.test``, ``(models, examples, classes)``, beside
        ``inside``, ``targets`` and ``test_targets``; no index and no input of an example is kept.

        Args:
            folder: Where; made if it is not there. What an earlier audit left is replaced.

        Raises:
            ConfigError: If the folder cannot be made.
        """
        target = Path(folder)
        check_writable(target, "folder of an audit", "choose another")
        target.mkdir(parents=True, exist_ok=True)
        tensors = {"inside": self.membership, "targets": self.targets, "test_targets": self.test_targets}
        for state, answers in self.outputs.items():
            tensors |= {f"{state}.candidates": answers.candidates, f"{state}.test": answers.test}
        save_weights(tensors, target / OUTPUTS_FILE, overwrite=True)
        with atomic_write(target / FIGURES_FILE, overwrite=True) as temporary:
            temporary.write_text(json.dumps(self.document(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return target


def mean_and_half_width(values: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean and half-width of the interval over models."""
    summary = summarize(values)
    return {"mean": summary.mean, "half_width": summary.half_width}
