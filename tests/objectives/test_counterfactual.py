"""Counterfactual: neighbors, their votes, how they are chosen, and whether they know what retraining says."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import Subset, TensorExamples
from expunge.errors import DataError, MissingExtraError, ModelError, ObjectiveError
from expunge.objectives import NeighborLabel
from expunge.objectives import neighbors as searching
from expunge.objectives.layers import features, inner_layers
from expunge.objectives.neighbor_label import KNNSettings
from expunge.objectives.neighbors import approximate_neighbors, nearest_neighbors, vote_distribution


@pytest.mark.parametrize("block", [2**24, 50])
def test_neighbors_are_those_of_an_independent_search(monkeypatch, block):
    monkeypatch.setattr(searching, "BLOCK_SIZE", block)
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(count, 7, generator=generator, dtype=torch.float64) for count in (11, 40))
    cosine, at = nearest_neighbors(queries, keys, 6)
    slow = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(keys.numpy())
    distance, positions = slow.kneighbors(queries.numpy())
    np.testing.assert_array_equal(at.numpy(), positions)
    np.testing.assert_allclose(cosine.numpy(), 1 - distance, atol=1e-12)


def test_the_scale_of_features_does_not_matter_and_few_keys_are_all_taken():
    queries, keys = torch.randn(3, 4), torch.randn(5, 4)
    cosine, at = nearest_neighbors(1e-6 * queries, 1e6 * keys, 100)
    assert at.sort(1).values.tolist() == [list(range(5))] * 3
    torch.testing.assert_close(cosine, nearest_neighbors(queries, keys, 5)[0])
    with pytest.raises(DataError, match="at least one key"):
        nearest_neighbors(queries, keys[:0], 3)


def test_votes_are_a_distribution_and_sharpen_to_the_nearest():
    cosine, labels = torch.tensor([[0.9, 0.8, 0.7], [0.5, 0.5, -1.0]]), torch.tensor([[2, 0, 0], [1, 1, 0]])
    soft, sharp = (vote_distribution(cosine, labels, 3, temperature) for temperature in (10.0, 1e-3))
    torch.testing.assert_close(soft.sum(1), torch.ones(2))
    assert soft[0, 0] > soft[0, 2]
    assert sharp.argmax(1).tolist() == [2, 1]
    torch.testing.assert_close(sharp[0, 2], torch.tensor(1.0))


def test_faiss_finds_nearly_the_same():
    pytest.importorskip("faiss", reason="faiss is not installed (extra 'faiss')")
    centers = torch.randn(20, 16)
    keys, queries = (centers[torch.arange(n) % 20] + 0.1 * torch.randn(n, 16) for n in (2000, 40))
    labels = torch.arange(2000) % 20
    _, at = approximate_neighbors(queries, keys, 10)
    assert (labels[at] == (torch.arange(40) % 20)[:, None]).double().mean() > 0.95


def test_faiss_is_named_with_its_install_line(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(searching, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"expunge\[faiss\]"):
        approximate_neighbors(torch.zeros(1, 2), torch.ones(3, 2), 1)


class Net(nn.Module):
    """Two blocks and a head; the second block sees only what ``blind`` leaves."""

    def __init__(self, blind=1.0):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)
        self.blind = blind

    def forward(self, images):
        return self.head(self.second(self.blind * self.first(images)).mean((2, 3)))


def net(blind=1.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Net(blind).eval()


def data(count=90):
    generator = torch.Generator().manual_seed(1)
    targets = torch.arange(count) % 3
    patterns = torch.rand(3, 1, 6, 6, generator=generator)
    return TensorExamples(patterns[targets] + 0.3 * torch.rand(count, 1, 6, 6, generator=generator), targets)


def split(holdout=True):
    every = data()
    parts = [Subset(every, torch.arange(*span)) for span in ((0, 20), (20, 70), (70, 90))]
    return Split(parts[0], parts[1], 3, parts[2] if holdout else None)


def test_layers_are_those_that_return_maps_in_the_order_in_which_they_finish():
    assert inner_layers(Predictor(net()), data()) == ["first.0", "first", "second.0", "second"]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Linear(5, 3))
    assert inner_layers(Predictor(flat), data()) == ["0", "1"]
    assert inner_layers(Predictor(nn.LazyLinear(3)), TensorExamples(torch.rand(4, 2), [0, 1, 2, 0])) == [""]


def test_features_are_pooled_maps_whatever_the_batch(monkeypatch):
    model, every = net(), data()
    whole = features(Predictor(model), every, "first")
    images = model.first(every.batch(torch.arange(90)).inputs)
    torch.testing.assert_close(whole, images.unflatten(3, (2, 3)).unflatten(2, (2, 3)).mean((3, 5)).flatten(1))
    monkeypatch.setattr("expunge.objectives.layers.BATCH_SIZE", 7)
    torch.testing.assert_close(features(Predictor(model), every, "first"), whole)
    with pytest.raises(ModelError, match="the name of a layer"):
        features(Predictor(model), every, "third")


def test_the_choice_is_the_best_on_held_out_examples():
    """The second block of this network is blind, so that only the first can say what the original says."""
    parts, objective = split(), NeighborLabel()
    model = Predictor(Sighted().eval())
    objective.prepare(model, parts)
    assert objective.knn_settings.layer in ("first", "first.0")
    fixed = NeighborLabel("second", 7, 0.3)
    fixed.prepare(model, parts)
    assert fixed.knn_settings == KNNSettings("second", 7, 0.3)


class Sighted(Net):
    """Answers with the pattern that an image is nearest to."""

    def __init__(self):
        super().__init__(blind=0.0)
        self.register_buffer("patterns", torch.stack([data().inputs[one::3].mean(0) for one in range(3)]))

    def forward(self, images):
        self.second(self.blind * self.first(images))
        return -10 * (images[:, None] - self.patterns).square().sum((2, 3, 4))


def test_without_held_out_examples_it_is_the_middle_block():
    objective = NeighborLabel()
    objective.prepare(Predictor(net()), split(holdout=False))
    assert objective.knn_settings == KNNSettings("second.0", 30, 0.05)


def test_the_loss_is_the_divergence_from_the_votes_of_each_example_in_any_order():
    model, parts, objective = net(), split(), NeighborLabel("first", 5, 0.1, calibrate=False)
    objective.prepare(Predictor(model), parts)
    at = torch.tensor([7, 2, 11])
    batch = parts.forget.batch(at)
    found = objective(Predictor(model), batch)
    inside = features(Predictor(model), parts.forget, "first")[at]
    keys = features(Predictor(model), parts.retain, "first")
    slow = []
    for row, image in zip(inside, batch.inputs, strict=True):
        cosine = nn.functional.cosine_similarity(row[None], keys)
        top = cosine.argsort(descending=True)[:5]
        weights = torch.softmax(cosine[top] / 0.1, 0)
        target = torch.stack([weights[parts.retain.targets[top] == one].sum() for one in range(3)])
        said = torch.log_softmax(model(image[None])[0], 0)
        slow.append(torch.where(target > 0, target * (target.clamp(min=1e-30).log() - said), 0.0).sum())
    torch.testing.assert_close(found, torch.stack(slow).mean())


def test_what_cannot_be_asked_is_refused():
    model, parts, objective = Predictor(net()), split(), NeighborLabel("first", 5, 0.1)
    with pytest.raises(ObjectiveError, match="prepare"):
        objective(model, parts.forget.batch(torch.arange(2)))
    objective.prepare(model, parts)
    with pytest.raises(ObjectiveError, match="examples that are to be forgotten"):
        objective(model, parts.retain.batch(torch.arange(2)))
    for wrong in ({"num_neighbors": 0}, {"temperature": 0.0}, {"index": "annoy"}):
        with pytest.raises(ObjectiveError):
            NeighborLabel(**wrong)
