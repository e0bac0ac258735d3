"""Benchmarks of reading one labelled sample of each data set, against PIL and numpy alone.

The baselines read the same files as most published loaders do: images by PIL at full size, then
resized; sweeps moved by 4x4 products; labels by the shortest numpy code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from occ_core.datasets.benchmark_data import KeyframeOccupancy
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.keyframe_labels import KeyframeBenchmark, keyframe_label_path
from occ_core.datasets.kitti_360 import Kitti360Occupancy
from occ_core.datasets.kitti_sequence import EGO_BOX_M as KITTI_EGO_BOX_M
from occ_core.datasets.kitti_sequence import KittiSequence
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe
from occ_core.datasets.samples import OccupancySample
from occ_core.datasets.semantic_kitti_voxels import SemanticKittiOccupancy
from occ_core.geometry.points import EGO_BOX_M
from occ_core.labels.benchmarks import BENCHMARKS, KITTI_GRID
from occ_core.labels.raw_ids import SEMANTIC_KITTI_RAW
from training.benchmarks.definition import Benchmark
from training.benchmarks.inputs import town_keyframe

_SIZE = (128, 352)
_KITTI_SIZE = (376, 1241)
_DRIVE = "2013_05_28_drive_0006_sync"

Plain = tuple[np.ndarray, list[np.ndarray], np.ndarray]
"""Labels, images and points."""


def _same(sample: OccupancySample, plain: Plain) -> bool:
    """Equal labels, equal points up to rounding, images that differ by two grey levels at most in
    the mean: each way of reducing has a low-pass filter of its own.
    """
    labels, images, points = plain
    assert sample.frame is not None
    expected = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return bool(
        np.array_equal(sample.labels, labels)
        and (sample.frame.images[0].float() - expected).abs().mean() < 2
        and sample.frame.points[0].shape == points.shape
        and np.allclose(sample.frame.points[0].numpy(), points, atol=1e-3)
    )


@contextmanager
def _keyframes(name: KeyframeBenchmark) -> Iterator[Benchmark]:
    with town_keyframe() as keyframe:
        root = keyframe.lidar.path.parents[2]
        write_labels(name, keyframe_label_path(name, root, keyframe))
        grid = BENCHMARKS[name].grid
        frames = NuScenesFrames(root, None, None, _SIZE, 9, grid, name)
        data, index = KeyframeOccupancy(frames), len(frames) - 1
        yield Benchmark(
            candidate=lambda: data.sample(index),
            baselines={"pil_numpy": partial(_plain_keyframe, frames, keyframe, name)},
            same=_same,
            clock=time.process_time,
        )


def write_labels(name: KeyframeBenchmark, path: Path) -> None:
    """A street with ground and scattered voxels, in a benchmark's form."""
    labels = _street(BENCHMARKS[name].grid.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "occ3d":
        seen = np.random.default_rng(1).random((2, *labels.shape)) < 0.3
        masks = {"mask_lidar": seen[0].astype(np.uint8), "mask_camera": seen[1].astype(np.uint8)}
        np.savez_compressed(path, semantics=np.where(labels == 0, 17, labels), **masks)
        return
    order = (0, 1, 2) if name == "surroundocc" else (2, 1, 0)
    rows = np.argwhere(labels)
    np.save(path, np.c_[rows[:, order], labels[labels != 0]].astype(np.int64))


def _street(shape: tuple[int, int, int]) -> np.ndarray:
    """Ids uint8: two layers of driveable surface, and above one voxel in a hundred."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(shape) < 0.01, rng.integers(1, 17, shape), 0).astype(np.uint8)
    labels[:, :, 2:4] = 11
    return labels


def _plain_keyframe(frames: NuScenesFrames, keyframe: Keyframe, name: KeyframeBenchmark) -> Plain:
    path, shape = keyframe_label_path(name, frames.root, keyframe), frames.grid.shape
    if name == "occ3d":
        with np.load(path) as archive:
            labels = archive["semantics"].astype(np.uint8)
            for mask in ("mask_lidar", "mask_camera"):
                archive[mask].astype(bool)
    else:
        rows = np.load(path)
        index = rows[:, :3] if name == "surroundocc" else rows[:, 2::-1]
        labels = np.zeros(shape, dtype=np.uint8)
        labels[index[:, 0], index[:, 1], index[:, 2]] = np.where(rows[:, 3] == 0, 255, rows[:, 3])
    images = [_plain_image(keyframe.cameras[channel].path) for channel in NUSCENES_CAMERAS]
    clouds = []
    for sweep in (*reversed(keyframe.sweeps), keyframe.lidar):
        points = np.fromfile(sweep.path, dtype=np.float32).reshape(-1, 5)[:, :4]
        clouds.append((points, sweep.world_from_lidar, sweep.stamp_ns))
    to_grid = keyframe.lidar.ego_from_lidar if name == "occ3d" else np.eye(4)
    return labels, images, _plain_join(clouds, to_grid, EGO_BOX_M)


def _plain_image(path: Path) -> np.ndarray:
    """An image scaled to the model's width, its lower part kept."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    height = round(image.height * _SIZE[1] / image.width)
    scaled = np.asarray(image.resize((_SIZE[1], height), Image.Resampling.BOX))
    fitted = np.zeros((*_SIZE, 3), dtype=np.uint8)
    kept = min(height, _SIZE[0])
    fitted[_SIZE[0] - kept :] = scaled[height - kept :]
    return fitted


def _plain_join(
    clouds: list[tuple[np.ndarray, np.ndarray, int]],
    grid_from_newest: np.ndarray,
    box_m: tuple[float, ...],
) -> np.ndarray:
    """Sweeps ``(points, world_from_sensor, stamp_ns)`` in the grid's frame, by 4x4 products."""
    joined = []
    low, high = np.array(box_m[:3]), np.array(box_m[3:])
    _, world_from_newest, newest_ns = clouds[-1]
    for points, world_from_sensor, stamp_ns in clouds:
        transform = grid_from_newest @ np.linalg.inv(world_from_newest) @ world_from_sensor
        homogeneous = np.concatenate([points[:, :3], np.ones((len(points), 1))], axis=1)
        moved = (transform @ homogeneous.T).T[:, :3]
        kept = ~((points[:, :3] > low) & (points[:, :3] < high)).all(axis=1)
        kept &= (points[:, :3] != 0).any(axis=1)
        age_s = np.full((len(points), 1), (newest_ns - stamp_ns) * 1e-9)
        joined.append(np.concatenate([moved, points[:, 3:4], age_s], axis=1)[kept])
    return np.concatenate(joined).astype(np.float32)


@contextmanager
def read_semantic_kitti() -> Iterator[Benchmark]:
    """A labelled scan of SemanticKITTI with the four scans before it."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _write_kitti(root)
        data = SemanticKittiOccupancy(root, _SIZE)
        yield Benchmark(
            candidate=lambda: data.sample(0),
            baselines={"pil_numpy": partial(_plain_kitti, root)},
            same=_same,
            clock=time.process_time,
        )


def _write_kitti(root: Path) -> None:
    """Five scans of a street, with an image like a photograph's, and the voxels of the last."""
    rng = np.random.default_rng(0)
    sequence = root / "sequences" / "08"
    for name in ("velodyne", "image_2", "voxels"):
        (sequence / name).mkdir(parents=True)
    for number in range(5):
        points = rng.uniform([-60, -60, -2, 0], [60, 60, 3, 1], (120_000, 4)).astype(np.float32)
        points.tofile(sequence / "velodyne" / f"{number:06d}.bin")
    _write_photo(sequence / "image_2" / "000004.png", _KITTI_SIZE)
    (sequence / "calib.txt").write_text(
        "P2: 718 0 607 45 0 718 185 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    (sequence / "poses.txt").write_text(
        "".join(f"1 0 0 0 0 1 0 0 0 0 1 {number}\n" for number in range(5))
    )
    (sequence / "times.txt").write_text("".join(f"{number / 10}\n" for number in range(5)))
    stem = sequence / "voxels" / "000004"
    raw = SEMANTIC_KITTI_RAW.to_raw(_street(KITTI_GRID.shape))
    raw.tofile(stem.with_suffix(".label"))
    for ending in ("invalid", "occluded"):
        np.packbits(rng.random(KITTI_GRID.shape) < 0.3).tofile(stem.with_suffix(f".{ending}"))


def _write_photo(path: Path, size: tuple[int, int]) -> None:
    """Soft shapes with noise of three grey levels, which compress like a camera's picture."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[0] // 16, size[1] // 16, 3)).astype(np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    noisy = np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy).save(path)


def _plain_kitti(root: Path) -> Plain:
    sequence = KittiSequence.read(root / "sequences" / "08")
    stem = sequence.folder / "voxels" / "000004"
    table = np.zeros(1 << 16, dtype=np.uint8)
    for raw, name in SEMANTIC_KITTI_RAW.class_of_raw().items():
        table[raw] = SEMANTIC_KITTI_RAW.labels.names.index(name)
    labels = table[np.fromfile(stem.with_suffix(".label"), np.uint16)].reshape(KITTI_GRID.shape)
    for ending in ("invalid", "occluded"):
        bits = np.unpackbits(np.fromfile(stem.with_suffix(f".{ending}"), np.uint8))
        if ending == "invalid":
            labels[bits.reshape(KITTI_GRID.shape) == 1] = 255
    clouds = []
    for number in range(5):
        scan = np.fromfile(sequence.folder / "velodyne" / f"{number:06d}.bin", np.float32)
        points = scan.reshape(-1, 4) * [1, 1, 1, 255]
        clouds.append((points, sequence.world_from_velodyne[number], sequence.stamps_ns[number]))
    image = _plain_image(sequence.folder / "image_2" / "000004.png")
    return labels, [image], _plain_join(clouds, np.eye(4), KITTI_EGO_BOX_M)


@contextmanager
def read_kitti360() -> Iterator[Benchmark]:
    """A frame of KITTI-360 in SSCBench."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        drive = root / "data_2d_raw" / _DRIVE
        _write_photo(drive / "image_00" / "data_rect" / "000000.png", (376, 1408))
        labels = _street(KITTI_GRID.shape)
        (drive / "voxels").mkdir()
        (labels != 0).astype(np.uint8).tofile(drive / "voxels" / "000000.bin")
        prepared = root / "preprocess" / "labels" / _DRIVE / "000000_1_1.npy"
        prepared.parent.mkdir(parents=True)
        np.save(prepared, labels.astype(np.float32))
        pose = " ".join(f"{value:g}" for value in np.eye(4).ravel())
        (drive / "cam0_to_world.txt").write_text(f"0 {pose}\n")
        data = Kitti360Occupancy(root, _SIZE)
        yield Benchmark(
            candidate=lambda: data.sample(0),
            baselines={"pil_numpy": partial(_plain_kitti_360, drive, prepared)},
            same=_same,
            clock=time.process_time,
        )


def _plain_kitti_360(drive: Path, prepared: Path) -> Plain:
    labels = np.load(prepared).astype(np.uint8)
    hits = np.fromfile(drive / "voxels" / "000000.bin", np.uint8).reshape(KITTI_GRID.shape)
    points = np.zeros((int(hits.sum()), 5), dtype=np.float32)
    points[:, :3] = (np.argwhere(hits) + 0.5) * KITTI_GRID.voxel_size_m + KITTI_GRID.min_m
    return labels, [_plain_image(drive / "image_00" / "data_rect" / "000000.png")], points


READERS: dict[str, Callable[[], AbstractContextManager[Benchmark]]] = {
    "read_surroundocc": partial(_keyframes, "surroundocc"),
    "read_occ3d": partial(_keyframes, "occ3d"),
    "read_openoccupancy": partial(_keyframes, "openoccupancy"),
    "read_semantic_kitti": read_semantic_kitti,
    "read_kitti360": read_kitti360,
}
"""One benchmark a data set."""
