"""Requests: concepts with their anchors, latents with their captions, and what becomes of both."""

import pytest
import torch
from tiny_pipeline import tiny_model

from expunge.errors import ConfigError, DataError, ExpungeError, RequestError
from expunge.tasks.stable_diffusion.concept import PROMPT_TEMPLATES, Concept
from expunge.tasks.stable_diffusion.concept_split import concept_split
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples, generate_latents

QUICK = {"steps": 2, "guidance": 3.0}
CAT = Concept("cat", ["a photo of a cat", "a cat"], "a dog")
GOGH = Concept("van Gogh", ["van gogh"])


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def pixels(count, seed=0):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_what_a_model_draws_are_the_latents_of_its_images(model):
    found = generate_latents(model, ["a cat", "a dog"], 3, seed=5, **QUICK)
    assert found.captions == ("a cat",) * 3 + ("a dog",) * 3
    images = model.images(found.captions, [5, 6, 7] * 2, **QUICK)
    torch.testing.assert_close(model.decode(found.latents), images)
    assert len(found) == 6
    again = generate_latents(model, ["a dog"], 3, seed=5, batch_size=2, **QUICK)
    torch.testing.assert_close(again.latents, found.latents[3:])


def test_every_prompt_gets_its_number_and_every_forgotten_one_its_anchor(model):
    split = concept_split(model, [CAT, GOGH], ["a dog", "a car"], per_prompt=2, **QUICK)
    told = split.model
    assert told.prompts == ("a photo of a cat", "a cat", "van gogh", "a dog", "a car", "")
    assert split.forget.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert split.retain.targets.tolist() == [3, 3, 4, 4]
    anchors = [told.prompts[number] for number in told.anchors.tolist()]
    assert anchors == ["a dog", "a dog", "", "a dog", "a car", ""]
    torch.testing.assert_close(told.prompt_embeddings, model.embed(told.prompts))
    assert told.unet is model.unet
    assert model.prompts == ("",)
    whole = generate_latents(model, ["a photo of a cat", "a cat", "van gogh", "a dog", "a car"], 2, **QUICK)
    torch.testing.assert_close(torch.cat([split.forget.inputs, split.retain.inputs]), whole.latents)


def test_a_users_images_come_in_the_place_of_drawn_ones(model):
    captions = ["A  Cat", "a dog", "a cat", "red car"]
    mine = PromptExamples.from_images(model, pixels(4), captions)
    split = concept_split(model, CAT, ["a dog", "a car"], examples=mine, per_prompt=2, **QUICK)
    texts = split.model.prompts
    assert [texts[number] for number in split.forget.targets] == ["a cat", "a cat"] + ["a photo of a cat"] * 2
    assert [texts[number] for number in split.retain.targets] == ["a dog", "red car", "a car", "a car"]
    encoded = model.encode(pixels(4))
    torch.testing.assert_close(split.forget.inputs[:2], encoded[[0, 2]])
    torch.testing.assert_close(split.retain.inputs[:2], encoded[[1, 3]])


def test_an_anchor_of_each_prompt(model):
    concept = Concept("cat", ["a cat", "a photo of a cat"], ["a dog", "a photo of a dog"])
    told = concept_split(model, concept, ["a car"], per_prompt=1, **QUICK).model
    assert [told.prompts[number] for number in told.anchors[:2].tolist()] == ["a dog", "a photo of a dog"]


@pytest.mark.parametrize("kind", PROMPT_TEMPLATES)
def test_kinds_are_prompts_and_nothing_else(kind):
    concept = Concept.from_kind(kind, "van gogh", "a painter")
    assert len(concept.prompts) == len(concept.anchors) == len(PROMPT_TEMPLATES[kind])
    for prompt, anchor in zip(concept.prompts, concept.anchors, strict=True):
        assert prompt.replace("van gogh", "a painter") == anchor
        assert prompt.count("van gogh") == 1


def test_a_cache_is_read_in_the_place_of_drawing(model, tmp_path, monkeypatch):
    settings = {"keep": ["a dog"], "per_prompt": 2, "cache": tmp_path / "latents", **QUICK}
    first = concept_split(model, CAT, **settings)
    assert sorted(path.name for path in (tmp_path / "latents").iterdir()) == ["captions.json", "latents.safetensors"]
    monkeypatch.setattr("expunge.tasks.stable_diffusion.concept_split.generate_latents", None)
    again = concept_split(model, CAT, **settings)
    assert torch.equal(first.forget.inputs, again.forget.inputs)
    assert torch.equal(first.retain.targets, again.retain.targets)
    with pytest.raises(RequestError, match="a cache without 'a car'"):
        concept_split(model, CAT, **{**settings, "keep": ["a dog", "a car"]})


def test_examples_are_saved_and_read_again(tmp_path):
    found = PromptExamples(torch.randn(2, 4, 4, 4), ["a cat", "ein Bär"])
    again = PromptExamples.load(found.save(tmp_path / "cache"))
    assert torch.equal(again.latents, found.latents)
    assert again.captions == found.captions
    with pytest.raises(DataError, match="cached latents in"):
        PromptExamples.load(tmp_path)


@pytest.mark.parametrize(
    ("make", "kind", "reason"),
    [
        (lambda: Concept("cat", ["a cat"], "A  cat"), ConfigError, "an anchor other than the forgotten concept 'cat'"),
        (lambda: Concept.from_kind("class", "cat", "cat"), ConfigError, "an anchor other than"),
        (lambda: Concept.from_kind("face", "cat", "dog"), ConfigError, "a kind of concept .*'face'"),
        (lambda: Concept("cat", []), RequestError, "prompts that show 'cat'"),
        (lambda: Concept("cat", [" "]), RequestError, "prompts that show 'cat'"),
        (lambda: Concept("cat", ["a cat", "cat"], ["a dog"]), RequestError, "one anchor, or one for each prompt"),
        (lambda: PromptExamples(torch.zeros(2, 4, 4, 4), ["a cat"]), DataError, "2, 4, 4, 4.* and 1 captions"),
        (lambda: PromptExamples(torch.full((1, 4, 4, 4), torch.nan), ["a"]), DataError, "finite"),
        (lambda: PromptExamples(torch.zeros(1, 4, 4, 4), ["a \ud800"]), DataError, "captions as texts"),
        (lambda: PromptExamples(torch.zeros(1, 4, 4, 4), [3]), DataError, "captions as texts"),
    ],
)
def test_parts_of_requests_that_make_no_sense_are_refused(make, kind, reason):
    with pytest.raises(ExpungeError, match=reason) as caught:
        make()
    assert isinstance(caught.value, kind)
    assert "\n" not in str(caught.value)


SMALL = PromptExamples(torch.zeros(1, 4, 3, 3), ["a car"])


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"concepts": []}, RequestError, "at least one concept"),
        (
            {"concepts": [CAT, Concept("again", ["A cat"])]},
            RequestError,
            "every prompt to forget once",
        ),
        ({"keep": ["A CAT"]}, RequestError, "forgotten or kept, not both"),
        ({"concepts": [CAT, Concept("dog", ["a dog"])]}, RequestError, "forgotten or an anchor, not both"),
        ({"keep": []}, RequestError, "something to keep"),
        ({"keep": [""]}, RequestError, "prompts to keep that say something"),
        ({"keep": ["a " * 20]}, RequestError, "at most 16 tokens"),
        ({"per_prompt": 0}, DataError, "at least one image for each prompt"),
        ({"examples": SMALL}, DataError, r"latents of one shape, but found \(4, 3, 3\) and \(4, 4, 4\)"),
    ],
)
def test_requests_that_make_no_sense_are_refused(model, changes, kind, reason):
    with pytest.raises(ExpungeError, match=reason) as caught:
        concept_split(model, **{"concepts": [CAT], "keep": ["a car", "red"], "per_prompt": 1, **QUICK, **changes})
    assert isinstance(caught.value, kind)
    assert "\n" not in str(caught.value)
