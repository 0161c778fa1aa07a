import pytest
import torch

from expunge.metrics import ModelOutputs, Outputs


def drawn(targets, seed, sharpness=2.0):
    """Outputs that favor the label, more or less, at random."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(targets), 4, generator=generator)
    logits[torch.arange(len(targets)), targets] += sharpness
    return Outputs(logits, targets)


def model(seed, forget, retain, held_out, sharpness=2.0):
    parts = (torch.as_tensor(part) for part in (forget, retain, held_out))
    return ModelOutputs(*(drawn(part, seed + 100 * index, sharpness) for index, part in enumerate(parts)))


@pytest.fixture
def random_request():
    """Makes a model's outputs for a request of random examples: every class is retained."""
    everything = [0, 1, 2, 3] * 15
    return lambda seed, **extra: model(seed, everything[:40], everything * 2, everything, **extra)


@pytest.fixture
def class_request():
    """Makes a model's outputs for a request of class 3."""
    return lambda seed, **extra: model(seed, [3] * 30, [0, 1, 2] * 30, [0, 1, 2, 3] * 15, **extra)
