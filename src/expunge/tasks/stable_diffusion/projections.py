"""The cross-attention's key and value projections: where they are, and how they are changed in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.errors import ModelError

PROJECTION_SUFFIXES = ("attn2.to_k", "attn2.to_v")
"""Names of the projections of prompts in diffusers' networks; ``attn1`` attends to the image itself."""


def find_projections(unet: nn.Module, width: int) -> list[nn.Linear]:
    """Return the layers that turn embedded prompts into keys and values."""
    modules = [module for name, module in unet.named_modules() if name.endswith(PROJECTION_SUFFIXES)]
    layers = [module for module in modules if isinstance(module, nn.Linear) and module.in_features == width]
    if not modules or len(layers) < len(modules):
        actual = f"{len(layers)} of {len(modules)}"
        hint = "use a network whose cross-attention reads the prompt, without adapters on it"
        raise ModelError(f"cross-attention with linear projections of {width} numbers", actual, hint)
    frozen = sum(not layer.weight.requires_grad for layer in layers)
    if frozen:
        hint = "let the cross-attention be trained"
        raise ModelError("projections that may be changed", f"{frozen} that are frozen", hint)
    return layers


def solve_edit_matrix(
    erased: Tensor, anchors: Tensor, kept: Tensor, *, erase: float = 1.0, preserve: float = 1.0, ridge: float = 0.5
) -> Tensor:
    """Return the matrix M that changes every linear map W of embeddings into W M.

    Formula: M = (e Σ_i a_i c_iᵀ + p Σ_j k_j k_jᵀ + λ I)(e Σ_i c_i c_iᵀ + p Σ_j k_j k_jᵀ + λ I)⁻¹, which is for every W
    where e Σ_i ‖W′ c_i − W a_i‖² + p Σ_j ‖W′ k_j − W k_j‖² + λ ‖W′ − W‖² is least, W′ = W M.

    Examples:
        >>> first, second = torch.eye(2, dtype=torch.float64).split(1)
        >>> solve_edit_matrix(first, second, second, ridge=1e-9).round(decimals=6)
        tensor([[0., 0.],
                [1., 1.]], dtype=torch.float64)
    """
    old, new, same = (tokens.double() for tokens in (erased, anchors, kept))
    regularizer = preserve * same.T @ same + ridge * torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
    target_moment, source_moment = erase * new.T @ old + regularizer, erase * old.T @ old + regularizer
    edit_matrix: Tensor = torch.linalg.solve(source_moment, target_moment.T).T
    return edit_matrix
