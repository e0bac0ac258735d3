from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occ_core.ops.backend import torch_only
from occ_core.rendering.voxel_gaussians import (
    cascade_gaussians,
    predicted_gaussians,
    true_gaussians,
)
from occ_core.types import Gaussians, HeadOutput
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 1.0)  # 8 x 8 x 4


def cascade(
    seed: int, share: float, emptier: float, dtype: torch.dtype = torch.float32
) -> HeadOutput:
    """Logits of 5 classes; that share of the 4 x 4 x 2 parents is refined."""
    torch.manual_seed(seed)
    coarse = 2 * torch.randn(1, 5, 4, 4, 2)
    parents = (torch.rand(4, 4, 2) < share).nonzero()
    index = (parents[:, None] * 2 + torch.cartesian_prod(*[torch.arange(2)] * 3)).reshape(-1, 3)
    fine = 2 * torch.randn(len(index), 5)
    coarse[:, 0] += emptier
    fine[:, 0] += emptier
    children = torch.cat([torch.zeros_like(index[:, :1]), index], dim=1)
    return HeadOutput(coarse.to(dtype).requires_grad_(), fine.to(dtype).requires_grad_(), children)


def both(output: HeadOutput, ignored: torch.Tensor | None) -> list[list[torch.Tensor]]:
    """Means, features, opacities and gradients of both logits, compiled and by torch."""
    sides = []
    for compiled in (True, False):
        with nullcontext() if compiled else torch_only():
            made = cascade_gaussians(
                output.coarse[0], output.fine, output.children[:, 1:], GRID, ignored=ignored
            )
        random = torch.Generator().manual_seed(0)
        results, logits = (made.features, made.opacities), (output.coarse, output.fine)
        weighted = [
            (result * torch.randn(result.shape, generator=random)).sum() for result in results
        ]
        gradients = torch.autograd.grad(sum(weighted), logits, allow_unused=True)
        found = [
            torch.zeros_like(leaf) if gradient is None else gradient
            for leaf, gradient in zip(logits, gradients, strict=True)
        ]
        sides.append([made.means, *(result.detach() for result in results), *found])
    return sides


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    emptier=st.sampled_from([0.0, 4.0, 30.0]),
    hidden=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_it_makes_the_gaussians_that_torch_makes(
    seed: int, share: float, emptier: float, hidden: float
):
    """Also where nothing is refined, nothing is there, or all is ignored."""
    output = cascade(seed, share, emptier)
    ignored = torch.rand(GRID.shape) < hidden
    for ours, expected in zip(*both(output, ignored), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_logits_of_half_precision():
    output = cascade(1, 0.5, 1.0, torch.bfloat16)
    for ours, expected in zip(*both(output, None), strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=1e-2, atol=5e-3
        )  # sums of eight voxels, rounded to 1 in 256


def test_nan_is_not_drawn():
    output = cascade(1, 0.0, 0.0)
    with torch.no_grad():
        output.coarse[0, :, 2, 2, 1] = float("nan")
    made = cascade_gaussians(output.coarse[0], output.fine, output.children[:, 1:], GRID)
    assert len(made.means) > 0 and made.features.isfinite().all()


@pytest.mark.parametrize("kind", ["truth", "dense", "cascade"])
def test_voxels_come_from_above_row_by_row(kind: str):
    """The order in which the camera above blends equal depths: z falls, then y rises, then x."""
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    for voxel in ((0, 1, 3), (1, 0, 3), (2, 0, 3), (5, 5, 0), (4, 4, 1)):
        labels[voxel] = 1
    logits = 20 * torch.nn.functional.one_hot(labels.long(), 5).permute(3, 0, 1, 2).float()
    made: Gaussians
    if kind == "truth":
        made = true_gaussians(labels, 5, GRID)
    elif kind == "dense":
        made = predicted_gaussians(logits, GRID)
    else:
        none = torch.zeros(0, dtype=torch.long).reshape(0, 3)
        made = cascade_gaussians(logits, torch.zeros(0, 5), none, GRID)
    # centres are 0.5 m past a voxel's lower corner at index - 4, height at index - 2
    expected = [
        [-2.5, -3.5, 1.5],
        [-1.5, -3.5, 1.5],
        [-3.5, -2.5, 1.5],
        [0.5, 0.5, -0.5],
        [1.5, 1.5, -1.5],
    ]
    assert made.means.tolist() == expected
