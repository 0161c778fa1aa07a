"""``audit``: check somebody else's unlearning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from expunge.api.audits.audit_section import build_audit_section
from expunge.api.coincidence import describe_repetition
from expunge.api.documents import build_document
from expunge.api.evaluating import Evaluation
from expunge.api.folder import REPORT_FILE, RESULT_FILE
from expunge.api.model_comparison import ORIGINAL_KEY, RETRAIN_KEY, ModelComparison
from expunge.api.request_section import RequestInfo, build_request_section
from expunge.api.result import get_task
from expunge.api.saving import saving
from expunge.api.steering.budget_validation import CERTIFICATE_DELTA
from expunge.api.validation import check_disjoint, check_input_types, check_unique, validate_split
from expunge.batch import Examples, Predictor, Split, device_of
from expunge.budget import (
    UtilityCertificate,
    evaluate_model,
    find_forgotten_classes,
    select_one_per_id,
    split_holdout,
    utility_certificate,
)
from expunge.data import Subset, as_examples, check_labels, drop_duplicates, find_duplicates, get_ids, hash_cache
from expunge.errors import DataError
from expunge.metrics import Attack, membership_audit
from expunge.type_checks import check_argument_types
from expunge.weights import LayerChange, compare_layers, unwrap_state

AUDIT_FILES = (RESULT_FILE, REPORT_FILE)
"""What an audit writes."""
ROW_LABELS = {ORIGINAL_KEY: "Original", RETRAIN_KEY: "Retrain", "unlearned": "Unlearned"}
EXTERNAL_MODEL_NOTE = "How the model was unlearned is not known here; nothing was chosen or tuned by this audit."
HOLDOUT_CAVEAT = (
    "Whether the held-out examples had a part in making the model is for its maker to say; if they had, the "
    "certificate does not hold."
)
SELECTION_CAVEAT = (
    "The bound is for one model; who picks one of several by their bounds has none, and needs fresh examples."
)
STILL_CONTAINS_DATA = "The data sets that were measured on, and the original's weights."


class AuditModels(NamedTuple):
    """What is compared; ``retrained`` is None where there is no reference."""

    original: nn.Module
    unlearned: nn.Module
    retrained: nn.Module | None = None


class AuditData(NamedTuple):
    """On which examples.

    Args:
        split: The request's.
        test: Held-out examples of all classes, for every figure but the certificate.
        certify: Held-out examples of the classes that stay, for the certificate alone.
    """

    split: Split
    test: Examples
    certify: Examples


@dataclass(frozen=True)
class Audit(Evaluation):
    """What an audit found: the figures of ``Evaluation``, and what one asks of a model from elsewhere.

    Args:
        document: The result document.
        certificate: Bound on the paired drop of accuracy against the original.
        attacks: Name of a row → the membership attacks on that model; empty without held-out examples alike.
        layers: How far each module is from the original's.
    """

    certificate: UtilityCertificate
    attacks: Mapping[str, tuple[Attack, ...]]
    layers: tuple[LayerChange, ...]

    @check_argument_types
    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write ``report.html`` and ``result.json`` into a folder, and return it.

        Raises:
            ConfigError: If the folder holds an earlier result or cannot be written.
        """
        with saving(folder, overwrite=overwrite, files=AUDIT_FILES) as run_folder:
            self.report(run_folder.path / REPORT_FILE)
            run_folder.write_json(RESULT_FILE, self.document)
        return Path(folder)


@check_argument_types
@hash_cache()
def audit(
    original: nn.Module,
    unlearned: nn.Module,
    *,
    forget: Any,
    retain: Any,
    test: Any,
    certify: Any = None,
    retrained: nn.Module | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    description: str = "Forget the given examples",
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Audit:
    """Check how well a model that Expunge did not make has forgotten, and what that cost.

    Three things beside the figures of ``evaluate``. A utility certificate: with confidence 95 % the accuracy on fresh
    examples of the classes that stay fell by at most so many points, from held-out examples that no other figure uses.
    Membership attacks on forgotten against held-out examples of the same classes. Which layers moved, by how much.

    Args:
        original: The model before unlearning.
        unlearned: The model to check, of the same architecture.
        forget: The examples that it was to forget, with the test transform.
        retain: The examples that it was to keep, with the test transform.
        test: Examples of all classes that no model was trained on, the forgotten classes among them.
        certify: Such examples for the certificate alone. Default: half of ``test``, drawn by class with ``seed``; no
            other figure is computed on them.
        retrained: A model trained without the forgotten examples. Without it, figures that need it are absent.
        logits: Takes a model's output and returns logits, where it does not return them itself.
        description: What was asked, for the report.
        class_names: Name of each class. Default: their numbers.
        seed: Of the draw and of the bootstrap. Default 0.
        batch_size: Examples in one forward pass. Default 256.

    Raises:
        ExpungeError: If models and data do not fit together.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> x, y = torch.randn(90, 4), torch.arange(90) % 3
        >>> parts = [TensorExamples(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
        >>> model = nn.Linear(4, 3)
        >>> found = audit(model, model, forget=parts[0], retain=parts[1], test=parts[2])
        >>> found.certificate.drop, found.certificate.examples, found.layers[0].changed
        (0.0, 15, 0)
    """
    models = AuditModels(original, unlearned, retrained)
    split = validate_split(Predictor(unlearned, logits), as_examples(forget), as_examples(retain), trainable=False)
    others = [as_examples(test), *([] if certify is None else [as_examples(certify)])]
    check_input_types(split.forget, *others)
    parts = split_audit_data(split, others[0], others[1] if others[1:] else None, seed)
    info = RequestInfo(
        "request", description, "indices", get_task("classification").name_classes(class_names, split.num_classes)
    )
    return run_audit(models, parts, info, "expunge.audit", description, logits=logits, seed=seed, batch_size=batch_size)


def split_audit_data(split: Split, test: Examples, certify: Examples | None, seed: int) -> AuditData:
    """Return the parts of an audit, the certify examples apart from all others."""
    forgotten_classes, sides = find_forgotten_classes(split), (split.retain, split.forget)
    coincide = [check_unique("test", test, sides)]
    if certify is None:
        # The certificate counts each example once, and as independent of the others.
        once = torch.from_numpy(~find_duplicates(test)).nonzero().flatten()
        staying = once[~torch.isin(test.targets.cpu()[once], torch.tensor(forgotten_classes, dtype=torch.int64))]
        each = select_one_per_id(get_ids(test), staying, seed)
        chosen = each[split_holdout(test.targets.cpu()[each], seed).certify]
        remaining = torch.ones(len(test), dtype=torch.bool).index_fill_(0, chosen, False).nonzero().flatten()
        certify, test = Subset(test, chosen), Subset(test, remaining)
    else:
        stays = ~torch.isin(certify.targets, torch.tensor(forgotten_classes, dtype=torch.int64))
        certify = Subset(certify, stays.nonzero().flatten())
        coincide.append(check_unique("certify", certify, sides))
        certify = drop_duplicates(certify)
        certify = Subset(certify, select_one_per_id(certify.ids, torch.arange(len(certify)), seed))
    if not len(certify):
        raise DataError("held-out examples of the classes that stay, to certify with", "none", "pass some as certify=")
    for name, part in (("test", test), ("certify", certify)):
        check_labels(part, split.num_classes)
        for other, side in (("forget", split.forget), ("retain", split.retain)):
            coincide.append(check_disjoint(other, side, name, part, sides))
    coincide.append(check_disjoint("test", test, "certify", certify, sides))
    caveat = split.caveat or (describe_repetition(split.retain) if any(coincide) else "")
    return AuditData(replace(split, caveat=caveat), test, certify)


def run_audit(
    models: AuditModels,
    parts: AuditData,
    info: RequestInfo,
    command: str,
    title: str,
    *,
    logits: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Audit:
    """Return the audit of models and examples that fit together."""
    layers = compare_layers(unwrap_state(models.original), unwrap_state(models.unlearned))
    rows = ModelComparison(parts.split, parts.test, seed, logits, batch_size)
    rows.add_original(models.original)
    if models.retrained is not None:
        rows.add_retrained(models.retrained)
    rows.add_unlearned(models.unlearned)
    before, after = (
        evaluate_model(Predictor(model, logits), parts.certify, batch_size=batch_size) for model in models[:2]
    )
    certificate = utility_certificate(before.correct, after.correct, CERTIFICATE_DELTA)
    comparable = {key: outputs for key, outputs in rows.outputs.items() if len(outputs.test_same_classes)}
    attacks = {ROW_LABELS[key]: membership_audit(outputs, seed=seed) for key, outputs in comparable.items()}
    section = {"audit": build_audit_section(certificate, attacks, layers)}
    part = build_request_section(info, parts.split, parts.test, rows.score()) | section
    content = build_document(
        "audit", title, command, EXTERNAL_MODEL_NOTE, [part], [STILL_CONTAINS_DATA], str(device_of(models.unlearned))
    )
    content["limitations"] += [HOLDOUT_CAVEAT, SELECTION_CAVEAT, *([parts.split.caveat] if parts.split.caveat else [])]
    return Audit(content, certificate, attacks, layers)
