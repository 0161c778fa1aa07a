"""The certificate keeps its level on fresh batches, and not otherwise."""

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.errors import ConfigError, DataError
from expunge.masks import KeepIfHarmless, KeepUnlessHarmful, Knapsack, Mask, SequentialTest, SoftThreshold
from expunge.masks.sequential_test import lower_bounds, stop_at_first_failure
from expunge.pair import Pair
from expunge.surgery import Direction, Progress
from expunge.testing import ToyStep, linear

DELTA, SIZE, TRIALS = 0.05, 2000, 400


def world(trial, strength=0.05):
    """True gradient, displacement and noise scales that they share, as in a network."""
    generator = torch.Generator().manual_seed(trial)
    scale = torch.exp(0.7 * torch.randn(SIZE, generator=generator))
    gradient = strength * scale * torch.randn(SIZE, generator=generator)
    return gradient, scale * torch.randn(SIZE, generator=generator), scale, generator


class Batches:
    """A step that lends noisy gradients; ``again`` lends the same ones over and over, which no engine does."""

    lr, progress = torch.tensor(1.0), Progress()

    def __init__(self, gradient, scale, generator, again=0):
        self.gradient, self.scale, self.generator = gradient, scale, generator
        self.again, self.known, self.lent = again, [], 0

    def extra_gradients(self, role, count):
        for _ in range(count):
            place = self.lent % self.again if self.again else self.lent
            if place == len(self.known):
                self.known.append(self.gradient + self.scale * torch.randn(SIZE, generator=self.generator))
            self.lent += 1
            yield Direction([self.known[place].clone()])

    def perturbed(self, direction):
        return torch.no_grad()


def false_accepts(make, again=0, strength=0.05):
    bad = 0
    for trial in range(TRIALS):
        gradient, v, scale, generator = world(trial, strength)
        step, mask = Batches(gradient, scale, generator, again), make()
        mask.observe(step)
        kept = mask.compute(Direction([v]), step).pieces[0]
        bad += bool((kept * v) @ gradient < 0)
    return bad


def most(delta):
    """More false accepts than this happen once in ten thousand at the level."""
    return stats.binom.ppf(0.9999, TRIALS, delta)


@pytest.mark.parametrize(
    "make", [lambda: KeepIfHarmless(0.05, decay=None), KeepUnlessHarmful], ids=["strict", "nested"]
)
def test_fresh_disjoint_batches_keep_the_level(make):
    assert false_accepts(lambda: SequentialTest(make(), DELTA)) <= most(DELTA)


def test_without_a_true_slope_the_level_is_kept_too():
    """The hardest case: a displacement that is harmful by next to nothing, about half the time."""
    assert false_accepts(lambda: SequentialTest(KeepUnlessHarmful(), 0.2), strength=1e-6) <= most(0.2)


def test_mask_and_certificate_on_the_same_batches_breach_it():
    """The eight batches that chose the mask test it: some .15 false accepts at level .05."""
    bad = false_accepts(lambda: SequentialTest(KeepIfHarmless(0.05, decay=None), DELTA), again=8)
    assert bad > 1.5 * most(DELTA)


class Blocks(Mask):
    """Passes chosen blocks of coordinates."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = blocks

    def compute(self, displacement, step):
        kept = torch.zeros(20, SIZE // 20, dtype=torch.bool)
        kept[self.blocks] = True
        return Direction([kept.flatten()])


def adapted(fresh):
    """Test twenty harmful blocks, keep those that look harmless, test what is left: false accepts of the last test."""
    bad, trials = 0, 100
    for trial in range(trials):
        _, v, scale, generator = world(trial)
        gradient = -1e-3 * v.sign() * scale  # every coordinate of v does a little harm
        step = Batches(gradient, scale, generator, again=0 if fresh else 8)
        good = []
        for block in range(20):
            mask = SequentialTest(Blocks([block]), 0.45)
            mask.compute(Direction([v]), step)
            good += [block] if float(mask.stats()["certified"]) else []
        last = SequentialTest(Blocks(good), DELTA)
        bad += bool(good) and bool(last.compute(Direction([v]), step).pieces[0].any())
    return bad / trials


def test_one_batch_used_for_many_tests_breaches_it():
    assert adapted(fresh=True) <= stats.binom.ppf(0.9999, 100, DELTA) / 100
    assert adapted(fresh=False) > 0.6


class Given(Mask):
    """Passes given weights, strictest first."""

    def __init__(self, *weights):
        super().__init__()
        self.weights = weights

    def compute(self, displacement, step):
        return Direction([self.weights[-1]])

    def list_nested_masks(self, displacement, step):
        return [Direction([weights]) for weights in self.weights]


def noiseless(retain, rate=0.1, number=0):
    losses = Pair(linear(torch.zeros_like(retain)), linear(retain))
    step = ToyStep(
        [torch.zeros_like(retain)], losses, rate, extra_losses=lambda of, k: linear(retain + 0.01 * (-1) ** k)
    )
    step.progress = Progress(number, 100)
    return step


RETAIN = torch.tensor([3.0, -1.0, -1.0, -9.0])


def ladder():
    return [torch.arange(4) <= last for last in range(4)]


@pytest.mark.parametrize(("tolerance", "level"), [(0.0, 3), (7.0, 3), (9.0, 4)])
def test_testing_stops_at_the_first_failure_and_uses_the_last_accepted(tolerance, level):
    """Slopes of the four masks along v = 1: 3, 2, 1, −8."""
    mask = SequentialTest(Given(*ladder()), tolerance=tolerance)
    kept = mask.compute(Direction([0.1 * torch.ones(4)]), noiseless(RETAIN)).pieces[0]
    assert torch.equal(kept, ladder()[level - 1])
    said = {name: float(value) for name, value in mask.stats().items()}
    assert (said["certified"], said["level"], said["mask_density"]) == (1, level, level / 4)
    assert said["bound"] == pytest.approx([3, 2, 1, -8][level - 1], abs=0.05)


def test_a_later_mask_is_not_reached_past_a_failure():
    order = [
        torch.tensor(m) for m in ([True, False, False, False], [False, False, False, True], [True, True, False, False])
    ]
    mask = SequentialTest(Given(*order))
    assert torch.equal(mask.compute(Direction([torch.ones(4)]), noiseless(RETAIN)).pieces[0], order[0])
    assert stop_at_first_failure(torch.tensor([False, True])).tolist() == [False, False]


def test_nothing_accepted_moves_nothing():
    mask = SequentialTest(Given(RETAIN < 0, RETAIN < 5))
    kept = mask.compute(Direction([torch.ones(4)]), noiseless(RETAIN, rate=1.0)).pieces[0]
    assert not kept.any()
    said = mask.stats()
    assert (float(said["certified"]), float(said["level"]), float(said["mask_density"])) == (0, 0, 0)
    assert float(said["bound"]) == pytest.approx(-11, abs=0.1)


def test_soft_masks_are_weighed():
    soft = torch.tensor([1.0, 0.5, 0.25, 0.0])
    kept = SequentialTest(Given(soft)).compute(Direction([torch.ones(4)]), noiseless(RETAIN)).pieces[0]
    assert torch.equal(kept, soft)


def test_several_masks_are_tested_in_their_order():
    first, second = ladder()[0], ladder()[3]
    mask = SequentialTest([Given(first), Given(second)])
    assert torch.equal(mask.compute(Direction([torch.ones(4)]), noiseless(RETAIN)).pieces[0], first)
    assert float(mask.stats()["level"]) == 1


def test_untested_updates_follow_the_mask_and_say_so():
    mask = SequentialTest(Given(*ladder()), test_every=3)
    found = []
    for number in range(4):
        kept = mask.compute(Direction([torch.ones(4)]), noiseless(RETAIN, number=number)).pieces[0]
        found.append((int(kept.sum()), *(float(mask.stats()[n]) for n in ("certified", "level"))))
    assert found[0] == found[3] == (3, 1.0, 3.0)
    assert [one[0] for one in found[1:3]] == [4, 4]
    assert np.isnan([one[1:] for one in found[1:3]]).all()


def test_bounds_are_students():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((6, 3))
    expected = [stats.ttest_1samp(y[:, j], 0, alternative="greater").confidence_interval(0.9).low for j in range(3)]
    np.testing.assert_allclose(lower_bounds(torch.tensor(y), 0.1).numpy(), expected)


def test_not_a_number_is_not_certified():
    mask = SequentialTest(Given(torch.ones(4, dtype=torch.bool)))
    assert not mask.compute(Direction([torch.ones(4)]), noiseless(RETAIN * torch.nan)).pieces[0].any()


def test_too_few_batches_are_refused():
    step = noiseless(RETAIN)
    every = step.extra_gradients
    step.extra_gradients = lambda role, count: every(role, 3)
    with pytest.raises(DataError, match="8 retain batches beside the update's to test on, but found 3"):
        SequentialTest(Given(*ladder())).compute(Direction([torch.ones(4)]), step)


def test_nested_masks_of_the_lenient_one_are_strict_by_sign_and_lenient():
    gradient, v, scale, generator = world(0)
    step, lenient = Batches(gradient, scale, generator), KeepUnlessHarmful(decay=None)
    lenient.observe(step)
    strict = KeepIfHarmless(decay=None)
    strict.load_state_dict(lenient.state_dict())
    first, second, third = (d.pieces[0] for d in lenient.list_nested_masks(Direction([v]), step))
    assert torch.equal(first, strict.compute(Direction([v]), step).pieces[0])
    assert torch.equal(third, lenient.compute(Direction([v]), step).pieces[0])
    mean = next(lenient.get_moments("retain").means())
    assert torch.equal(second, v * mean >= 0)
    assert (first <= second).all()
    assert (second <= third).all()


def test_masks_are_known_by_name():
    assert repr(SequentialTest(["strict", "feasible"])) == repr(SequentialTest([KeepIfHarmless(), KeepUnlessHarmful()]))


def test_a_mask_that_moves_weights_afterwards_is_refused():
    with pytest.raises(ConfigError, match="SoftThreshold, which changes weights after it"):
        SequentialTest(SoftThreshold())


@pytest.mark.parametrize(
    "options", [{"delta": 0.6}, {"test_batches": 1}, {"tolerance": -1.0}, {"test_every": 0}, {"mask": []}]
)
def test_bad_settings_are_refused(options):
    with pytest.raises(ConfigError):
        SequentialTest(**options)


@pytest.mark.parametrize(
    "mask",
    [SequentialTest(), SequentialTest([KeepIfHarmless(), Knapsack()], 0.1, test_batches=4, test_every=2)],
    ids=repr,
)
def test_repr_rebuilds(mask):
    assert repr(eval(repr(mask))) == repr(mask)
