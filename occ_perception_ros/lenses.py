"""Lens distortion: the models of sensor_msgs/CameraInfo, removed by a map computed once."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from occ_core.geometry.images import scale_intrinsics

FISHEYE_MODELS = ("equidistant", "fisheye")
"""Names of the model of Kannala and Brandt with four coefficients."""

POLYNOMIAL_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14)}
"""Numbers of coefficients that OpenCV takes, by the name of the model."""


class Lens:
    """What a lens and the turn to rectified axes do to an image.

    Args:
        model: ``distortion_model`` of the camera_info.
        coefficients: its ``d``; empty or zeros: a pinhole, but for the fisheye models, whose image
            of a straight line is curved even then.
        intrinsics: K ``[3, 3]`` of the image as it comes.
        rotation: R ``[3, 3]``, from the camera's axes to those of the rectified image.
        size: ``(height, width)`` of the image that ``intrinsics`` are for.

    Raises:
        ValueError: the model is not known, or has another number of coefficients.
    """

    def __init__(
        self,
        model: str,
        coefficients: Sequence[float],
        intrinsics: np.ndarray,
        rotation: np.ndarray,
        size: tuple[int, int],
    ) -> None:
        self._coefficients = np.array(coefficients, np.float64)
        self._is_fisheye = model in FISHEYE_MODELS
        self._intrinsics, self._rotation, self._size = intrinsics, rotation, size
        self._key: bytes | None = None
        self._maps: tuple[np.ndarray, np.ndarray] | None = None
        self._check(model)

    def _check(self, model: str) -> None:
        given = self._coefficients
        if not np.isfinite(given).all():
            raise ValueError(f"distortion coefficients that are not finite: {given.tolist()}")
        if self._is_fisheye:
            self._coefficients = given if given.any() else np.zeros(4)
            expected: tuple[int, ...] = (4,)
        elif not given.any():
            self._coefficients = np.zeros(4)
            return
        elif model not in POLYNOMIAL_MODELS:
            raise ValueError(
                f"the distortion model '{model}', which is not known; expected one of "
                f"{[*POLYNOMIAL_MODELS, *FISHEYE_MODELS]}, or images that are rectified already"
            )
        else:
            expected = POLYNOMIAL_MODELS[model]
        if self._coefficients.size not in expected:
            counts = " or ".join(map(str, expected))
            raise ValueError(
                f"{given.size} distortion coefficients; '{model}' has {counts}: {given.tolist()}"
            )

    def changes(self, rectified_intrinsics: np.ndarray) -> bool:
        """Whether rectified images, of these intrinsics, differ from those that come."""
        return (
            self._is_fisheye
            or bool(self._coefficients.any())
            or not np.allclose(self._rotation, np.eye(3), atol=1e-9)
            or not np.allclose(self._intrinsics, rectified_intrinsics, rtol=1e-9)
        )

    def rectified(self, image: np.ndarray, rectified_intrinsics: np.ndarray) -> np.ndarray:
        """The image as a pinhole camera without distortion sees it; black where the lens did not.

        Args:
            image: uint8 ``[H, W, 3]``, at any scale.
            rectified_intrinsics: ``[3, 3]`` of the result, in pixels of ``image``.
        """
        key = rectified_intrinsics.tobytes() + repr(image.shape).encode()
        if self._maps is None or key != self._key:
            self._maps, self._key = self._compute(image.shape[:2], rectified_intrinsics), key
        rectified: np.ndarray = cv2.remap(image, *self._maps, cv2.INTER_LINEAR)
        return rectified

    def _compute(
        self, shape: tuple[int, ...], rectified_intrinsics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = shape
        intrinsics = scale_intrinsics(self._intrinsics, self._size, (height, width))
        undistort = (
            cv2.fisheye.initUndistortRectifyMap if self._is_fisheye else cv2.initUndistortRectifyMap
        )
        maps = undistort(
            intrinsics,
            self._coefficients,
            self._rotation,
            rectified_intrinsics,
            (width, height),
            cv2.CV_16SC2,
        )
        return maps[0], maps[1]
