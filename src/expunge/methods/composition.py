"""Compositions: a named method under another mask, or all three parts spelled out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, ClassVar

from expunge.engine import MethodRecipe, Pairing, TrainStage
from expunge.errors import ConfigError
from expunge.masks import Mask, SequentialTest
from expunge.methods.component_spec import ComponentSpec, build_component, parse_components
from expunge.methods.method import Method
from expunge.registry import find_component
from expunge.surgery import FAMO, EUPMUOfficialSurgery, EUPMUSurgery, Surgery

DEFAULT_FEASIBLE_MASK = "keep_unless_harmful"


@dataclass(frozen=True, kw_only=True)
class CustomMethod(Method):
    """Any objective, any surgery, any mask.

    Formula: θ ← θ + m ⊙ (θ⁺ − θ), θ⁺ the optimizer's step on what the surgery makes of both objectives, m the mask.

    Args:
        objective: What is minimized on D_f, such as ``uniform`` or ``random_label(exclude_true=true)``. Default
            ``random_label``.
        retain: What is minimized on D_r. Default ``cross_entropy``.
        surgery: The rule, such as ``projection(tolerance=0.1)``. Default ``eupmu``.
        mask: Which coordinates may move, such as ``saliency(fraction=0.3)``. Default: all.
        mode: ``paired`` (default) or ``mixed``.

    Raises:
        ConfigError: If a part is not known, or the parts make no sense together.

    Examples:
        >>> CustomMethod(objective="uniform_target", surgery="projection(tolerance=0.5)").recipe().stages[0].surgery
        Projection(tolerance=0.5)
    """

    paper: ClassVar[str] = "any composition of parts"
    name: ClassVar[str] = "custom"
    label: ClassVar[str] = "Custom"

    objective: str = "random_label"
    retain: str = "cross_entropy"
    surgery: str = "eupmu"
    mask: str | None = None
    mode: Pairing = "paired"

    def __post_init__(self) -> None:
        """Build every part once, so that what does not fit is refused now."""
        super().__post_init__()
        if self.mode not in ("paired", "mixed"):
            raise ConfigError("mode paired or mixed", f"'{self.mode}'", "name the method ft or ga for one side alone")
        stage = self.recipe().stages[0]
        if isinstance(stage, TrainStage):
            check_compatible(stage)

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent of the parts."""
        forget, retain = (
            build_component("objectives", with_seed(parse_single(t), seed)) for t in (self.objective, self.retain)
        )
        surgery: Surgery = build_component("surgeries", parse_single(self.surgery))
        mask = None if self.mask is None else build_mask(parse_single(self.mask))
        return self.make_recipe(forget, retain, surgery, self.mode, mask)


class MaskedMethod(Method):
    """A method whose every update is judged by a mask of its own: ``eupmu + feasible(lenient, delta=0.1)``.

    Args:
        base: The method.
        mask: The mask, as it was written.

    Raises:
        ConfigError: If the method has a mask already, trains from scratch or does not descend.

    Examples:
        >>> from expunge.methods import build_method
        >>> build_method("rl + saliency(fraction=0.3)", epochs=1).recipe().stages[0].mask
        Saliency(fraction=0.3)
    """

    def __init__(self, base: Method, mask: ComponentSpec) -> None:
        for name, value in base.settings().items():
            object.__setattr__(self, name, value)
        for name, value in {"base": base, "mask": mask, "label": f"{base.label} + {mask.name}"}.items():
            object.__setattr__(self, name, value)
        self.check_mask_allowed()

    base: Method
    mask: ComponentSpec

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the method's recipe with the mask in every descent."""
        stages = self.base.recipe(seed).stages
        return MethodRecipe(
            tuple(replace(s, mask=build_mask(self.mask)) if isinstance(s, TrainStage) else s for s in stages)
        )

    def settings(self) -> dict[str, Any]:
        """Return the method's settings and the mask's."""
        written = {"name": self.mask.name, **dict.fromkeys(self.mask.choices, True), **self.mask.settings}
        return {**self.base.settings(), "mask": written}

    def check_mask_allowed(self) -> None:
        """Refuse a mask where it makes no sense."""
        stages = self.base.recipe().stages
        descents = [stage for stage in stages if isinstance(stage, TrainStage)]
        name = f"'{self.base.label or type(self.base).__name__}'"
        if len(descents) < len(stages) or not descents:
            actual = f"{name}, which changes weights in another way too"
            raise ConfigError("a method that only descends, for a mask to judge", actual, "use it without the mask")
        if any(stage.mask is not None for stage in descents):
            raise ConfigError("a method without a mask of its own", name, "use the method that it is built on")
        build_mask(self.mask)


def parse_single(text: str) -> ComponentSpec:
    """Return the only part of a text."""
    parts = parse_components(text)
    if len(parts) != 1:
        raise ConfigError("one part", f"'{text}'", "write one name with its settings")
    return parts[0]


def with_seed(spec: ComponentSpec, seed: int) -> ComponentSpec:
    """Return an objective's part with the run's seed, where it draws and says nothing of a seed itself."""
    draws = "seed" in signature(find_component("objectives", spec.name)).parameters
    return replace(spec, settings={"seed": seed, **spec.settings}) if draws else spec


def build_mask(spec: ComponentSpec) -> Mask:
    """Return a mask; ``feasible(NAME, …)`` is the feasible mask of that name, by default the lenient one.

    ``certify=true`` puts it under a certificate, with the ``delta`` of the mask and as many ``batches`` as asked for.
    """
    if spec.name != "feasible":
        return _build_mask_component(spec)
    name = spec.choices[0] if spec.choices else DEFAULT_FEASIBLE_MASK
    settings = dict(spec.settings)
    certify, batches = settings.pop("certify", False), settings.pop("test_batches", None)
    if certify not in (True, False) or (batches is not None and not certify):
        actual = f"certify={certify}, test_batches={batches}"
        raise ConfigError("certify=true or false, and test_batches with certify=true alone", actual, "correct them")
    mask = _build_mask_component(ComponentSpec(name, spec.choices[1:], settings))
    level = {"delta": settings["delta"]} if "delta" in settings else {}
    return SequentialTest(mask, **level, **({"test_batches": batches} if batches else {})) if certify else mask


def _build_mask_component(spec: ComponentSpec) -> Mask:
    mask: Mask = build_component("masks", spec)
    return mask


def check_compatible(stage: TrainStage) -> None:
    """Refuse objectives that a surgery cannot use, as far as that is known before any loss is."""
    surgery = stage.surgery
    log = isinstance(surgery, FAMO) or (isinstance(surgery, EUPMUSurgery) and surgery.log_loss)
    log = log or (isinstance(surgery, EUPMUOfficialSurgery) and surgery.takes_log)
    if log and stage.objectives.forget.can_be_negative:
        actual = f"{type(stage.objectives.forget).__name__}, whose loss is negative"
        hint = "use random_label or uniform_target, or the surgery without log_loss"
        raise ConfigError("a forget loss ≥ 0 for a surgery that takes its logarithm", actual, hint)
