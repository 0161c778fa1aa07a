"""What the tiny pipeline is taught with: its tokenizer, its captions, its requests, and the table of its figures."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusion')")
pytest.importorskip("transformers", reason="transformers is not installed (extra 'diffusion')")

import captioned_pictures
import taught_lessons
import taught_parts
import taught_study
from captioned_pictures import CAPTIONS, CLASSES, GENERAL

RESULTS = Path(__file__).parents[2] / "docs" / "results"
WORDS = {word for caption in (*CAPTIONS, *GENERAL) for word in caption.split()}


def test_every_word_of_a_caption_is_one_token_and_other_text_is_spelt():
    made = taught_parts.tokenizer(WORDS)
    for caption in (*CAPTIONS, *GENERAL):
        tokens = made.convert_ids_to_tokens(made(caption).input_ids)
        assert tokens == ["<|startoftext|>", *(f"{word}</w>" for word in caption.split()), "<|endoftext|>"]
    assert made.convert_ids_to_tokens(made("hat").input_ids)[1:-1] == ["h", "a", "t</w>"]
    assert len(made) > 512


def test_the_parts_fit_together():
    pipe = taught_parts.pipeline(WORDS)
    images = pipe(["a photo of a bag"] * 2, num_inference_steps=1, output_type="pt").images
    assert images.shape == (2, 3, 32, 32)
    assert pipe.vae_scale_factor * pipe.unet.config.sample_size == captioned_pictures.SIZE
    again = taught_parts.pipeline(WORDS)
    assert torch.equal(next(pipe.unet.parameters()), next(again.unet.parameters()))


def test_a_sketch_is_white_where_nothing_changes_and_dark_at_an_edge():
    photo = torch.zeros(1, 1, 8, 8)
    photo[..., 4:] = 1.0
    sketch = captioned_pictures.sketched(photo)[0, 0]
    assert torch.all(sketch[1:-1, :3] == 1)
    assert torch.all(sketch[1:-1, 3:5] == 0)
    assert torch.all(sketch[1:-1, 5:7] == 1)


def test_captions_are_left_out_or_general_as_often_as_the_record_says():
    labels = torch.arange(len(CAPTIONS)).repeat(2000)
    told = taught_lessons.captions(labels, torch.Generator().manual_seed(0))
    texts = [taught_lessons.PROMPTS[number] for number in told]
    assert abs(texts.count("") / len(texts) - 0.1) < 0.01
    general = [(CAPTIONS[label], text) for label, text in zip(labels, texts, strict=True) if text in GENERAL]
    assert abs(len(general) / len(texts) - 0.1) < 0.01
    assert all(caption.split()[1] == text.split()[1] for caption, text in general)
    own = [(label, number) for label, number in zip(labels, told, strict=True) if number < len(CAPTIONS)]
    assert all(label == number for label, number in own)


@pytest.mark.parametrize("kind", ["class", "style"])
def test_anchors_are_kept_and_general_prompts_never_show_what_is_forgotten(kind):
    asked, word = taught_study.concept(kind), taught_study.FORGOTTEN[kind]
    every = (*CAPTIONS, *GENERAL)
    kept = [prompt for prompt in every if prompt not in asked.prompts]
    assert set(asked.anchors) <= set(kept)
    assert {prompt for prompt in every if word in prompt.split()} == set(asked.prompts)
    for prompts in (asked.prompts, kept):
        for prompt in prompts:
            shown = taught_study.of_prompt(prompt, prompts, torch.arange(len(CAPTIONS)))
            assert {CAPTIONS[number] for number in shown} <= set(prompts)
            assert len(shown) == 1 if prompt in CAPTIONS else len(shown) >= len(CLASSES) - 1


@pytest.mark.parametrize("kind", ["class", "style"])
def test_the_study_has_enough_images_and_the_same_updates_for_all(kind):
    found = json.loads((RESULTS / "tiny-stable-diffusion.json").read_text(encoding="utf-8"))
    rows = found["requests"][kind]["rows"]
    for row in rows:
        evidence = row["evidence"]
        assert sum(evidence["asked"].values()) >= 200
        assert sum(evidence["kept"].values()) >= 400
        low, high = evidence["ua_interval"]
        assert low <= row["scores"]["generated_ua"] <= high
    assert [(row["method"], row["updates"]) for row in rows[:2]] == [("original", 0), ("UCE", 0)]
    assert {row["updates"] for row in rows[2:]} == {150}
    assert [row["method"] for row in rows[2:]] == list(taught_study.METHODS)
