"""Counterfactual: what a model that never saw an example would say of it."""

from __future__ import annotations

from itertools import product
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.calibrated import answers, calibrated
from expunge.objectives.layers import BATCH, all_features, features, inner_layers
from expunge.objectives.neighbours import approximately_nearest, nearest, votes
from expunge.objectives.objective import Model, Objective

Index = Literal["exact", "faiss"]
NEIGHBOURS, TEMPERATURES = (10, 30, 100), (0.02, 0.05, 0.1, 0.2)
KEYS, PROBES = 5_000, 1_000
"""Retained and held-out examples on which the choice is made, at most."""


class Vote(NamedTuple):
    """How neighbours vote: in which layer, how many, and how sharply."""

    layer: str
    neighbours: int
    temperature: float


class Sought(NamedTuple):
    """Whose neighbours are sought, and among which examples: two data sets, and the positions in them."""

    asked: Examples
    keys: Examples
    at: Tensor
    among: Tensor

    def asked_at(self) -> tuple[Examples, Tensor]:
        """Return the examples asked about, and which of them."""
        return self.asked, self.at

    def among_at(self) -> tuple[Examples, Tensor]:
        """Return the examples that may be neighbours, and which of them."""
        return self.keys, self.among


class Near(NamedTuple):
    """Neighbours of some examples, the nearest first: cosines and labels, ``(n, k)``."""

    cosine: Tensor
    labels: Tensor

    def say(self, vote: Vote, classes: int) -> Tensor:
        """Return the distribution that so many of them vote for."""
        return votes(self.cosine[:, : vote.neighbours], self.labels[:, : vote.neighbours], classes, vote.temperature)

    def without_first(self) -> Near:
        """Return the neighbours of keys themselves, of which each is its own nearest, without that one."""
        return Near(self.cosine[:, 1:], self.labels[:, 1:])


class Counterfactual(Objective):
    """Distil what a model that never saw the forgotten examples would say: their neighbours' labels.

    For requests for single examples. A retrained model is right about many forgotten images and wrong about some, and
    random labels know nothing of which; the retained neighbours in a middle layer do. In the last layers the features
    of memorised examples have collapsed onto their class and know nothing either.

    Source: ours; neighbours in a layer as in "Deep k-Nearest Neighbors" (Papernot and McDaniel, 2018,
    arXiv 1803.04765).

    Formula: mean over examples of KL(q_i ‖ p(x_i)), q_i the votes of the k retained examples nearest to x_i by the
    cosine of the original's features h in layer ℓ, weighted by softmax(cos(h(x_i), h(x_j)) / T). What is not given of
    (ℓ, k, T) is chosen with held-out examples, of which the answer is known, because the original never saw them: over
    the inner layers, k in {10, 30, 100} and T in {.02, .05, .1, .2} the least

        mean over held-out of ‖q − p₀‖²  +  |mean over retained of q_y  −  mean over held-out of (p₀)_y|

    with p₀ the original's prediction, y the true label, and q of a retained example voted by the others. The second
    term is what can be known of memorised examples: a model that had not seen them would be as sure of them on average
    as the original is of held-out ones. Without it the last layers win, which are best for what was never memorised.

    The votes are then made as sure as the original is of held-out examples; see
    ``expunge.objectives.calibrated.calibrated``.
    Without held-out examples: the layer in the middle, 30 and .05.

    Args:
        layer: Dotted name of a module. Default: chosen.
        neighbours: k. Default: chosen.
        temperature: T > 0. Default: chosen.
        index: ``exact`` (default) compares with every retained example, ``faiss`` searches (extra ``faiss``).
        calibrate: Whether the votes are made as sure as the original is of held-out examples. Default true; without
            held-out examples they stay as they are.

    Attributes:
        vote: What was chosen; None before ``prepare``.

    Raises:
        ObjectiveError: If a setting is out of its range; when called, without ``prepare`` or for strangers.
        MissingExtraError: In ``prepare``, if faiss is asked for and not installed.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2)).eval()
        >>> x, y = torch.rand(40, 1, 6, 6), torch.arange(40) % 2
        >>> split = Split(TensorExamples(x[:8], y[:8]), TensorExamples(x[8:], y[8:]), 2)
        >>> _ = model(x)
        >>> objective = Counterfactual(neighbours=5)
        >>> objective.prepare(Predictor(model), split)
        >>> objective.vote, objective.table.shape
        (Vote(layer='0', neighbours=5, temperature=0.05), torch.Size([8, 2]))
    """

    paper: ClassVar[str] = "ours; neighbours as in arXiv 1803.04765"

    def __init__(
        self,
        layer: str | None = None,
        neighbours: int | None = None,
        temperature: float | None = None,
        index: Index = "exact",
        calibrate: bool = True,
    ) -> None:
        if (neighbours is not None and neighbours < 1) or (temperature is not None and not temperature > 0):
            found = f"{neighbours} and {temperature}"
            raise ObjectiveError("neighbours ≥ 1 and a temperature > 0", found, "leave them out: they are chosen")
        if index not in get_args(Index):
            raise ObjectiveError(f"an index ({', '.join(get_args(Index))})", f"'{index}'", "choose one of them")
        self.layer, self.neighbours, self.temperature, self.index = layer, neighbours, temperature, index
        self.calibrate = calibrate
        self.vote: Vote | None = None
        self.known, self.table = torch.empty(0, dtype=torch.int64), torch.empty(0, 0)

    def prepare(self, original: Predictor, data: Split) -> None:
        """Choose how neighbours vote, and let them vote on every forgotten example."""
        self.vote = self.chosen(original, data)
        everything = torch.arange(len(data.forget)), torch.arange(len(data.retain))
        near = self.near(original, Sought(data.forget, data.retain, *everything), self.vote.layer, self.vote.neighbours)
        found = near.say(self.vote, data.classes)
        if self.calibrate and data.holdout is not None:
            found = calibrated(found, original, data)
        indices = torch.cat([data.forget.batch(part).indices for part in everything[0].split(BATCH)])
        order = indices.argsort()
        self.known, self.table = indices[order].to(found.device), found[order.to(found.device)]

    def chosen(self, original: Predictor, data: Split) -> Vote:
        """Return the vote that says on held-out examples what the original, which never saw them, says."""
        layers = [self.layer] if self.layer is not None else inner_layers(original, data.retain)
        counts = [self.neighbours] if self.neighbours is not None else NEIGHBOURS
        temperatures = [self.temperature] if self.temperature is not None else TEMPERATURES
        if data.holdout is None:
            return Vote(layers[len(layers) // 2], self.neighbours or 30, self.temperature or 0.05)
        keys = few(data.retain, KEYS)
        held = Sought(data.holdout, data.retain, few(data.holdout, PROBES), keys)
        own = Sought(data.retain, data.retain, keys[:PROBES], keys)
        said = torch.softmax(answers(original, data.holdout, held.at).float(), 1)
        asked, among = (all_features(original, part[0], layers, part[1]) for part in (held.asked_at(), held.among_at()))
        sure, missed = float(true(said, held).mean()), dict[Vote, float]()
        for layer in layers:
            unseen = self.search(asked[layer], among[layer], max(counts), held)
            seen = self.search(among[layer][:PROBES], among[layer], max(counts) + 1, own).without_first()
            for vote in (Vote(layer, *rest) for rest in product(counts, temperatures)):
                apart = float((unseen.say(vote, data.classes) - said).square().sum(1).mean())
                missed[vote] = apart + abs(float(true(seen.say(vote, data.classes), own).mean()) - sure)
        return min(missed, key=lambda vote: missed[vote])

    def near(self, original: Predictor, sought: Sought, layer: str, count: int) -> Near:
        """Return the neighbours of what is asked about."""
        asked, keys = (features(original, part[0], layer, part[1]) for part in (sought.asked_at(), sought.among_at()))
        return self.search(asked, keys, count, sought)

    def search(self, asked: Tensor, keys: Tensor, count: int, sought: Sought) -> Near:
        """Return the neighbours by features."""
        search = nearest if self.index == "exact" else approximately_nearest
        cosine, at = search(asked, keys, count)
        return Near(cosine, sought.keys.targets[sought.among].to(at.device)[at])

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean divergence from the neighbours' votes."""
        if self.vote is None:
            found = "none, because prepare has not been called"
            raise ObjectiveError("votes of neighbours", found, "call prepare(Predictor(model), split) first")
        at = torch.searchsorted(self.known, batch.indices.to(self.known.device)).clamp(max=len(self.known) - 1)
        if not torch.equal(self.known[at], batch.indices.to(self.known.device)):
            raise ObjectiveError("examples that are to be forgotten", "others", "prepare with the split of the request")
        logits = model(batch.inputs)
        target = self.table[at].to(logits)
        return functional.kl_div(functional.log_softmax(logits, 1), target, reduction="batchmean")


def true(said: Tensor, sought: Sought) -> Tensor:
    """Return the probability of the true label of each example asked about."""
    labels = sought.asked.targets[sought.at].to(said.device)
    return said.gather(1, labels[:, None]).flatten()


def few(examples: Examples, most: int) -> Tensor:
    """Return the positions of at most so many of the examples, drawn the same way each time."""
    return torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))[:most]
