"""Multi-label classification: models with one logit for each label, of which an example may carry several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Examples, Predictor, evaluation_mode
from expunge.budget import iterate_batches
from expunge.budget.criterion import MAX_RECOGNIZED
from expunge.data import as_target_examples, get_root, read_values, regroup
from expunge.errors import DataError
from expunge.metrics import Column
from expunge.tasks.loss_figures import Recognition
from expunge.tasks.multilabel.metrics import average_precisions, compute_mean
from expunge.tasks.targets.loss import PointwiseLoss
from expunge.tasks.targets.task import TargetTask

MAX_LABEL_COLUMNS = 20
"""Labels up to which a table has a column for each."""
OTHERS = "no forgotten label"
"""Name of the group of examples that carry no label which is forgotten as a whole."""
_MAP = "Mean average precision, times 100, over labels that some of the examples carry and some do not."


class BinaryCrossEntropy(PointwiseLoss):
    """Binary cross entropy of each logit.

    Formula: ℓ(z_j, y_j) = −y_j log σ(z_j) − (1 − y_j) log(1 − σ(z_j)).

    Args:
        forgotten: Which labels are forgotten as a whole, ``(k,)`` bool. Of examples that carry one of them only these
            labels are forgotten, of others all. Default: none.

    Examples:
        >>> BinaryCrossEntropy().compute(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).exp()
        tensor([2.])
        >>> BinaryCrossEntropy(torch.tensor([True, False])).select_forgotten(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        tensor([[ True, False],
                [ True,  True]])
    """

    def __init__(self, forgotten: Tensor | None = None) -> None:
        self.forgotten = forgotten

    def elementwise(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross entropies, ``(n, k)``."""
        return functional.binary_cross_entropy_with_logits(outputs, targets.to(outputs), reduction="none")

    def decode(self, outputs: Tensor) -> Tensor:
        """Return the probabilities of the labels."""
        return outputs.sigmoid()

    def select_forgotten(self, targets: Tensor) -> Tensor:
        """Return which labels of forgotten examples are to be forgotten, ``(n, k)`` bool."""
        if self.forgotten is None or not bool(self.forgotten.any()):
            return super().select_forgotten(targets)
        columns = self.forgotten.to(targets.device)
        return columns | ~((targets > 0) & columns).any(1, keepdim=True)


class Multilabel(TargetTask):
    """Models that return k logits, trained on the binary cross entropy of each; targets are k labels, 0 or 1.

    A request forgets examples, or a label: where retained examples carry a label no more and forgotten ones do, it is
    forgotten as a whole. To forget a label, forget every example that carries it. What a model is then compared with is
    one that was trained without these examples: it never saw the label, says of nothing that it carries it, and knows
    their other labels from the other examples. So only the forgotten label of these examples is changed and not their
    other labels, whose quality a budget keeps on held-out examples without the label.

    Single examples are forgotten where their loss cannot be told from that on held-out examples. A budget is in mean
    average precision, ``Budget(metric=mean_average_precision, max_drop=0.02)``, or of the loss,
    ``Budget(loss_increase=0.05)``.

    Examples:
        >>> Multilabel().name
        'multilabel'
    """

    utility_columns: ClassVar[tuple[Column, ...]] = (
        Column("map_forget", "mAP forget", "%", f"{_MAP} On the forgotten examples.", "match"),
        Column("map_retain", "mAP retain", "%", f"{_MAP} On the retained examples.", "higher"),
        Column("map_test", "mAP test", "%", f"{_MAP} On test examples of what is kept.", "higher"),
    )

    def __init__(self) -> None:
        self.forgotten = torch.zeros(0, dtype=torch.bool)
        self.label_names: Sequence[str] = ()

    @property
    def loss(self) -> PointwiseLoss:
        """The binary cross entropy."""
        return BinaryCrossEntropy(self.forgotten)

    def read_examples(self, dataset: object) -> Examples:
        """Return a data set as examples, each with the labels that it carries.

        Raises:
            DataError: If a target is neither 0 nor 1.
        """
        examples = as_target_examples(dataset)
        values = read_values(examples)
        if not bool(((values == 0) | (values == 1)).all()):
            outside = values[(values != 0) & (values != 1)][0].item()
            raise DataError("labels that are 0 or 1", f"{outside:g}", "pass a column of 0 and 1 for each label")
        return regroup(examples, lambda rows: torch.full((len(rows),), rows.shape[1]), lambda rows: rows > 0)

    def prepare_examples(
        self, forget: Examples, retain: Examples, holdout: Examples | None
    ) -> tuple[Examples, Examples, Examples | None]:
        """Take note of the labels that nothing retained carries, and put the examples that carry one in its group."""
        carried = (read_values(side).bool().any(0) for side in (forget, retain))
        forgotten = next(carried)
        self.forgotten = forgotten & ~next(carried)
        self.label_names = self.label_names or getattr(get_root(retain), "names", None) or ()
        labels = self.forgotten.nonzero().flatten()

        def find_groups(values: Tensor) -> Tensor:
            carries = values[:, labels].bool()
            first = labels[carries.int().argmax(1)] if len(labels) else torch.zeros(len(values), dtype=torch.int64)
            return torch.where(carries.any(1), first, torch.full_like(first, values.shape[1]))

        forget, retain = (regroup(side, find_groups, lambda rows: rows > 0) for side in (forget, retain))
        return forget, retain, None if holdout is None else regroup(holdout, find_groups, lambda rows: rows > 0)

    def count_classes(self, predict: Predictor, *sides: Examples) -> int:
        """Return the number of groups: one for each label, and one for examples without a forgotten label."""
        super().count_classes(predict, *sides)
        return 1 + read_values(sides[0]).shape[1]

    def measure_recognition(self, predict: Predictor, examples: Examples) -> Recognition | None:
        """Return of how many of the examples the model says that they carry a forgotten label; None without one."""
        labels = self.forgotten.nonzero().flatten()
        if not len(labels):
            return None
        with evaluation_mode(predict.model):
            answers = [
                (predict(batch.inputs)[:, labels] > 0).cpu() for batch in iterate_batches(predict, examples, 256)
            ]
        carried = read_values(examples)[:, labels].bool()
        return Recognition(float((torch.cat(answers) & carried).any(1).double().mean()), MAX_RECOGNIZED)

    def score_utility(self, outputs: Tensor, targets: Tensor) -> dict[str, float | None]:
        """Return the mean average precision and that of each label, in percent."""
        values = [None if value is None else 100 * value for value in average_precisions(outputs, targets)]
        return {"map": compute_mean(values), **{f"ap{label}": value for label, value in enumerate(values)}}

    def name_classes(self, names: Sequence[str] | None, classes: int) -> Sequence[str]:
        """Return the name of each label, its number by default, and that of the group without a forgotten one.

        Raises:
            ConfigError: If there is not one name for each label.
        """
        self.label_names = super(TargetTask, self).name_classes(names or self.label_names or None, classes - 1)
        return [*self.label_names, OTHERS]

    def list_columns(self) -> tuple[Column, ...]:
        """Return mean average precisions, losses, the distance to a retrained model, and each label's precision."""
        count = len(self.forgotten)
        names = self.label_names or [str(label) for label in range(count)]
        labels = range(count if count <= MAX_LABEL_COLUMNS else 0)
        definition = "Average precision of the label '{}' on test examples of what is kept, times 100."
        columns = (
            Column(f"ap{label}_test", f"AP {names[label]}", "%", definition.format(names[label]), "higher")
            for label in labels
        )
        return (*super().list_columns(), *columns)
