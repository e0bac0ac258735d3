"""SemanticKITTI sequences as frames with a class for every LiDAR point: real drives to score on.

Layout (Behley et al., "SemanticKITTI", ICCV 2019): ``sequences/NN/`` holds ``velodyne/*.bin``,
``labels/*.label``, ``image_2/*.png``, ``calib.txt``, ``poses.txt`` and ``times.txt``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from torch.utils.data import Dataset

from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.geometry.points import NO_BOX_M, accumulate_sweeps, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.taxonomy import CLASS_ID, EMPTY
from occ_core.types import DriveContext, Frame

CLASS_OF_RAW_ID: dict[int, str] = {
    10: "car",
    252: "car",
    11: "bicycle",
    31: "bicycle",  # nuScenes counts a rider as part of the cycle
    253: "bicycle",
    15: "motorcycle",
    32: "motorcycle",
    255: "motorcycle",
    13: "bus",
    257: "bus",
    18: "truck",
    258: "truck",
    30: "pedestrian",
    254: "pedestrian",
    40: "driveable_surface",
    44: "driveable_surface",  # parking
    60: "driveable_surface",  # lane marking
    48: "sidewalk",
    49: "other_flat",
    72: "terrain",
    50: "manmade",  # building
    51: "manmade",  # fence
    80: "manmade",  # pole
    81: "manmade",  # traffic sign
    70: "vegetation",
    71: "vegetation",  # trunk
}
"""Raw label id -> the class among nuScenes' sixteen that it corresponds to; others have none."""

INTENSITY_SCALE = 255.0
"""KITTI's remission is 0..1, nuScenes' intensity 0..255."""
# the grid's axes are nuScenes' (x right, y forward), the Velodyne's x forward, y left
GRID_FROM_VELODYNE = np.array(
    [[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


class LabelledPoints(NamedTuple):
    """Points of the current scan and their true classes."""

    xyz_m: np.ndarray
    """float32 ``[N, 3]``, metres in the grid frame."""
    classes: np.ndarray
    """uint8 ``[N]``: 1..16, or 0 where the raw class has no counterpart."""


@dataclass(frozen=True)
class _Sequence:
    """One sequence's calibration, poses and stamps; the files of scan i are ``NNNNNN.*``."""

    folder: Path
    names: tuple[str, ...]
    intrinsics: np.ndarray
    """float32 ``[3, 3]`` of the left colour camera."""
    velodyne_from_camera: np.ndarray
    world_from_velodyne: np.ndarray
    """float64 ``[scan, 4, 4]``; the world is the first left grey camera's frame."""
    stamps_ns: tuple[int, ...]


class SemanticKittiFrames(Dataset[tuple[Frame, LabelledPoints]]):
    """Frames of every scan of a SemanticKITTI folder, in the order of sequences and of time.

    An item is ``(Frame of batch 1 with one camera, the scan's labelled points)``. The grid frame
    lies at the Velodyne, with nuScenes' axes (x right, y forward, z up).

    Args:
        root: the folder that holds ``sequences/``.
        image_size: ``(height, width)`` that the model takes.
        history_s: earlier scans up to this age, in seconds, are joined to each scan.

    Raises:
        FileNotFoundError: no labelled sequence lies there, or a file is missing.
        ValueError: a file is malformed; the text names it.
    """

    def __init__(
        self, root: Path | str, image_size: tuple[int, int] = (128, 352), history_s: float = 0.45
    ) -> None:
        self.root, self.image_size, self.history_s = Path(root), image_size, history_s
        folders = sorted(path.parent for path in self.root.glob("sequences/*/labels"))
        if not folders:
            raise FileNotFoundError(
                f"{self.root} holds no sequences/NN/labels; give the folder of SemanticKITTI that "
                "holds 'sequences' (labels: the download 'SemanticKITTI label data')"
            )
        self.scans = [
            (sequence, index)
            for sequence in map(_read_sequence, folders)
            for index in range(len(sequence.names))
        ]

    def __len__(self) -> int:
        return len(self.scans)

    def scan_number(self, index: int) -> int:
        """Number of the scan at ``index`` in its sequence, from 0."""
        return self.scans[index][1]

    def __getitem__(self, index: int) -> tuple[Frame, LabelledPoints]:
        sequence, scan = self.scans[index]
        oldest_ns = sequence.stamps_ns[scan] - round(self.history_s * 1e9)
        joined = [other for other in range(scan + 1) if sequence.stamps_ns[other] >= oldest_ns]
        sweeps = [
            (
                _read_scan(sequence, other),
                sequence.world_from_velodyne[other],
                sequence.stamps_ns[other],
            )
            for other in joined
        ]
        points = sweeps[-1][0]
        frame = frame_from_sensors(
            [_camera_sample(sequence, scan, self.image_size)],
            # The scanner stands on the roof's edge: the released scans hold no returns of the car.
            accumulate_sweeps(sweeps, GRID_FROM_VELODYNE, NO_BOX_M),
            sequence.world_from_velodyne[scan] @ invert_pose(GRID_FROM_VELODYNE),
            sequence.stamps_ns[scan],
            DriveContext("clear", "unknown"),
            self.image_size,
        )
        xyz_m = transform_points(GRID_FROM_VELODYNE, points)[:, :3]
        return frame, LabelledPoints(xyz_m, _read_classes(sequence, scan, len(points)))


def _camera_sample(
    sequence: _Sequence, scan: int, image_size: tuple[int, int]
) -> CameraSample | None:
    """The left colour camera's sample; None, with a warning, if its image cannot be read."""
    path = sequence.folder / "image_2" / f"{sequence.names[scan]}.png"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        warnings.warn(f"image_2 is masked: {path} is missing or is not an image", stacklevel=3)
        return None
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    pose = GRID_FROM_VELODYNE @ sequence.velodyne_from_camera
    return CameraSample.fitted(rgb, sequence.intrinsics, pose, image_size)


def _read_scan(sequence: _Sequence, scan: int) -> np.ndarray:
    """float32 ``[N, 4]``: x, y, z in metres in the Velodyne's frame, intensity in 0..255."""
    path = sequence.folder / "velodyne" / f"{sequence.names[scan]}.bin"
    values = np.fromfile(path, dtype=np.float32)
    if values.size == 0 or values.size % 4:
        raise ValueError(
            f"{path} holds {values.size} float32 values, expected a positive multiple of 4 "
            "(x, y, z, remission); it is truncated: extract it again"
        )
    points = values.reshape(-1, 4)
    points[:, 3] *= INTENSITY_SCALE
    return points


def _read_classes(sequence: _Sequence, scan: int, points: int) -> np.ndarray:
    """uint8 ``[N]``: the class of each point, 0 where its raw class has no counterpart."""
    path = sequence.folder / "labels" / f"{sequence.names[scan]}.label"
    raw = np.fromfile(path, dtype=np.uint32)
    if len(raw) != points:
        raise ValueError(f"{path} labels {len(raw)} points, but its scan has {points}")
    lookup = np.full(1 << 16, EMPTY, dtype=np.uint8)
    for raw_id, name in CLASS_OF_RAW_ID.items():
        lookup[raw_id] = CLASS_ID[name]
    return lookup[raw & 0xFFFF]  # the upper half numbers the instances


def _read_sequence(folder: Path) -> _Sequence:
    names = tuple(path.stem for path in sorted((folder / "velodyne").glob("*.bin")))
    projection, camera_from_velodyne = _read_calibration(folder / "calib.txt")
    poses = _read_rows(folder / "poses.txt", 12)
    stamps_s = _read_rows(folder / "times.txt", 1)[:, 0]
    for path, rows in ((folder / "poses.txt", poses), (folder / "times.txt", stamps_s)):
        if len(rows) < len(names) or not names:
            raise ValueError(
                f"{path} has {len(rows)} rows, but there are {len(names)} scans in "
                f"{folder / 'velodyne'}; every scan needs one"
            )
    world_from_camera = np.tile(np.eye(4), (len(poses), 1, 1))
    world_from_camera[:, :3] = poses.reshape(-1, 3, 4)
    # P2 = K [I | t]: the colour camera stands t to the side of the grey one, which Tr is of
    intrinsics = projection[:, :3]
    colour_from_grey = np.eye(4)
    colour_from_grey[:3, 3] = np.linalg.solve(intrinsics, projection[:, 3])
    return _Sequence(
        folder,
        names,
        intrinsics.astype(np.float32),
        invert_pose(colour_from_grey @ camera_from_velodyne),
        world_from_camera @ camera_from_velodyne,
        tuple(round(stamp * 1e9) for stamp in stamps_s.tolist()),
    )


def _read_calibration(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``P2`` float64 ``[3, 4]`` and ``Tr`` float64 ``[4, 4]`` (grey camera from Velodyne)."""
    entries = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    matrices = {}
    for name in ("P2", "Tr"):
        values = entries.get(name, "").split()
        if len(values) != 12:
            raise ValueError(f"{path}: '{name}' must have 12 numbers, got {len(values)}")
        matrices[name] = np.array(values, dtype=np.float64).reshape(3, 4)
    return matrices["P2"], np.vstack([matrices["Tr"], [0.0, 0.0, 0.0, 1.0]])


def _read_rows(path: Path, columns: int) -> np.ndarray:
    """float64 ``[row, columns]`` of a text file of numbers."""
    rows: Sequence[list[str]] = [line.split() for line in path.read_text().splitlines() if line]
    wrong = [number for number, row in enumerate(rows, 1) if len(row) != columns]
    if wrong:
        raise ValueError(f"{path}: line {wrong[0]} must have {columns} numbers")
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
