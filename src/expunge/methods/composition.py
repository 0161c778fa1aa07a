"""Compositions: a named method under another mask, or all three parts spelled out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, ClassVar

from expunge.engine import Descend, Mode, Recipe
from expunge.errors import ConfigError
from expunge.masks import Certified, Mask
from expunge.methods.method import Method
from expunge.methods.parts import Part, build_part, read_parts
from expunge.registry import find
from expunge.surgery import FAMO, Implicit, ImplicitPublished, Surgery

DEFAULT_FEASIBLE = "lenient"


@dataclass(frozen=True, kw_only=True)
class Composed(Method):
    """Any objective, any surgery, any mask.

    Formula: θ ← θ + m ⊙ (θ⁺ − θ), θ⁺ the optimiser's step on what the surgery makes of both objectives, m the mask.

    Args:
        objective: What is minimised on D_f, such as ``uniform`` or ``random_label(exclude_true=true)``. Default
            ``random_label``.
        retain: What is minimised on D_r. Default ``cross_entropy``.
        surgery: The rule, such as ``unilateral(tolerance=0.1)``. Default ``implicit``.
        mask: Which coordinates may move, such as ``saliency(keep=0.3)``. Default: all.
        mode: ``paired`` (default) or ``mixed``.

    Raises:
        ConfigError: If a part is not known, or the parts make no sense together.

    Examples:
        >>> Composed(objective="uniform", surgery="unilateral(tolerance=0.5)").recipe().stages[0].surgery
        Unilateral(tolerance=0.5)
    """

    paper: ClassVar[str] = "any composition of parts"
    label: ClassVar[str] = "Composed"

    objective: str = "random_label"
    retain: str = "cross_entropy"
    surgery: str = "implicit"
    mask: str | None = None
    mode: Mode = "paired"

    def __post_init__(self) -> None:
        """Build every part once, so that what does not fit is refused now."""
        super().__post_init__()
        if self.mode not in ("paired", "mixed"):
            raise ConfigError("mode paired or mixed", f"'{self.mode}'", "name the method ft or ga for one side alone")
        stage = self.recipe().stages[0]
        if isinstance(stage, Descend):
            refuse_nonsense(stage)

    def recipe(self, seed: int = 0) -> Recipe:
        """Return one descent of the parts."""
        forget, retain = (build_part("objectives", seeded(one_part(t), seed)) for t in (self.objective, self.retain))
        surgery: Surgery = build_part("surgeries", one_part(self.surgery))
        mask = None if self.mask is None else build_mask(one_part(self.mask))
        return self.descend(forget, retain, surgery, self.mode, mask)


class Masked(Method):
    """A method whose every update is judged by a mask of its own: ``eupmu + feasible(lenient, delta=0.1)``.

    Args:
        base: The method.
        mask: The mask, as it was written.

    Raises:
        ConfigError: If the method has a mask already, trains from scratch or does not descend.

    Examples:
        >>> from expunge.methods import build_method
        >>> build_method("rl + saliency(keep=0.3)", epochs=1).recipe().stages[0].mask
        Saliency(keep=0.3)
    """

    def __init__(self, base: Method, mask: Part) -> None:
        for name, value in base.settings().items():
            object.__setattr__(self, name, value)
        for name, value in {"base": base, "mask": mask, "label": f"{base.label} + {mask.name}"}.items():
            object.__setattr__(self, name, value)
        self.refuse_nonsense()

    base: Method
    mask: Part

    def recipe(self, seed: int = 0) -> Recipe:
        """Return the method's recipe with the mask in every descent."""
        stages = self.base.recipe(seed).stages
        return Recipe(tuple(replace(s, mask=build_mask(self.mask)) if isinstance(s, Descend) else s for s in stages))

    def settings(self) -> dict[str, Any]:
        """Return the method's settings and the mask's."""
        written = {"name": self.mask.name, **dict.fromkeys(self.mask.choices, True), **self.mask.settings}
        return {**self.base.settings(), "mask": written}

    def refuse_nonsense(self) -> None:
        """Refuse a mask where it makes no sense."""
        stages = self.base.recipe().stages
        descents = [stage for stage in stages if isinstance(stage, Descend)]
        name = f"'{self.base.label or type(self.base).__name__}'"
        if len(descents) < len(stages) or not descents:
            found = f"{name}, which changes weights in another way too"
            raise ConfigError("a method that only descends, for a mask to judge", found, "use it without the mask")
        if any(stage.mask is not None for stage in descents):
            raise ConfigError("a method without a mask of its own", name, "use the method that it is built on")
        build_mask(self.mask)


def one_part(text: str) -> Part:
    """Return the only part of a text.

    Raises:
        ConfigError: If it has several.
    """
    parts = read_parts(text)
    if len(parts) != 1:
        raise ConfigError("one part", f"'{text}'", "write one name with its settings")
    return parts[0]


def seeded(part: Part, seed: int) -> Part:
    """Return an objective's part with the run's seed, where it draws and says nothing of a seed itself."""
    draws = "seed" in signature(find("objectives", part.name)).parameters
    return replace(part, settings={"seed": seed, **part.settings}) if draws else part


def build_mask(part: Part) -> Mask:
    """Return a mask; ``feasible(NAME, …)`` is the feasible mask of that name, by default the lenient one.

    ``certify=true`` puts it under a certificate, with the ``delta`` of the mask and as many ``batches`` as asked for.
    """
    if part.name != "feasible":
        return _built(part)
    name = part.choices[0] if part.choices else DEFAULT_FEASIBLE
    settings = dict(part.settings)
    certify, batches = settings.pop("certify", False), settings.pop("batches", None)
    if certify not in (True, False) or (batches is not None and not certify):
        found = f"certify={certify}, batches={batches}"
        raise ConfigError("certify=true or false, and batches with certify=true alone", found, "correct them")
    mask = _built(Part(name, part.choices[1:], settings))
    level = {"delta": settings["delta"]} if "delta" in settings else {}
    return Certified(mask, **level, **({"batches": batches} if batches else {})) if certify else mask


def _built(part: Part) -> Mask:
    mask: Mask = build_part("masks", part)
    return mask


def refuse_nonsense(stage: Descend) -> None:
    """Refuse objectives that a surgery cannot use, as far as that is known before any loss is.

    Raises:
        ConfigError: If a logarithm would meet a negative loss.
    """
    always = isinstance(stage.surgery, ImplicitPublished | FAMO)
    log = always or (isinstance(stage.surgery, Implicit) and stage.surgery.log)
    if log and stage.objectives.forget.negative:
        found = f"{type(stage.objectives.forget).__name__}, whose loss is negative"
        cure = "use random_label or uniform, or the surgery without log"
        raise ConfigError("a forget loss ≥ 0 for a surgery that takes its logarithm", found, cure)
