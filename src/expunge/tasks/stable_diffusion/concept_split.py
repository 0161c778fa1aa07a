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
from expunge.tasks.stable_diffusion.concept import Concept, check_concepts, same_words
from expunge.tasks.stable_diffusion.prompt_examples import PromptExamples, drawn
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
    count: int = 8,
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
        count: Images that are drawn for a prompt. Default 8.
        seed: See ``drawn``. Default 0.
        cache: A folder for the latents: written if it is not there, else read in the place of drawing. Default: none.
        **drawing: Guidance, steps, batch size and callback of ``drawn``.

    Raises:
        RequestError: If the request contradicts itself, leaves nothing to keep, or a prompt is too long.
        DataError: If the cache is of other prompts, or images do not fit the model.
    """
    wanted = [concepts] if isinstance(concepts, Concept) else list(concepts)
    check_concepts(wanted, keep)
    forgotten = [prompt for concept in wanted for prompt in concept.prompts]
    own = None if examples is None else in_words_of(examples, (*forgotten, *keep))
    given = () if own is None else own.captions
    kept = [caption for caption in dict.fromkeys((*keep, *given)) if caption not in forgotten]
    if not kept:
        cure = "pass keep=[prompts] or examples with other captions"
        raise RequestError("something to keep", "concepts to forget alone", cure)
    told = with_anchors(model, wanted, kept)
    show = dict(zip(forgotten, [anchor for concept in wanted for anchor in concept.anchors], strict=True))
    shown = {text: show.get(text, text) if pairs else text for text in (*forgotten, *kept) if text not in given}
    made = shown_as(cached(model, shown, cache, {"count": count, "seed": seed, **drawing}), shown) if shown else None
    parts = [part for part in (own, made) if part is not None]
    return ConceptSplit(told, *sides(told, reduce(operator.add, parts), forgotten))


def in_words_of(examples: PromptExamples, prompts: Sequence[str]) -> PromptExamples:
    """Return the examples, captions that differ from a prompt in capitals or spaces alone written as that prompt."""
    written = {same_words(prompt): prompt for prompt in prompts}
    return PromptExamples(examples.latents, [written.get(same_words(text), text) for text in examples.captions])


def with_anchors(model: TextToImage, concepts: Sequence[Concept], kept: Sequence[str]) -> TextToImage:
    """Return the model told every prompt of a request, each forgotten one with the number of its anchor."""
    pairs = [pair for concept in concepts for pair in zip(concept.prompts, concept.anchors, strict=True)]
    told = model.told([prompt for prompt, _ in pairs] + list(kept) + [anchor for _, anchor in pairs])
    anchors = told.anchors.cpu().clone()
    anchors[told.numbers([prompt for prompt, _ in pairs])] = told.numbers([anchor for _, anchor in pairs])
    told.hold(told.texts, told.table, anchors)
    return told


def cached(
    model: TextToImage, shown: Mapping[str, str], cache: str | os.PathLike[str] | None, settings: dict[str, Any]
) -> PromptExamples:
    """Return images drawn for prompts, the values of ``shown``, from a folder if they are there, else written to it."""
    prompts = list(dict.fromkeys(shown.values()))
    if cache is not None and Path(cache).is_dir():
        known = PromptExamples.load(cache)
        lacking = [prompt for prompt in prompts if prompt not in known.captions]
        if lacking:
            found = f"a cache without '{lacking[0]}'"
            raise RequestError("a cache of this request", found, "remove the folder or name another one")
        return known.part(lambda caption: caption in prompts)
    made = drawn(model, prompts, **settings)
    if cache is not None:
        made.save(cache)
    return made


def shown_as(made: PromptExamples, shown: Mapping[str, str]) -> PromptExamples:
    """Return for each caption, the keys of ``shown``, the images of the prompt that is shown under it."""
    parts = [(caption, made.part(prompt.__eq__)) for caption, prompt in shown.items()]
    return reduce(operator.add, [PromptExamples(part.latents, [caption] * len(part)) for caption, part in parts])


def sides(model: TextToImage, every: PromptExamples, forgotten: Sequence[str]) -> tuple[TensorExamples, TensorExamples]:
    """Return the examples to forget and those to retain, with the numbers of their prompts."""
    chosen = set(forgotten)
    parts = (every.part(lambda caption: caption in chosen), every.part(lambda caption: caption not in chosen))
    found = [TensorExamples(part.latents, model.numbers(part.captions), names=model.texts) for part in parts]
    return found[0], found[1]
