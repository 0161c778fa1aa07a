"""Every surgery and every mask on the updates of a text-to-image model."""

import pytest
import torch
from nano_text_to_image import bench, latent_batch, nano_model, reading
from tiny_pipeline import libraries

from expunge import registry
from expunge.engine import RunOptions, Stepper, run_recipe
from expunge.errors import ConfigError, MissingExtraError
from expunge.masks import Saliency
from expunge.masks.fisher_ratio import fisher_diagonal
from expunge.methods import CustomMethod
from expunge.surgery import CAGrad, LinearCombination, NashMTL, Surgery
from expunge.tasks.builtin_tasks import StableDiffusion
from expunge.testing import CHECKS, check_mask
from expunge.testing.conformance import check_extreme_scales, check_micro_batches, check_repr

SURGERIES = {name: entry.target for name, entry in registry.list_entries("surgeries").items()}
MASKS = {name: entry.target for name, entry in registry.list_entries("masks").items()}
OBJECTIVES = sorted(
    {**registry.list_entries("objectives", "stable_diffusion"), **registry.list_entries("objectives", "diffusion")}
)
ON_MODELS = [check for check in CHECKS if check not in (check_extreme_scales, check_repr)]
"""The others look at numbers alone and have been run already."""
LOGARITHMS = ("eupmu", "eupmu_fast", "eupmu_official", "famo")
ABSTAINING = {"probabilistic_agreement", "sequential_test", "keep_if_harmless"}


@pytest.fixture(scope="module", autouse=True)
def installed():
    libraries()


def built(surgery):
    try:
        return SURGERIES[surgery]()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("check", ON_MODELS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("surgery", SURGERIES)
def test_surgeries_keep_their_contracts(surgery, check):
    built(surgery)
    if SURGERIES[surgery] in (CAGrad, NashMTL) and check is check_micro_batches:
        pytest.skip("an interior-point solver: equal to 1e-9, not to rounding")
    check(SURGERIES[surgery], bench())


@pytest.mark.parametrize("mask", MASKS)
def test_masks_keep_their_contracts(mask):
    check_mask(MASKS[mask], bench())


@pytest.mark.parametrize("surgery", SURGERIES)
def test_every_surgery_meets_objectives_and_masks(surgery):
    """Over all surgeries each objective and each mask has its turn."""
    built(surgery)
    place, masks = list(SURGERIES).index(surgery), [None, *MASKS]
    for turn in range(2):
        number = 2 * place + turn
        combined(surgery, OBJECTIVES[number % len(OBJECTIVES)], masks[number % len(masks)])


def combined(surgery, objective, mask):
    model, before = nano_model(), nano_model().state_dict()
    parts = {
        "surgery": surgery,
        "objective": objective,
        "mask": mask,
        "epochs": 1,
        "batch_size": 10,
        "forget_batch_size": 6,
    }
    if surgery in LOGARITHMS and objective == "anchor_preservation":
        return  # 0 at the start: there is no logarithm of it
    if surgery == "famo" and registry.find_component("objectives", objective).can_be_negative:
        with pytest.raises(ConfigError, match="logarithm"):
            CustomMethod(**parts)
        return
    run_recipe(
        reading(model),
        StableDiffusion().translate_recipe(CustomMethod(**parts).recipe()),
        bench().split(),
        RunOptions(),
    )
    state = model.state_dict()
    assert all(bool(value.isfinite().all()) for value in state.values()), objective
    assert any(not torch.equal(value, before[name]) for name, value in state.items()) or mask in ABSTAINING, objective


AUTHORS = {
    "nudity": {
        "objective": "other_prompt(scale=100)",
        "mode": "mixed",
        "surgery": "eupmu_official(form=stable_diffusion, dual_rate=10, margin=0.5, retain_scale=0.1)",
    },
    "style": {
        "objective": "concept_erasure(strength=2)",
        "retain": "anchor_preservation",
        "surgery": "eupmu_official(form=stable_diffusion, dual_rate=0.3, margin=0.003)",
    },
}
"""The compositions that the objectives' pages write out."""


@pytest.mark.parametrize("name", AUTHORS)
def test_the_compositions_of_the_authors_move_weights_and_dual(name):
    model, before = nano_model(), nano_model().state_dict()
    recipe = StableDiffusion().translate_recipe(
        CustomMethod(**AUTHORS[name], epochs=1, lr=1e-4, batch_size=4, forget_batch_size=4).recipe()
    )
    run_recipe(reading(model), recipe, bench().split(), RunOptions())
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    surgery = recipe.stages[0].surgery
    assert float(surgery.weight) > 0, "a demanded fall that does not come raises w"


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
def test_the_same_batch_means_the_same_timesteps_noise_prompts_and_dropout(micro_batches):
    """A loss that is asked for again is the same to the bit; after a move it has changed by the move alone."""
    model = nano_model(torch.float64, dropout=0.3)
    surgery, objectives = Asking(), bench().prepare_objectives(model)
    sgd = torch.optim.SGD(model.parameters(), lr=1e-3)
    stepper = Stepper(model, sgd, surgery, objectives, gradient_accumulation_steps=micro_batches)
    for update in range(3):
        stepper(latent_batch(update, torch.float64), latent_batch(9 + update, torch.float64))
        assert all(torch.equal(a, b) for a, b in zip(surgery.first, surgery.again, strict=True))
        assert surgery.elsewhere < surgery.first[0]
        assert surgery.after < surgery.first[0], "a small step down the slope of this very loss must lower it"


def test_gradients_of_data_sets_are_computed_in_parts_that_fit():
    """Never more than ``at_once`` examples in a pass, and the sum of the parts' gradients."""
    model, split, seen = nano_model(torch.float64), bench().split(torch.float64), []
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(len(kwargs["sample"])), with_kwargs=True)
    Saliency(fraction=0.3).prepare(reading(model), split)
    found = fisher_diagonal(reading(model), split.retain, group=len(split.retain))
    assert max(seen) == 4
    assert sum(seen) == len(split.forget) + len(split.retain)
    total = [torch.zeros_like(weight) for weight in model.parameters()]
    order = torch.randperm(len(split.retain), generator=torch.Generator().manual_seed(0))
    for part in order.split(4):
        loss = reading(model).sum_loss(split.retain.batch(part))
        for piece, slope in zip(total, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            piece += slope
    for piece, slope in zip(found, total, strict=True):
        torch.testing.assert_close(piece, slope.square() / len(split.retain))
