"""Recognition by the noise that a model sees, on the committed model of handwritten digits."""

import pytest
import torch
from small_diffusion import MODELS, diffusers


@pytest.fixture(scope="module")
def case():
    diffusers()
    from expunge.demo import diffusion_plan

    return diffusion_plan.load_case(diffusion_plan.DIGITS, models_dir=MODELS)


def predictor(case):
    from expunge.tasks.diffusion.task import Diffusion

    return Diffusion().make_predictor(case.original)


def part_of(case, count):
    from expunge.data import Subset

    return Subset(case.split.retain, torch.arange(count))


def without_null(model):
    """The same model, which says that it knows classes alone."""
    from copy import copy

    lone = copy(model)
    lone.__class__ = type("Lone", (type(model),), {"null_class": None})
    return lone


def errors_of(case, batch, row, draws):
    """Error of one image for each class, one at a time; the null class comes last."""
    from expunge.tasks.diffusion.forward_process import get_forward_process

    errors = []
    for told in range(11):
        error = 0.0
        for draw in range(draws):
            noisy = get_forward_process(case.original).add_noise(batch, torch.Generator().manual_seed(draw))
            one = {key: noisy.inputs[key][row : row + 1] for key in ("sample", "timestep")}
            seen = predictor(case)({**one, "class_labels": torch.tensor([told])})
            error += float((seen - noisy.extras["noise"][row]).square().mean())
        errors.append(error)
    return errors


def test_a_trained_model_is_helped_by_the_class(case):
    from expunge.tasks.diffusion.diffusion_classifier import RECOGNITION_LIMIT, measure_recognition

    found = measure_recognition(predictor(case), part_of(case, 40))
    assert found.fraction >= 0.7
    assert found.limit == RECOGNITION_LIMIT


def test_it_is_the_share_of_images_whose_error_is_less_than_without_the_class(case):
    """Against one image and one class at a time, with a null class and without."""
    from expunge.tasks.diffusion.diffusion_classifier import CHANCE_FACTOR, measure_recognition
    from expunge.tasks.diffusion.task import Diffusion

    part = part_of(case, 6)
    batch = part.batch(torch.arange(6))
    with torch.no_grad():
        errors = [errors_of(case, batch, row, draws=2) for row in range(6)]
    labels = batch.targets.tolist()
    helped = sum(found[label] < found[10] for found, label in zip(errors, labels, strict=True))
    assert measure_recognition(predictor(case), part, num_draws=2).fraction == pytest.approx(helped / 6)
    lone = measure_recognition(Diffusion().make_predictor(without_null(case.original)), part, num_draws=2)
    best = sum(min(range(10), key=found.__getitem__) == label for found, label in zip(errors, labels, strict=True))
    assert lone == (pytest.approx(best / 6), CHANCE_FACTOR / 10)


def test_wrong_names_are_not_recognized(case):
    from dataclasses import replace

    from expunge.data import Subset
    from expunge.tasks.diffusion.diffusion_classifier import measure_recognition

    class Renamed(Subset):
        def batch(self, indices):
            batch = super().batch(indices)
            return replace(batch, targets=(batch.targets + 1) % 10)

    found = measure_recognition(predictor(case), Renamed(case.split.retain, torch.arange(40)))
    assert found.fraction <= found.limit
