"""ScissorHands: cut the connections that what is forgotten runs through, then mend the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from expunge.engine import EditStage, MethodRecipe
from expunge.methods.method import Method
from expunge.methods.reinitialize import SensitiveReinitialization
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.surgery import GEM


@dataclass(frozen=True, kw_only=True)
class ScissorHands(Method):
    """Re-initialize the most sensitive weights of the last layers, then mend (ScissorHands).

    Paper: "Scissorhands: Scrub Data Influence via Connection Sensitivity in Networks" (Wu and Harandi, ECCV 2024, arXiv
    2401.06187).

    Formula: weights with |g_f,i θ_i| above the κ-quantile over all weights are drawn anew if they belong to the last
    layers, see ``expunge.methods.reinitialize.SensitiveReinitialization``; then −λ CE_f + CE_r is descended by
    ``expunge.surgery.GEM``. An epoch is a pass over D_r; a pass over D_f goes along with its first updates, the
    others mend on D_r alone. Batch statistics are each half's own, whatever the run's policy: those of the original are
    not the trimmed network's.

    Args:
        quantile: κ in [0, 1). Default .97 (this, λ and the rate: the authors' run on a random tenth of CIFAR-10).
        last_fraction: Fraction of the convolutional and linear layers, counted from the head, that may be trimmed, in
            (0, 1]. Default .5; the authors take the last two of four stages of a ResNet and its head.
        weight: λ > 0. Default .05; the authors take .1 for a class of SVHN, 1 for CIFAR-100.
        margin: ρ ≥ 0. Default .5 (authors).
        project_every: Updates from one projection to the next. Default 10 (authors).
        epochs: Default 10 (authors).
        lr: Default 5e-3.

    Raises:
        ConfigError: If a setting is out of its range.
        ModelError: When carried out, if the model has no convolutional or linear layer.

    Examples:
        >>> [type(stage).__name__ for stage in ScissorHands().recipe().stages]
        ['EditStage', 'TrainStage']

    Differences from the authors' code: the sensitivity uses all of D_f instead of one batch; the last layers are found
    by their order instead of by name; the projection is laid on all weights; its updates are counted through the run,
    there from the start of each epoch.
    """

    aliases: ClassVar[tuple[str, ...]] = ("scissorhands", "shs")
    paper: ClassVar[str] = "Wu and Harandi, ECCV 2024"
    label: ClassVar[str] = "ScissorHands"

    quantile: float = 0.97
    last_fraction: float = 0.5
    weight: float = 0.05
    margin: float = 0.5
    project_every: int = 10
    epochs: int = 10
    lr: float = 5e-3

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        super().__post_init__()
        SensitiveReinitialization(self.quantile, self.last_fraction)

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the trimming and the projected descent."""
        surgery = GEM(self.weight, self.margin, self.project_every)
        repair = self.make_stage(NegativeCrossEntropy(), CrossEntropy(), surgery, pairing="leading")
        return MethodRecipe(
            (
                EditStage(SensitiveReinitialization(self.quantile, self.last_fraction), "trim"),
                replace(repair, batch_norm="separate"),
            )
        )
