"""Objectives of prompts against loops over single examples, in NumPy; the data of pairs."""

import numpy as np
import pytest
import torch
from tiny_pipeline import tiny_model

import expunge
from expunge import registry
from expunge.batch import Batch, Predictor, Split
from expunge.errors import ModelError, ObjectiveError
from expunge.tasks.diffusion.forward_process import noise_matching_losses
from expunge.tasks.diffusion.objectives import NegativeGuidance
from expunge.tasks.stable_diffusion.concept import Concept
from expunge.tasks.stable_diffusion.concept_split import concept_split
from expunge.tasks.stable_diffusion.objectives import AnchorPreservation, ConceptErasure, ImagePairs, OtherPrompt

DOUBLE = torch.float64
OWN = registry.list_entries("objectives", "stable_diffusion")


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def request_():
    concepts = [Concept("cat", ["a cat", "a photo of a cat"], "a dog"), Concept("gogh", ["van gogh"])]
    return concept_split(tiny_model((), DOUBLE), concepts, ["a dog", "a car"], per_prompt=2, steps=1)


@pytest.fixture(scope="module")
def original(request_):
    return request_.model


@pytest.fixture(scope="module")
def moved(request_):
    import copy

    model = copy.deepcopy(request_.model)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            weight.add_(0.03 * torch.randn(weight.shape, generator=generator(number), dtype=DOUBLE))
    return model


def split_of(request_):
    return Split(request_.forget, request_.retain, request_.model.classes)


def reading(model):
    return Predictor(model, loss_fn=noise_matching_losses)


def forget_batch(request_):
    batch = request_.forget.batch(torch.arange(6))
    return Batch(batch.inputs.double(), batch.targets, batch.indices)


def seen(model, sample, time, number):
    with torch.no_grad():
        return model(sample[None], torch.tensor([time]), torch.tensor([number]))[0].numpy()


def wanted(objective, original, present, sample, time, number, noise):
    anchor = int(original.anchors[number])
    at = lambda model, label: seen(model, sample, time, label)  # noqa: E731
    if isinstance(objective, OtherPrompt):
        return at(original if objective.frozen else present, anchor)
    if isinstance(objective, ConceptErasure):
        return at(original, anchor) - objective.strength * (at(original, number) - at(original, anchor))
    return at(original, number) if isinstance(objective, AnchorPreservation) else noise


CASES = [
    OtherPrompt(),
    OtherPrompt(frozen=True),
    OtherPrompt(scale=100.0),
    ConceptErasure(),
    ConceptErasure(strength=0.3),
    AnchorPreservation(),
    ImagePairs(),
]


@pytest.mark.parametrize("objective", CASES, ids=repr)
def test_the_mean_over_examples(objective, request_, original, moved):
    objective.prepare(reading(original), split_of(request_))
    batch = forget_batch(request_)
    drawn = objective.sample(batch, 0, generator())
    found = float(objective(Predictor(moved), drawn).detach())
    signal, total = original.alphas_cumprod.double(), 0.0
    for i, number in enumerate(batch.targets.tolist()):
        time, noise = int(drawn.inputs["timestep"][i]), drawn.extras["noise"][i]
        noisy = signal[time] ** 0.5 * batch.inputs[i] + (1 - signal[time]) ** 0.5 * noise
        target = wanted(objective, original, moved, noisy, time, number, noise.numpy())
        total += float(np.mean((seen(moved, noisy, time, number) - target) ** 2)) / len(batch)
    assert found == pytest.approx(total * getattr(objective, "scale", 1.0), rel=1e-5)
    assert found > 1e-8


@pytest.mark.parametrize("entry", OWN.values(), ids=lambda entry: entry.name)
def test_contract(entry, request_, original, moved):
    """The same to the bit given the batch, in parts the same mean, the batch itself unchanged, repr rebuilds."""
    objective, plain = entry.target(), forget_batch(request_)
    with pytest.raises(ObjectiveError, match="call prepare"):
        objective.sample(plain, 0, generator())
    objective.prepare(reading(original), split_of(request_))
    one, predict = objective.sample(plain, 0, generator()), Predictor(moved)
    whole = objective(predict, one)
    assert whole.shape == ()
    assert whole.requires_grad
    assert not plain.extras
    assert torch.equal(objective(predict, one), whole)
    assert torch.equal(objective(predict, objective.sample(plain, 0, generator())), whole)
    assert not torch.equal(objective(predict, objective.sample(plain, 0, generator(8))), whole)
    parts = sum(objective(predict, part) * len(part) / len(one) for part in one.chunks(4))
    assert float((parts - whole).detach()) == pytest.approx(0, abs=1e-10 * float(whole.detach()))
    assert not objective.can_be_negative
    assert repr(eval(repr(objective), {type(objective).__name__: type(objective)})) == repr(objective)


def test_guidance_from_the_null_prompt_is_esd(request_, original, moved):
    """Van Gogh's anchor is the null prompt: there both formulas are the same."""
    last = forget_batch(request_).slice(4, 6)
    losses = []
    for objective in (ConceptErasure(strength=0.7), NegativeGuidance(strength=0.7)):
        objective.prepare(reading(original), split_of(request_))
        losses.append(objective(Predictor(moved), objective.sample(last, 0, generator())))
    assert torch.equal(*losses)


def test_nothing_is_to_be_preserved_at_the_start(request_, original):
    objective = AnchorPreservation()
    objective.prepare(reading(original), split_of(request_))
    drawn = objective.sample(forget_batch(request_), 0, generator())
    assert float(objective(Predictor(original), drawn).detach()) == 0


def test_pairs_show_the_anchor_under_the_unsafe_prompt():
    model = tiny_model()
    concept = Concept.from_kind("nsfw", "red", "cat")
    plain, pairs = (
        concept_split(model, concept, ["a car"], pairs=pairs, per_prompt=2, seed=3, steps=1) for pairs in (False, True)
    )
    assert torch.equal(plain.forget.targets, pairs.forget.targets)
    assert torch.equal(plain.retain.inputs, pairs.retain.inputs)
    captions = [concept.anchors[number] for number in pairs.forget.targets.tolist()]
    expected = model.latents(captions, [3, 4] * len(concept.prompts), steps=1)
    torch.testing.assert_close(pairs.forget.inputs, expected)
    assert not torch.allclose(plain.forget.inputs, expected, atol=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        "custom(objective=image_pairs, surgery=implicit)",
        "custom(objective=concept_erasure, retain=anchor_preservation, surgery='implicit(log_loss=false)')",
        "custom(objective=concept_erasure, retain=anchor_preservation, surgery=unilateral)",
        "spm",
    ],
)
def test_they_serve_in_compositions(words):
    model = tiny_model()
    found = concept_split(model, Concept("cat", ["a cat"], "a dog"), ["a car"], per_prompt=4, steps=1)
    found.model.set_trainable("lora", rank=1)
    sides = {"forget": found.forget, "retain": found.retain}
    result = expunge.unlearn(found.model, **sides, task="sd", method=words, epochs=2, batch_size=2, lr=1e-2)
    rows = result.history
    assert len(rows) == 4
    assert rows[-1]["forget_loss"] != rows[0]["forget_loss"]


def test_bad_settings_are_refused(request_):
    with pytest.raises(ObjectiveError, match="a strength ≥ 0"):
        ConceptErasure(strength=-1.0)
    with pytest.raises(ObjectiveError, match="a scale > 0"):
        ImagePairs(scale=0.0)
    for objective in (OtherPrompt(), ConceptErasure()):
        with pytest.raises(ModelError, match="a model with a table of prompts"):
            objective.prepare(Predictor(class_conditional()), split_of(request_))
        swapped = Split(request_.retain, request_.forget, request_.model.classes)
        with pytest.raises(ObjectiveError, match="an anchor for each forgotten prompt, but found none for prompt"):
            objective.prepare(reading(request_.model), swapped)


def class_conditional():
    from small_diffusion import small_model

    return small_model()
