import math

import pytest
import torch

from occ_core.losses.sequential.anchors import Anchors
from occ_core.losses.sequential.density_control import control_density
from occ_core.losses.sequential.temporal_gaussians import TemporalGaussians


def four() -> tuple[TemporalGaussians, Anchors]:
    """At x = 0, 10, 20, 30: small, large along z after a quarter turn about x, faint, and one that
    nothing pulls.
    """
    scale = torch.full((4, 3), math.log(0.2))
    scale[1, 1] = math.log(0.8)
    quaternion = torch.tensor([1.0, 0, 0, 0]).repeat(4, 1)
    quaternion[1] = torch.tensor([1.0, 1, 0, 0])  # 90 degrees about x: its own y is z
    gaussians = TemporalGaussians(
        offset=torch.zeros(4, 3),
        quaternion=quaternion,
        scale=scale.requires_grad_(),
        colour=torch.rand(4, 3),
        opacity=torch.tensor([0.0, 0.0, -9.0, 0.0]),
        centre_s=torch.zeros(4),
        width=torch.zeros(4),
    )
    centres = torch.tensor([[0.0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]])
    return gaussians, Anchors(
        centres, torch.full((4,), 0.5), torch.tensor([True, False, False, False])
    )


PULL = torch.tensor([[0.0, -2, 0], [1, 0, 0], [9, 0, 0], [0, 0, 0]])


def test_small_ones_are_cloned_large_ones_split_faint_ones_pruned():
    gaussians, anchors = four()
    made, where = control_density(gaussians, anchors, PULL, densified=1.0)
    # clone: one sigma (0.2 * 0.5 m) against the gradient; split: one sigma (0.8 * 0.5 m) along z
    # either way
    expected = [[0, 0, 0], [10, 0, 0.4], [30, 0, 0], [0, 0.1, 0], [10, 0, -0.4]]
    torch.testing.assert_close(where.centres, torch.tensor(expected), atol=1e-6, rtol=0)
    assert where.is_point.tolist() == [True, False, False, True, False]
    sigma = made.at(0.0, where).scales[:, 1] / 0.5
    assert sigma.tolist() == pytest.approx([0.2, 0.8 / 1.6, 0.2, 0.2, 0.8 / 1.6])


def test_no_more_than_the_share_is_densified():
    made, where = control_density(*four(), PULL, densified=0.25)  # one of four: the clone
    assert where.centres[:, 0].tolist() == [0, 10, 30, 0]
    assert len(made.colour) == 4


def test_gradients_pass_to_both_halves_origin():
    gaussians, anchors = four()
    made, where = control_density(gaussians, anchors, PULL, densified=1.0)
    made.scale.sum().backward()
    assert gaussians.scale.grad[:, 0].tolist() == [2, 2, 0, 1]
