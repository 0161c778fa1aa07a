"""concept_split: from concepts and prompts to a model with its table, and examples on both sides."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from expunge.data import TensorExamples
from expunge.errors import RequestError
from expunge.tasks.stable_diffusion.concept import Concept, check_concepts, normalize_prompt
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples, generate_latents
from expunge.tasks.stable_diffusion.text_to_image import TextToImage


class ConceptSplit(NamedTuple):
    """What ``concept_split`` returns.

    Args:
        model: The model with every prompt of the request in its table; its U-Net is that of the one that was passed.
        forget: Latents of images of the concepts, with the numbers of their prompts.
        retain: Latents of images to keep.
    """

    model: TextToImage
    forget: TensorExamples
    retain: TensorExamples


def concept_split(
    model: TextToImage,
    concepts: Concept | Sequence[Concept],
    keep: Sequence[str] = (),
    *,
    examples: PromptExamples | None = None,
    pairs: bool = False,
    per_prompt: int = 8,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    **drawing: Any,
) -> ConceptSplit:
    """Return what ``expunge.unlearn(model, forget=, retain=, task="stable_diffusion")`` takes.

    A user's own images come first: those whose caption is a prompt of a concept are to be forgotten, all others to be
    kept. For every other prompt, of a concept or to be kept, the model draws images itself.

    Args:
        model: The model that is to forget.
        concepts: What; several at once are one request.
        keep: Prompts whose images must not change, the anchors perhaps among them.
        examples: The user's images. Default: none.
        pairs: Draw images of the anchors as those to forget, for ``ImagePairs``. Default false: images of the concepts.
        per_prompt: Images that are drawn for a prompt. Default 8.
        seed: See ``generate_latents``. Default 0.
        cache: A folder for the latents: written if it is not there, else read in the place of drawing. Default: none.
        **drawing: Guidance, steps, batch size and callback of ``generate_latents``.

    Raises:
        RequestError: If the request contradicts itself, leaves nothing to keep, or a prompt is too long.
        DataError: If the cache is of other prompts, or images do not fit the model.
    """
    concept_list = [concepts] if isinstance(concepts, Concept) else list(concepts)
    check_concepts(concept_list, keep)
    forgotten = [prompt for concept in concept_list for prompt in concept.prompts]
    user_examples = None if examples is None else match_captions(examples, (*forgotten, *keep))
    user_captions = () if user_examples is None else user_examples.captions
    kept_captions = [caption for caption in dict.fromkeys((*keep, *user_captions)) if caption not in forgotten]
    if not kept_captions:
        hint = "pass keep=[prompts] or examples with other captions"
        raise RequestError("something to keep", "concepts to forget alone", hint)
    prompted_model = register_prompts(model, concept_list, kept_captions)
    prompt_to_anchor = dict(
        zip(forgotten, [anchor for concept in concept_list for anchor in concept.anchors], strict=True)
    )
    caption_to_prompt = {
        text: prompt_to_anchor.get(text, text) if pairs else text
        for text in (*forgotten, *kept_captions)
        if text not in user_captions
    }
    generated = (
        relabel_images(
            load_or_generate(model, caption_to_prompt, cache, {"per_prompt": per_prompt, "seed": seed, **drawing}),
            caption_to_prompt,
        )
        if caption_to_prompt
        else None
    )
    parts = [part for part in (user_examples, generated) if part is not None]
    return ConceptSplit(prompted_model, *split_by_prompt(prompted_model, reduce(operator.add, parts), forgotten))


def match_captions(examples: PromptExamples, prompts: Sequence[str]) -> PromptExamples:
    """Return the examples, captions that differ from a prompt in capitals or spaces alone written as that prompt."""
    canonical = {normalize_prompt(prompt): prompt for prompt in prompts}
    return PromptExamples(examples.latents, [canonical.get(normalize_prompt(text), text) for text in examples.captions])


def register_prompts(model: TextToImage, concepts: Sequence[Concept], kept: Sequence[str]) -> TextToImage:
    """Return the model told every prompt of a request, each forgotten one with the number of its anchor."""
    pairs = [pair for concept in concepts for pair in zip(concept.prompts, concept.anchors, strict=True)]
    prompted_model = model.with_prompts([prompt for prompt, _ in pairs] + list(kept) + [anchor for _, anchor in pairs])
    anchors = prompted_model.anchors.cpu().clone()
    anchors[prompted_model.prompt_indices([prompt for prompt, _ in pairs])] = prompted_model.prompt_indices(
        [anchor for _, anchor in pairs]
    )
    prompted_model.set_prompts(prompted_model.prompts, prompted_model.prompt_embeddings, anchors)
    return prompted_model


def load_or_generate(
    model: TextToImage,
    caption_to_prompt: Mapping[str, str],
    cache: str | os.PathLike[str] | None,
    settings: dict[str, Any],
) -> PromptExamples:
    """Return images for the prompts in ``caption_to_prompt``, from a folder if they are there, else written to it."""
    prompts = list(dict.fromkeys(caption_to_prompt.values()))
    if cache is not None and Path(cache).is_dir():
        stored = PromptExamples.load(cache)
        missing = [prompt for prompt in prompts if prompt not in stored.captions]
        if missing:
            actual = f"a cache without '{missing[0]}'"
            raise RequestError("a cache of this request", actual, "remove the folder or name another one")
        return stored.select(lambda caption: caption in prompts)
    generated = generate_latents(model, prompts, **settings)
    if cache is not None:
        generated.save(cache)
    return generated


def relabel_images(examples: PromptExamples, caption_to_prompt: Mapping[str, str]) -> PromptExamples:
    parts = [(caption, examples.select(prompt.__eq__)) for caption, prompt in caption_to_prompt.items()]
    return reduce(operator.add, [PromptExamples(part.latents, [caption] * len(part)) for caption, part in parts])


def split_by_prompt(
    model: TextToImage, examples: PromptExamples, forgotten: Sequence[str]
) -> tuple[TensorExamples, TensorExamples]:
    """Return the examples to forget and those to retain, with the numbers of their prompts."""
    chosen = set(forgotten)
    parts = (examples.select(lambda caption: caption in chosen), examples.select(lambda caption: caption not in chosen))
    splits = [TensorExamples(part.latents, model.prompt_indices(part.captions), names=model.prompts) for part in parts]
    return splits[0], splits[1]
