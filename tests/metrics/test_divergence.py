import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy as relative_entropy

from expunge.errors import DataError
from expunge.metrics import jensen_shannon, kullback_leibler, l2_distance

RNG = np.random.default_rng(0)
P, Q = RNG.normal(scale=2, size=(2, 40, 6))


def test_divergences_are_those_of_scipy():
    p, q = softmax(P, axis=1), softmax(Q, axis=1)
    np.testing.assert_allclose(kullback_leibler(P, Q), relative_entropy(p, q, axis=1), rtol=1e-9)
    np.testing.assert_allclose(jensen_shannon(P, Q), jensenshannon(p, q, axis=1) ** 2, rtol=1e-9)
    np.testing.assert_allclose(l2_distance(P, Q), np.linalg.norm(p - q, axis=1), rtol=1e-9)


@pytest.mark.parametrize("distance", [kullback_leibler, jensen_shannon, l2_distance])
def test_equal_predictions_have_no_distance_whatever_their_offset(distance):
    np.testing.assert_allclose(distance(P, P + 7.0), 0.0, atol=1e-12)
    assert (distance(P, P) == 0).all()


def test_js_is_symmetric_and_bounded_where_kl_is_not():
    sure, other = [[2000.0, 0.0]], [[0.0, 2000.0]]
    assert jensen_shannon(sure, other)[0] == pytest.approx(math.log(2))
    assert kullback_leibler(sure, other)[0] == pytest.approx(2000.0)
    np.testing.assert_allclose(jensen_shannon(P, Q), jensen_shannon(Q, P), rtol=1e-12)


def test_kl_is_infinite_only_where_the_second_excludes_what_the_first_allows():
    masked, full = [[1.0, -np.inf]], [[1.0, 1.0]]
    assert kullback_leibler(full, masked)[0] == np.inf
    assert kullback_leibler(masked, full)[0] == pytest.approx(math.log(2))
    assert kullback_leibler(masked, masked)[0] == 0.0
    assert 0 < jensen_shannon(full, masked)[0] < math.log(2)


def test_models_with_different_heads_are_refused():
    with pytest.raises(DataError, match="same examples"):
        jensen_shannon(P, Q[:, :5])
