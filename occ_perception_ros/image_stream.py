"""The images of one camera, and whether one of them belongs to a sweep. No rclpy import."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from operator import itemgetter
from typing import Any

NS = 1_000_000_000
IMAGES_KEPT = 96
"""Images that a stream holds: one and a half times the queue of a subscription, since after a stall
the images are received before the sweeps they belong to."""
OFFSETS_KEPT = 50
"""Measured offsets that a stream holds."""

LATE = "late"
PASSED = "no image near this sweep's stamp"
SILENT = "silent"
UNSEEN = "never received"
ABSENT = "known to send no image"
EARLY = "all images so far are later than this sweep"
"""Why a camera has no image for a sweep, in words for users."""

StampedImage = tuple[int, Any]
"""A stamp in nanoseconds, and the image."""


class ImageStream:
    """The newest images of one camera, in the order of their stamps; see ``reconfigure``."""

    def __init__(self) -> None:
        self.offset_ns = self._tolerance_ns = self._timeout_ns = self._silence_ns = 0
        self._regression_ns = 0
        self.images: deque[StampedImage] = deque()
        """Their stamps ascend strictly."""
        self._newest: StampedImage | None = None
        self._second: StampedImage | None = None
        """The two newest images: nearly always, one of them is looked for."""
        self._known_ns: int | None = None
        """The camera is known to have sent an image of this stamp, which is no longer held; None:
        it has not."""
        self._went_back = False
        """Whether the stamps went back since the last restart: ``images`` are of the new pass."""
        self.offsets_ns: list[int] = []
        """Measured offsets: stamp of the nearest image minus that of the sweep."""

    def reconfigure(
        self,
        offset_s: float,
        *,
        tolerance_s: float,
        timeout_s: float,
        silence_s: float,
        regression_s: float,
    ) -> None:
        """Judges images by other limits from now on.

        Args:
            offset_s: camera stamp minus LiDAR stamp.
            tolerance_s: largest deviation from the offset, either way.
            timeout_s: how long an image is waited for.
            silence_s: a camera without an image for this long is lost.
            regression_s: an image that is older than the newest by more than this is of a new pass.
        """
        self.offset_ns, self._tolerance_ns = round(offset_s * NS), round(tolerance_s * NS)
        self._timeout_ns, self._silence_ns = round(timeout_s * NS), round(silence_s * NS)
        self._regression_ns = round(regression_s * NS)

    def add(self, stamp_ns: int, image: Any) -> str:
        """Stores an image; the oldest is dropped if need be.

        Returns:
            The name under which what is wrong is counted: ``"out_of_order"``, when the image is not
            stored; ``"duplicates"``, when it takes the place of the newest; or ``""``.
        """
        newest, images = self._newest, self.images
        if newest is not None and stamp_ns <= newest[0]:
            if stamp_ns == newest[0]:
                self._newest = images[-1] = (stamp_ns, image)
                return "duplicates"
            if newest[0] - stamp_ns <= self._regression_ns:
                return "out_of_order"
            self.clear()  # a bag was looped
            self._went_back = True
        self._second, self._newest = self._newest, (stamp_ns, image)
        images.append(self._newest)
        if len(images) > IMAGES_KEPT:
            self._known_ns = images.popleft()[0]
        return ""

    def find(self, sweep_ns: int) -> StampedImage | None:
        """The image that belongs to the sweep of that stamp; None: there is none.

        It is the one nearest to the sweep's stamp plus the offset, of two the earlier.
        """
        newest, second = self._newest, self._second
        if newest is None:
            return None
        target_ns = sweep_ns + self.offset_ns
        ahead_ns = newest[0] - target_ns
        if ahead_ns <= 0:
            return newest if -ahead_ns <= self._tolerance_ns else None
        if second is not None and (behind_ns := target_ns - second[0]) >= 0:
            if behind_ns <= ahead_ns:
                return second if behind_ns <= self._tolerance_ns else None
            return newest if ahead_ns <= self._tolerance_ns else None
        nearest = self._nearest(target_ns)
        return nearest if abs(nearest[0] - target_ns) <= self._tolerance_ns else None

    def reason(self, sweep_ns: int) -> str:
        """Why no image belongs to the sweep of that stamp.

        It depends on the stamps alone: a sweep is judged alike whether later images have been
        received before it or not.
        """
        images, target_ns = self.images, sweep_ns + self.offset_ns
        after = bisect_left(images, target_ns, key=itemgetter(0))
        before_ns = images[after - 1][0] if after else self._known_ns
        if before_ns is None:
            return EARLY if images else UNSEEN
        if target_ns - before_ns > self._silence_ns:
            return SILENT
        # An image that is further ahead would not be waited for, so that it says nothing.
        passed = after < len(images) and images[after][0] - target_ns <= self._timeout_ns
        return PASSED if passed else LATE

    def measure_offset(self, sweep_ns: int) -> None:
        """Notes how far the nearest image is from the sweep."""
        if self.images and len(self.offsets_ns) < OFFSETS_KEPT:
            self.offsets_ns.append(self._nearest(sweep_ns + self.offset_ns)[0] - sweep_ns)

    def forget_before(self, sweep_ns: int) -> None:
        """Drops images that only sweeps older than that stamp could use.

        A stream whose newest image is older than that is left alone: in a looped bag it may
        already be in the next pass.
        """
        newest, horizon_ns = self._newest, sweep_ns + self.offset_ns
        if newest is not None and newest[0] >= horizon_ns:
            images = self.images
            while images[0][0] < horizon_ns:
                self._known_ns = images.popleft()[0]
            if len(images) == 1:
                self._second = None

    def clear(self) -> None:
        """Drops all images; the camera stays as known as it was."""
        if self._newest is not None:
            self._known_ns = self._newest[0]
            self._hold([])

    def restart(self, sweep_ns: int | None, went_back: bool) -> None:
        """Keeps the images of the new pass that the sweep of that stamp begins; without one, none.

        A known camera is expected in the new pass too, until it has been silent.

        Args:
            sweep_ns: stamp of the sweep.
            went_back: whether the sweeps' stamps went back, so that later images may be of the pass
                before.
        """
        if sweep_ns is None:
            self.clear()
            return
        known = self._known_ns is not None or bool(self.images)
        earliest_ns, latest_ns = sweep_ns - self._regression_ns, sweep_ns + self._regression_ns
        mixed = went_back and not self._went_back
        self._hold(
            [
                image
                for image in self.images
                if earliest_ns <= image[0] and (image[0] <= latest_ns or not mixed)
            ]
        )
        self._went_back = False
        if known:
            first_ns = self.images[0][0] if self.images else sweep_ns + self.offset_ns
            self._known_ns = min(sweep_ns + self.offset_ns, first_ns)

    def _hold(self, images: list[StampedImage]) -> None:
        """Holds these images and no others."""
        self.images.clear()
        self.images.extend(images)
        self._newest = images[-1] if images else None
        self._second = images[-2] if len(images) > 1 else None

    def _nearest(self, target_ns: int) -> StampedImage:
        """The image nearest to that stamp, of those that are held; of two, the earlier."""
        images = self.images
        after = bisect_left(images, target_ns, key=itemgetter(0))
        near = [images[index] for index in (after - 1, after) if 0 <= index < len(images)]
        return min(near, key=lambda image: abs(image[0] - target_ns))
