"""``audit``: check somebody else's unlearning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from expunge.api.admission import check_kinds, checked_split, refuse_overlap, refuse_repeats
from expunge.api.audits.audit_section import audit_section
from expunge.api.coincidence import repetition_sentence
from expunge.api.documents import document
from expunge.api.evaluating import Evaluation, checked_names
from expunge.api.folder import FINISHED, REPORT
from expunge.api.requests import Asked, request_part
from expunge.api.rows import ORIGINAL, RETRAIN, Rows
from expunge.api.saving import saving
from expunge.api.steering.wish import DELTA
from expunge.batch import Examples, Predictor, Split
from expunge.budget import UtilityCertificate, one_per_id, read, split_holdout, utility_certificate, whole_classes
from expunge.data import Subset, as_examples, check_labels, distinct, ids_of, remembered_hashes, repeats
from expunge.errors import DataError
from expunge.evaluation import Attack, membership_audit
from expunge.evaluation.collecting import home
from expunge.kinds import kinds_checked
from expunge.weights import Layer, layers_moved, plain_state

FILES = (FINISHED, REPORT)
"""What an audit writes."""
ROWS = {ORIGINAL: "Original", RETRAIN: "Retrain", "unlearned": "Unlearned"}
FOREIGN = "How the model was unlearned is not known here; nothing was chosen or tuned by this audit."
NOT_SEEN = (
    "Whether the held-out examples had a part in making the model is for its maker to say; if they had, the "
    "certificate does not hold."
)
ONE = "The bound is for one model; who picks one of several by their bounds has none, and needs fresh examples."
HOLDS = "The data sets that were measured on, and the original's weights."


class Models(NamedTuple):
    """What is compared; ``retrained`` is None where there is no reference."""

    original: nn.Module
    unlearned: nn.Module
    retrained: nn.Module | None = None


class Parts(NamedTuple):
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
    layers: tuple[Layer, ...]

    @kinds_checked
    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write ``report.html`` and ``result.json`` into a folder, and return it.

        Raises:
            ConfigError: If the folder holds an earlier result or cannot be written.
        """
        with saving(folder, overwrite=overwrite, written=FILES) as place:
            self.report(place.path / REPORT)
            place.write_json(FINISHED, self.document)
        return Path(folder)


@kinds_checked
@remembered_hashes()
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
    question: str = "Forget the given examples",
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
        question: What was asked, for the report.
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
    models = Models(original, unlearned, retrained)
    split = checked_split(Predictor(unlearned, logits), as_examples(forget), as_examples(retain), trainable=False)
    others = [as_examples(test), *([] if certify is None else [as_examples(certify)])]
    check_kinds(split.forget, *others)
    parts = apart(split, others[0], others[1] if others[1:] else None, seed)
    asked = Asked("request", question, "indices", checked_names(class_names, split.classes))
    return audited(models, parts, asked, "expunge.audit", question, logits=logits, seed=seed, batch_size=batch_size)


def apart(split: Split, test: Examples, certify: Examples | None, seed: int) -> Parts:
    """Return the parts of an audit, the certify examples apart from all others.

    Raises:
        DataError: If there are too few held-out examples.
        RequestError: If parts share examples, or a label lies outside of the head.
    """
    gone, sides = whole_classes(split), (split.retain, split.forget)
    coincide = [refuse_repeats("test", test, sides)]
    if certify is None:
        # The certificate counts each example once, and as independent of the others.
        once = torch.from_numpy(~repeats(test)).nonzero().flatten()
        staying = once[~torch.isin(test.targets.cpu()[once], torch.tensor(gone, dtype=torch.int64))]
        each = one_per_id(ids_of(test), staying, seed)
        chosen = each[split_holdout(test.targets.cpu()[each], seed).certify]
        rest = torch.ones(len(test), dtype=torch.bool).index_fill_(0, chosen, False).nonzero().flatten()
        certify, test = Subset(test, chosen), Subset(test, rest)
    else:
        stays = ~torch.isin(certify.targets, torch.tensor(gone, dtype=torch.int64))
        certify = Subset(certify, stays.nonzero().flatten())
        coincide.append(refuse_repeats("certify", certify, sides))
        certify = distinct(certify)
        certify = Subset(certify, one_per_id(certify.ids, torch.arange(len(certify)), seed))
    if not len(certify):
        raise DataError("held-out examples of the classes that stay, to certify with", "none", "pass some as certify=")
    for name, part in (("test", test), ("certify", certify)):
        check_labels(part, split.classes)
        for other, side in (("forget", split.forget), ("retain", split.retain)):
            coincide.append(refuse_overlap(other, side, name, part, sides))
    coincide.append(refuse_overlap("test", test, "certify", certify, sides))
    caveat = split.caveat or (repetition_sentence(split.retain) if any(coincide) else "")
    return Parts(replace(split, caveat=caveat), test, certify)


def audited(
    models: Models,
    parts: Parts,
    asked: Asked,
    command: str,
    title: str,
    *,
    logits: Callable[[Any], Tensor] | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> Audit:
    """Return the audit of models and examples that fit together.

    Raises:
        ModelError: If original and unlearned model are of different architectures.
        NotFiniteError: If logits are not finite.
    """
    layers = layers_moved(plain_state(models.original), plain_state(models.unlearned))
    rows = Rows(parts.split, parts.test, seed, logits, batch_size)
    rows.original(models.original)
    if models.retrained is not None:
        rows.retrained(models.retrained)
    rows.unlearned(models.unlearned)
    before, after = (read(Predictor(model, logits), parts.certify, batch=batch_size) for model in models[:2])
    certificate = utility_certificate(before.right, after.right, DELTA)
    alike = {key: outputs for key, outputs in rows.outputs.items() if len(outputs.test_alike)}
    attacks = {ROWS[key]: membership_audit(outputs, seed=seed) for key, outputs in alike.items()}
    section = {"audit": audit_section(certificate, attacks, layers)}
    part = request_part(asked, parts.split, parts.test, rows.trials()) | section
    told = document("audit", title, command, FOREIGN, [part], [HOLDS], str(home(models.unlearned)))
    told["caveats"] += [NOT_SEEN, ONE, *([parts.split.caveat] if parts.split.caveat else [])]
    return Audit(told, certificate, attacks, layers)
