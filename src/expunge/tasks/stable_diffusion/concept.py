"""Concepts: what a text-to-image model is to forget, as prompts, and what it is to show in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.errors import ConfigError, RequestError

PROMPT_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "concept": ("{}", "a photo of {}", "an image of {}", "a picture of {}"),
    "class": ("an image of a {}", "a photo of a {}", "a {}"),
    "style": ("{}", "a painting in the style of {}", "a picture by {}", "an image in the style of {}"),
    "instance": ("{}", "a photo of {}", "a portrait of {}", "{} in the street"),
    "nsfw": ("a photo of a {} person", "a {} man", "a {} woman", "{}"),
}
"""Kind → prompts with a place for the name."""


@dataclass(frozen=True)
class Concept:
    """Something that a model is to forget: a thing, a class, a style, a person, or what is not safe to show.

    All kinds are the same mechanism: images of ``prompts`` are to become what the anchor's are.

    Args:
        name: What it is called in reports.
        prompts: Prompts that show it; at least one.
        anchor: The prompt that it is to become, or one for each of the prompts. The empty prompt is no anchor in
            particular: whatever the model shows if nothing is asked for.

    Raises:
        RequestError: If there is no prompt, or not as many anchors as prompts.
        ConfigError: If a prompt is its own anchor.

    Examples:
        >>> Concept("Van Gogh", ["a field by Van Gogh"], "a field").anchors
        ('a field',)
    """

    name: str
    prompts: Sequence[str]
    anchor: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        """Refuse what asks for nothing."""
        object.__setattr__(self, "prompts", (self.prompts,) if isinstance(self.prompts, str) else tuple(self.prompts))
        if not self.prompts or any(not normalize_prompt(prompt) for prompt in self.prompts):
            raise RequestError(f"prompts that show '{self.name}'", "none or an empty one", "write at least one")
        if len(self.anchors) != len(self.prompts):
            actual = f"{len(self.anchors)} for {len(self.prompts)} prompts"
            raise RequestError("one anchor, or one for each prompt", actual, "write as many as there are prompts")
        for prompt, anchor in zip(self.prompts, self.anchors, strict=True):
            if normalize_prompt(prompt) == normalize_prompt(anchor):
                actual = f"'{prompt}' for both"
                hint = "name another anchor, what the concept is to become"
                raise ConfigError(f"an anchor other than the forgotten concept '{self.name}'", actual, hint)

    @property
    def anchors(self) -> tuple[str, ...]:
        """The anchor of each prompt."""
        return (self.anchor,) * len(self.prompts) if isinstance(self.anchor, str) else tuple(self.anchor)

    @classmethod
    def from_kind(cls, kind: str, name: str, anchor: str) -> Concept:
        """Return a concept from its name, prompts and anchors being written with the templates of its kind.

        Args:
            kind: ``concept``, ``class``, ``style``, ``instance`` or ``nsfw`` (``PROMPT_TEMPLATES``).
            name: What is to be forgotten, such as ``Van Gogh``, ``dog`` or ``nude``.
            anchor: What it is to become, written into the same templates: ``an unknown painter``, ``cat``, ``clothed``.

        Raises:
            ConfigError: If there is no such kind, or name and anchor are the same.

        Examples:
            >>> dog = Concept.from_kind("class", "dog", "cat")
            >>> dog.prompts[0], dog.anchors[0]
            ('an image of a dog', 'an image of a cat')
        """
        if kind not in PROMPT_TEMPLATES:
            raise ConfigError(f"a kind of concept ({', '.join(PROMPT_TEMPLATES)})", f"'{kind}'", "choose one of them")
        prompts, anchors = ([template.format(text) for template in PROMPT_TEMPLATES[kind]] for text in (name, anchor))
        return cls(name, prompts, anchors)


def normalize_prompt(prompt: str) -> str:
    """Return a prompt in the form in which prompts are compared: capitals and spaces do not count."""
    return " ".join(prompt.casefold().split())


def check_concepts(concepts: Sequence[Concept], keep: Sequence[str]) -> None:
    """Refuse concepts that contradict each other or what is to be kept."""
    if not concepts:
        raise RequestError("at least one concept to forget", "none", "pass concepts=[Concept(name, prompts, anchor)]")
    if any(not normalize_prompt(prompt) for prompt in keep):
        raise RequestError("prompts to keep that say something", "an empty one", "leave it out: guidance keeps it")
    forgotten = [normalize_prompt(prompt) for concept in concepts for prompt in concept.prompts]
    if len(set(forgotten)) < len(forgotten):
        twice = next(prompt for prompt in forgotten if forgotten.count(prompt) > 1)
        raise RequestError("every prompt to forget once", f"'{twice}' twice", "write it in one concept alone")
    anchors = [anchor for concept in concepts for anchor in concept.anchors]
    for what, prompts in (("kept", keep), ("an anchor", anchors)):
        both = next((prompt for prompt in prompts if normalize_prompt(prompt) in forgotten), None)
        if both is not None:
            hint = "take it out of one of them"
            raise RequestError(f"prompts that are forgotten or {what}, not both", f"'{both}'", hint)
