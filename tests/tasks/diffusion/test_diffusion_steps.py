"""Surgeries, masks and objectives on the updates of a diffusion model; all contracts are those of the toy step."""

import pytest
import torch
from small_diffusion import BENCH, image_batch, image_split, reading, small_model

from expunge import registry
from expunge.engine import RunOptions, Stepper, run_recipe
from expunge.errors import ConfigError, MissingExtraError
from expunge.masks import Saliency
from expunge.methods import CustomMethod
from expunge.surgery import LinearCombination, Surgery
from expunge.tasks.builtin_tasks import Diffusion
from expunge.testing import CHECKS, check_mask
from expunge.testing.conformance import check_extreme_scales, check_repr

SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()}
MASKS = {name: entry.target for name, entry in registry.list_entries("masks").items()}
OBJECTIVES = sorted(registry.list_entries("objectives", "diffusion"))
BOTH_KINDS = ("eupmu", "lur")
"""A surgery with a dual and one without: the ones that keep every contract on this task too."""
SOME_MASK = [None, *MASKS]
PAIRS = [(surgery, SOME_MASK[number % len(SOME_MASK)]) for number, surgery in enumerate(SURGERIES)]
PAIRS = list(dict.fromkeys([*PAIRS, *((surgery, mask) for surgery in BOTH_KINDS for mask in SOME_MASK)]))
ON_MODELS = [check for check in CHECKS if check not in (check_extreme_scales, check_repr)]
"""The others look at numbers alone and have been run already."""
ABSTAINING = {"probabilistic_agreement", "sequential_test", "keep_if_harmless"}


def built(surgery):
    try:
        return SURGERIES[surgery]()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("check", ON_MODELS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("surgery", BOTH_KINDS)
def test_surgeries_keep_their_contracts(surgery, check):
    check(SURGERIES[surgery], BENCH)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_keep_their_contracts(mask):
    check_mask(MASKS[mask], BENCH)


@pytest.mark.parametrize(("surgery", "mask"), PAIRS)
def test_every_surgery_and_every_mask_runs_an_epoch_or_is_refused(surgery, mask):
    built(surgery)
    first = list(SURGERIES).index(surgery) + SOME_MASK.index(mask)
    combined(surgery, OBJECTIVES[first % len(OBJECTIVES)], mask)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("surgery", [*BOTH_KINDS, "eupmu_official"])
def test_a_surgery_takes_every_objective(surgery, objective):
    combined(surgery, objective, None)


def combined(surgery, objective, mask):
    model, before = small_model(), small_model().state_dict()
    parts = {
        "surgery": surgery,
        "objective": objective,
        "mask": mask,
        "epochs": 1,
        "batch_size": 15,
        "forget_batch_size": 6,
    }
    if registry.find_component("objectives", objective).can_be_negative and surgery == "famo":
        with pytest.raises(ConfigError, match="logarithm"):
            CustomMethod(**parts)
        return
    run_recipe(
        reading(model), Diffusion().translate_recipe(CustomMethod(**parts).recipe()), image_split(), RunOptions()
    )
    state = model.state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values()), objective
    assert any(not torch.equal(value, before[name]) for name, value in state.items()) or mask in ABSTAINING, objective


class Asking(Surgery):
    """Asks for the same losses in several ways, and moves the weights and puts them back."""

    def forward(self, step):
        self.first = [step.loss("retain"), step.loss("forget")]
        slope = step.gradient("retain")
        with step.perturbed(slope * -0.1):
            self.elsewhere = step.loss("retain")
        step.cached_losses.clear()
        self.again = [step.loss("retain"), step.loss("forget")]
        step.backward(LinearCombination(0.0, 1.0))

    def after_step(self, step):
        self.after = step.loss("retain")


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_the_same_batch_means_the_same_timesteps_noise_labels_and_dropout(micro_batches):
    """A loss that is asked for again is the same to the bit; after a move it has changed by the move alone."""
    model = small_model(torch.float64, dropout=0.3)
    surgery, objectives = Asking(), BENCH.prepare_objectives(model)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3)
    stepper = Stepper(model, sgd, surgery, objectives, gradient_accumulation_steps=micro_batches)
    for update in range(3):
        stepper(image_batch(update, torch.float64), image_batch(9 + update, torch.float64))
        assert all(torch.equal(a, b) for a, b in zip(surgery.first, surgery.again, strict=True))
        assert surgery.elsewhere < surgery.first[0]
        assert surgery.after < surgery.first[0], "a small step down the slope of this very loss must lower it"


def test_saliency_is_that_of_the_noise():
    """SalUn's mask comes from the loss that the model was trained on, here by single backward passes."""
    model, split, mask = small_model(torch.float64), image_split(torch.float64), Saliency(fraction=0.3)
    mask.prepare(reading(model), split)
    predict, total = reading(model), None
    for part in torch.arange(len(split.forget)).split(256):
        loss = predict.sum_loss(split.forget.batch(part)) / len(split.forget)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        total = slopes if total is None else [a + b for a, b in zip(total, slopes, strict=True)]
    sizes = torch.cat([slope.abs().flatten() for slope in total])
    kept = torch.cat([piece.flatten() for piece in mask.get_mask()]).bool()
    assert int(kept.sum()) == round(0.3 * len(sizes))
    assert sizes[kept].min() >= sizes[~kept].max()
