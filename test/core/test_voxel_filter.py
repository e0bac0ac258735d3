import math

import pytest
import torch
from torch import Tensor

from occ_core.types import HeadOutput
from occ_core.voxel_filter import MIN_LOG_PROBABILITY, PreviousLogits, VoxelFilter
from occ_core.voxel_grid import VoxelGrid

FINE = VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 4.0), 1.0)  # 8 x 8 x 4, coarse 4 x 4 x 2
SURE = torch.tensor([0.0, 0.0, 50.0])


def pose(x: float = 0.0, yaw_degrees: float = 0.0) -> Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    angle = math.radians(yaw_degrees)
    matrix[:2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    matrix[0, 3] = x
    return matrix[None]


def predicted(*children: tuple[int, int, int]) -> HeadOutput:
    """Class 2 with certainty at the children; class 1 with probability 1/2 everywhere else."""
    coarse = torch.tensor([0.25, 0.5, 0.25]).log().view(1, 3, 1, 1, 1).expand(1, 3, 4, 4, 2)
    return HeadOutput(
        coarse,
        SURE.expand(len(children), 3),
        torch.tensor([(0, *child) for child in children]).view(-1, 4),
    )


def probabilities(previous: PreviousLogits, *children: tuple[int, int, int]) -> Tensor:
    return previous(torch.tensor([(0, *child) for child in children])).exp()


def test_a_child_gets_the_voxel_that_held_its_centre():
    """The vehicle drove 2.4 m along x: the centre of voxel 3, at 3.5 m, lay at 5.9 m then, in voxel
    5.
    """
    previous = PreviousLogits(predicted((5, 2, 1)), pose(), pose(x=2.4), FINE, 2)
    least = math.exp(MIN_LOG_PROBABILITY)
    # twice the lower bound, and certainty; the neighbour gets the probabilities of its coarse voxel
    expected = torch.tensor([[least, least, 1.0], [0.25, 0.5, 0.25]])
    torch.testing.assert_close(probabilities(previous, (3, 2, 1), (2, 2, 1)), expected)


def test_a_turn_is_followed():
    """A quarter turn to the left: what is ahead now, at (x, y) = (2.5, 0.5), was to the left, at
    (-0.5, 2.5), beyond the grid.

    After half a turn about (4, 4), voxel (1, 2) is where voxel (6, 5) was.
    """
    assert probabilities(
        PreviousLogits(predicted((0, 0, 0)), pose(), pose(yaw_degrees=90), FINE, 2), (2, 0, 0)
    ).tolist() == [[1, 1, 1]]
    about_the_centre = pose(yaw_degrees=180)
    about_the_centre[0, :2, 3] = 8.0
    previous = PreviousLogits(predicted((6, 5, 1)), pose(), about_the_centre, FINE, 2)
    found = probabilities(previous, (1, 2, 1))
    assert found.argmax().item() == 2


def test_beyond_the_grid_the_log_probabilities_are_zero():
    """They change no decision."""
    previous = PreviousLogits(predicted((5, 2, 1)), pose(), pose(x=2.4), FINE, 2)
    # 6.5 + 2.4 m is beyond 8 m
    assert previous(torch.tensor([[0, 6, 2, 1]])).tolist() == [[0, 0, 0]]


def test_samples_of_a_batch_do_not_mix():
    before = predicted((5, 2, 1))
    before = before._replace(coarse=before.coarse.expand(2, -1, -1, -1, -1))
    world_from_previous, world_from_current = (torch.cat([pose(), pose(x)]) for x in (0.0, 1.0))
    previous = PreviousLogits(before, world_from_previous, world_from_current, FINE, 2)
    # the second sample was not refined there
    found = previous(torch.tensor([[0, 5, 2, 1], [1, 4, 2, 1]])).exp()
    assert found.argmax(dim=1).tolist() == [2, 1]


def test_the_filter_by_hand():
    """Weight sigmoid(0) = 1/2 at first: logits (0, 1), previous log-probabilities (log 1/4, log
    3/4).
    """
    log_probability = torch.tensor([[0.25, 0.75]]).log()
    filtered = VoxelFilter(4, 2)(torch.tensor([[0.0, 1.0]]), torch.ones(1, 4), log_probability)
    torch.testing.assert_close(
        filtered, torch.tensor([[0.5 * math.log(0.25), 1 + 0.5 * math.log(0.75)]])
    )


def test_the_filter_keeps_the_precision_of_its_logits():
    """1e-9 beside 1 is lost in float32. The weight is sigmoid(0) = 1/2."""
    logits = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    previous = torch.tensor([[2e-9, 0.0]], dtype=torch.float64)
    features = torch.ones(1, 4, dtype=torch.float64)
    filtered = VoxelFilter(4, 2).double()(logits, features, previous)
    assert filtered[0, 0].item() - 1 == pytest.approx(1e-9, rel=1e-6)


def test_the_filter_learns_where_to_forget():
    filter_ = VoxelFilter(4, 2)
    features = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    log_probability = torch.tensor([[0.1, 0.9]]).log().expand(2, 2)
    truth = torch.tensor([1, 0])  # the previous frame is right about the first voxel alone
    filtered = filter_(torch.zeros(2, 2), features, log_probability)
    torch.nn.functional.cross_entropy(filtered, truth).backward()
    towards = -filter_.keep.weight.grad[0]
    assert towards[0] > 0 > towards[1]


@pytest.mark.parametrize("frames", [1, 10])
def test_a_certain_prediction_can_be_overruled(frames: int):
    """However often class 2 was certain, the others keep a log-probability of -4: logits of 2.1
    exceed half of 4.
    """
    filter_, voxel = VoxelFilter(1, 3), torch.tensor([[0, 1, 1, 1]])
    logits = SURE[None]
    for now in [SURE] * frames + [torch.tensor([0.0, 2.1, 0.0])]:
        before = HeadOutput(torch.zeros(1, 3, 4, 4, 2), logits, voxel)
        logits = filter_(
            now[None], torch.ones(1, 1), PreviousLogits(before, pose(), pose(), FINE, 2)(voxel)
        )
    assert logits.argmax().item() == 1
