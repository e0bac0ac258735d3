"""The images of one camera, and whether one of them belongs to a sweep. No rclpy import."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from enum import Enum
from typing import Any

IMAGES_KEPT = 96
"""Images that a stream holds: one and a half times the queue of a subscription, since after a stall
the images are received before the sweeps they belong to."""


class CameraState(Enum):
    """State of a camera for one sweep; the values are texts for users."""

    IN = "fused"
    LATE = "late"
    PASSED = "no image near this sweep's stamp"
    SILENT = "silent"
    UNSEEN = "never received"
    EARLY = "all images so far are later than this sweep"


class ImageStream:
    """The newest images of one camera, in the order of their stamps.

    Args:
        offset_ns: camera stamp minus LiDAR stamp.
        tolerance_ns: largest deviation from the offset, either way.
        timeout_ns: how long an image is waited for.
        silence_ns: a camera without an image for this long is lost.
    """

    def __init__(self, offset_ns: int, tolerance_ns: int, timeout_ns: int, silence_ns: int) -> None:
        self.offset_ns = offset_ns
        self._tolerance_ns = tolerance_ns
        self._timeout_ns = timeout_ns
        self._silence_ns = silence_ns
        self.images: deque[tuple[int, Any]] = deque()
        self._known_ns: int | None = None
        """The camera is known to have sent an image of this stamp, which is no longer held; None:
        it has not."""
        self._went_back = False
        """Whether the stamps went back since the last restart: ``images`` are of the new pass."""
        self.offsets_ns: deque[int] = deque(maxlen=50)
        """Measured offsets: stamp of the nearest image minus that of the sweep."""

    def add(self, stamp_ns: int, image: Any) -> None:
        """Appends an image that is newer than all others; the oldest is dropped if need be."""
        self.images.append((stamp_ns, image))
        if len(self.images) > IMAGES_KEPT:
            self._known_ns = self.images.popleft()[0]

    def nearest(self, stamp_ns: int) -> tuple[int, Any] | None:
        """The image nearest to the sweep's stamp plus the offset."""
        if not self.images:
            return None
        target = stamp_ns + self.offset_ns
        position = bisect_left(self.images, target, key=_stamp)
        around = [self.images[i] for i in (position - 1, position) if 0 <= i < len(self.images)]
        return min(around, key=lambda image: abs(image[0] - target))

    def state(self, stamp_ns: int) -> CameraState:
        """The camera's state for the sweep of that stamp.

        It depends on the stamps alone: a sweep is judged alike whether later images have been
        received before it or not.
        """
        target = stamp_ns + self.offset_ns
        nearest = self.nearest(stamp_ns)
        if nearest is not None and abs(nearest[0] - target) <= self._tolerance_ns:
            return CameraState.IN
        position = bisect_right(self.images, target, key=_stamp)
        before_ns = self.images[position - 1][0] if position else self._known_ns
        if before_ns is None:
            return CameraState.EARLY if self.images else CameraState.UNSEEN
        if target - before_ns > self._silence_ns:
            return CameraState.SILENT
        # An image that is further ahead would not be waited for, so that it says nothing.
        has_next = position < len(self.images)
        passed = has_next and self.images[position][0] - target <= self._timeout_ns
        return CameraState.PASSED if passed else CameraState.LATE

    def forget_before(self, stamp_ns: int) -> None:
        """Drops images that only sweeps older than that stamp could use.

        A stream whose newest image is older than that is left alone: in a looped bag it may
        already be in the next pass.
        """
        horizon = stamp_ns + self.offset_ns
        if self.images and self.images[-1][0] >= horizon:
            while self.images[0][0] < horizon:
                self._known_ns = self.images.popleft()[0]

    def clear(self) -> None:
        """Drops all images; the camera stays as known as it was."""
        if self.images:
            self._known_ns = self.images[-1][0]
            self.images.clear()

    def go_back(self) -> None:
        """Drops all images, since the stamps went back: a bag was looped."""
        self.clear()
        self._went_back = True

    def restart(self, stamp_ns: int | None, window_ns: int, went_back: bool) -> None:
        """Keeps the images of the new pass that the sweep of that stamp begins; without one, none.

        A known camera is expected in the new pass too, until it has been silent.

        Args:
            stamp_ns: stamp of the sweep.
            window_ns: how much older than it an image may be.
            went_back: whether the sweeps' stamps went back, so that later images may be of the pass
                before.
        """
        known = self._known_ns is not None or bool(self.images)
        if stamp_ns is None:
            self.clear()
            return
        mixed = went_back and not self._went_back
        latest_ns = stamp_ns + window_ns if mixed else float("inf")
        near = [image for image in self.images if stamp_ns - window_ns <= image[0] <= latest_ns]
        self.images, self._went_back = deque(near), False
        if known:
            first_ns = near[0][0] if near else stamp_ns + self.offset_ns
            self._known_ns = min(stamp_ns + self.offset_ns, first_ns)


def _stamp(image: tuple[int, Any]) -> int:
    return image[0]
