"""Objectives of diffusion models against loops over single examples, in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from small_diffusion import CLASSES, STEPS, diffusers, image_batch, image_split, reading, small_model

from expunge import registry
from expunge.batch import Batch, Predictor, Split
from expunge.errors import ModelError, ObjectiveError
from expunge.tasks.diffusion.forward_process import ForwardProcess, get_forward_process, noise_matching_losses
from expunge.tasks.diffusion.objectives import (
    ElasticNoise,
    NegativeGuidance,
    NoiseAscent,
    NoiseMatching,
    OtherClass,
    SurrogateNoise,
    UniformNoise,
)
from expunge.tasks.diffusion.objectives.other_class import next_kept_classes

DOUBLE = torch.float64
SIGNAL = np.cumprod(1 - np.linspace(1e-4, 0.02, STEPS, dtype=np.float32).astype(np.float64))


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def moved():
    """The model after some training, different from the original."""
    model = small_model(DOUBLE)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator(number), dtype=DOUBLE))
    return model


def seen(model, sample, time, label):
    """What a model predicts for one noisy image, as NumPy."""
    with torch.no_grad():
        out = model(torch.from_numpy(sample)[None], torch.tensor([time]), torch.tensor([label]))
    return out[0].numpy()


def by_hand(objective, batch, drawn):
    """The mean over examples, one after the other; the objective's draws are taken as they are."""
    present, original, total = moved(), small_model(DOUBLE), 0.0
    times, told = drawn.inputs["timestep"].tolist(), drawn.inputs["class_labels"].tolist()
    for i in range(len(batch)):
        noise, image, label = drawn.extras["noise"][i].numpy(), batch.inputs[i].numpy(), int(batch.targets[i])
        noisy = np.sqrt(SIGNAL[times[i]]) * image + np.sqrt(1 - SIGNAL[times[i]]) * noise
        if isinstance(objective, SurrogateNoise):
            noisy = drawn.inputs["sample"][i].numpy()
        at = lambda model, asked, x=noisy, t=times[i]: seen(model, x, t, asked)  # noqa: E731
        wanted = noise
        if isinstance(objective, OtherClass):
            wanted = at(original if objective.frozen else present, (label + objective.shift) % CLASSES)
        elif isinstance(objective, UniformNoise):
            wanted = drawn.extras["target"][i].numpy()
        elif isinstance(objective, NegativeGuidance):
            plain = at(original, CLASSES)
            wanted = plain - objective.strength * (at(original, label) - plain)
        total += float(((at(present, told[i]) - wanted) ** 2).mean()) / len(batch)
    return -total if isinstance(objective, NoiseAscent) else total


OBJECTIVES = [
    NoiseMatching(),
    NoiseMatching(drop=0.5),
    NoiseAscent(),
    OtherClass(),
    OtherClass(shift=2, frozen=True),
    UniformNoise(),
    NegativeGuidance(),
    NegativeGuidance(strength=0.5),
    SurrogateNoise(),
    ElasticNoise(strength=0.0),
]


def forget_batch(size=9):
    some = image_batch(2, DOUBLE, size)
    return Batch(some.inputs, torch.full((size,), 3), some.indices)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_the_mean_over_examples(objective):
    objective.prepare(reading(small_model(DOUBLE)), image_split(DOUBLE))
    batch = forget_batch()
    drawn = objective.sample(batch, 0, generator())
    found = float(objective(Predictor(moved()), drawn).detach())
    assert found == pytest.approx(by_hand(objective, batch, drawn), rel=1e-6, abs=1e-12)
    assert abs(found) > 1e-6


@pytest.mark.parametrize(
    "entry", registry.list_entries("objectives", "diffusion").values(), ids=lambda entry: entry.name
)
def test_contract(entry):
    """The same to the bit given the batch, in parts the same mean, the batch itself unchanged, repr rebuilds."""
    objective, plain = entry.target(), image_batch(4, DOUBLE, 11)
    objective.prepare(reading(small_model(DOUBLE)), image_split(DOUBLE))
    one = objective.sample(plain, 0, generator())
    assert isinstance(plain.inputs, torch.Tensor)
    assert not plain.extras
    assert set(one.inputs) == {"sample", "timestep", "class_labels"}
    predict = Predictor(moved())
    whole = objective(predict, one)
    assert whole.shape == ()
    assert whole.requires_grad
    assert torch.equal(objective(predict, one), whole)
    assert torch.equal(objective(predict, objective.sample(plain, 0, generator())), whole)
    other = objective(predict, objective.sample(plain, 0, generator(8)))
    assert not torch.equal(other, whole), "nothing is drawn"
    parts = sum(objective(predict, part) * len(part) / len(one) for part in one.chunks(4))
    assert abs(float((parts - whole).detach())) < 1e-14
    assert (float(whole.detach()) < 0) == objective.can_be_negative
    assert repr(eval(repr(objective), {type(objective).__name__: type(objective)})) == repr(objective)


@pytest.mark.parametrize(
    "objective", [entry.target() for entry in registry.list_entries("objectives", "diffusion").values()]
)
def test_without_prepare_there_is_one_sentence(objective):
    with pytest.raises(ObjectiveError, match="call prepare"):
        objective.sample(image_batch(0), 0, generator())


def test_targets_are_constants():
    """No gradient flows through what is to be predicted: the slope is that of a frozen target at the same point."""
    objective, model = OtherClass(), moved()
    objective.prepare(reading(small_model(DOUBLE)), image_split(DOUBLE))
    drawn = objective.sample(forget_batch(), 0, generator())
    objective(Predictor(model), drawn).backward()
    found = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    target = objective.compute_target(Predictor(model), drawn)
    assert not target.requires_grad
    (model(**drawn.inputs) - target).square().mean().backward()
    assert all(torch.equal(a, weight.grad) for a, weight in zip(found, model.parameters(), strict=True))


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_timesteps_are_antithetic(count):
    times = ForwardProcess(torch.rand(50), 4).draw_timesteps(count, generator())
    half = (count + 1) // 2
    assert len(times) == count
    assert torch.equal(times[half:], (49 - times[:half])[: count - half])


def test_each_timestep_is_uniform():
    noising = ForwardProcess(torch.rand(10), 4)
    times = torch.stack([noising.draw_timesteps(6, generator(seed)) for seed in range(2000)])
    for place in (0, 2, 3, 5):
        assert chisquare(torch.bincount(times[:, place], minlength=10)).pvalue > 1e-4


def test_images_are_noised_as_the_library_does():
    scheduler = diffusers().DDPMScheduler()
    noising, batch = ForwardProcess(scheduler.alphas_cumprod, 4), image_batch(1)
    found = noising.add_noise(batch, generator())
    expected = scheduler.add_noise(batch.inputs, found.extras["noise"], found.inputs["timestep"])
    assert torch.equal(found.inputs["sample"], expected)


def test_labels_are_dropped_one_by_one_and_only_where_there_is_a_null_class():
    labels = torch.arange(20000) % 4
    batch = Batch(labels, labels, labels)
    dropped = ForwardProcess(torch.rand(10), 4).drop_labels(batch, 0.1, generator())
    share = float((dropped == 4).double().mean())
    assert 0.09 < share < 0.11
    assert torch.equal(dropped[dropped != 4], labels[dropped != 4])
    assert torch.equal(ForwardProcess(torch.rand(10), None).drop_labels(batch, 0.1, generator()), labels)


def test_guidance_needs_a_null_class():
    objective, without = NegativeGuidance(), small_model(embedded=CLASSES)
    assert without.null_class is None
    objective.prepare(reading(without), image_split())
    with pytest.raises(ModelError, match="a null class"):
        objective.sample(image_batch(0), 0, generator())


def test_no_class_becomes_one_that_an_earlier_request_forgot():
    objective, split = OtherClass(), image_split(DOUBLE)
    (label,) = split.forget.targets.unique().tolist()
    objective.prepare(reading(small_model(DOUBLE)), split)
    gone = int(objective.replacement_classes[label])
    objective.prepare(reading(small_model(DOUBLE)), replace(split, forgotten_classes=(gone,)))
    assert int(objective.replacement_classes[label]) not in (label, gone)


def test_several_forgotten_classes_do_not_become_one_another():
    assert next_kept_classes(10, 1, [3]).tolist() == [1, 2, 4, 4, 5, 6, 7, 8, 9, 0]
    assert next_kept_classes(5, 1, [0, 1, 2])[:3].tolist() == [3, 3, 3]
    assert next_kept_classes(5, 2, [3])[3] == 0
    everything = next_kept_classes(4, 1, [0, 1, 2, 3])
    assert everything.tolist() == [1, 2, 3, 0], "where every class has forgotten examples, the plain rule"
    with pytest.raises(ObjectiveError, match="another class"):
        OtherClass().prepare(reading(small_model()), Split(image_split().forget, image_split().retain, 1))


def test_elastic_weights_are_held_where_they_matter():
    model, objective = small_model(DOUBLE), ElasticNoise(strength=3.0)
    split = image_split(DOUBLE)
    objective.prepare(reading(model), split)
    drawn = objective.sample(image_batch(1, DOUBLE), 0, generator())
    plain = NoiseMatching()
    plain.prepare(reading(model), split)
    assert torch.equal(objective(Predictor(model), drawn), plain(Predictor(model), drawn)), "no penalty at the start"
    with torch.no_grad():
        moves = [weight.add_(0.1) for weight in model.parameters()]
    penalty = sum(float((piece * 0.01).sum()) for piece in objective.fisher) * 3.0 / 2
    assert len(moves) == len(objective.fisher.pieces)
    gap = objective(Predictor(model), drawn) - plain(Predictor(model), drawn)
    assert float(gap.detach()) == pytest.approx(penalty, rel=1e-9)
    assert penalty > 0


def test_fisher_information_is_that_of_the_training_loss():
    model, split = small_model(DOUBLE), image_split(DOUBLE)
    objective = ElasticNoise(samples=5)
    objective.prepare(reading(model), split)
    expected = [torch.zeros_like(weight) for weight in model.parameters()]
    for index in torch.randperm(len(split.retain), generator=generator(0))[:5]:
        model.zero_grad()
        noise_matching_losses(Predictor(model), split.retain.batch(index[None])).backward()
        for total, weight in zip(expected, model.parameters(), strict=True):
            total += weight.grad.square() / 5
    for found, wanted in zip(objective.fisher, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_loss_of_training_is_the_sum_of_noise_matching():
    model, batch = small_model(DOUBLE), image_batch(1, DOUBLE, 6)
    whole = Predictor(model, loss_fn=noise_matching_losses).sum_loss(batch)
    assert torch.equal(noise_matching_losses(Predictor(model), batch).sum(), whole), "drawn from the indices alone"
    many = [
        float(
            noise_matching_losses(Predictor(model), Batch(batch.inputs, batch.targets, batch.indices + 100 * k))
            .sum()
            .detach()
        )
        for k in range(300)
    ]
    noising, total = get_forward_process(model), []
    for seed in range(300):
        drawn = noising.add_noise(batch, generator(seed))
        with torch.no_grad():
            total.append(float((model(**drawn.inputs) - drawn.extras["noise"]).square().mean()) * 6)
    assert np.mean(many) == pytest.approx(np.mean(total), abs=4 * (np.std(many) + np.std(total)) / np.sqrt(300))
