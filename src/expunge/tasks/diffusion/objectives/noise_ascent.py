"""NoiseAscent: climb the loss that the diffusion model's training descended."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.objective import Model
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective


class NoiseAscent(NoiseObjective):
    """Predict anything but the noise in images of the forgotten class: gradient ascent.

    Paper: gradient ascent (GA) of Graves et al. (2021) and Thudi et al. (2022), on the loss of arXiv 2006.11239.

    Formula: − mean over examples of ‖ε − ε(x_t, t, c)‖² / d. It is negative and unbounded below.

    Examples:
        >>> NoiseAscent.can_be_negative
        True
    """

    paper: ClassVar[str] = "Graves et al. 2021; Thudi et al. 2022"
    can_be_negative: ClassVar[bool] = True

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the noise that was mixed in."""
        return batch.extras["noise"]

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return minus the mean squared distance."""
        return -super().__call__(model, batch)
