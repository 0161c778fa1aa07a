"""Whether what was forgotten can be told from held-out data, by the test that the controller of a budget uses too."""

from __future__ import annotations

from expunge.evaluation.membership import member_score
from expunge.evaluation.outputs import ModelOutputs, Outputs
from expunge.metrics import HeldOutTest, classes_test, held_out_test, joint_test


def distinguished(model: ModelOutputs) -> HeldOutTest | None:
    """Return the verdict on a model; None where no forgotten example has held-out ones of its class.

    Classes of which nothing is retained must not be recognised any more, on forgotten and held-out examples; other
    forgotten examples are compared with held-out ones of their classes by loss and accuracy.

    Args:
        model: Outputs of the model.

    Examples:
        >>> import torch
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> distinguished(ModelOutputs(part, part, part)).verdict
        'undecided'
    """
    gone = model.forgotten_classes
    single, alike = model.forget.without(gone), model.test_alike.without(gone)
    whole = classes_test([hits(side.only(gone)) for side in (model.forget, model.held_out)])
    if not len(single) or not len(alike):
        return whole
    sides = single, alike
    scores = member_score(single, "loss"), member_score(alike, "loss")
    right = tuple((side.logits.argmax(1) == side.targets).numpy() for side in sides)
    found = held_out_test(scores, (right[0], right[1]), (single.targets.numpy(), alike.targets.numpy()))
    return found if whole is None else joint_test(found, whole)


def hits(side: Outputs) -> tuple[int, int]:
    """Return how many examples a model is right about, and how many there are."""
    return int((side.logits.argmax(1) == side.targets).sum()), len(side)
