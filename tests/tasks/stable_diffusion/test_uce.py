"""UCE on a pipeline: prompts are read as their anchors, all others as before, and nothing else is touched."""

import copy

import pytest
import torch
from tiny_pipeline import tiny_model

import expunge
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ExpungeError
from expunge.methods import build_method
from expunge.tasks.stable_diffusion.concept import Concept
from expunge.tasks.stable_diffusion.concept_split import concept_split
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples

KEPT = ("a car", "a red car")
CAT, DOG = Concept("cat", ["a photo of a cat", "a cat"], "a car"), Concept("dog", ["a dog"], "")
PROJECTIONS = ("attn2.to_k.weight", "attn2.to_v.weight")


def split_of(*concepts, model=None):
    prompts = [prompt for concept in concepts for prompt in concept.prompts]
    captions = [prompt for prompt in (*prompts, *KEPT) for _ in range(2)]
    latents = torch.randn((len(captions), 4, 4, 4), generator=torch.Generator().manual_seed(0))
    return concept_split(model or tiny_model(), list(concepts), KEPT, examples=PromptExamples(latents, captions))


def edited(split, **settings):
    sides = {"forget": split.forget, "retain": split.retain}
    return expunge.unlearn(split.model, **sides, task="stable_diffusion", method="uce", **settings).model


def weights(model):
    return {name: weight.detach() for name, weight in model.unet.named_parameters() if name.endswith(PROJECTIONS)}


def tokens(model, prompts):
    return model.embed(prompts).flatten(0, 1).double()


def independent(weight, model, concepts, ridge):
    """The same weights by the QR of all equations, embeddings taken from the text encoder anew."""
    pairs = [pair for concept in concepts for pair in zip(concept.prompts, concept.anchors, strict=True)]
    old, new = (tokens(model, list(side)) for side in zip(*pairs, strict=True))
    same = tokens(model, [*KEPT, ""])
    rows = [old, same, ridge**0.5 * torch.eye(weight.shape[1], dtype=torch.float64)]
    wanted = [part @ weight.double().T for part in (new, same, rows[2])]
    return torch.linalg.lstsq(torch.cat(rows), torch.cat(wanted)).solution.T


@pytest.mark.parametrize("concepts", [(CAT,), (CAT, DOG)], ids=["one concept", "two at once"])
def test_every_projection_is_the_least_squares_solution(concepts):
    split = split_of(*concepts)
    before, after = weights(split.model), weights(edited(split, ridge=0.1))
    assert len(before) == len(after) > 2
    for name, weight in before.items():
        expected = independent(weight, split.model, concepts, 0.1).float()
        torch.testing.assert_close(after[name], expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(after[name], weight, atol=1e-3)


def test_nothing_else_is_touched_and_the_model_handed_in_stays():
    split = split_of(CAT)
    before = copy.deepcopy(split.model.state_dict())
    after = edited(split).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in split.model.state_dict().items())
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {f"unet.{name}" for name in weights(split.model)}


def noise(model, prompt, steps=3):
    """The noise that a model sees under a prompt in fixed latents."""
    told = model.with_prompts([prompt])
    sample = torch.randn((steps, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return told(sample, torch.arange(1, 1000, 999 // steps)[:steps], torch.zeros(steps, dtype=torch.int64))


def apart(first, second):
    return float((first - second).norm())


def test_forgotten_prompts_come_to_what_their_anchors_were_and_the_others_stay():
    split = split_of(CAT)
    after = edited(split, ridge=1e-3)
    for prompt, anchor in zip(CAT.prompts, CAT.anchors, strict=True):
        goal = noise(split.model, anchor)
        assert apart(noise(after, prompt), goal) < 0.5 * apart(noise(split.model, prompt), goal)
    moved = apart(noise(after, CAT.prompts[0]), noise(split.model, CAT.prompts[0]))
    for prompt in (*KEPT, ""):
        assert apart(noise(after, prompt), noise(split.model, prompt)) < 0.5 * moved


def test_what_is_preserved_strongly_stays_and_what_is_held_does_not_move():
    split = split_of(CAT)
    drifts = []
    for preserve in (0.01, 1.0, 100.0):
        after = edited(split, preserve=preserve)
        drifts.append(sum(apart(noise(after, prompt), noise(split.model, prompt)) for prompt in KEPT))
    assert drifts[0] > drifts[1] > drifts[2]
    held = weights(edited(split, ridge=1e9))
    assert all(torch.allclose(held[name], weight, atol=1e-6) for name, weight in weights(split.model).items())


def test_a_repair_descends_on_retained_images_afterwards():
    split = split_of(CAT)
    plain, mended = edited(split), edited(split, epochs=1, lr=1e-3, batch_size=2)
    assert any(not torch.equal(a, b) for a, b in zip(plain.parameters(), mended.parameters(), strict=True))


def test_what_cannot_be_edited_is_refused_in_one_sentence():
    split = split_of(CAT)
    with pytest.raises(ConfigError, match="ridge > 0"):
        build_method("uce", ridge=0.0)
    plain = split.model.with_prompts([*CAT.prompts, *KEPT])
    numbers = [plain.prompt_indices(list(prompts)).repeat(2) for prompts in (CAT.prompts, KEPT)]
    sides = [TensorExamples(torch.zeros(len(part), 4, 4, 4), part) for part in numbers]
    with pytest.raises(ExpungeError, match="an anchor for every forgotten prompt, but found none for 'a photo of a"):
        edited(split._replace(model=plain, forget=sides[0], retain=sides[1]))
