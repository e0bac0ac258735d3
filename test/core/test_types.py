from dataclasses import replace

import pytest
import torch

from occ_core.types import DriveContext, Frame, TemporalMemory, TemporalState, collate_frames


def a_frame(cameras: int = 2, points: int = 3, stamp_ns: int = 7) -> Frame:
    return Frame(
        images=torch.full((1, cameras, 3, 4, 6), stamp_ns, dtype=torch.uint8),
        camera_mask=torch.ones(1, cameras, dtype=torch.bool),
        intrinsics=torch.eye(3).expand(1, cameras, 3, 3),
        grid_from_camera=torch.eye(4).expand(1, cameras, 4, 4),
        points=(torch.zeros(points, 5),),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(stamp_ns,),
        context=(DriveContext("rain"),),
    )


def test_context_is_unknown_by_default():
    assert DriveContext() == DriveContext("unknown", "unknown")


def test_collating():
    batch = collate_frames([a_frame(points=3, stamp_ns=1), a_frame(points=0, stamp_ns=2)])
    assert batch.batch_size == 2
    assert batch.images[:, 0, 0, 0, 0].tolist() == [1, 2]
    assert [len(points) for points in batch.points] == [3, 0]
    assert batch.stamp_ns == (1, 2) and len(batch.context) == 2
    assert batch.world_from_grid.dtype == torch.float64


def test_frames_of_different_sizes_are_not_collated():
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 6\), \(3, 3, 4, 6\)"):
        collate_frames([a_frame(cameras=2), a_frame(cameras=3)])


def test_a_frame_refuses_parts_of_another_batch_size():
    with pytest.raises(
        ValueError, match="Frame.stamp_ns holds 2 samples, but Frame.images holds 1"
    ):
        replace(a_frame(), stamp_ns=(1, 2))


def test_moving_to_a_device_moves_every_tensor():
    moved = a_frame().to("meta")
    tensors = [
        moved.images,
        moved.camera_mask,
        moved.intrinsics,
        moved.grid_from_camera,
        moved.world_from_grid,
        *moved.points,
    ]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.stamp_ns == (7,) and moved.context == (DriveContext("rain"),)


def test_sensors_with_data():
    """The first sample has images only, the second points only."""
    batch = collate_frames([a_frame(points=0), a_frame(points=3)])
    batch = replace(batch, camera_mask=torch.tensor([[True, False], [False, False]]))
    assert batch.sensors_with_data().tolist() == [[True, False], [False, True]]


def test_a_memory_keeps_a_pose_and_a_stamp_for_each_volume_and_at_least_one():
    memory, volume, counts = TemporalMemory(), torch.zeros(1, 8, 2, 2, 2), []
    for stamp_ns, volumes in enumerate([(), (volume,), (volume,) * 2, (volume,) * 2], start=1):
        state = TemporalState(volumes=volumes)
        memory = TemporalMemory.after(a_frame(stamp_ns=stamp_ns), memory, state, None, None)
        counts.append((len(memory.volumes), len(memory.world_from_grid)))
    assert counts == [(0, 1), (1, 1), (2, 2), (2, 2)]
    assert memory.stamp_ns == ((3,), (4,))
