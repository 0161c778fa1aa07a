"""BE: give what is forgotten a class of its own, then take the class away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.batch import Predictor, Split
from expunge.engine import EditStage, MethodRecipe
from expunge.errors import ModelError
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy
from expunge.objectives.shadow_class import ShadowClass
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class BoundaryExpand(Method):
    """Add a neuron to the head, train D_f alone towards it, remove it (BE).

    Paper: "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the Decision Boundary" (Chen et al.,
    CVPR 2023, arXiv 2303.11570).

    Formula: θ ← θ − η ∇CE_f(C), C the added class, θ with the weights of its neuron; an epoch is one pass over D_f.
    Nothing protects the retain loss. The paper forgets whole classes; others apply it to any D_f.

    Args:
        epochs: Default 10 (this and the following: authors).
        lr: Default 1e-5.
        weight_decay: Default 0.
        max_grad_norm: Default none.

    Raises:
        ModelError: When carried out, before anything is changed, if no linear layer of the model has one output for
            each class: there is no head to expand.

    Examples:
        >>> [stage.label for stage in BoundaryExpand().recipe().stages if isinstance(stage, EditStage)]
        ['expand the head', 'take the class away']

    Differences from the authors' code: the added neuron is drawn as PyTorch draws a layer, theirs from Xavier's normal
    distribution with bias 0. The last linear layer with as many outputs as there are classes is the head.
    """

    aliases: ClassVar[tuple[str, ...]] = ("be",)
    paper: ClassVar[str] = "Chen et al., CVPR 2023"
    label: ClassVar[str] = "BE"

    epochs: int = 10
    lr: float = 1e-5
    weight_decay: float = 0.0
    max_grad_norm: float | None = None

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return the expansion, the descent on the forget set, and the removal."""
        training = self.make_stage(ShadowClass(), CrossEntropy(), WeightedSum(1.0, 0.0), pairing="forget")
        return MethodRecipe(
            (EditStage(add_class, "expand the head"), training, EditStage(remove_class, "take the class away"))
        )


def add_class(predict: Predictor, data: Split) -> None:
    """Put a head with one class more in the place of the head; the others' weights are copied."""
    replace_head(predict.model, data.num_classes, data.num_classes + 1)


def remove_class(predict: Predictor, data: Split) -> None:
    """Put a head without the last class in the place of the head."""
    replace_head(predict.model, data.num_classes + 1, data.num_classes)


def replace_head(model: nn.Module, before: int, after: int) -> None:
    """Replace the last linear layer with ``before`` outputs by one with ``after``, with the weights both have."""
    heads = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name]
    name = next((name for name in reversed(heads) if model.get_submodule(name).out_features == before), None)
    if name is None:
        raise ModelError(f"a linear layer with {before} outputs, one for each class", "none", "use another method")
    old = model.get_submodule(name)
    new = resize_linear(old, after) if isinstance(old, nn.Linear) else old
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def resize_linear(old: nn.Linear, outputs: int) -> nn.Linear:
    """Return a linear layer with the same first outputs; any further ones are drawn as PyTorch draws them."""
    weight = old.weight
    new = nn.Linear(old.in_features, outputs, old.bias is not None, weight.device, weight.dtype)
    shared = min(outputs, old.out_features)
    new.weight[:shared] = weight[:shared]
    if old.bias is not None:
        new.bias[:shared] = old.bias[:shared]
    return new.train(old.training)
