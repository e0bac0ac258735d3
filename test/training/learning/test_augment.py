from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occ_core.types import DriveContext, Frame
from occ_core.voxel_grid import VoxelGrid
from training.learning.augment import AugmentConfig, augment, other_sensors
from training.learning.augment_images import ImageAugmentConfig
from training.learning.augment_lidar import LidarAugmentConfig, SweepPose
from training.learning.symmetries import Labelled

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 1.0)
LABELS = torch.zeros(GRID.shape, dtype=torch.uint8)
SWEEPS = (SweepPose(0.0, np.eye(4)), SweepPose(0.25, np.eye(4)), SweepPose(0.45, np.eye(4)))
NOTHING = AugmentConfig(
    flip=0,
    single_sweep=0,
    fewer_sweeps=0,
    drop_points=0,
    drop_intensity=0,
    scale_intensity=1,
    range_noise_m=0,
    drop_camera=0,
    drop_all_cameras=0,
    drop_lidar=0,
    brightness=0,
)


def make_frame() -> Frame:
    """Four points of three sweeps, two cameras with images of 2 x 3 pixels: 0, 7, 14, ..., 245."""
    rows = [
        [1.25, 2.5, 0.5, 100.0, 0.0],
        [-3.0, 0.5, -1.0, 20.0, 0.0],
        [2.0, -1.5, 1.0, 250.0, 0.25],
        [0.5, 3.5, -1.5, 3.0, 0.45],
    ]
    pose = torch.tensor([[1.0, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    return Frame(
        images=(torch.arange(36, dtype=torch.uint8) * 7).view(1, 2, 3, 2, 3),
        camera_mask=torch.ones(1, 2, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(1, 2, 3, 3),
        grid_from_camera=pose.expand(1, 2, 4, 4),
        points=(torch.tensor(rows),),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )


def vary(config: AugmentConfig, seed: int = 0, labels: torch.Tensor = LABELS) -> Labelled:
    rng = np.random.default_rng(seed)
    return augment(make_frame(), labels, GRID, SWEEPS, config, rng, rng)


# fmt: skip keeps the numbers in rows.
STORED = {  # seed: images, cameras, points, diagonal of the pose, the generator's next number
    5: (
        [0, 5, 11, 16, 22, 28, 37, 43, 49, 55, 62, 68, 75, 81, 87, 94, 100, 106,
         104, 110, 116, 122, 128, 134, 150, 156, 162, 169, 175, 181, 188, 195, 201, 207, 214, 220],
        [False, True],
        [[1.2474891, 2.4651031, 0.48112136, 74.582855, 0.0],
         [-3.0146401, 0.47860059, -0.98339868, 14.916571, 0.0]],
        [1.0, 1.0, 1.0, 1.0],
        0.679181533021365,
    ),
    6: (
        [6, 13, 20, 27, 34, 41, 45, 51, 57, 64, 70, 77, 84, 91, 97, 104, 110, 117,
         131, 138, 144, 151, 158, 165, 161, 167, 174, 180, 187, 193, 201, 208, 214, 221, 227, 234],
        [True, True],
        [[-2.9618535, -0.4612284, -0.9460364, 25.58881, 0.0],
         [1.9992177, 1.5415113, 0.97282469, 255.0, 0.25],
         [0.47551057, -3.497561, -1.4915571, 3.8383217, 0.45]],
        [1.0, -1.0, 1.0, 1.0],
        0.13965890957414906,
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", STORED)
def test_the_default_draws_as_it_always_has(seed: int):
    """Stored trainings can be repeated: the same numbers in the same order."""
    images, cameras, points, diagonal, following = STORED[seed]
    labels = torch.arange(8, dtype=torch.uint8).view(2, 2, 2)
    rng = np.random.default_rng(seed)
    frame, flipped = augment(make_frame(), labels, GRID, (), AugmentConfig(), rng, rng)
    # a level more or less: the mean of the image may be summed in another order
    assert np.abs(frame.images.flatten().numpy().astype(int) - images).max() <= 1
    assert frame.camera_mask[0].tolist() == cameras
    np.testing.assert_allclose(frame.points[0].numpy(), points, rtol=1e-6)
    assert frame.world_from_grid[0].diagonal().tolist() == diagonal
    mirrored = [axis for axis in (0, 1) if diagonal[axis] < 0]
    assert torch.equal(flipped, labels.flip(mirrored))
    assert rng.random() == following


def test_nothing_is_changed_when_all_is_off():
    varied, _ = vary(NOTHING)
    frame = make_frame()
    assert torch.equal(varied.points[0], frame.points[0])
    assert torch.equal(varied.camera_mask, frame.camera_mask)
    # the tint alone is always on: at most a tenth of 245, and the fraction is cut off
    assert (varied.images.float() - frame.images.float()).abs().max() <= 25.5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"single_sweep": 1.0}, lambda f: len(f.points[0]) == 2),
        ({"drop_lidar": 1.0}, lambda f: len(f.points[0]) == 0),
        ({"drop_intensity": 1.0}, lambda f: not f.points[0][:, 3].any()),
        ({"drop_all_cameras": 1.0}, lambda f: not f.camera_mask.any()),
        ({"drop_camera": 1.0}, lambda f: not f.camera_mask.any()),
    ],
)
def test_each_variation(change: dict[str, float], expected):
    varied, _ = vary(replace(NOTHING, **change))
    assert expected(varied)


def test_quarter_turns_are_equally_frequent():
    """0.75 of 400 frames are turned, 100 each by 90, 180 and 270 degrees, +- 4 sigma of 8.7."""
    counts: dict[tuple[float, float], int] = {}
    for seed in range(400):
        frame, _ = vary(replace(NOTHING, quarter_turn=0.75), seed)
        at = tuple(frame.points[0][0, :2].tolist())
        counts[at] = counts.get(at, 0) + 1
    assert set(counts) == {(1.25, 2.5), (-2.5, 1.25), (-1.25, -2.5), (2.5, -1.25)}
    assert all(65 <= count <= 135 for count in counts.values())


def test_the_grid_is_lifted_by_up_to_the_given_number_of_voxels():
    heights = {
        vary(replace(NOTHING, lift_voxels=2), seed)[0].points[0][0, 2].item() for seed in range(60)
    }
    assert heights == {0.5 + shift for shift in (-2.0, -1.0, 0.0, 1.0, 2.0)}


@given(seed=st.integers(0, 2**32 - 1))
def test_labels_of_points_stay_whatever_is_varied(seed: int):
    """But for noise and errors of beams, every point of the newest sweep lies in a voxel of its
    class, and keeps its place in the world.
    """
    labels = torch.from_numpy(
        np.random.default_rng(seed).integers(1, 17, GRID.shape, dtype=np.uint8)
    )
    points = make_frame().points[0] + 0.1  # away from the borders of voxels of 1 m
    points[:, 4] -= 0.1
    classes = labels[GRID.index(points[:, :3]).unbind(1)]
    config = replace(
        other_sensors(), lidar=LidarAugmentConfig(noise=0, beam_errors=0), drop_lidar=0
    )
    rng = np.random.default_rng(seed)
    given = replace(make_frame(), points=(points,))
    frame, varied = augment(given, labels, GRID, SWEEPS, config, rng, rng)
    for point in frame.points[0]:
        world = frame.world_from_grid[0, :3, :3] @ point[:3].double()
        world += frame.world_from_grid[0, :3, 3]
        distances = (points[:, :3].double() - world).norm(dim=1)
        original = int(distances.argmin())
        if point[4] > 0:  # may have drifted
            continue
        assert distances[original] < 1e-5
        at = GRID.index(point[:3])
        if GRID.contains(at):
            assert varied[tuple(at.tolist())] == classes[original]


def test_the_same_seed_varies_alike():
    for seed in range(20):
        (one, labels), (other, again) = vary(other_sensors(), seed), vary(other_sensors(), seed)
        assert torch.equal(one.points[0], other.points[0]) and torch.equal(labels, again)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.intrinsics, other.intrinsics)


def test_lenses_are_varied_only_if_asked():
    zooming = AugmentConfig(images=ImageAugmentConfig(zoom=1.0, fewer_cameras=0))
    frame, _ = vary(replace(zooming, drop_camera=0, drop_all_cameras=0))
    assert not torch.equal(frame.intrinsics, make_frame().intrinsics)
    assert torch.equal(vary(AugmentConfig())[0].intrinsics, make_frame().intrinsics)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quarter_turn": 1.5}, r"quarter_turn must be in \[0, 1\], got 1.5"),
        ({"lift_voxels": 0}, "lift_voxels must be at least 1 or None, got 0"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**changes)


def test_an_oblong_grid_cannot_be_turned():
    grid = VoxelGrid((-8.0, -4.0, -2.0, 8.0, 4.0, 2.0), 1.0)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="square"):
        augment(
            make_frame(),
            torch.zeros(grid.shape, dtype=torch.uint8),
            grid,
            (),
            replace(NOTHING, quarter_turn=1.0),
            rng,
            rng,
        )


def test_a_grid_ahead_is_mirrored_left_and_right_alone():
    """From 0 to 8 m along x, centred along y: of four mirrorings two remain."""
    grid = VoxelGrid((0.0, -4.0, -2.0, 8.0, 4.0, 2.0), 1.0)
    labels = torch.arange(8 * 8 * 4).remainder(17).view(8, 8, 4).to(torch.uint8)
    found = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        config = replace(NOTHING, flip=0.5)
        frame, varied = augment(make_frame(), labels, grid, SWEEPS, config, rng, rng)
        place = tuple(frame.points[0][0, :2].tolist())
        found.add(place)
        assert torch.equal(varied, labels if place[1] > 0 else labels.flip(1))
    assert found == {(1.25, 2.5), (1.25, -2.5)}
