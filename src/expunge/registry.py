"""What is there, by kind and name: derived from the packages' ``__all__`` and from third parties' entry points.

A package of a room exports its public classes or functions in ``__all__``. The name is the class or function name in
snake case; ``aliases`` on it adds others (the acronym of its paper). ``NAMES`` lists ours for what must not import
them. Third parties declare entry points in the group ``expunge.<kind>`` and touch none of our files.
"""

from __future__ import annotations

import difflib
import inspect
import re
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from expunge.errors import ConfigError

KINDS: Mapping[str, tuple[str, str | None]] = {
    "surgeries": ("expunge.surgery", "Surgery"),
    "objectives": ("expunge.objectives", "Objective"),
    "masks": ("expunge.masks", "Mask"),
    "methods": ("expunge.methods", "Method"),
    "metrics": ("expunge.metrics", "METRICS"),
    "readers": ("expunge.tasks.classification.readers", None),
    "models": ("expunge.tasks.classification.models", None),
    "tasks": ("expunge.tasks.builtin_tasks", "Task"),
    "loggers": ("expunge.loggers", "Logger"),
}
"""Kind → (package, name of the base class or of the tuple of instances in it; None where the entries are functions)."""

TASK_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "objectives": (
        "expunge.tasks.diffusion.objectives",
        "expunge.tasks.stable_diffusion.objectives",
        "expunge.tasks.targets.objectives",
    ),
    "methods": ("expunge.tasks.diffusion.methods", "expunge.tasks.stable_diffusion.methods"),
}
"""Kind → further packages that register entries of it: those for one family of models."""

NAMES: Mapping[str, str] = {
    "surgeries": (
        "aligned_mtl annealed budget_schedule cagrad cone controller cosine_forget cosine_forget_weight cumulative "
        "episodic eupmu eupmu_as_published eupmu_fast eupmu_official explicit famo fixed gdr_gma gdrgma gem "
        "grad_vac gradvac gramian gramian_weighting implicit implicit_fast implicit_published linear lookahead lur "
        "mgda nash nash_mtl noise_aware pcgrad pi pi_controller pooled projection robust_projection scalarization "
        "scheduled tolerance_schedule unilateral union union_mean upgrad weighted weighted_sum"
    ),
    "objectives": (
        "adaga adaptive_ascent anchor_preservation anti_distil ascent bad_teacher boundary boundary_shrink ce "
        "concept_erasure counterfactual cross_entropy denoising disobey distil distil_held_out distil_original "
        "distil_uniform distillation elastic_noise erasediff esd ewc ga gradient_ascent held_out "
        "holdout_distillation image_pairs incompetent l1 l1_penalty mean_target nearest_wrong_label "
        "negative_cross_entropy negative_guidance negative_kl negative_target_loss neighbor_label neighbor_target "
        "noise_ascent noise_matching noise_of_another_class other_class other_prompt permuted_target pseudo_prompt "
        "random_label random_teacher rl safe_image sparse spm_anchor spm_erase surrogate surrogate_noise "
        "target_distillation target_loss uniform uniform_noise uniform_target"
    ),
    "masks": (
        "agreement certified feasible fisher_ratio focus keep_if_harmless keep_unless_harmful knapsack lenient msg "
        "mudman probabilistic_agreement proximal saliency salun salun_soft sequential_test sfr_on sign_agreement "
        "small_gradients soft_threshold strict"
    ),
    "methods": (
        "bad_teacher badt be blindspot boundary_expand boundary_shrink bs cumulative custom esd eupmu eupmu_fast "
        "exact explicit fine_tune from_scratch ft ga gdr_gma gradient_ascent implicit implicit_fast influence "
        "influence_unlearning iu l1 l1_sparse lookahead lur masked_small_gradients msg negative_guidance neggrad+ "
        "neggrad_plus neighbor_labels projected_random_labels random_labels random_labels_with_budget retrain rl "
        "rl_proximal sa saliency_unlearning salun salun_soft scissor_hands scissorhands scrub scrub+r scrub_r "
        "scrub_rewind selective_amnesia selective_synaptic_dampening sfr_on sfron shs spm ssd uce "
        "unified_concept_editing unilateral wfisher"
    ),
    "metrics": (
        "auc average_gap avg_gap cka cka_original forget_distance forget_divergence forget_relative_entropy "
        "forgetting_quality forgetting_quality_epsilon js_forget js_retain js_test kl_forget kl_retain kl_test klom "
        "l2_forget l2_retain l2_test margin_divergence membership_auc membership_inference mia mia_efficacy "
        "original_alignment ra relearn relearn_ratio relearn_steps retain_accuracy retain_distance "
        "retain_divergence retain_relative_entropy retrained_alignment ta test_accuracy test_distance "
        "test_divergence test_relative_entropy tow tpr_at_1_percent tpr_at_1_permille true_positives_at_one_percent "
        "true_positives_at_one_permille tug_of_war u_lira ua ulira unlearning_accuracy"
    ),
    "readers": "cifar10 cifar100 digits fashion_mnist huggingface_datasets image_folder mnist svhn tiny_imagenet_20",
    "models": "resnet18 resnet20 resnet8 small_cnn vgg16_bn",
    "tasks": "classification ddpm diffusion multilabel regression sd stable_diffusion text_to_image",
    "loggers": "mlflow tensorboard trackio wandb weights_and_biases",
}
"""Kind → our own names and aliases, so that a request is checked without importing torch; a test compares them."""
AUTO = "auto"
"""The word for the method that is chosen where none is named; no method is registered under it."""


@dataclass(frozen=True)
class RegistryEntry:
    """One registered thing: its name, its other names, where it comes from, and the thing."""

    name: str
    aliases: tuple[str, ...]
    paper: str
    summary: str
    target: Any


def snake_case(name: str) -> str:
    """Return ``name`` in snake case.

    Examples:
        >>> snake_case("RandomLabel"), snake_case("resnet18")
        ('random_label', 'resnet18')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def make_entry(target: Any, name: str | None = None) -> RegistryEntry:
    """Return the entry of a class or function, read from its attributes and docstring."""
    attributes, summary = vars(target), vars(target).get("summary")
    if not isinstance(summary, str):
        summary = (inspect.getdoc(target) or "").split("\n", 1)[0]
    return RegistryEntry(
        name or attributes.get("name") or snake_case(target.__name__),
        tuple(attributes.get("aliases", ())),
        attributes.get("paper", ""),
        summary,
        target,
    )


def list_registered(package: str, base: str | None, task_packages: Sequence[str] = ()) -> list[Any]:
    """Return what a room registers: concrete subclasses of its base, its instances, or functions where it has none."""
    packages = [import_module(package)]
    if base is None:
        return [candidate for candidate in list_exports(packages) if inspect.isfunction(candidate)]
    root = getattr(packages[0], base)
    if isinstance(root, tuple):
        return list(root)
    packages += [import_module(package_name) for package_name in task_packages]
    objects = list_exports(packages)
    return [
        candidate
        for candidate in objects
        if inspect.isclass(candidate) and issubclass(candidate, root) and is_concrete(candidate)
    ]


def list_exports(packages: Sequence[ModuleType]) -> list[Any]:
    """Return everything in the ``__all__`` of the rooms."""
    return [getattr(package, name) for package in packages for name in package.__all__]


def is_concrete(candidate: type) -> bool:
    """Return whether a class can be used as it is: nothing left abstract, and not itself an abstract base."""
    return not inspect.isabstract(candidate) and ABC not in candidate.__bases__


@cache
def list_entries(kind: str, task: str | None = None) -> Mapping[str, RegistryEntry]:
    """Return everything registered under ``kind`` by name, our own first, then third parties'.

    Args:
        kind: One of the keys of ``KINDS``.
        task: Leave out what is for another family of models only. Default: leave out nothing.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"one of {', '.join(KINDS)}", f"'{kind}'", "choose one of them")
    all_entries = [make_entry(thing) for thing in list_registered(*KINDS[kind], TASK_PACKAGES.get(kind, ()))]
    all_entries += [make_entry(point.load(), point.name) for point in entry_points(group=f"expunge.{kind}")]
    return {entry.name: entry for entry in all_entries if supports_task(entry.target, task)}


def supports_task(target: Any, task: str | None) -> bool:
    """Return whether a thing can be used for a family of models; what names no family is for all."""
    own_task = getattr(target, "task", None)
    return task is None or own_task is None or own_task == task


def entries_by_name(kind: str) -> Mapping[str, RegistryEntry]:
    """Return everything registered under ``kind`` by name and by alias."""
    return {name: entry for entry in list_entries(kind).values() for name in (entry.name, *entry.aliases)}


def list_registered_names(kind: str) -> tuple[str, ...]:
    """Return all names and aliases of a kind in alphabetical order, third parties' entry points included.

    Nothing of them is imported.

    Args:
        kind: One of the keys of ``KINDS``.

    Examples:
        >>> "definitely_not_there" in list_registered_names("methods")
        False
    """
    return tuple(sorted({*NAMES[kind].split(), *(point.name for point in entry_points(group=f"expunge.{kind}"))}))


def normalize_name(name: str) -> str:
    """Return a name in the form in which names are compared: hyphens and underscores are the same, capitals too."""
    return name.replace("-", "_").lower()


def is_registered(kind: str, name: str) -> bool:
    """Return whether something is registered under that name or alias."""
    return normalize_name(name) in entries_by_name(kind)


def find_component(kind: str, name: str) -> Any:
    """Return the thing registered under ``kind`` by its name or an alias; hyphens and underscores are the same.

    Raises:
        ConfigError: If nothing has that name; the message offers the nearest one.
    """
    normalized, components = normalize_name(name), entries_by_name(kind)
    if normalized in components:
        return components[normalized].target
    matches = difflib.get_close_matches(normalized, components, n=1)
    hint = f"did you mean '{matches[0]}'" if matches else f"`expunge list {kind}` shows all"
    raise ConfigError(f"the name of one of the {kind} ({', '.join(sorted(components))})", f"'{name}'", hint)
