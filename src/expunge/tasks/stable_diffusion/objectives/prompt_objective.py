"""The base of the objectives that know the anchors of prompts."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.errors import ModelError, ObjectiveError
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective


class PromptObjective(NoiseObjective, ABC):
    """A noise objective of a model that has numbered prompts, each with an anchor: what it is to become."""

    task: ClassVar[str] = "stable_diffusion"
    anchors: Tensor | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the noise schedule and of the anchors."""
        super().prepare(original, data)
        anchors = getattr(original.model, "anchors", None)
        if anchors is None:
            hint = "use an objective of class-conditional models, such as other_class"
            raise ModelError("a model with a table of prompts", type(original.model).__name__, hint)
        self.anchors = anchors.detach().cpu().clone()

    def get_anchors(self, labels: Tensor) -> Tensor:
        """Return the number of each prompt's anchor."""
        if self.anchors is None:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("anchors of prompts", actual, "call prepare(Predictor(model), split) first")
        return self.anchors.to(labels.device)[labels]

    def check_anchors(self, data: Split) -> None:
        """Refuse forgotten prompts that are to become nothing else."""
        forgotten = data.forget.targets.unique()
        without_anchor = forgotten[self.get_anchors(forgotten) == forgotten]
        if len(without_anchor):
            actual = f"none for prompt number {int(without_anchor[0])}"
            raise ObjectiveError("an anchor for each forgotten prompt", actual, "make the request with concept_split")
