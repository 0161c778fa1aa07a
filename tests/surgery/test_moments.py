"""Running moments against moments computed from all gradients at once."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from expunge.surgery import Direction, EMAMoments, WelfordMoments, make_moments


def draws(count, seed=0, dtype=torch.float64):
    """Gradients in two pieces, with a mean of several standard deviations in one coordinate."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(count, 9, generator=generator, dtype=torch.float64) * torch.logspace(-3, 3, 9).double()
    flat[:, 0] += 0.005
    return flat.to(dtype)


def split(flat):
    return Direction([flat[:3].clone(), flat[3:].reshape(2, 3).clone()])


def fed(moments, values):
    for value in values:
        moments.add(split(value))
    return moments


def flat(pieces):
    return torch.cat([piece.flatten() for piece in pieces]).double().numpy()


def weights_of(moments, count):
    if isinstance(moments, WelfordMoments):
        return np.full(count, 1 / count)
    faded = moments.decay ** np.arange(count)[::-1]
    return faded / faded.sum()


KINDS = {"welford": WelfordMoments, "ema": EMAMoments, "ema slow": lambda **options: EMAMoments(0.99, **options)}


@pytest.mark.parametrize("count", [2, 3, 17, 100])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_mean_and_error_are_those_of_the_weighted_sample(make, count):
    values, moments = draws(count), fed(make(), draws(count))
    x, w = values.numpy(), weights_of(moments, count)
    mean = w @ x
    effective = 1 / (w**2).sum()
    unbiased = w @ (x - mean) ** 2 / (1 - (w**2).sum())
    found = list(moments.estimates())
    assert_allclose(flat(m for m, _ in found), mean, rtol=1e-10)
    assert_allclose(flat(e for _, e in found), np.sqrt(unbiased / effective), rtol=1e-10)
    assert_allclose(flat(moments.means()), mean, rtol=1e-10)
    assert moments.effective_sample_size == pytest.approx(effective)


def test_welford_is_the_sample_mean_and_its_standard_error():
    values, moments = draws(12), fed(WelfordMoments(), draws(12))
    assert_allclose(flat(e for _, e in moments.estimates()), values.numpy().std(0, ddof=1) / np.sqrt(12), rtol=1e-10)
    assert [fed(WelfordMoments(), draws(n)).degrees_of_freedom for n in (0, 1, 2, 8, 50)] == [0, 0, 1, 7, 49]


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_effective_sample_size_of_the_average(decay, count):
    b, t = decay, count
    assert fed(EMAMoments(b), draws(t)).effective_sample_size == pytest.approx(
        (1 + b) * (1 - b**t) / ((1 - b) * (1 + b**t))
    )


def test_degrees_of_freedom_match_the_variance_of_the_variance():
    """Monte Carlo: s² of an exponential average scatters as χ²_ν/ν, so ν = 2/Var(s²/σ²)."""
    generator, t, moments = np.random.default_rng(0), 30, fed(EMAMoments(0.8), draws(30))
    w = weights_of(moments, t)
    x = generator.standard_normal((60_000, t))
    s2 = (x - (x @ w)[:, None]) ** 2 @ w / (1 - (w**2).sum())
    expected = 2 / s2.var()
    assert abs(moments.degrees_of_freedom - expected) < 1
    assert moments.degrees_of_freedom <= expected * 1.02


@pytest.mark.parametrize(("make", "count"), [(EMAMoments, 200), (WelfordMoments, 60), (WelfordMoments, 1000)])
def test_bfloat16_storage_costs_little(make, count):
    """Rounding to nearest would freeze a mean of 1000 gradients after some 256."""
    coordinates = 4000
    generator = torch.Generator().manual_seed(1)
    exact, stored = make(), make(bf16=True)
    for _ in range(count):
        value = 0.3 + torch.randn(coordinates, generator=generator)
        exact.add(Direction([value.clone()]))
        stored.add(Direction([value]))
    (mean, error), (rough, rough_error) = next(exact.estimates()), next(stored.estimates())
    assert {buffer.dtype for buffer in stored.buffers()} == {torch.bfloat16}
    # On average over coordinates there is no bias; each is off by a fraction of its standard error.
    assert float((rough_error / error).mean()) == pytest.approx(1.0, abs=0.01)
    assert float((rough_error / error - 1).abs().mean()) < 0.08
    assert float(((rough - mean) / error).mean()) == pytest.approx(0.0, abs=0.05)
    assert float(((rough - mean) / error).abs().mean()) < 0.5


def test_memory_is_two_copies_or_one_in_bfloat16_or_the_mean_alone():
    pieces = draws(1)[0].float()
    size = pieces.numel() * 4
    for moments, copies in (
        (EMAMoments(), 2),
        (WelfordMoments(), 2),
        (EMAMoments(bf16=True), 1),
        (EMAMoments(track_variance=False), 1),
    ):
        fed(moments, [pieces])
        assert sum(b.numel() * b.element_size() for b in moments.buffers()) == copies * size


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("decay", [None, 0.9])
def test_all_memory_is_in_the_state(decay, bf16):
    values = draws(9, dtype=torch.float32)
    whole = fed(make_moments(decay, bf16), values)
    first, second = fed(make_moments(decay, bf16), values[:5]), make_moments(decay, bf16)
    second.load_state_dict(first.state_dict())
    fed(second, values[5:])
    assert second.count == 9
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert first.count == 5
    second.load_state_dict(make_moments(decay, bf16).state_dict())
    assert (second.count, second.num_pieces, second.degrees_of_freedom) == (0, 0, 0)


def test_one_gradient_says_nothing_of_the_noise():
    moments = fed(EMAMoments(), draws(1))
    assert moments.degrees_of_freedom == 0
    assert_allclose(flat(moments.means()), draws(1)[0].numpy())
    assert all(float(error.abs().max()) == 0 for _, error in moments.estimates())
