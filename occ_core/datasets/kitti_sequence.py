"""One sequence of SemanticKITTI's sensors: scans, left colour images, calibration, poses, stamps.

Layout (Behley et al., "SemanticKITTI", ICCV 2019): ``sequences/NN/`` holds ``velodyne/*.bin``,
``image_2/*.png``, ``calib.txt``, ``poses.txt`` and ``times.txt``. The Velodyne's axes are x
forward, y left, z up; the world is the first left grey camera's frame.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_core.datasets.sensors import CameraSample, frame_from_sensors
from occ_core.geometry.png import decode_png, is_png
from occ_core.geometry.points import accumulate_sweeps
from occ_core.geometry.poses import invert_pose, is_rigid
from occ_core.labels.raw_ids import SEMANTIC_KITTI_RAW
from occ_core.taxonomy import DriveContext
from occ_core.types import Frame

INTENSITY_SCALE = 255.0
"""KITTI's remission is 0..1, nuScenes' intensity 0..255."""
EGO_BOX_M = (-2.0, -1.6, -1.3, 2.8, 1.6, 0.3)
"""The recording car in the frame of its scanner, in the form of ``geometry.points.EGO_BOX_M``. Some
35 returns a scan, without a class, are from its roof: -1.5 < x < 2.6, |y| < 1.5, -0.94 < z < -0.5;
the ground is at -1.7.
"""
_ODOMETRY = "it is part of the download 'odometry data set' of KITTI"


@dataclass(frozen=True)
class KittiSequence:
    """One sequence's calibration, poses and stamps; the files of scan i are ``<name i>.*``."""

    folder: Path
    names: tuple[str, ...]
    """Names of the scans, each its number in the sequence with six digits."""
    intrinsics: np.ndarray
    """float32 ``[3, 3]`` of the left colour camera."""
    velodyne_from_camera: np.ndarray
    """float64 ``[4, 4]``."""
    world_from_velodyne: np.ndarray
    """float64 ``[scan, 4, 4]``."""
    stamps_ns: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path) -> KittiSequence:
        """Reads what a folder says about its scans.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is malformed, or has fewer rows than there are scans.
        """
        names = tuple(path.stem for path in sorted((folder / "velodyne").glob("*.bin")))
        if not names:
            raise FileNotFoundError(
                f"{folder / 'velodyne'} holds no scans (*.bin); take the download 'odometry data "
                "set (velodyne laser data)' of KITTI"
            )
        numbers = np.array([_number(folder / "velodyne" / f"{name}.bin") for name in names])
        projection, camera_from_velodyne = read_calibration(folder / "calib.txt")
        poses = read_rows(folder / "poses.txt", 12, "it is in 'SemanticKITTI label data'")
        stamps_s = read_rows(folder / "times.txt", 1, _ODOMETRY)[:, 0]
        for path, rows in ((folder / "poses.txt", poses), (folder / "times.txt", stamps_s)):
            if len(rows) <= numbers.max():
                raise ValueError(
                    f"{path} has {len(rows)} rows, but there are {numbers.max() + 1} scans in "
                    f"{folder / 'velodyne'}; every scan needs one"
                )
        late = np.flatnonzero(np.diff(stamps_s) <= 0)
        if len(late):
            raise ValueError(
                f"{folder / 'times.txt'}: line {late[0] + 2} is not later than the line before it; "
                "stamps are seconds in the order of the scans"
            )
        world_from_camera = np.tile(np.eye(4), (len(poses), 1, 1))
        world_from_camera[:, :3] = poses.reshape(-1, 3, 4)
        check_rigid(folder / "poses.txt", world_from_camera)
        # P2 = K [I | t]: the colour camera stands t to the side of the grey one, which Tr is of
        intrinsics = projection[:, :3]
        colour_from_grey = np.eye(4)
        colour_from_grey[:3, 3] = np.linalg.solve(intrinsics, projection[:, 3])
        return cls(
            folder,
            names,
            intrinsics.astype(np.float32),
            invert_pose(colour_from_grey @ camera_from_velodyne),
            world_from_camera[numbers] @ camera_from_velodyne,
            tuple(round(stamp * 1e9) for stamp in stamps_s[numbers].tolist()),
        )

    def read_scan(self, scan: int) -> np.ndarray:
        """float32 ``[N, 4]``: x, y, z in metres in the Velodyne's frame, intensity in 0..255.

        Raises:
            ValueError: the file does not hold a whole number of points.
        """
        path = self.folder / "velodyne" / f"{self.names[scan]}.bin"
        size = path.stat().st_size
        if size == 0 or size % 16:
            raise ValueError(
                f"{path} holds {size} bytes, expected a positive multiple of 16 (float32 x, y, z, "
                "remission); it is truncated: extract it again"
            )
        points = np.fromfile(path, dtype=np.float32).reshape(-1, 4)
        if not ((points[:, 3] >= 0) & (points[:, 3] <= 1)).all():
            raise ValueError(
                f"{path}: the fourth float32 of every point must be its remission in 0..1, which "
                "it is not; KITTI's scans have four columns: x, y, z, remission"
            )
        points[:, 3] *= INTENSITY_SCALE
        return points

    def read_raw_classes(self, scan: int, points: int) -> np.ndarray:
        """Raw ids of the classes of a scan's points, uint16 ``[N]``, from ``labels/``.

        Args:
            scan: index of the scan among ``names``.
            points: how many points the scan has.

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it labels another number of points, or holds an unknown id.
        """
        path = self.folder / "labels" / f"{self.names[scan]}.label"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; take 'SemanticKITTI label data'")
        size = path.stat().st_size
        if size != 4 * points:
            raise ValueError(
                f"{path} has {size} bytes, but its scan has {points} points, for each of which it "
                "must have a uint32, 4 bytes; extract both again"
            )
        raw = np.fromfile(path, np.uint32).astype(np.uint16)  # the upper half numbers instances
        try:
            SEMANTIC_KITTI_RAW.to_ids(raw)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return raw

    def recent(self, scan: int, history_s: float) -> range:
        """Indices of a scan and of those before it up to an age in seconds, the oldest first."""
        oldest_ns = self.stamps_ns[scan] - round(history_s * 1e9)
        return range(bisect_left(self.stamps_ns, oldest_ns, hi=scan), scan + 1)

    def frame(
        self,
        scan: int,
        image_size: tuple[int, int],
        history_s: float,
        grid_from_velodyne: np.ndarray,
    ) -> Frame:
        """The frame of a scan with one camera; a missing image masks it, with a warning.

        Args:
            scan: index of the scan among ``names``.
            image_size: ``(height, width)`` of the model's images.
            history_s: earlier scans up to this age, in seconds, are joined to the scan.
            grid_from_velodyne: ``[4, 4]``.

        Raises:
            FileNotFoundError, ValueError: a scan is missing, or a scan or the image is damaged.
        """
        sweeps = [
            (self.read_scan(other), self.world_from_velodyne[other], self.stamps_ns[other])
            for other in self.recent(scan, history_s)
        ]
        path = self.folder / "image_2" / f"{self.names[scan]}.png"
        pose = grid_from_velodyne @ self.velodyne_from_camera
        return frame_from_sensors(
            [png_sample(path, self.intrinsics, pose, image_size)],
            accumulate_sweeps(sweeps, grid_from_velodyne, EGO_BOX_M, np.eye(4)),
            self.world_from_velodyne[scan] @ invert_pose(grid_from_velodyne),
            self.stamps_ns[scan],
            DriveContext("clear", "unknown"),
            image_size,
        )


def png_sample(
    path: Path, intrinsics: np.ndarray, grid_from_camera: np.ndarray, image_size: tuple[int, int]
) -> CameraSample | None:
    """A camera's sample from a PNG file; None, with a warning, if the file is missing.

    Args:
        path: the file.
        intrinsics: ``[3, 3]`` in pixels of the file.
        grid_from_camera: ``[4, 4]``.
        image_size: ``(height, width)`` of the model's images.

    Raises:
        ValueError: the image is damaged.
    """
    try:
        image = read_png(path)
    except FileNotFoundError as error:
        warnings.warn(f"{path.parent.name} is masked: {error}", stacklevel=3)
        return None
    return CameraSample.fitted(image, intrinsics, grid_from_camera, image_size)


def check_image_folders(folders: Iterable[Path]) -> None:
    """Refuses drives without a single image, which a model with cameras would see as darkness.

    Raises:
        FileNotFoundError: a folder is missing, or holds no PNG file.
    """
    for folder in folders:
        if not any(folder.glob("*.png")):
            raise FileNotFoundError(
                f"{folder} holds no images (*.png); take the download with KITTI's colour images, "
                "or use a model without cameras"
            )


def read_png(path: Path) -> np.ndarray:
    """RGB image, uint8 ``[H, W, 3]``, of a PNG file.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is no PNG, or is truncated or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; extract the archive that holds it")
    data = path.read_bytes()
    try:
        if not is_png(data):
            raise ValueError(f"not a PNG: {len(data)} bytes that start with {data[:4]!r}")
        return decode_png(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; extract the file again") from error


def read_calibration(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``P2`` float64 ``[3, 4]`` and ``Tr`` float64 ``[4, 4]`` (grey camera from Velodyne).

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it lacks a matrix of twelve numbers, or one cannot be a projection or a pose.
    """
    entries = dict(line.split(":", 1) for line in _lines(path, _ODOMETRY) if ":" in line)
    matrices = {}
    for name in ("P2", "Tr"):
        values = entries.get(name, "").split()
        if len(values) != 12:
            raise ValueError(f"{path}: '{name}' must have 12 numbers, got {len(values)}")
        matrices[name] = _floats(path, [values]).reshape(3, 4)
    camera_from_velodyne = np.vstack([matrices["Tr"], [0.0, 0.0, 0.0, 1.0]])
    if not is_rigid(camera_from_velodyne):
        raise ValueError(
            f"{path}: 'Tr' must be a rotation and a translation, got {entries['Tr'].strip()!r}; "
            f"{_ODOMETRY}"
        )
    intrinsics = matrices["P2"][:, :3]
    if min(np.diag(intrinsics)) <= 0 or np.tril(intrinsics, -1).any():
        raise ValueError(
            f"{path}: 'P2' must be a camera's projection with positive focal lengths, got "
            f"{entries['P2'].strip()!r}; {_ODOMETRY}"
        )
    return matrices["P2"], camera_from_velodyne


def read_rows(path: Path, columns: int, remedy: str) -> np.ndarray:
    """float64 ``[row, columns]`` of a text file of numbers.

    Args:
        path: the file.
        columns: how many numbers each line has.
        remedy: where to get the file, for the error's text.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a line has another number of numbers, or they are not finite.
    """
    rows = [line.split() for line in _lines(path, remedy) if line.strip()]
    wrong = [number for number, row in enumerate(rows, 1) if len(row) != columns]
    if wrong:
        raise ValueError(f"{path}: line {wrong[0]} must have {columns} numbers")
    return _floats(path, rows).reshape(-1, columns)


def check_rigid(path: Path, poses: np.ndarray) -> None:
    """Refuses poses that are no rigid transforms.

    Args:
        path: the file, of which each row is a pose.
        poses: ``[row, 4, 4]``.

    Raises:
        ValueError: one of them is not.
    """
    bent = np.flatnonzero(~is_rigid(poses))
    if len(bent):
        raise ValueError(
            f"{path}: {len(bent)} of {len(poses)} rows, the first of them row {bent[0] + 1}, are "
            "not poses: the matrix of each must be a rotation and a translation; extract the file "
            "again"
        )


def _lines(path: Path, remedy: str) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {remedy}")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text file, but is none; extract it again") from None


def _floats(path: Path, rows: list[list[str]]) -> np.ndarray:
    try:
        numbers = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path} must hold finite numbers; extract it again")
    return numbers


def _number(path: Path) -> int:
    if not path.stem.isdecimal():
        raise ValueError(f"{path}: the files of scans are named by their numbers, as in 000000.bin")
    return int(path.stem)
