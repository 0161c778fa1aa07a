"""GramianWeighting: any function of the Gram matrix, TorchJD's weightings among them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from expunge.errors import MissingExtraError, SurgeryError
from expunge.surgery.gramian_surgery import GramianSurgery

Weighting = Callable[[Tensor], Tensor]


class GramianWeighting(GramianSurgery):
    """Combine the two gradients by any function of their 2×2 Gram matrix.

    Formula: d = w_f·g_f + w_r·g_r with (w_f, w_r) = weighting(G), G = [[⟨g_f,g_f⟩, ⟨g_f,g_r⟩], [⟨g_f,g_r⟩, ⟨g_r,g_r⟩]].

    Args:
        weighting: A function from G, shape (2, 2) float64, to weights, shape (2,); forget first. A text
            ``package.module:name`` is imported; ``torchjd:PCGrad`` builds TorchJD's ``PCGradWeighting()``
            (needs the extra ``torchjd``). Default: the mean of both.

    Raises:
        MissingExtraError: If TorchJD is asked for and not installed.
        SurgeryError: If the text does not name a callable.

    Examples:
        >>> import torch
        >>> GramianWeighting("expunge.surgery.weighted:mean").weights(torch.eye(2)).tolist()
        [0.5, 0.5]
    """

    aliases: ClassVar[tuple[str, ...]] = ("gramian", "weighted")
    paper: ClassVar[str] = "any weighting of the Gram matrix; TorchJD (arXiv 2406.16232) for the published ones"

    def __init__(self, weighting: Weighting | str = "expunge.surgery.weighted:mean") -> None:
        super().__init__()
        self.weighting = weighting if isinstance(weighting, str) else import_path_of(weighting)
        self.function = load_weighting(weighting) if isinstance(weighting, str) else weighting

    def weights(self, gram: Tensor) -> Tensor:
        """Return what the weighting gives."""
        return self.function(gram)


def mean(gram: Tensor) -> Tensor:
    """Return the weights of the mean, (½, ½)."""
    return gram.new_full((2,), 0.5)


def import_path_of(function: Any) -> Any:
    """Return the import path of a module's function; what has none stays as it is."""
    name = getattr(function, "__qualname__", "<")
    return function if "<" in name else f"{function.__module__}:{name}"


def load_weighting(path: str) -> Weighting:
    """Return the callable that a text names."""
    package, _, name = path.partition(":")
    if package == "torchjd":
        return make_torchjd_weighting(name)
    try:
        weighting = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SurgeryError("a weighting as 'package.module:name'", f"'{path}' ({error})", "correct the path") from error
    if not callable(weighting):
        raise SurgeryError("a weighting that can be called", f"{type(weighting).__name__}", "name a function")
    return weighting  # type: ignore[no-any-return]


def make_torchjd_weighting(name: str, **settings: Any) -> Weighting:
    """Return TorchJD's Gramian weighting of that name."""
    try:
        from torchjd import aggregation
    except ImportError as error:
        raise MissingExtraError("TorchJD's weightings", "torchjd", "torchjd") from error
    weighting_class = getattr(aggregation, f"{name}Weighting", None)
    if weighting_class is None:
        known_names = sorted(n.removesuffix("Weighting") for n in dir(aggregation) if n.endswith("Weighting"))
        raise SurgeryError(
            f"one of TorchJD's weightings ({', '.join(filter(None, known_names))})", f"'{name}'", "choose one"
        )
    weighting: Weighting = build_torchjd(weighting_class, name, settings)
    return weighting


def build_torchjd(make: Callable[..., Any], name: str, settings: dict[str, Any]) -> Any:
    """Return what TorchJD makes; its refusals as ours."""
    try:
        return make(**settings)
    except ImportError as error:
        raise MissingExtraError(f"TorchJD's {name}", "cvxpy", "torchjd-solvers") from error
    except (TypeError, ValueError) as error:
        raise SurgeryError(f"settings that TorchJD's {name} takes", f"{settings} ({error})", "correct them") from error
