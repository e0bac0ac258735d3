"""The images of one camera, and whether one of them belongs to a sweep. No rclpy import."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from enum import Enum
from typing import Any

NS = 1_000_000_000
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
    ABSENT = "known to send no image"
    EARLY = "all images so far are later than this sweep"


class ImageStream:
    """The newest images of one camera, in the order of their stamps; see ``reconfigure``."""

    def __init__(self) -> None:
        self.offset_ns = self._tolerance_ns = self._timeout_ns = self._silence_ns = 0
        self.images: list[tuple[int, Any]] = []
        self._stamps_ns: list[int] = []
        """Those of ``images``, strictly ascending: searched for every sweep."""
        self._known_ns: int | None = None
        """The camera is known to have sent an image of this stamp, which is no longer held; None:
        it has not."""
        self._went_back = False
        """Whether the stamps went back since the last restart: ``images`` are of the new pass."""
        self.offsets_ns: deque[int] = deque(maxlen=50)
        """Measured offsets: stamp of the nearest image minus that of the sweep."""

    def reconfigure(
        self, offset_s: float, tolerance_s: float, timeout_s: float, silence_s: float
    ) -> None:
        """Judges images by other limits from now on.

        Args:
            offset_s: camera stamp minus LiDAR stamp.
            tolerance_s: largest deviation from the offset, either way.
            timeout_s: how long an image is waited for.
            silence_s: a camera without an image for this long is lost.
        """
        self.offset_ns, self._tolerance_ns = round(offset_s * NS), round(tolerance_s * NS)
        self._timeout_ns, self._silence_ns = round(timeout_s * NS), round(silence_s * NS)

    def add(self, stamp_ns: int, image: Any) -> None:
        """Appends an image that is newer than all others, or takes the place of the newest.

        The oldest is dropped if need be.
        """
        if self._stamps_ns and self._stamps_ns[-1] == stamp_ns:
            self.images[-1] = (stamp_ns, image)
            return
        self.images.append((stamp_ns, image))
        self._stamps_ns.append(stamp_ns)
        if len(self.images) > IMAGES_KEPT:
            self._drop(1)

    def nearest(self, stamp_ns: int) -> tuple[int, Any] | None:
        """The image nearest to the sweep's stamp plus the offset; of two, the earlier."""
        target, stamps_ns = stamp_ns + self.offset_ns, self._stamps_ns
        if not stamps_ns:
            return None
        position = bisect_left(stamps_ns, target)
        if position == len(stamps_ns) or (
            position and target - stamps_ns[position - 1] <= stamps_ns[position] - target
        ):
            position -= 1
        return self.images[position]

    def state(self, stamp_ns: int) -> CameraState:
        """The camera's state for the sweep of that stamp.

        It depends on the stamps alone: a sweep is judged alike whether later images have been
        received before it or not.
        """
        target, stamps_ns = stamp_ns + self.offset_ns, self._stamps_ns
        position, count = bisect_left(stamps_ns, target), len(stamps_ns)
        if position and target - stamps_ns[position - 1] <= self._tolerance_ns:
            return CameraState.IN
        ahead_ns = stamps_ns[position] - target if position < count else None
        if ahead_ns is not None and ahead_ns <= self._tolerance_ns:
            return CameraState.IN
        before_ns = stamps_ns[position - 1] if position else self._known_ns
        if before_ns is None:
            return CameraState.EARLY if count else CameraState.UNSEEN
        if target - before_ns > self._silence_ns:
            return CameraState.SILENT
        # An image that is further ahead would not be waited for, so that it says nothing.
        passed = ahead_ns is not None and ahead_ns <= self._timeout_ns
        return CameraState.PASSED if passed else CameraState.LATE

    def forget_before(self, stamp_ns: int) -> None:
        """Drops images that only sweeps older than that stamp could use.

        A stream whose newest image is older than that is left alone: in a looped bag it may
        already be in the next pass.
        """
        horizon = stamp_ns + self.offset_ns
        stamps_ns = self._stamps_ns
        if stamps_ns and stamps_ns[0] < horizon <= stamps_ns[-1]:
            self._drop(bisect_left(stamps_ns, horizon))

    def clear(self) -> None:
        """Drops all images; the camera stays as known as it was."""
        if self.images:
            self._drop(len(self.images))

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
        self.images, self._went_back = near, False
        self._stamps_ns = [image[0] for image in near]
        if known:
            first_ns = near[0][0] if near else stamp_ns + self.offset_ns
            self._known_ns = min(stamp_ns + self.offset_ns, first_ns)

    def _drop(self, count: int) -> None:
        """Drops the oldest images."""
        self._known_ns = self._stamps_ns[count - 1]
        del self.images[:count], self._stamps_ns[:count]
