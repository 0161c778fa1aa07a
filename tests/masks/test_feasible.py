"""The rules of the feasible masks against NumPy, brute force, Monte Carlo and their statements."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.errors import ConfigError, DataError, ModelError
from expunge.masks import KeepIfHarmless, KeepUnlessHarmful, Knapsack, ProbabilisticAgreement, SignAgreement
from expunge.masks.knapsack import solve_knapsack
from expunge.masks.probabilistic_agreement import signal_to_noise
from expunge.masks.student_t import t_cdf, t_quantile
from expunge.pair import Pair
from expunge.surgery import Direction, Progress
from expunge.testing import ToyStep, linear

FAMILY = [KeepIfHarmless, KeepUnlessHarmful, ProbabilisticAgreement, Knapsack, SignAgreement]


def numpy_knapsack(v, g_f, g_r, tolerance=0.0):
    """0/1 mask by bisection on the multiplier, in NumPy."""
    a, c = v * g_f, v * g_r

    def mask(multiplier):
        return (a + multiplier * c > 0).astype(float)

    if (mask(0.0) * c).sum() >= -tolerance:
        return mask(0.0)
    low, high = 0.0, 1.0
    while (mask(high) * c).sum() < -tolerance and high < 1e12:
        high *= 2
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (mask(middle) * c).sum() < -tolerance else (low, middle)
    return mask(high)


def noisy(truth, seed, noise=1.0):
    """Further batches whose gradients are the truth plus normal noise, a pure function of side and number."""

    def loss(of, number):
        generator = torch.Generator().manual_seed(10_000 * seed + 2 * number + (of == "retain"))
        gradient = truth.of(of)
        return linear(gradient + noise * torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype))

    return loss


def toy(truth, seed=0, noise=1.0, step=0):
    made = ToyStep([torch.zeros_like(truth.retain)], truth.map(linear), extra_losses=noisy(truth, seed, noise))
    made.progress = Progress(step, 100)
    return made


def truths(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Pair(*torch.randn(2, size, generator=generator, dtype=torch.float64))


def chosen(mask, step, displacement):
    mask.observe(step)
    return mask.compute(Direction([displacement]), step).pieces[0]


@pytest.mark.parametrize("delta", [0.2, 0.1, 0.05, 0.001])
@pytest.mark.parametrize("freedom", [1, 4, 7, 18, 100])
def test_quantiles_are_scipys(delta, freedom):
    assert t_quantile(delta, freedom) == pytest.approx(stats.t.ppf(1 - delta, freedom))
    assert t_quantile(delta, 0) == math.inf


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 18, 19, 40, 41, 75, 400])
def test_the_distribution_function_is_scipys(freedom):
    z = torch.linspace(-15, 15, 2001, dtype=torch.float64)
    np.testing.assert_allclose(t_cdf(z, freedom), stats.t.cdf(z, freedom), atol=1e-12 if freedom <= 40 else 1e-5)
    ends = torch.tensor([-math.inf, 0.0, math.inf])
    assert t_cdf(ends, freedom).tolist() == pytest.approx([0, 0.5, 1], abs=1e-6)
    assert t_cdf(ends, 0).tolist() == [0.5] * 3


@pytest.mark.parametrize("delta", [0.1, 0.02])
@pytest.mark.parametrize(("make", "side"), [(KeepIfHarmless, 1), (KeepUnlessHarmful, -1)])
def test_thresholds_are_student_quantiles_per_coordinate(make, side, delta):
    truth, generator = truths(300), torch.Generator().manual_seed(1)
    v = torch.randn(300, generator=generator, dtype=torch.float64)
    step = toy(truth)
    x = torch.stack([next(step.extra_gradients("retain", 1)).pieces[0] for _ in range(8)]).numpy()
    z = np.sign(v.numpy()) * x.mean(0) / (x.std(0, ddof=1) / math.sqrt(8))
    found = chosen(make(delta, decay=None), toy(truth), v)
    assert found.dtype == torch.bool
    assert np.array_equal(found.numpy(), z >= side * stats.t.ppf(1 - delta, 7))


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("delta", [0.2, 0.05])
def test_error_levels_hold_for_each_coordinate(delta, decay):
    """No more than δ of harmful coordinates pass the strict rule, no more of safe ones are dropped by the lenient one.

    The worst case is a gradient of 0; the exponential average is only nearly exact.
    """
    size = 40_000
    truth = Pair(torch.zeros(size), torch.zeros(size))
    v = torch.ones(size)
    room = 1 if decay is None else 1.06
    limit = stats.binom.ppf(0.9999, size, delta * room) / size
    strict = chosen(KeepIfHarmless(delta, decay=decay), toy(truth), v).double().mean()
    dropped = 1 - chosen(KeepUnlessHarmful(delta, decay=decay), toy(truth, 1), v).double().mean()
    assert 0.8 * delta < strict <= limit
    assert 0.8 * delta < dropped <= limit


def test_degenerate_coordinates():
    """Noise 0: z = ±∞ by sign, 0 where the gradient is 0. No displacement: z = 0."""
    retain = torch.tensor([2.0, -2.0, 0.0, 2.0])
    v = torch.tensor([1.0, 1.0, 1.0, 0.0])
    truth = Pair(torch.tensor([1.0, 1.0, 1.0, 1.0]), retain)
    assert chosen(KeepIfHarmless(), toy(truth, noise=0.0), v).tolist() == [True, False, False, False]
    assert chosen(KeepUnlessHarmful(), toy(truth, noise=0.0), v).tolist() == [True, False, True, True]
    assert chosen(ProbabilisticAgreement(), toy(truth, noise=0.0), v).tolist() == [True, False, False, False]
    assert chosen(ProbabilisticAgreement(soft=True), toy(truth, noise=0.0), v).tolist()[:3] == [1.0, 0.0, 0.5]
    # One coordinate's harm is made good by another's.
    assert chosen(Knapsack(), toy(truth, noise=0.0), v).tolist() == [True, True, True, False]
    assert chosen(SignAgreement(), toy(truth, noise=0.0), v).tolist() == [True, False, False, True]


def test_below_two_batches_nothing_is_known():
    """One further batch only: the strict rule passes nothing, the lenient one everything."""
    truth, v = truths(20), torch.ones(20, dtype=torch.float64)

    def only_one(mask):
        step = toy(truth)
        every = step.extra_gradients
        step.extra_gradients = lambda role, count: every(role, min(count, 1))
        return chosen(mask, step, v)

    assert not only_one(KeepIfHarmless()).any()
    assert only_one(KeepUnlessHarmful()).all()
    assert not only_one(ProbabilisticAgreement()).any()
    assert (only_one(ProbabilisticAgreement(soft=True)) == 0.25).all()


def test_no_further_batch_at_all_is_refused():
    step = toy(truths(4))
    step.extra_gradients = lambda role, count: iter(())
    with pytest.raises(DataError, match="retain examples for a batch beyond"):
        KeepUnlessHarmful().observe(step)
    with pytest.raises(ModelError, match="0 pieces for 1"):
        KeepUnlessHarmful().compute(Direction([torch.ones(4)]), step)


@pytest.mark.parametrize(("zf", "zr"), [(0.6, -0.4), (1.5, 0.8), (-0.3, -2.0)])
def test_agreement_is_the_posterior_probability(zf, zr):
    """Monte Carlo with Student posteriors, for a displacement of either sign."""
    rng = np.random.default_rng(0)
    draws = rng.standard_t(7, (2, 400_000))
    for sign in (1, -1):
        expected = ((sign * (zf + draws[0]) > 0) & (sign * (zr + draws[1]) > 0)).mean()
        z = torch.tensor([zf, zr], dtype=torch.float64) * sign
        assert float(t_cdf(z, 7).prod()) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize(("zf", "zr"), [(0.6, -0.4), (1.5, 0.8), (-0.3, -2.0)])
def test_for_normal_means_both_signs_together_give_the_error_function_form(zf, zr):
    z = torch.tensor([zf, zr], dtype=torch.float64)
    both = sum(float(t_cdf(sign * z, 10**6).prod()) for sign in (1, -1))
    assert both == pytest.approx(0.5 * (1 + math.erf(zf / 2**0.5) * math.erf(zr / 2**0.5)), abs=1e-6)


def test_agreement_uses_either_sides_noise():
    truth, v = truths(500), truths(500, 3).forget
    step, z = toy(truth), {}
    for side in ("forget", "retain"):
        x = torch.stack([next(step.extra_gradients(side, 1)).pieces[0] for _ in range(8)]).numpy()
        z[side] = np.sign(v.numpy()) * x.mean(0) / (x.std(0, ddof=1) / math.sqrt(8))
    expected = stats.t.cdf(z["forget"], 7) * stats.t.cdf(z["retain"], 7)
    soft = chosen(ProbabilisticAgreement(soft=True, decay=None), toy(truth), v)
    np.testing.assert_allclose(soft.numpy(), expected, atol=1e-9)
    assert np.array_equal(chosen(ProbabilisticAgreement(0.3, decay=None), toy(truth), v).numpy(), expected >= 0.7)
    assert 0 < int((expected >= 0.7).sum()) < 250


def test_ratio_keeps_nan():
    """An estimate that is not a number must not become evidence."""
    assert signal_to_noise(torch.tensor([math.nan]), torch.tensor([1.0])).isnan().all()


def oracle_arguments(seed, size=400):
    rng = np.random.default_rng(seed)
    v, f, r = rng.standard_normal((3, size))
    return v, f, r - 0.3 * (seed % 3) * f


def ours(v, f, r, tolerance=0.0, dtype=torch.float64):
    pieces = [Direction([torch.tensor(x, dtype=dtype)]) for x in (v, f, r)]
    return solve_knapsack(*pieces, torch.tensor(tolerance, dtype=dtype)).pieces[0].numpy()


@pytest.mark.parametrize("tolerance", [0.0, 5.0])
@pytest.mark.parametrize("seed", range(9))
def test_knapsack_is_the_oracles(seed, tolerance):
    v, f, r = oracle_arguments(seed)
    assert np.array_equal(ours(v, f, r, tolerance), numpy_knapsack(v, f, r, tolerance) > 0)


@pytest.mark.parametrize("seed", range(20))
def test_knapsack_is_the_best_mask_up_to_one_coordinate(seed):
    v, f, r = oracle_arguments(seed, size=10)
    kept = ours(v, f, r)
    a, c = v * f, v * r
    assert (kept * c).sum() >= -1e-12
    masks = np.array(list(itertools.product([0, 1], repeat=10)))
    best = max(masks[masks @ c >= 0] @ a)
    assert best - max(abs(a)) - 1e-12 <= kept @ a <= best + 1e-12


@pytest.mark.parametrize("scale", [1e-15, 1e-5, 1e10])
def test_knapsack_does_not_depend_on_units(scale):
    v, f, r = oracle_arguments(4)
    assert np.array_equal(ours(scale * v, f, r / scale, dtype=torch.float32), ours(v, f, r, dtype=torch.float32))


def test_knapsack_where_everything_harms_or_nothing_does():
    f = np.ones(5)
    assert ours(f, f, f).all()
    assert not ours(f, f, -f).any()
    assert ours(f, f, 0 * f).all()
    assert not ours(f, 0 * f, 0 * f).any()


def test_kept_forget_descent_at_a_cosine_of_a_fifth():
    """Isotropic gradients, v = g_f, ε = 0: sign mask .37, knapsack .88, projection .96."""
    rng, size, cosine = np.random.default_rng(0), 20_000, -0.2
    f, e = rng.standard_normal((2, size))
    e -= (e @ f) / (f @ f) * f
    r = cosine * f + math.sqrt(1 - cosine**2) * np.linalg.norm(f) * e / np.linalg.norm(e)
    truth = Pair(torch.tensor(f), torch.tensor(r))
    by_sign = chosen(SignAgreement(), toy(truth, noise=0.0), truth.forget).numpy()
    knapsack = chosen(Knapsack(), toy(truth, noise=0.0), truth.forget).numpy()
    projection = f + max(0.0, -(f @ r) / (r @ r)) * r
    shares = [(u * f).sum() / (f @ f) for u in (by_sign * f, knapsack * f, projection)]
    assert shares == pytest.approx([0.37, 0.88, 0.96], abs=0.01)


def test_the_tolerance_is_per_unit_of_rate():
    """Σ m d g_r ≥ −ηε for the displacement d = ηv: the mask of v with ε."""
    v, f, r = oracle_arguments(2)
    truth = Pair(torch.tensor(f), torch.tensor(r))
    for rate in (0.1, 1e-4):
        step = toy(truth, noise=0.0)
        step.lr = torch.tensor(rate, dtype=torch.float64)
        found = chosen(Knapsack(tolerance=5.0), step, torch.tensor(rate * v))
        assert np.array_equal(found.numpy(), numpy_knapsack(v, f, r, 5.0) > 0)


@pytest.mark.parametrize("make", FAMILY)
def test_estimates_are_refreshed_every_so_many_updates(make):
    truth, mask = truths(6), make(refresh_every=4, initial_batches=5)
    counts = []
    for number in range(10):
        mask.observe(toy(truth, seed=number, step=number))
        counts.append([mask.get_moments(side).count for side in mask.sides])
    assert [one[0] for one in counts] == [5, 5, 5, 5, 6, 6, 6, 6, 7, 7]
    assert all(len(set(one)) == 1 for one in counts)


def test_signs_and_mask_are_made_anew_at_every_update():
    truth, mask = truths(200), KeepUnlessHarmful(refresh_every=10)
    step = toy(truth, noise=0.1)
    mask.observe(step)
    forward = mask.compute(Direction([truth.retain]), step).pieces[0]
    backward = mask.compute(Direction([-truth.retain]), step).pieces[0]
    assert forward.double().mean() > 0.95 > 0.6 > backward.double().mean()


@pytest.mark.parametrize("make", [*FAMILY, lambda: KeepUnlessHarmful(bf16=True), lambda: KeepIfHarmless(decay=None)])
def test_a_mask_goes_on_from_its_state(make):
    truth, first, second = truths(30), make(), make()
    first.observe(toy(truth))
    second.load_state_dict(first.state_dict())
    for mask in (first, second):
        mask.observe(toy(truth, seed=5, step=10))
    step = toy(truth, step=10)
    found = [mask.compute(Direction([truth.forget]), step).pieces[0] for mask in (first, second)]
    assert torch.equal(*found)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize(
    "make",
    [
        lambda: KeepUnlessHarmful(delta=0.5),
        lambda: KeepIfHarmless(delta=0.0),
        lambda: KeepUnlessHarmful(refresh_every=0),
        lambda: KeepUnlessHarmful(initial_batches=1),
        lambda: KeepUnlessHarmful(decay=1.0),
        lambda: Knapsack(tolerance=-1.0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(ConfigError, match="Expected"):
        make()


@pytest.mark.parametrize(
    "mask", [*(m() for m in FAMILY), ProbabilisticAgreement(0.2, soft=True, refresh_every=3), Knapsack(0.5)], ids=repr
)
def test_repr_rebuilds(mask):
    assert repr(eval(repr(mask))) == repr(mask)
