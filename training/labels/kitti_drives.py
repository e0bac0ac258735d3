"""SemanticKITTI sequences as drives to label: every point has a class, and there are no boxes.

Class ids are the raw ids of the annotation. Moving classes count at their own scan alone. Points
without annotation (0) and outliers (1) lie on no surface.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from occ_core.datasets.kitti_sequence import KittiSequence, read_png
from training.labels.drive import (
    NOISE,
    LabelCamera,
    LabelDrive,
    LabelKeyframe,
    LabelSweep,
    LoadDrive,
)

_MOVING = range(252, 260)
_GROUND = (40, 44, 48, 49, 60, 72)
_OBJECTS = (*range(10, 33), *_MOVING)
_VEGETATION = 70
_NO_SURFACE = (0, 1)
_LABELLED_EVERY = 5
"""The benchmark labels scans whose number is a multiple of five."""
_SCANS = 100
"""A drive is a part of a sequence in which so many scans are, and the scans near by."""
_REACH_M = 60.0


def kitti_drives(root: Path, sequences: tuple[str, ...] | None = None) -> dict[str, LoadDrive]:
    """A loader for each part of each sequence, by name, such as ``00/000100``.

    Args:
        root: folder that holds ``sequences/``.
        sequences: names of sequences, such as ``00``; None takes all that have point labels.

    Raises:
        FileNotFoundError: a sequence is missing or not labelled.
        ValueError: a file is malformed, or a sequence has no scan that gets labels.
    """
    found = sorted(path.parent.name for path in root.glob("sequences/*/labels"))
    missing = sorted(set(sequences or found) - set(found))
    if missing or not found:
        raise FileNotFoundError(
            f"{root} holds no sequences/NN/labels {'for ' + str(missing) if missing else ''}; "
            "take the download 'SemanticKITTI label data'"
        )
    drives: dict[str, LoadDrive] = {}
    for name in sequences or found:
        folder = root / "sequences" / name
        scans = KittiSequence.read(folder).names
        parts = [
            first
            for first in range(0, len(scans), _SCANS)
            if any(map(_gets_labels, scans[first : first + _SCANS]))
        ]
        if not parts:
            raise ValueError(
                f"{folder / 'velodyne'} has no scan that gets labels, whose number is a multiple "
                f"of {_LABELLED_EVERY}: it has {len(scans)}, such as {scans[0]}.bin; leave the "
                "sequence out by --scenes, or keep the numbers of the whole drive"
            )
        drives |= {f"{name}/{scans[first]}": partial(_load, folder, first) for first in parts}
    return drives


def _gets_labels(scan: str) -> bool:
    return int(scan) % _LABELLED_EVERY == 0


def _load(folder: Path, first: int) -> LabelDrive:
    sequence = KittiSequence.read(folder)
    own = range(first, min(first + _SCANS, len(sequence.names)))
    place = sequence.world_from_velodyne[:, :3, 3]
    way = np.linalg.norm(np.diff(place, axis=0, prepend=place[:1]), axis=1).cumsum()
    near = (way >= way[own[0]] - _REACH_M) & (way <= way[own[-1]] + _REACH_M)
    scans = np.flatnonzero(near).tolist()
    return LabelDrive(
        name=f"{folder.name}/{sequence.names[first]}",
        token="",
        sweeps=tuple(_sweep(sequence, scan) for scan in scans),
        tracks=(),
        keyframes=tuple(
            LabelKeyframe(
                name=sequence.names[scan],
                sweep=scans.index(scan),
                world_from_ego=sequence.world_from_velodyne[scan],
                cameras=_cameras(sequence, scan),
            )
            for scan in own
            if _gets_labels(sequence.names[scan])
        ),
        moving=frozenset(_MOVING),
        ground=frozenset(_GROUND),
        objects=frozenset(_OBJECTS),
        porous=frozenset({_VEGETATION}),
    )


def _sweep(sequence: KittiSequence, scan: int) -> LabelSweep:
    points = sequence.read_scan(scan)[:, :3]
    classes = sequence.read_raw_classes(scan, len(points)).astype(np.int16)
    classes[np.isin(classes, _NO_SURFACE)] = NOISE
    return LabelSweep(
        points=np.ascontiguousarray(points),
        classes=classes,
        world_from_lidar=sequence.world_from_velodyne[scan],
        end_s=sequence.stamps_ns[scan] * 1e-9,
        period_s=0.0,  # the scans are compensated, and without boxes nothing asks for the time
        first_azimuth_rad=0.0,
    )


def _cameras(sequence: KittiSequence, scan: int) -> tuple[LabelCamera, ...]:
    """The left colour camera, where its image is there to say how large it is."""
    path = sequence.folder / "image_2" / f"{sequence.names[scan]}.png"
    if not path.is_file():
        return ()
    height, width = read_png(path).shape[:2]
    pose = sequence.world_from_velodyne[scan] @ sequence.velodyne_from_camera
    return (LabelCamera((height, width), sequence.intrinsics.astype(np.float64), pose),)
