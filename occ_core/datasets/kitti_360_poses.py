"""The poses of a sequence of KITTI-360 by the number of the frame, ``cam0_to_world.txt``.

A row is the number of a frame, from 0, and the 16 numbers of a matrix. Official files leave out
frame 0 and those in which the car moved very slowly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occ_core.datasets.kitti_sequence import check_rigid, read_rows

DOWNLOAD = (
    "take SSCBench-KITTI-360: join its parts (cat split_parts_* > combined.sqfs), then unsquashfs"
)
"""Where the files come from, for the texts of errors."""
_NEAR_FRAMES = 2
"""Frames without a row so near to one that has a row may be anywhere in the drive."""
_MAX_STEP_M = 0.2
"""Frames further away are those of a car that moves less than this from frame to frame: 2 m/s."""


class Kitti360Poses:
    """Poses of the left camera in the world.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is malformed: empty, its frames do not ascend, or a matrix is no pose.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = read_rows(path, 17, DOWNLOAD)
        if not len(rows):
            raise ValueError(f"{path} is empty; {DOWNLOAD}")
        self._numbers, self._poses = rows[:, 0], rows[:, 1:].reshape(-1, 4, 4)
        wrong = np.flatnonzero((self._numbers < 0) | (self._numbers % 1 != 0))
        if len(wrong):
            raise ValueError(
                f"{path}: row {wrong[0] + 1} must begin with the number of a frame, got "
                f"{self._numbers[wrong[0]]:g}"
            )
        back = np.flatnonzero(np.diff(self._numbers) <= 0)
        if len(back):
            raise ValueError(
                f"{path}: row {back[0] + 2} is of frame {self._numbers[back[0] + 1]:g}, which is "
                f"not after frame {self._numbers[back[0]]:g} of the row before; frames ascend"
            )
        check_rigid(path, self._poses)

    def at(self, number: int) -> np.ndarray:
        """The pose at a frame, float64 ``[4, 4]``; without a row that of the nearest one before,
        or of the first.

        Raises:
            ValueError: the frame has no row, and the car was moving.
        """
        after = int(np.searchsorted(self._numbers, number, side="right"))
        if not self._covers(number, after):
            first, last = self._numbers[[0, -1]]
            raise ValueError(
                f"{self.path} has no pose of frame {number}, nor one near it; its "
                f"{len(self._poses)} rows are of frames {first:g} to {last:g}. Frames may lack a "
                f"row only where the car stands; {DOWNLOAD}"
            )
        pose: np.ndarray = self._poses[max(after - 1, 0)]
        return pose

    def _covers(self, number: int, after: int) -> bool:
        """Whether a frame is near a row, or the car stood at the rows around it.

        Args:
            number: of the frame.
            after: the first row of a later frame; their number without one.
        """
        around = slice(max(after - 1, 0), after + 1)
        if np.abs(self._numbers[around] - number).min() <= _NEAR_FRAMES:
            return True
        if len(self._numbers) == 1:
            return False
        # Beyond the first or the last row, the two rows there say whether the car was moving.
        first = min(max(after - 1, 0), len(self._numbers) - 2)
        step_m = self._poses[first + 1, :3, 3] - self._poses[first, :3, 3]
        frames = self._numbers[first + 1] - self._numbers[first]
        return bool(np.linalg.norm(step_m) <= _MAX_STEP_M * frames)
