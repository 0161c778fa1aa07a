"""Sampling against a loop over single images, in NumPy."""

import numpy as np
import pytest
import torch
from small_diffusion import CLASSES, Denoiser, diffusers

from expunge.errors import ConfigError, ModelError, RequestError
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.sampling import draw_initial_noise, sample


@pytest.fixture(scope="module")
def library():
    return diffusers()


@pytest.fixture
def model(library):
    return made(library)


def made(library, embedded=CLASSES + 1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return DDPM(Denoiser(embedded), library.DDPMScheduler(num_train_timesteps=40), CLASSES)


LABELS = torch.tensor([0, 1, 2, 3, 1])


def by_hand(model, label, start, guidance, steps):
    """One image by DDIM: x₀ = (x − √(1−ᾱ) ε)/√ᾱ, clipped, and back to the time before with its ε."""
    signal = model.alphas_cumprod.double().numpy()
    stride, image = len(signal) // steps, start.double().numpy()
    for time in range((steps - 1) * stride, -1, -stride):
        with torch.no_grad():
            seen = torch.from_numpy(image).float()[None].expand(2, -1, -1, -1)
            told = model(seen, torch.tensor([time, time]), torch.tensor([label, CLASSES]))
        asked, plain = told.double().numpy()
        noise = plain + guidance * (asked - plain)
        clean = np.clip((image - np.sqrt(1 - signal[time]) * noise) / np.sqrt(signal[time]), -1, 1)
        noise = (image - np.sqrt(signal[time]) * clean) / np.sqrt(1 - signal[time])
        left = signal[time - stride] if time >= stride else 1.0
        image = np.sqrt(left) * clean + np.sqrt(1 - left) * noise
    return image.clip(-1, 1)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_images_are_those_of_the_formula(model, guidance):
    found = sample(model, LABELS, guidance=guidance, steps=10, seed=4)
    start = draw_initial_noise(model, torch.arange(5), 4)
    for index, label in enumerate(LABELS.tolist()):
        np.testing.assert_allclose(found[index].numpy(), by_hand(model, label, start[index], guidance, 10), atol=1e-4)


def test_the_same_seeds_give_the_same_images_whatever_the_batch(model):
    whole = sample(model, LABELS, seed=4, steps=5)
    assert torch.equal(sample(model, LABELS, seed=4, steps=5), whole)
    torch.testing.assert_close(sample(model, LABELS, seed=4, steps=5, batch_size=2), whole)
    torch.testing.assert_close(sample(model, LABELS[:3], seed=4, steps=5), whole[:3])
    assert not torch.equal(sample(model, LABELS, seed=5, steps=5), whole)
    assert float(whole.abs().max()) <= 1


def test_modes_and_generators_are_left_as_found(model):
    model.train()
    state, done = torch.get_rng_state(), []
    sample(model, LABELS, steps=2, batch_size=3, on_images=lambda made, total: done.append((made, total)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    assert done == [(3, 5), (5, 5)]


def test_what_cannot_be_sampled_is_refused(library, model):
    with pytest.raises(RequestError, match="classes from 0 to 3, but found 4"):
        sample(model, torch.tensor([1, 4]))
    with pytest.raises(ConfigError, match="guidance ≥ 0"):
        sample(model, LABELS, guidance=-1.0)
    with pytest.raises(ConfigError, match="≥ 1"):
        sample(model, LABELS, steps=0)
    without = made(library, CLASSES)
    with pytest.raises(ModelError, match="null class"):
        sample(without, LABELS)
    assert sample(without, LABELS, guidance=1.0, steps=2).shape == (5, 1, 4, 4)
