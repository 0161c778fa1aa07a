"""``audit_ulira``: how much of the forgotten examples a method leaves to the strongest attack we have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from expunge.api.audits.shadow_study import OnDone, ShadowOutputs, ShadowStudy, ignore_progress
from expunge.api.audits.ulira_result import ModelState, ULiRAResult
from expunge.api.folder import check_writable
from expunge.api.inputs import resolve_device
from expunge.data import as_examples
from expunge.data.examples import validate_positions
from expunge.methods import Method
from expunge.shadows import ShadowTraining
from expunge.type_checks import check_argument_types


@check_argument_types
def audit_ulira(
    training: ShadowTraining,
    *,
    candidates: Any,
    test: Any,
    method: str | Method | None = None,
    num_shadow_models: int = 32,
    holdout: Any = None,
    reference: bool = False,
    seed: int = 0,
    jobs: int = 1,
    on_done: OnDone = ignore_progress,
    **options: Any,
) -> ULiRAResult:
    """Return how well an attacker with shadow models tells what a network was trained on and then unlearned (U-LiRA).

    Hayes et al., 2024 (arXiv 2403.01218). Every shadow model is trained on the examples that are no candidates and on a
    random half of the candidates, and unlearns that half; so each candidate is trained on and unlearned by half of the
    models and was never seen by the others, and as many models unlearn as there are shadows, whatever the number of
    candidates. Attacks on one model's scores understate what this one finds.

    Args:
        training: How shadow models are made: the network, its training set with the candidates among it, and the
            settings. Its ``store`` keeps models and answers, so that an audit that was stopped goes on; it holds models
            that know the examples.
        candidates: Positions in the training set of the examples to ask about. A forget set has half of them.
        test: Examples that no model is trained on, for accuracies.
        method: As in ``unlearn``. Default ``auto``.
        num_shadow_models: How many shadow models, an even number. Default 32.
        holdout: As in ``unlearn``. Default none.
        reference: Whether as many models are trained without any candidate too: nothing can be found in them. Default
            false.
        seed: Of halves, initializations, orders and unlearning. Default 0.
        jobs: Processes that unlearn side by side. Default 1.
        on_done: Called as ``on_done(what, ready, all)`` when models are ready.
        **options: Settings of the method, and what ``unlearn`` takes besides.

    Raises:
        ExpungeError: If the request, the network or the data do not fit.
        NotFiniteError: If a training or an unlearning diverges.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from expunge.data import TensorExamples
        >>> from expunge.tasks.train_settings import TrainSettings
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> train, test = TensorExamples(x[:40], y[:40]), TensorExamples(x[40:], y[40:])
        >>> training = ShadowTraining(lambda: nn.Linear(4, 3), train, TrainSettings(epochs=1, batch_size=8))
        >>> how = {"method": "ft", "epochs": 1, "num_shadow_models": 6}
        >>> found = audit_ulira(training, candidates=range(10), test=test, **how)
        >>> found.outputs["unlearned"].candidates.shape, found.membership.sum(0).unique().tolist()
        (torch.Size([6, 10, 3]), [3])
    """
    training = replace(training, examples=as_examples(training.examples), device=resolve_device(str(training.device)))
    held_out = None if holdout is None else as_examples(holdout)
    positions = validate_positions(candidates, len(training.examples))
    study = ShadowStudy(training, positions, as_examples(test), held_out, num_shadow_models, seed)
    return score_study(study, {"method": method, **options}, reference, jobs, on_done)


def score_study(
    study: ShadowStudy,
    options: Mapping[str, Any],
    reference: bool = False,
    jobs: int = 1,
    on_done: OnDone = ignore_progress,
) -> ULiRAResult:
    """Return what the shadow models of a study give away before and after unlearning by one method."""
    if study.training.store is not None:
        check_writable(study.training.store.folder, "cache folder", "name another, or none")
    answers: dict[ModelState, ShadowOutputs] = {"original": study.collect_shadow_outputs(on_done)}
    answers["unlearned"] = study.collect_unlearned_outputs(options, jobs, on_done)
    if reference:
        answers["retrained"] = study.collect_reference_outputs(on_done)
    training = asdict(study.training.settings)
    del training["seed"]
    metadata = {
        "models": study.num_models,
        "candidates": len(study.candidates),
        "retained": len(study.retained),
        "seed": study.seed,
        "training": training,
        "unlearning": {name: str(value) for name, value in options.items()},
        "calibrations": [calibration.as_dict() for calibration in study.training.speed_tests],
    }
    test_targets = study.test.targets
    return ULiRAResult(study.membership, study.targets, answers, test_targets, metadata)
