"""The closed form of UCE: the least-squares solution, by an independent way."""

import pytest
import torch
from torch import nn

from expunge.errors import ModelError
from expunge.tasks.stable_diffusion.projections import find_projections, solve_edit_matrix

SCALES = {"erase": 0.7, "preserve": 1.3, "ridge": 0.05}


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(weight, erased, anchors, kept, *, erase, preserve, ridge):
    """W′ by QR of all the equations that it should satisfy, each row times the root of its weight."""
    rows = [erase**0.5 * erased, preserve**0.5 * kept, ridge**0.5 * torch.eye(weight.shape[1], dtype=weight.dtype)]
    wanted = [erase**0.5 * anchors @ weight.T, preserve**0.5 * kept @ weight.T, ridge**0.5 * weight.T]
    return torch.linalg.lstsq(torch.cat(rows), torch.cat(wanted)).solution.T


@pytest.mark.parametrize(("forgotten", "kept"), [(3, 4), (12, 0), (1, 30), (20, 20)])
def test_it_is_the_least_squares_solution(forgotten, kept):
    weight, old, new, same = (
        drawn(5, 8),
        drawn(forgotten, 8, seed=1),
        drawn(forgotten, 8, seed=2),
        drawn(kept, 8, seed=3),
    )
    found = weight @ solve_edit_matrix(old, new, same, **SCALES)
    torch.testing.assert_close(found, slow(weight, old, new, same, **SCALES), rtol=1e-9, atol=1e-9)


def test_independent_tokens_are_mapped_exactly():
    weight, old, new, same = drawn(5, 8), drawn(3, 8, seed=1), drawn(3, 8, seed=2), drawn(4, 8, seed=3)
    found = weight @ solve_edit_matrix(old, new, same, ridge=1e-8)
    torch.testing.assert_close(found @ old.T, weight @ new.T, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(found @ same.T, weight @ same.T, rtol=2e-5, atol=2e-5)
    elsewhere = drawn(8, seed=4)
    directions = torch.cat([old, same])
    elsewhere -= directions.T @ torch.linalg.lstsq(directions.T, elsewhere[:, None]).solution[:, 0]
    torch.testing.assert_close(found @ elsewhere, weight @ elsewhere, rtol=2e-5, atol=2e-5)


def test_several_concepts_at_once_are_one_solution_and_not_one_after_the_other():
    old, new, same = drawn(9, 6, seed=1), drawn(9, 6, seed=2), drawn(2, 6, seed=3)
    at_once = solve_edit_matrix(old, new, same, **SCALES)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(solve_edit_matrix(old[order], new[order], same, **SCALES), at_once, rtol=1e-9, atol=1e-9)
    parts = [solve_edit_matrix(old[part], new[part], same, **SCALES) for part in (slice(0, 4), slice(4, 9))]
    assert not torch.allclose(parts[0] @ parts[1], at_once, atol=1e-2)


def test_nothing_moves_where_anchors_are_what_they_stand_for_or_where_the_weights_are_held():
    old, new, same, same_map = drawn(3, 8, seed=1), drawn(3, 8, seed=2), drawn(4, 8, seed=3), torch.eye(8).double()
    torch.testing.assert_close(solve_edit_matrix(old, old, same), same_map, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(solve_edit_matrix(old, new, same, ridge=1e12), same_map, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(solve_edit_matrix(old, new, same, erase=0.0), same_map, rtol=1e-9, atol=1e-9)


class Attention(nn.Module):
    """Named as diffusers names its parts."""

    def __init__(self, width):
        super().__init__()
        parts = {"attn1": nn.ModuleDict({"to_k": nn.Linear(4, 4)})}
        parts["attn2"] = nn.ModuleDict({name: nn.Linear(width, 4) for name in ("to_k", "to_v")})
        parts["attn2"]["to_q"] = nn.Linear(4, 4)
        self.block = nn.ModuleDict(parts)


def test_the_projections_of_prompts_are_found_and_no_others():
    network = Attention(7)
    assert find_projections(network, 7) == [network.block["attn2"]["to_k"], network.block["attn2"]["to_v"]]


def test_networks_that_cannot_be_edited_are_refused():
    with pytest.raises(ModelError, match="linear projections of 7 numbers, but found 0 of 0"):
        find_projections(nn.Linear(7, 7), 7)
    with pytest.raises(ModelError, match="linear projections of 7 numbers, but found 0 of 2"):
        find_projections(Attention(6), 7)
    with pytest.raises(ModelError, match="may be changed, but found 2 that are frozen"):
        find_projections(Attention(7).requires_grad_(False), 7)
