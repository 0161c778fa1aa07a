"""SequentialTest: a mask whose harm is tested on fresh batches before anything is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.batch import Predictor, Split
from expunge.errors import ConfigError, DataError
from expunge.masks.feasible import PAPER, compute_kept_fraction, validate_level
from expunge.masks.keep_unless_harmful import KeepUnlessHarmful
from expunge.masks.mask import Mask
from expunge.masks.student_t import t_quantile
from expunge.registry import find_component
from expunge.surgery import Direction, Step
from expunge.surgery.direction import inner_product


class SequentialTest(Mask):
    """Commit only a masked displacement that batches drawn for this test alone do not show to be harmful.

    Paper: "Improving Unlearning with Model Updates Probably Aligned with Gradients" (arXiv 2511.02435) has the
    statistical guarantee for feasible updates. The test is a reconstruction [R]: the paper's was out of reach.

    Formula: for a direction u fixed before the batches X_1 … X_B are drawn, Y_b = ⟨u, X_b⟩ with X_b the retain gradient
    of batch b, accept u iff Ȳ − t_{B−1, 1−δ} s_Y/√B ≥ −ε. Then P(accepted and ⟨u, g_r⟩ < −ε) ≤ δ, exactly for normal Y
    and about so else, without any assumption on how coordinates depend on one another. Several masks u_j = m_j ⊙ v, v =
    (θ − θ⁺)/η, are tested in order from strict to loose on the same batches, each at level δ, up to the first failure;
    the last accepted is committed (fixed-sequence testing keeps the level δ for all together). If none is, nothing
    moves.

    g_r is the mean gradient over the retain examples that are not in the update's batch or its probe, at the weights
    before the update. The batches are new at each update (``Step.further``): choosing the mask on them, or using them
    again for another test, voids the level. The statement is of first order and about one update; over T updates use
    δ/T.

    It costs B retain gradients at each tested update, and the memory of two copies of the weights besides the guard's.

    Args:
        mask: The mask, or several from strict to loose, perhaps by name; a mask that is a threshold brings its own
            sequence (``BoolArray.nested``). Default ``KeepUnlessHarmful()``: strict, by sign, lenient.
        delta: δ in (0, .5). Default .05.
        test_batches: B ≥ 2. Default 8.
        tolerance: ε ≥ 0 permits the retain loss to rise by η·ε in this update. Default 0.
        test_every: Updates from one test to the next; those between are committed as the mask says and marked untested.
            Default 1: each is tested.

    Raises:
        ConfigError: If a setting is out of its range, or a mask changes weights after the update.
        DataError: If the retain set has no B batches beside the update's.

    Examples:
        >>> SequentialTest(KeepUnlessHarmful(delta=0.2), delta=0.1)
        SequentialTest(KeepUnlessHarmful(delta=0.2), delta=0.1)
    """

    aliases: ClassVar[tuple[str, ...]] = ("certified",)

    paper: ClassVar[str] = PAPER
    tolerance: Tensor

    def __init__(
        self,
        mask: Mask | str | Sequence[Mask | str] | None = None,
        delta: float = 0.05,
        test_batches: int = 8,
        tolerance: float = 0.0,
        test_every: int = 1,
    ) -> None:
        super().__init__()
        if test_batches < 2 or tolerance < 0 or test_every < 1:
            actual = f"test_batches={test_batches}, tolerance={tolerance}, test_every={test_every}"
            raise ConfigError("test_batches ≥ 2, a tolerance ≥ 0 and test_every ≥ 1", actual, "change what is not")
        self.masks = nn.ModuleList(resolve_masks(mask))
        self.distributed = all(mask_part.distributed for mask_part in self.list_masks())
        self.delta, self.test_batches, self.test_every = validate_level(delta), test_batches, test_every
        self.register_buffer("tolerance", torch.tensor(float(tolerance)))
        unknown = torch.tensor(torch.nan)
        self.last_stats = {"mask_density": unknown, "certified": unknown, "level": unknown, "bound": unknown}

    def list_masks(self) -> list[Mask]:
        """Return the masks from strict to loose."""
        return [part for part in self.masks if isinstance(part, Mask)]

    def prepare(self, original: Predictor, data: Split) -> None:
        """Let every mask prepare itself."""
        for mask in self.list_masks():
            mask.prepare(original, data)

    def observe(self, step: Step) -> None:
        """Let every mask look at the update."""
        for mask in self.list_masks():
            mask.observe(step)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Return the loosest mask up to the first that fails the test."""
        if step.progress.step % self.test_every:
            chosen = self.list_masks()[-1].compute(displacement, step)
            self.last_stats = dict.fromkeys(
                self.last_stats, torch.full_like(compute_kept_fraction(chosen), torch.nan)
            ) | {"mask_density": compute_kept_fraction(chosen)}
            return chosen
        sequence = [weights for mask in self.list_masks() for weights in mask.list_nested_masks(displacement, step)]
        with step.perturbed(displacement):
            # map names no gradient: the next one's backward pass needs no memory beside the last.
            derivatives = list(
                map(
                    partial(directional_derivatives, sequence, displacement),
                    step.extra_gradients("retain", self.test_batches),
                )
            )
        if len(derivatives) < self.test_batches:
            hint = "lower test_batches or the retain batch size, or leave the certificate out"
            raise DataError(
                f"{self.test_batches} retain batches beside the update's to test on", f"{len(derivatives)}", hint
            )
        bounds = lower_bounds(torch.stack(derivatives), self.delta)
        accepted = stop_at_first_failure(bounds >= -self.tolerance * step.lr)
        chosen = last_accepted(sequence, accepted)
        level = accepted.sum()
        bound = bounds.gather(0, (level - 1).clamp(min=0)[None])[0] / step.lr
        self.last_stats = {
            "mask_density": compute_kept_fraction(chosen),
            "certified": accepted[0],
            "level": level,
            "bound": bound,
        }
        return chosen

    def stats(self) -> Mapping[str, Tensor]:
        """Return share kept, 1 if something was certified, how many masks were accepted, and the bound.

        The bound is Ȳ − t s_Y/√B of the mask that was committed, of the first if none was: at level δ the retain loss
        falls by at least η times it. All but the share are NaN at an untested update.
        """
        return self.last_stats

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask."""
        masks = self.list_masks()
        inner = repr(masks[0]) if len(masks) == 1 else repr(masks)
        tolerance = self.tolerance.item()
        settings = {"test_batches": self.test_batches, "tolerance": tolerance, "test_every": self.test_every}
        default = {"test_batches": 8, "tolerance": 0.0, "test_every": 1}
        rest = [f", {name}={value!r}" for name, value in settings.items() if value != default[name]]
        return f"SequentialTest({inner}, delta={self.delta!r}{''.join(rest)})"


def resolve_masks(mask: Mask | str | Sequence[Mask | str] | None) -> list[Mask]:
    """Return the masks that a setting stands for; a name stands for the mask with its defaults."""
    choices = [KeepUnlessHarmful()] if mask is None else [mask] if isinstance(mask, (Mask, str)) else list(mask)
    masks = [find_component("masks", one)() if isinstance(one, str) else one for one in choices]
    if not masks or not all(isinstance(one, Mask) for one in masks):
        raise ConfigError(
            "a mask, or several from strict to loose",
            f"{mask!r}",
            "name one, as in SequentialTest(KeepUnlessHarmful())",
        )
    for one in masks:
        if type(one).after_step is not Mask.after_step:
            actual = f"{type(one).__name__}, which changes weights after it"
            raise ConfigError("masks that leave a certified update as it is", actual, "choose another")
    return masks


def directional_derivatives(sequence: Sequence[Direction], displacement: Direction, gradient: Direction) -> Tensor:
    """Return ⟨m_j ⊙ d, gradient⟩ for each mask m_j, shape (J,); the gradient's memory is used for the product."""
    torch._foreach_mul_(gradient.pieces, displacement.pieces)
    weights = ((w.to(p.dtype) for p, w in zip(gradient, mask, strict=True)) for mask in sequence)
    return torch.stack([inner_product(gradient.pieces, mask) for mask in weights])


def lower_bounds(slopes: Tensor, delta: float) -> Tensor:
    """Return Ȳ − t_{B−1, 1−δ} s_Y/√B for each column of slopes (B, J).

    Examples:
        >>> [round(value, 3) for value in lower_bounds(torch.tensor([[1.0, 2.0], [3.0, 2.0]]), 0.25).tolist()]
        [1.0, 2.0]
    """
    count = len(slopes)
    bounds: Tensor = slopes.mean(0) - slopes.std(0) * (t_quantile(delta, count - 1) / count**0.5)
    return bounds


def stop_at_first_failure(passed: Tensor) -> Tensor:
    """Return which tests stand if testing stops at the first failure.

    Examples:
        >>> stop_at_first_failure(torch.tensor([True, True, False, True])).tolist()
        [True, True, False, False]
    """
    standing: Tensor = passed.cumprod(0).bool()
    return standing


def last_accepted(sequence: Sequence[Direction], accepted: Tensor) -> Direction:
    """Return the last mask that passed, nothing if none did; decided on the device."""
    chosen = [torch.zeros_like(piece, dtype=torch.bool) for piece in sequence[0]]
    for index, weights in enumerate(sequence):
        chosen = [torch.where(accepted[index], new, old) for new, old in zip(weights, chosen, strict=True)]
    return Direction(chosen)
