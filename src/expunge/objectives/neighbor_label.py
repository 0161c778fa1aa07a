"""NeighborLabel: what a model that never saw an example would say of it."""

from __future__ import annotations

from itertools import product
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, Split, sample_indices
from expunge.errors import ObjectiveError
from expunge.objectives.calibration import calibrate_votes, predict_logits
from expunge.objectives.layers import BATCH_SIZE, all_features, features, inner_layers
from expunge.objectives.neighbors import approximate_neighbors, nearest_neighbors, vote_distribution
from expunge.objectives.objective import Model, Objective

SearchIndex = Literal["exact", "faiss"]
NEIGHBOR_COUNTS, TEMPERATURES = (10, 30, 100), (0.02, 0.05, 0.1, 0.2)
MAX_KEYS, MAX_PROBES = 5_000, 1_000
"""Retained and held-out examples on which the choice is made, at most."""


class KNNSettings(NamedTuple):
    """How neighbors vote: in which layer, how many, and how sharply."""

    layer: str
    num_neighbors: int
    temperature: float


class NeighborQuery(NamedTuple):
    """Whose neighbors are sought, and among which examples: two data sets, and the positions in them."""

    queries: Examples
    keys: Examples
    query_positions: Tensor
    key_positions: Tensor

    def query_examples(self) -> tuple[Examples, Tensor]:
        """Return the examples asked about, and which of them."""
        return self.queries, self.query_positions

    def key_examples(self) -> tuple[Examples, Tensor]:
        return self.keys, self.key_positions


class Neighbors(NamedTuple):
    """Neighbors of some examples, the nearest first: cosines and labels, ``(n, k)``."""

    cosine: Tensor
    labels: Tensor

    def vote(self, settings: KNNSettings, classes: int) -> Tensor:
        """Return the distribution that so many of them vote for."""
        return vote_distribution(
            self.cosine[:, : settings.num_neighbors],
            self.labels[:, : settings.num_neighbors],
            classes,
            settings.temperature,
        )

    def without_self(self) -> Neighbors:
        """Return the neighbors of keys themselves, of which each is its own nearest, without that one."""
        return Neighbors(self.cosine[:, 1:], self.labels[:, 1:])


class NeighborLabel(Objective):
    """Distil what a model that never saw the forgotten examples would say: their neighbors' labels.

    For requests for single examples. A retrained model is right about many forgotten images and wrong about some, and
    random labels know nothing of which; the retained neighbors in a middle layer do. In the last layers the features
    of memorized examples have collapsed onto their class and know nothing either.

    Source: ours; neighbors in a layer as in "Deep k-Nearest Neighbors" (Papernot and McDaniel, 2018,
    arXiv 1803.04765).

    Formula: mean over examples of KL(q_i ‖ p(x_i)), q_i the votes of the k retained examples nearest to x_i by the
    cosine of the original's features h in layer ℓ, weighted by softmax(cos(h(x_i), h(x_j)) / T). What is not given of
    (ℓ, k, T) is chosen with held-out examples, of which the answer is known, because the original never saw them: over
    the inner layers, k in {10, 30, 100} and T in {.02, .05, .1, .2} the least

        mean over held-out of ‖q − p₀‖²  +  |mean over retained of q_y  −  mean over held-out of (p₀)_y|

    with p₀ the original's prediction, y the true label, and q of a retained example voted by the others. The second
    term is what can be known of memorized examples: a model that had not seen them would be as sure of them on average
    as the original is of held-out ones. Without it the last layers win, which are best for what was never memorized.

    The votes are then made as sure as the original is of held-out examples; see
    ``expunge.objectives.calibration.calibrate_votes``.
    Without held-out examples: the layer in the middle, 30 and .05.

    Args:
        layer: Dotted name of a module. Default: chosen.
        num_neighbors: k. Default: chosen.
        temperature: T > 0. Default: chosen.
        index: ``exact`` (default) compares with every retained example, ``faiss`` searches (extra ``faiss``).
        calibrate: Whether the votes are made as sure as the original is of held-out examples. Default true; without
            held-out examples they stay as they are.

    Attributes:
        knn_settings: What was chosen; None before ``prepare``.

    Raises:
        ObjectiveError: If a setting is out of its range; when called, without ``prepare`` or for strangers.
        MissingExtraError: In ``prepare``, if faiss is asked for and not installed.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2)).eval()
        >>> x, y = torch.rand(40, 1, 6, 6), torch.arange(40) % 2
        >>> split = Split(TensorExamples(x[:8], y[:8]), TensorExamples(x[8:], y[8:]), 2)
        >>> _ = model(x)
        >>> objective = NeighborLabel(num_neighbors=5)
        >>> objective.prepare(Predictor(model), split)
        >>> objective.knn_settings, objective.target_probs.shape
        (KNNSettings(layer='0', num_neighbors=5, temperature=0.05), torch.Size([8, 2]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("counterfactual",)

    paper: ClassVar[str] = "ours; neighbors as in arXiv 1803.04765"

    def __init__(
        self,
        layer: str | None = None,
        num_neighbors: int | None = None,
        temperature: float | None = None,
        index: SearchIndex = "exact",
        calibrate: bool = True,
    ) -> None:
        if (num_neighbors is not None and num_neighbors < 1) or (temperature is not None and not temperature > 0):
            actual = f"{num_neighbors} and {temperature}"
            raise ObjectiveError("neighbors ≥ 1 and a temperature > 0", actual, "leave them out: they are chosen")
        if index not in get_args(SearchIndex):
            raise ObjectiveError(f"an index ({', '.join(get_args(SearchIndex))})", f"'{index}'", "choose one of them")
        self.layer, self.num_neighbors, self.temperature, self.index = layer, num_neighbors, temperature, index
        self.calibrate = calibrate
        self.knn_settings: KNNSettings | None = None
        self.indices, self.target_probs = torch.empty(0, dtype=torch.int64), torch.empty(0, 0)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Choose how neighbors vote, and let them vote on every forgotten example."""
        self.knn_settings = self.select_settings(original, data)
        everything = torch.arange(len(data.forget)), torch.arange(len(data.retain))
        neighbors = self.find_neighbors(
            original,
            NeighborQuery(data.forget, data.retain, *everything),
            self.knn_settings.layer,
            self.knn_settings.num_neighbors,
        )
        probs = neighbors.vote(self.knn_settings, data.num_classes)
        if self.calibrate and data.holdout is not None:
            probs = calibrate_votes(probs, original, data)
        indices = torch.cat([data.forget.batch(part).indices for part in everything[0].split(BATCH_SIZE)])
        order = indices.argsort()
        self.indices, self.target_probs = indices[order].to(probs.device), probs[order.to(probs.device)]

    def select_settings(self, original: Predictor, data: Split) -> KNNSettings:
        """Return the vote that says on held-out examples what the original, which never saw them, says."""
        layers = [self.layer] if self.layer is not None else inner_layers(original, data.retain)
        counts = [self.num_neighbors] if self.num_neighbors is not None else NEIGHBOR_COUNTS
        temperatures = [self.temperature] if self.temperature is not None else TEMPERATURES
        if data.holdout is None:
            return KNNSettings(layers[len(layers) // 2], self.num_neighbors or 30, self.temperature or 0.05)
        keys = sample_indices(len(data.retain), MAX_KEYS)
        holdout_query = NeighborQuery(data.holdout, data.retain, sample_indices(len(data.holdout), MAX_PROBES), keys)
        retain_query = NeighborQuery(data.retain, data.retain, keys[:MAX_PROBES], keys)
        holdout_probs = torch.softmax(predict_logits(original, data.holdout, holdout_query.query_positions).float(), 1)
        query_features, key_features = (
            all_features(original, part[0], layers, part[1])
            for part in (holdout_query.query_examples(), holdout_query.key_examples())
        )
        holdout_confidence, errors = (
            float(true_probability(holdout_probs, holdout_query).mean()),
            dict[KNNSettings, float](),
        )
        for layer in layers:
            holdout_neighbors = self.search_features(
                query_features[layer], key_features[layer], max(counts), holdout_query
            )
            retain_neighbors = self.search_features(
                key_features[layer][:MAX_PROBES], key_features[layer], max(counts) + 1, retain_query
            ).without_self()
            for settings in (KNNSettings(layer, *rest) for rest in product(counts, temperatures)):
                distance = float(
                    (holdout_neighbors.vote(settings, data.num_classes) - holdout_probs).square().sum(1).mean()
                )
                errors[settings] = distance + abs(
                    float(true_probability(retain_neighbors.vote(settings, data.num_classes), retain_query).mean())
                    - holdout_confidence
                )
        return min(errors, key=lambda vote: errors[vote])

    def find_neighbors(self, original: Predictor, query: NeighborQuery, layer: str, count: int) -> Neighbors:
        """Return the neighbors of what is asked about."""
        query_features, key_features = (
            features(original, part[0], layer, part[1]) for part in (query.query_examples(), query.key_examples())
        )
        return self.search_features(query_features, key_features, count, query)

    def search_features(
        self, query_features: Tensor, key_features: Tensor, count: int, query: NeighborQuery
    ) -> Neighbors:
        """Return the neighbors by features."""
        search = nearest_neighbors if self.index == "exact" else approximate_neighbors
        cosine, positions = search(query_features, key_features, count)
        return Neighbors(cosine, query.keys.targets[query.key_positions].to(positions.device)[positions])

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean divergence from the neighbors' votes."""
        if self.knn_settings is None:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("votes of neighbors", actual, "call prepare(Predictor(model), split) first")
        rows = torch.searchsorted(self.indices, batch.indices.to(self.indices.device)).clamp(max=len(self.indices) - 1)
        if not torch.equal(self.indices[rows], batch.indices.to(self.indices.device)):
            raise ObjectiveError("examples that are to be forgotten", "others", "prepare with the split of the request")
        logits = model(batch.inputs)
        target = self.target_probs[rows].to(logits)
        return functional.kl_div(functional.log_softmax(logits, 1), target, reduction="batchmean")


def true_probability(probs: Tensor, query: NeighborQuery) -> Tensor:
    """Return the probability of the true label of each example asked about."""
    labels = query.queries.targets[query.query_positions].to(probs.device)
    return probs.gather(1, labels[:, None]).flatten()
