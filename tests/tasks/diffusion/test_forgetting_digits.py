"""A small model of handwritten digits forgets the threes."""

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from small_diffusion import diffusers

import expunge
from expunge.data import Subset, TensorExamples
from expunge.tasks.diffusion.ddpm import DDPM
from expunge.tasks.diffusion.sampling import sample
from expunge.tasks.diffusion.small_unet import small_ddpm
from expunge.tasks.diffusion.training import train_ddpm

ASKED = torch.arange(200) % 10
THREES = ASKED == 3


@pytest.mark.slow
def test_threes_are_forgotten_and_the_others_are_not(tmp_path):
    diffusers()
    digits = load_digits()
    judge = SVC(gamma=0.001, C=10).fit(digits.data, digits.target)
    examples = TensorExamples(torch.tensor(digits.images / 8 - 1).float()[:, None], torch.tensor(digits.target))
    model = trained(examples)
    assert right(judge, model).double().mean() > 0.95
    sides = {"forget": examples.targets == 3, "retain": examples.targets != 3}
    chosen = {side: Subset(examples, mask.nonzero().squeeze(1)) for side, mask in sides.items()}
    result = expunge.unlearn(model, **chosen, task="diffusion", method="eupmu", epochs=3)
    judged = right(judge, result.model)
    assert judged[THREES].double().mean() <= 0.05
    assert judged[~THREES].double().mean() > 0.9
    again = DDPM.from_pretrained(result.save(tmp_path / "run") / "unlearned")
    assert torch.equal(sample(again, ASKED[:4]), sample(result.model, ASKED[:4])), "what is saved is what was judged"


def trained(examples):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = small_ddpm(8)
    train_ddpm(model, examples)
    return model


def right(judge, model):
    """Where the judge sees the class that was asked for."""
    images = (sample(model, ASKED) + 1) * 8
    return torch.tensor(judge.predict(images.flatten(1).numpy())) == ASKED
