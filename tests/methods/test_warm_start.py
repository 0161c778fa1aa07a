"""LUR's re-initializing warm start, against NumPy."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import MethodRecipe, RunOptions, TrainStage, run_recipe
from expunge.errors import ConfigError, ModelError
from expunge.methods import LUR, build_method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import LURSurgery


def examples(seed, size):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    return TensorExamples(inputs, torch.randint(0, 3, (size,), generator=generator))


SPLIT = Split(examples(0, 11), examples(1, 26), 3)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def after(recipe, model=None):
    work = copy.deepcopy(model or network())
    run_recipe(Predictor(work), recipe, SPLIT, RunOptions())
    return work


def sensitivities(model):
    """|g ⊙ θ| by hand: x → W x + b → tanh → V h + c → mean cross entropy."""
    w, b, v, c = (parameter.detach().numpy() for parameter in model.parameters())
    x, y = SPLIT.forget.inputs.numpy(), SPLIT.forget.targets.numpy()
    hidden = np.tanh(x @ w.T + b)
    scores = np.exp(hidden @ v.T + c)
    errors = (scores / scores.sum(1, keepdims=True) - np.eye(3)[y]) / len(x)
    inner = errors @ v * (1 - hidden**2)
    slopes = (inner.T @ x, inner.sum(0), errors.T @ hidden, errors.sum(0))
    return [np.abs(slope * weight) for slope, weight in zip(slopes, (w, b, v, c), strict=True)]


@pytest.mark.parametrize("over", ["all", "eligible"])
@pytest.mark.parametrize(("share", "layers"), [(0.5, ("2",)), (0.51, ("0", "2"))])
@pytest.mark.parametrize("level", [0.0, 0.6, 0.9])
def test_exactly_what_lies_above_the_quantile_in_the_last_layers_is_drawn_anew(level, share, layers, over):
    before = network()
    recipe = LUR(reinitialize=level, last_fraction=share, quantile_over=over).recipe()
    work = after(MethodRecipe(recipe.stages[:1]))
    found = sensitivities(before)
    pool = found if over == "all" or "0" in layers else found[2:]
    ranked = np.sort(np.concatenate([piece.ravel() for piece in pool]))
    threshold = ranked[int(level * len(ranked)) - 1] if level else 0.0
    total = 0
    for (name, old), new, piece in zip(before.named_parameters(), work.parameters(), found, strict=True):
        cut = (piece > threshold) & name.startswith(layers)
        np.testing.assert_array_equal((old != new).numpy(), cut, err_msg=name)
        total += cut.sum()
    assert total > 0
    assert total <= len(ranked) - int(level * len(ranked))


def test_off_is_the_recipe_without_a_warm_start():
    """Written out as it was before there was one: one descent, the same bits."""
    method = LUR(epochs=2, batch_size=8, lr=0.05)
    recipe = method.recipe(3)
    assert [type(stage) for stage in recipe.stages] == [TrainStage]
    assert method.reinitialize is None
    written = TrainStage(
        Pair(RandomLabel(False, 3), CrossEntropy()),
        LURSurgery(0.01, 1.0, "lookahead", "retain"),
        recipe.stages[0].optimizer,
        2,
        Pair(8, 8),
    )
    for a, b in zip(after(recipe).parameters(), after(MethodRecipe((written,))).parameters(), strict=True):
        assert torch.equal(a, b)


def test_on_is_the_trimming_followed_by_that_recipe():
    settings = {"epochs": 2, "batch_size": 8, "lr": 0.05}
    recipe = LUR(reinitialize=0.8, **settings).recipe()
    trimmed = after(MethodRecipe(recipe.stages[:1]))
    whole, parts = after(recipe), after(LUR(**settings).recipe(), trimmed)
    for a, b, plain in zip(
        whole.parameters(), parts.parameters(), after(LUR(**settings).recipe()).parameters(), strict=True
    ):
        assert torch.equal(a, b)
        assert not torch.equal(a, plain)


def test_ascent_is_minus_the_cross_entropy_by_hand():
    """One update in plain torch: the gradient of L_r − λ CE(θ − α g_r), differentiated twice."""
    method = LUR(objective="ascent", mode="exact", alpha=0.3, weight=0.7, epochs=1, batch_size=26)
    method = dataclasses.replace(method, lr=0.1, momentum=0.0, weight_decay=0.0, max_grad_norm=None)
    found, model = after(method.recipe()), network()
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(side, values):
        logits = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (side.inputs,))
        return nn.functional.cross_entropy(logits, side.targets)

    slopes = torch.autograd.grad(loss(SPLIT.retain, weights), weights, create_graph=True)
    ahead = [weight - 0.3 * slope for weight, slope in zip(weights, slopes, strict=True)]
    total = torch.autograd.grad(loss(SPLIT.retain, weights) - 0.7 * loss(SPLIT.forget, ahead), weights)
    for new, old, slope in zip(found.parameters(), weights, total, strict=True):
        torch.testing.assert_close(new, old - 0.1 * slope, rtol=0, atol=1e-9)


def test_labels_are_not_excluded_from_ascent():
    with pytest.raises(ConfigError, match="remove exclude_true"):
        LUR(objective="ascent", exclude_true=True)


@pytest.mark.parametrize(
    "settings", [{"reinitialize": 1.0}, {"reinitialize": -0.1}, {"reinitialize": 0.9, "last_fraction": 0.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="quantile in"):
        LUR(**settings)


def test_layers_without_a_warm_start_are_refused():
    with pytest.raises(ConfigError, match=r"last_fraction=0\.2 alone"):
        build_method("lur(last_fraction=0.2)")
    with pytest.raises(ConfigError, match="quantile_over=eligible alone"):
        build_method("lur(quantile_over=eligible)")


def test_a_model_without_such_a_layer_is_refused_before_anything_is_changed():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, dtype=torch.float64))

        def forward(self, inputs):
            return (inputs * self.weight)[:, :3]

    model = Scale()
    with pytest.raises(ModelError, match="to trim"):
        run_recipe(Predictor(model), LUR(reinitialize=0.5).recipe(), SPLIT, RunOptions())
    assert torch.equal(model.weight, torch.ones(4).double())


def test_a_mask_beside_a_warm_start_is_refused():
    """Trimming is no descent, so that a mask could not judge it."""
    with pytest.raises(ConfigError, match="another way"):
        build_method("lur(reinitialize=0.9) + saliency")
