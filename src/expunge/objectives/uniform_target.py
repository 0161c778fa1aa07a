"""UniformTarget: distil the forgotten examples to a prediction that says nothing."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.objective import Model, Objective


class UniformTarget(Objective):
    """Distil the forgotten examples to the uniform prediction, so that the model is undecided on them.

    Paper: distillation to the uniform distribution, the limit of an incompetent teacher (Chundawat et al., 2023).

    Formula: mean over examples of KL(u ‖ p(x)) = −log C − (1/C) Σ_c log p_c(x), u uniform over C classes. It is ≥ 0
    and 0 exactly at the uniform prediction.

    Examples:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 4), torch.tensor([0, 2]), torch.arange(2))
        >>> abs(round(float(UniformTarget()(lambda inputs: inputs, batch)), 6))
        0.0
    """

    aliases: ClassVar[tuple[str, ...]] = ("distil_uniform", "uniform")
    paper: ClassVar[str] = "Chundawat et al. 2023 (limit case)"

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean divergence from the uniform distribution."""
        log_p = model(batch.inputs).log_softmax(1)
        return -math.log(log_p.shape[1]) - log_p.mean()
