import torch

from occ_core.export.compare import differing
from occ_core.types import Occupancy
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((0.0, 0.0, 0.0, 2.0, 2.0, 2.0), 1.0)


def answer(labels: list[int], probability: list[float]) -> Occupancy:
    return Occupancy(
        torch.tensor(labels, dtype=torch.uint8).view(1, 2, 2, 2),
        torch.tensor(probability).view(1, 2, 2, 2),
        GRID,
        stamp_ns=(0,),
        frame_id="lidar",
    )


def test_a_voxel_differs_by_its_class_or_clearly_by_its_probability():
    first = answer([0, 1, 2, 3, 0, 0, 0, 0], [0.9] * 8)
    # the second has another class; the third is 0.002 apart, the fourth 0.0005
    second = answer([0, 4, 2, 3, 0, 0, 0, 0], [0.9, 0.9, 0.902, 0.9005, 0.9, 0.9, 0.9, 0.9])
    assert differing(first, second, "fp32") == 2 / 8
    assert differing(first, second, "bf16") == 1 / 8  # 0.002 is less than bfloat16 tells apart
    assert differing(first, first, "fp32") == 0
