import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import OCC3D, SEMANTIC_KITTI, SSCBENCH_KITTI_360
from occ_core.metrics import RayIoU, ray_origins
from occ_core.metrics.ray_iou import cast_through_both, lidar_directions, reference_rays
from occ_core.taxonomy import CLASS_ID
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5)  # 32 x 32 x 8
CAR, TRUCK, ROAD = (CLASS_ID[name] for name in ("car", "truck", "driveable_surface"))
CENTRE = torch.zeros(1, 3)


def wall(distance_m: float, label: int = CAR) -> torch.Tensor:
    """Around the origin, a square shell of voxels whose near side is ``distance_m`` away."""
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    near = int(distance_m / 0.5)
    labels[15 - near : 17 + near, 15 - near : 17 + near] = label
    labels[16 - near : 16 + near, 16 - near : 16 + near] = 0
    return labels


def test_the_rays_are_sparseocc_s():
    rays = lidar_directions()
    assert rays.shape == (39 * 360, 3)
    torch.testing.assert_close(rays.norm(dim=1), torch.ones(len(rays), dtype=torch.float64))
    pitches = rays[::360, 2].asin()
    # -(pi/2 - atan(1)) = -pi/4; -(pi/2 - atan(10)) = -0.099669, the increment 0.010988 from the
    # ninth, -0.110657, on
    assert pitches[[0, 8, 9, 10]].tolist() == pytest.approx(
        [-math.pi / 4, -0.110657, -0.099669, -0.088680], abs=1e-5
    )
    assert pitches[-1].item() == pytest.approx(0.219, abs=1e-3)


def test_a_perfect_prediction():
    score = RayIoU(GRID)
    score.update(wall(4), wall(4), CENTRE)
    scores = score.compute()
    assert scores["ray_iou"] == 1.0 and scores["by_threshold"] == {"1": 1.0, "2": 1.0, "4": 1.0}
    assert scores["per_class"]["car"] == 1.0 and math.isnan(scores["per_class"]["bus"])


def test_a_wall_a_metre_and_a_half_too_far_is_right_within_two_metres():
    """Level rays along an axis are off by 1.5 m, steep or diagonal ones by up to 1.5 * sqrt(2) m:
    none within 1 m, most within 2 m, and within 4 m all that meet both walls.
    """
    score = RayIoU(GRID)
    score.update(wall(5.5), wall(4), CENTRE)
    by_threshold = score.compute()["by_threshold"]
    assert by_threshold["1"] == 0.0
    assert 0.5 < by_threshold["2"] < by_threshold["4"] < 1.0


def test_iou_by_hand():
    """The half of the wall at x < 0 is predicted to be a truck: of n rays h hit the car, and n - h
    are taken for trucks.

    IoU of car: h / (n + h - h) = h / n; of truck: 0 / (0 + (n - h) - 0) = 0; then their mean.
    """
    prediction = wall(4)
    prediction[:16][prediction[:16] == CAR] = TRUCK
    score = RayIoU(GRID)
    score.update(prediction, wall(4), CENTRE)
    share = (score.hits[0, CAR] / score.true[CAR]).item()
    assert 0.4 < share < 0.6
    assert score.compute()["ray_iou"] == pytest.approx(share / 2)


def test_behind_the_first_surface_nothing_counts():
    thick = wall(4)
    thick[:4] = CAR
    score = RayIoU(GRID)
    score.update(thick, wall(4), CENTRE)
    assert score.compute()["ray_iou"] == 1.0


def test_ignored_voxels_are_seen_through_on_both_sides():
    truth = wall(4)
    truth[wall(2) == CAR] = 255  # a shell of unknown voxels in front of the wall
    score = RayIoU(GRID)
    score.update(torch.maximum(wall(4), wall(2, TRUCK)), truth, CENTRE)
    assert score.compute()["ray_iou"] == 1.0


OCC3D_GRID = VoxelGrid((-40.0, -40.0, -1.0, 40.0, 40.0, 5.4), 0.4)


def test_occ3d_s_17_classes_are_scored_others_among_them():
    """A floor of road, half of it taken for "others": of n rays that meet the floor h meet road
    where road is predicted. Road: h / (n + h - h), others: 0 / (0 + (n - h) - 0) = 0; the mean of
    both is that of the classes met, since the other 15 are left out.
    """
    truth = np.full(OCC3D_GRID.shape, 17, dtype=np.uint8)
    truth[:, :, 0] = 11
    prediction = truth.copy()
    prediction[100:, :, 0] = 0
    score = RayIoU(OCC3D_GRID, OCC3D)
    score.update(prediction, truth, np.array([[0.1, 0.1, 1.84]]))
    share = (score.hits[0, 11] / score.true[11]).item()
    assert 0.4 < share < 0.6 and score.predicted[0] == score.true[11] - score.predicted[11]
    scores = score.compute()
    assert scores["ray_iou"] == pytest.approx(share / 2)
    assert scores["per_class"]["others"] == 0.0 and len(scores["per_class"]) == 17


@pytest.mark.parametrize("labels", [OCC3D, SEMANTIC_KITTI, SSCBENCH_KITTI_360])
def test_a_perfect_prediction_in_any_label_set(labels: LabelSet):
    ids = torch.full(GRID.shape, labels.empty, dtype=torch.uint8)
    ids[wall(4) == CAR] = len(labels.names) - 2
    score = RayIoU(GRID, labels)
    score.update(ids, ids, CENTRE)
    assert score.compute()["ray_iou"] == 1.0


def test_rays_are_rounded_as_in_the_reference():
    """Points in voxels as float32, a metre apart, then their difference: beside the unit vector it
    may be off by the rounding of a number near 100, 2^-18 = 4e-6, but no more.
    """
    origins = torch.tensor([[0.986, 0.0, 1.84]], dtype=torch.float64)
    start, directions = reference_rays(origins, lidar_directions(), OCC3D_GRID)
    assert torch.equal(start, start.float().double())
    # (0.986 + 40) / 0.4, (0 + 40) / 0.4, (1.84 + 1) / 0.4
    assert start[0].tolist() == pytest.approx([102.465, 100.0, 7.1], abs=1e-5)
    error = (directions - lidar_directions()).abs().max().item()
    assert 1e-8 < error < 2**-18
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(14_040, dtype=torch.float64))


def test_depths_on_the_threshold_are_compared_as_the_reference_rounds_them():
    """Straight along x from the middle of a voxel: a wall left after 12.5 voxels and one after 7.5.
    Of float32 depths, 12.5 * 0.4 - 7.5 * 0.4 = 5 - 3 is 2 m exactly, which is not below 2 m.
    """
    truth, prediction = (np.full(OCC3D_GRID.shape, 17, dtype=np.uint8) for _ in range(2))
    truth[107], prediction[112] = 4, 4
    origin = torch.tensor([[0.2, 0.2, 0.8]], dtype=torch.float64)  # voxel (100.5, 100.5, 4.5)
    along_x = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    true, found = cast_through_both(
        torch.from_numpy(truth), torch.from_numpy(prediction), OCC3D_GRID, origin, along_x, 17
    )
    assert true.depth_m.dtype == torch.float32
    assert (found.depth_m - true.depth_m).item() == pytest.approx(2.0, abs=1e-6)
    assert not (found.depth_m - true.depth_m).item() < 2.0


def test_origins_above_the_grid_look_down_into_it():
    """3 m above the grid, as after a slope, and 6.5 m above the floor's upper side. The 360 rays of
    45 degrees meet the floor 6.5 m from the middle, all others would beyond the grid's 8 m: tan = 2
    takes them 13 m far.

    A ray that never enters the grid reports the grid's first voxel, as in the reference. Of the 39
    pitches 36 rise, or pass the upper side at 4 * 3 = 12 m and more, beyond its corners at 11.3 m.
    """
    floor = torch.zeros(GRID.shape, dtype=torch.uint8)
    floor[:, :, 0] = ROAD
    floor[0, 0, 0] = 0
    above = torch.tensor([[0.1, 0.1, 5.0]])
    score = RayIoU(GRID)
    score.update(floor, floor, above)
    assert score.true[ROAD] == 360 and score.true.sum() == 360
    assert score.compute()["ray_iou"] == 1.0
    floor[0, 0, 0] = CAR
    score = RayIoU(GRID)
    score.update(floor, floor, above)
    assert score.true[ROAD] == 360 and score.true[CAR] >= 36 * 360


def test_origins_are_positions_of_the_lidar_in_the_grid():
    # 20 keyframes, a metre apart along x, seen from the sixth: -5 .. 14 m, of which -5 .. 6 m are
    # within -7 .. 7 m (7 is not below 7), and eight of these 12 are kept.
    lidar = torch.zeros(20, 3, dtype=torch.float64) + 100
    lidar[:, 0] += torch.arange(20)
    grid_from_world = torch.eye(4, dtype=torch.float64)
    grid_from_world[:3, 3] = -100.0
    grid_from_world[0, 3] -= 5
    found = ray_origins(grid_from_world, lidar, GRID)
    # Eight numbers from 0 to 11, 11 / 7 apart and rounded.
    assert found[:, 0].tolist() == [index - 5 for index in (0, 2, 3, 5, 6, 8, 9, 11)]
    assert len(ray_origins(grid_from_world, lidar[4:6], GRID)) == 2
    # on a slope: 30 m above the grid, and 30 m below it
    lidar[4, 2] += 30
    lidar[5, 2] -= 30
    kept = ray_origins(grid_from_world, lidar[4:6], GRID)
    assert kept[:, 2].tolist() == pytest.approx([30.0, -30.0])


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="thresholds"):
        RayIoU(GRID, thresholds_m=())
    with pytest.raises(ValueError, match="in the grid"):
        RayIoU(GRID).update(wall(4), wall(4), torch.tensor([[20.0, 0, 0]]))


PROCESS = """
import sys, torch
from torch import distributed
from occ_core.metrics.processes import sum_over_processes
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", f"file://{folder}/meeting", world_size=2, rank=rank)
counts = torch.tensor([1, 10]) * (rank + 1)
print(sum_over_processes(counts).tolist(), counts.tolist())
distributed.destroy_process_group()
"""


def test_processes_score_together(tmp_path: Path, repository: Path):
    """The processes count (1, 10) and (2, 20); both get (3, 30), and their own counts remain."""
    commands = [[sys.executable, "-c", PROCESS, str(rank), str(tmp_path)] for rank in (0, 1)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository)
        for command in commands
    ]
    printed = [process.communicate(timeout=600)[0].strip() for process in started]
    assert printed == ["[3, 30] [1, 10]", "[3, 30] [2, 20]"]
