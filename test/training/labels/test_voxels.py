import numpy as np

from occ_core.voxel_grid import VoxelGrid
from training.labels.cells import Cells
from training.labels.drive import LabelDrive, LabelKeyframe, LabelSweep
from training.labels.surfaces import DriveSurfaces
from training.labels.tracks import ObjectTrack
from training.labels.voxels import occupied_voxels, vote

GRID = VoxelGrid((0.0, 0.0, 0.0, 4.0, 1.0, 1.0), 1.0)


def test_the_heaviest_class_wins_each_voxel() -> None:
    voxel = np.array([7, 7, 7, 2, 2])
    classes = np.array([11, 11, 4, 15, 13], np.int16)
    # voxel 7: class 11 weighs 1 + 1, class 4 weighs 3; voxel 2: a tie of 1, the smaller class
    voxels, winners = vote(voxel, classes, np.array([1.0, 1.0, 3.0, 1.0, 1.0]))
    assert voxels.tolist() == [2, 7] and winners.tolist() == [13, 4]


def cells(x_m: list[float], class_id: int) -> Cells:
    points = np.column_stack([x_m, np.full((len(x_m), 2), 0.5)]).astype(np.float32)
    return Cells(points, np.full(len(x_m), class_id, np.int16))


def sweep(end_s: float) -> LabelSweep:
    return LabelSweep(
        np.zeros((0, 3), np.float32), np.zeros(0, np.int16), np.eye(4), end_s, 0.1, 0.0
    )


def test_an_object_is_where_its_box_is_at_the_keyframe() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 3.0
    track = ObjectTrack(4, np.ones(3), np.array([0.0, 1.0]), poses)
    drive = LabelDrive("a", "", (sweep(0.0), sweep(1.0)), (track,), (), objects=frozenset({4}))
    surfaces = DriveSurfaces(
        world_from_map=np.eye(4),
        static=cells([0.5, 1.5], 11),
        objects=(cells([0.5], 4),),
        ground=cells([1.4, 2.5], 13),
        ground_area=4.0,
        moments={1: cells([2.6], 7)},
    )
    found = [
        occupied_voxels(drive, surfaces, LabelKeyframe("k", number, np.eye(4)), GRID, np.eye(4))
        for number in (0, 1)
    ]
    # Voxel 0: the car (weight 3) and road (1) at first, road alone when the car has gone to voxel
    # 3. Voxel 1: road (1) against filled ground (an area of 4). Voxel 2: filled ground alone at
    # first; then class 7 (1) against it (4) as well.
    assert found[0].voxels.tolist() == [0, 1, 2]
    assert found[0].classes.tolist() == [4, 13, 13]
    assert found[0].measured.tolist() == [True, True, False]
    assert found[1].voxels.tolist() == [0, 1, 2, 3]
    assert found[1].classes.tolist() == [11, 13, 13, 4]
    assert found[1].measured.tolist() == [True, True, True, True]
