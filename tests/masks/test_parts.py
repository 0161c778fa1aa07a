"""Rules that are computed in parts give what they give whole, whatever the shape and the strides."""

import pytest
import torch

from expunge.masks import KeepIfHarmless, KeepUnlessHarmful, ProbabilisticAgreement
from expunge.masks.chunked import CHUNK_SIZE, apply_in_chunks
from expunge.pair import Pair
from expunge.surgery import Direction
from expunge.testing import ToyStep, linear

SHAPES = [
    (3 * CHUNK_SIZE + 5,),
    (7, CHUNK_SIZE),
    (CHUNK_SIZE, 7),
    (1, 2 * CHUNK_SIZE),
    (130, 64, 3, 3),
    (5,),
    (),
    (0, 4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_parts_give_the_whole(shape):
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(shape, generator=generator) for _ in range(2))
    assert torch.equal(apply_in_chunks(lambda a, b: a * b > 0, left, right), left * right > 0)


def test_no_part_is_larger_than_it_may_be():
    sizes = []

    def rule(part):
        sizes.append(part.numel())
        return part

    apply_in_chunks(rule, torch.zeros(130, 64, 3, 3, 3).to(memory_format=torch.channels_last_3d))
    assert max(sizes) <= CHUNK_SIZE
    assert sum(sizes) == 130 * 64 * 27


def test_strides_do_not_matter():
    whole = torch.randn(130, 64, 5, 5)
    strided = whole.to(memory_format=torch.channels_last)
    assert torch.equal(apply_in_chunks(torch.add, strided, whole), whole + whole)


@pytest.mark.parametrize(
    "make", [KeepIfHarmless, KeepUnlessHarmful, ProbabilisticAgreement, lambda: ProbabilisticAgreement(soft=True)]
)
def test_a_large_piece_is_judged_as_its_halves_are(make):
    size = 3 * CHUNK_SIZE // 2
    v, f, r = torch.randn(3, 2, size, generator=torch.Generator().manual_seed(1))
    found = {}
    for name, split in (("whole", lambda x: [x]), ("halves", lambda x: list(x))):
        mask = make()
        step = ToyStep(split(v), Pair(linear(f), linear(r)))
        step.extra_gradients = lambda of, count, split=split: (
            Direction([p + k * p.cos() for p in split(f if of == "forget" else r)]) for k in range(count)
        )
        mask.observe(step)
        found[name] = torch.cat([piece.flatten() for piece in mask.compute(Direction(split(v)), step)])
    assert torch.equal(found["whole"], found["halves"])
    assert 0 < float(found["whole"].float().mean()) < 1
