"""SemanticKITTI sequences as frames with a class for every LiDAR point: real drives to score on.

Beside what ``KittiSequence`` reads, ``sequences/NN/labels/*.label`` hold the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset

from occ_core.datasets.kitti_sequence import KittiSequence
from occ_core.geometry.points import transform_points
from occ_core.taxonomy import CLASS_ID, EMPTY
from occ_core.types import Frame

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
            for sequence in map(KittiSequence.read, folders)
            for index in range(len(sequence.names))
        ]

    def __len__(self) -> int:
        return len(self.scans)

    def scan_number(self, index: int) -> int:
        """Number of the scan at ``index`` in its sequence, from 0."""
        return self.scans[index][1]

    def sequence(self, index: int) -> str:
        """Name of the sequence of the scan at ``index``, such as ``08``."""
        return self.scans[index][0].folder.name

    def __getitem__(self, index: int) -> tuple[Frame, LabelledPoints]:
        sequence, scan = self.scans[index]
        frame = sequence.frame(scan, self.image_size, self.history_s, GRID_FROM_VELODYNE)
        points = sequence.read_scan(scan)
        xyz_m = transform_points(GRID_FROM_VELODYNE, points)[:, :3]
        return frame, LabelledPoints(xyz_m, _read_classes(sequence, scan, len(points)))


def _read_classes(sequence: KittiSequence, scan: int, points: int) -> np.ndarray:
    """uint8 ``[N]``: the class of each point, 0 where its raw class has no counterpart."""
    lookup = np.full(1 << 16, EMPTY, dtype=np.uint8)
    for raw_id, name in CLASS_OF_RAW_ID.items():
        lookup[raw_id] = CLASS_ID[name]
    return lookup[sequence.read_raw_classes(scan, points)]
