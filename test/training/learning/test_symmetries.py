from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.types import DriveContext, Frame
from occ_core.voxel_grid import VoxelGrid
from training.learning.symmetries import (
    Labelled,
    check_square,
    flip,
    lift,
    mirrored_axes,
    quarter_turns,
)

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 0.5)
POINTS = torch.tensor([[1.2, 2.3, 0.6, 100.0, 0.0], [-3.1, 0.4, -1.1, 20.0, 0.3]])


@pytest.fixture
def labelled() -> Labelled:
    """Two points in voxels of the classes 4 and 7, a camera, and a pose in the world."""
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[GRID.index(POINTS[:, :3]).unbind(1)] = torch.tensor([4, 7], dtype=torch.uint8)
    pose = torch.tensor([[1.0, 0, 0, 0.5], [0, 0, 1, 0.2], [0, -1, 0, 1.0], [0, 0, 0, 1]])
    # 3, 4, 5 over 5: a rotation in the world whose entries are exact enough
    world = torch.tensor([[0.6, -0.8, 0, 10], [0.8, 0.6, 0, 20], [0, 0, 1, 2], [0, 0, 0, 1]])
    frame = Frame(
        images=torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8),
        camera_mask=torch.ones(1, 1, dtype=torch.bool),
        intrinsics=torch.eye(3)[None, None],
        grid_from_camera=pose[None, None],
        points=(POINTS,),
        world_from_grid=world.double()[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )
    return frame, labels


def in_world(frame: Frame) -> torch.Tensor:
    points = torch.cat([frame.points[0][:, :3], torch.ones(len(frame.points[0]), 1)], dim=1)
    return points.double() @ frame.world_from_grid[0].T


def in_camera(frame: Frame) -> torch.Tensor:
    points = torch.cat([frame.points[0][:, :3], torch.ones(len(frame.points[0]), 1)], dim=1)
    return points @ torch.linalg.inv(frame.grid_from_camera[0, 0]).T


def eight(labelled: Labelled) -> list[Labelled]:
    """Not turned or turned by a quarter, times mirrored along x or not, times along y or not."""
    found = []
    for turns, *mirrored in product((0, 1), (False, True), (False, True)):
        changed = quarter_turns(*labelled, turns)
        for axis in (0, 1):
            changed = flip(*changed, axis) if mirrored[axis] else changed
        found.append(changed)
    return found


CHANGES: dict[str, Callable[[Labelled], Labelled]] = {
    "mirrored in x": lambda each: flip(*each, 0),
    "mirrored in y": lambda each: flip(*each, 1),
    "90 degrees": lambda each: quarter_turns(*each, 1),
    "180 degrees": lambda each: quarter_turns(*each, 2),
    "270 degrees": lambda each: quarter_turns(*each, 3),
    "one voxel higher": lambda each: lift(*each, 1, 0.5),
    "two voxels lower": lambda each: lift(*each, -2, 0.5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_points_labels_cameras_and_world_move_together(
    labelled: Labelled, change: Callable[[Labelled], Labelled]
):
    frame, labels = change(labelled)
    assert labels[GRID.index(frame.points[0][:, :3]).unbind(1)].tolist() == [4, 7]
    torch.testing.assert_close(in_camera(frame), in_camera(labelled[0]))
    torch.testing.assert_close(in_world(frame), in_world(labelled[0]))
    assert torch.equal(frame.points[0][:, 3:], POINTS[:, 3:])
    assert torch.equal(labelled[0].points[0], POINTS)  # the given frame is untouched


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("mirrored in x", [-1.2, 2.3, 0.6]),
        ("mirrored in y", [1.2, -2.3, 0.6]),
        ("90 degrees", [-2.3, 1.2, 0.6]),  # from x towards y
        ("180 degrees", [-1.2, -2.3, 0.6]),
        ("270 degrees", [2.3, -1.2, 0.6]),
        ("one voxel higher", [1.2, 2.3, 0.1]),  # 0.6 - 0.5, seen from half a metre above
        ("two voxels lower", [1.2, 2.3, 1.6]),
    ],
)
def test_where_a_point_goes(labelled: Labelled, change: str, expected: list[float]):
    frame, _ = CHANGES[change](labelled)
    assert frame.points[0][0, :3].tolist() == pytest.approx(expected, abs=1e-6)


def test_mirrors_and_quarter_turns_make_eight_symmetries(labelled: Labelled):
    places = {tuple(frame.points[0][0, :2].tolist()) for frame, _ in eight(labelled)}
    assert places == {
        tuple(torch.tensor(place).tolist())
        for x, y in product((1.2, -1.2), (2.3, -2.3))
        for place in ((x, y), (y, x))
    }


@given(seed=st.integers(0, 2**32 - 1))
def test_every_voxel_keeps_its_label(seed: int):
    """Random labels, a point in every voxel: all symmetries and lifts agree on what is where."""
    rng = np.random.default_rng(seed)
    grid = VoxelGrid((-1.0, -1.0, -1.0, 1.0, 1.0, 1.0), 0.5)
    labels = torch.from_numpy(rng.integers(0, 17, grid.shape, dtype=np.uint8))
    centres = grid.all_centres().reshape(-1, 3)
    frame = Frame(
        images=torch.zeros(1, 1, 3, 1, 1, dtype=torch.uint8),
        camera_mask=torch.ones(1, 1, dtype=torch.bool),
        intrinsics=torch.eye(3)[None, None],
        grid_from_camera=torch.eye(4)[None, None],
        points=(torch.cat([centres, torch.zeros(len(centres), 2)], dim=1),),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )
    for changed, moved in eight((frame, labels)):
        at = grid.index(changed.points[0][:, :3])
        assert torch.equal(moved[at.unbind(1)], labels.flatten())
    for voxels in (-1, 1):
        changed, moved = lift(frame, labels, voxels, 0.5)
        at = grid.index(changed.points[0][:, :3])
        inside = grid.contains(at)
        assert torch.equal(moved[at[inside].unbind(1)], labels.flatten()[inside])
        # 4 x 4 voxels of one layer entered the range
        assert (moved == 255).sum() == 16 and (moved[:, :, -1 if voxels > 0 else 0] == 255).all()


def test_nothing_is_lifted_by_no_voxel(labelled: Labelled):
    frame, labels = lift(*labelled, 0, 0.5)
    assert torch.equal(labels, labelled[1]) and torch.equal(frame.points[0], POINTS)


def test_an_empty_cloud_can_be_moved(labelled: Labelled):
    frame = replace(labelled[0], points=(POINTS[:0],))
    assert quarter_turns(frame, labelled[1], 1)[0].points[0].shape == (0, 5)


def test_a_grid_that_does_not_map_onto_itself_is_refused():
    ahead = VoxelGrid((0.0, -4.0, -2.0, 8.0, 4.0, 2.0), 1.0)
    assert mirrored_axes(ahead) == (1,) and mirrored_axes(GRID) == (0, 1)
    corner = VoxelGrid((0.0, 0.0, -2.0, 8.0, 8.0, 2.0), 1.0)
    with pytest.raises(ValueError, match=r"centred at 0 in x or y, got \(0.0, 0.0"):
        mirrored_axes(corner)
    check_square(GRID)
    oblong = VoxelGrid((-8.0, -4.0, -2.0, 8.0, 4.0, 2.0), 1.0)
    for grid in (oblong, ahead, corner):
        with pytest.raises(ValueError, match="quarter_turn needs a grid that is square"):
            check_square(grid)
