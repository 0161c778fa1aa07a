"""Whether what was forgotten can be told from held-out data, by the test that the controller of a budget uses too."""

from __future__ import annotations

from expunge.evaluation.membership import compute_member_score
from expunge.evaluation.outputs import ModelOutputs, Outputs
from expunge.metrics import HeldOutTest, combine_tests, run_class_test, run_held_out_test


def compare_with_held_out(model: ModelOutputs) -> HeldOutTest | None:
    """Return the verdict on a model; None where no forgotten example has held-out ones of its class.

    Classes of which nothing is retained must not be recognized any more, on forgotten and held-out examples; other
    forgotten examples are compared with held-out ones of their classes by loss and accuracy.

    Args:
        model: Outputs of the model.

    Examples:
        >>> import torch
        >>> part = Outputs(torch.eye(2), torch.tensor([0, 1]))
        >>> compare_with_held_out(ModelOutputs(part, part, part)).verdict
        'undecided'
    """
    forgotten_classes = model.forgotten_classes
    forgotten, held_out = model.forget.without(forgotten_classes), model.test_same_classes.without(forgotten_classes)
    class_result = run_class_test(
        [count_correct(side.only(forgotten_classes)) for side in (model.forget, model.held_out)]
    )
    if not len(forgotten) or not len(held_out):
        return class_result
    sides = forgotten, held_out
    scores = compute_member_score(forgotten, "loss"), compute_member_score(held_out, "loss")
    correct = tuple((side.logits.argmax(1) == side.targets).numpy() for side in sides)
    example_result = run_held_out_test(
        scores, (correct[0], correct[1]), (forgotten.targets.numpy(), held_out.targets.numpy())
    )
    return example_result if class_result is None else combine_tests(example_result, class_result)


def count_correct(side: Outputs) -> tuple[int, int]:
    """Return how many examples a model is right about, and how many there are."""
    return int((side.logits.argmax(1) == side.targets).sum()), len(side)
