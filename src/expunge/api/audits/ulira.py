"""``audit_ulira``: how much of the forgotten examples a method leaves to the strongest attack we have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge.api.audits.shadow_study import OnDone, ShadowOutputs, ShadowStudy, ignore_progress
from expunge.api.audits.ulira_result import ModelState, ULiRAResult
from expunge.api.folder import check_writable
from expunge.api.inputs import resolve_device
from expunge.data import as_examples
from expunge.data.examples import validate_positions
from expunge.methods import Method
from expunge.shadows import ShadowStore, ShadowTraining
from expunge.shadows.train import MAX_MODELS_AT_ONCE, StrategyChoice
from expunge.tasks.train_settings import TrainSettings
from expunge.type_checks import check_argument_types


@check_argument_types
def audit_ulira(
    model_fn: Callable[[], nn.Module],
    *,
    train: Any,
    candidates: Any,
    test: Any,
    settings: TrainSettings,
    method: str | Method | None = None,
    num_shadow_models: int = 32,
    holdout: Any = None,
    reference: bool = False,
    cache: Path | str | None = None,
    seed: int = 0,
    augment: Callable[[Any, torch.Generator], Any] | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    device: torch.device | str = "cpu",
    parallelism: StrategyChoice = "auto",
    group_size: int = MAX_MODELS_AT_ONCE,
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
        model_fn: Returns a network with fresh weights, drawn from the global generator.
        train: The training set, candidates among it.
        candidates: Positions in it of the examples to ask about. A forget set has half of them.
        test: Examples that no model is trained on, for accuracies.
        settings: How networks are trained.
        method: As in ``unlearn``. Default ``auto``.
        num_shadow_models: How many shadow models, an even number. Default 32.
        holdout: As in ``unlearn``. Default none.
        reference: Whether as many models are trained without any candidate too: nothing can be found in them. Default
            false.
        cache: Folder for models and answers, by the hash of everything that determines them; what is there is not made
            again, and an audit that was stopped goes on. It holds models that know the examples. Default none.
        seed: Of halves, initializations, orders and unlearning. Default 0.
        augment: As in ``fit``. Default none.
        logits: Takes the model's output and returns logits, where it does not return them itself.
        device: Where. Default the CPU.
        parallelism: ``together`` trains shadow models at once, ``loop`` one by one; ``auto`` (default) measures which
            is faster.
        group_size: Models that are trained at once, at most. Default 32.
        jobs: Processes that unlearn side by side. Default 1.
        on_done: Called as ``on_done(what, ready, all)`` when models are ready.
        **options: Settings of the method, and what ``unlearn`` takes besides.

    Raises:
        ExpungeError: If the request, the network or the data do not fit.
        NotFiniteError: If a training or an unlearning diverges.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
        >>> data = {"train": TensorExamples(x[:40], y[:40]), "test": TensorExamples(x[40:], y[40:])}
        >>> data["settings"] = TrainSettings(epochs=1, batch_size=8)
        >>> how = {"method": "ft", "epochs": 1, "num_shadow_models": 6}
        >>> found = audit_ulira(lambda: nn.Linear(4, 3), **data, candidates=range(10), **how)
        >>> found.outputs["unlearned"].candidates.shape, found.membership.sum(0).unique().tolist()
        (torch.Size([6, 10, 3]), [3])
    """
    store = None if cache is None else ShadowStore(Path(cache))
    examples = as_examples(train)
    device = resolve_device(device) if isinstance(device, str) else device
    training = ShadowTraining(model_fn, examples, settings, augment, logits, device, group_size, parallelism, store)
    held_out = None if holdout is None else as_examples(holdout)
    study = ShadowStudy(
        training, validate_positions(candidates, len(examples)), as_examples(test), held_out, num_shadow_models, seed
    )
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
