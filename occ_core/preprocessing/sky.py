"""Sky masks without a trained network, from camera geometry and image statistics (TACOcc, section
III-B, leaves out the sky, which has no surface).

All cameras see the same sky at one instant, so all images are searched together.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

CLUSTERS = 8
"""Number of clusters of colour and texture above the horizon."""
SAMPLES = 20_000
"""Number of pixels that are clustered."""
MIN_SHARE = 0.02
"""A cluster with a smaller fraction of the pixels above the horizon is not sky."""
MAX_TEXTURE = 10.0
"""Texture, as ``_appearance`` measures it, that facades and trees exceed."""
MIN_BRIGHTER = 10.0
"""Lightness (0..100) by which sky exceeds the median above or below the horizon, whichever is
lower.
"""
MIN_LIGHT = 0.65
"""Lightness of a cluster as a fraction of that of the highest sky cluster."""
MAX_WARMER = 3.0
"""Units of CIE b by which sky may be yellower than the median of the images."""
MIN_HEIGHT = 0.68
"""Mean elevation of a cluster as a fraction of that of the highest sky cluster."""
MAX_DISTANCE = 9.0
"""Squared Mahalanobis distance of a pixel's colour from that of a sky cluster; 97 % of the cluster
are nearer (chi-squared with 3 degrees of freedom).
"""
MIN_ELEVATION = 0.01
"""Sine of the elevation above which a pixel can be sky at all."""
LIDAR_ELEVATION = 0.17
"""Sine of the elevation up to which a LiDAR sees."""
BEAM_SPACING = (0.028, 0.009)
"""Angles in radians that a LiDAR return covers, down and across: a little more than the spacing of
the returns.
"""


def sky_masks(
    images: Sequence[np.ndarray],
    intrinsics: Sequence[np.ndarray],
    world_from_camera: Sequence[np.ndarray],
    surface_pixels: Sequence[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Masks of the pixels that see the sky, in images of one instant.

    The pixels above the horizon are clustered by colour and texture. Clusters that are bright,
    smooth, not warm and high up are sky, such as the blue, the clouds and the haze. Each pixel is
    then decided by the colour of these clusters, a linear function of the elevation; regions
    without a pixel of the cluster are left out, and so are regions in which the LiDAR hits a
    surface.

    Args:
        images: uint8 ``[H, W, 3]`` each, RGB; sizes may differ.
        intrinsics: ``[3, 3]`` each, in pixels of its image.
        world_from_camera: ``[4, 4]`` each, for any world frame whose z axis points up.
        surface_pixels: ``[N, 2]`` each, (column, row) of the LiDAR returns as ``project_points``
            gives them, NaN behind the camera; None without LiDAR.

    Returns:
        bool ``[H, W]`` for each image.

    Raises:
        ValueError: the numbers of images and cameras differ.
    """
    if (
        not len(images)
        == len(intrinsics)
        == len(world_from_camera)
        == len(surface_pixels or images)
    ):
        raise ValueError(
            "sky_masks needs a camera (and, where given, surface_pixels) for each image, got "
            f"{len(images)} images, {len(intrinsics)} intrinsics, {len(world_from_camera)} poses "
            f"and {len(surface_pixels or images)} surface_pixels"
        )
    if not images:
        return []
    elevations = [
        _elevation(image.shape[:2], *camera)
        for image, *camera in zip(images, intrinsics, world_from_camera, strict=True)
    ]
    appearances = [_appearance(image) for image in images]
    sky = [np.zeros(elevation.shape, dtype=bool) for elevation in elevations]
    for cluster in _sky_clusters(appearances, elevations):
        like = cluster
        for _ in range(2):  # the second time from everything that the first has found
            like = _like(like, cluster, appearances, elevations)
        sky = [found | more for found, more in zip(sky, like, strict=True)]
    if surface_pixels is None:
        return sky
    return [
        _without_surfaces(*image)
        for image in zip(sky, elevations, intrinsics, surface_pixels, strict=True)
    ]


def _elevation(
    size: tuple[int, int], intrinsics: np.ndarray, world_from_camera: np.ndarray
) -> np.ndarray:
    """Sine of the angle between each pixel's ray and the horizon [H, W]."""
    column, row = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    pixels = np.stack([column, row, np.ones_like(column)], axis=-1)
    rays = pixels @ (world_from_camera[:3, :3] @ np.linalg.inv(intrinsics)).T
    return rays[..., 2] / np.linalg.norm(rays, axis=-1)


def _appearance(image: np.ndarray) -> np.ndarray:
    """Denoised colour in CIE Lab, and texture, the logarithm of the mean gradient: [H, W, 4]."""
    smooth = cv2.bilateralFilter(cv2.medianBlur(image, 5), 7, 25, 5)
    colour = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    blurred = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2)
    across, down = (cv2.Sobel(blurred, cv2.CV_32F, x, y, scale=1 / 8) for x, y in ((1, 0), (0, 1)))
    gradient = cv2.boxFilter(np.hypot(across, down).max(axis=2), -1, (5, 5))
    return np.dstack([colour, 8 * np.log(gradient + 0.5)]).astype(np.float32)


def _sky_clusters(
    appearances: list[np.ndarray], elevations: list[np.ndarray]
) -> list[list[np.ndarray]]:
    """For every cluster that is sky its masks [H, W], one an image."""
    above = [elevation > MIN_ELEVATION for elevation in elevations]
    pixels = np.concatenate(
        [appearance[up] for appearance, up in zip(appearances, above, strict=True)]
    )
    if len(pixels) < CLUSTERS:
        return []
    heights = np.concatenate(
        [elevation[up] for elevation, up in zip(elevations, above, strict=True)]
    )
    cv2.setRNGSeed(0)
    sample = np.random.default_rng(0).permutation(pixels)[:SAMPLES]
    until = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 0.1)
    _, _, centres = cv2.kmeans(  # type: ignore[call-overload]
        sample, CLUSTERS, None, until, 3, cv2.KMEANS_PP_CENTERS
    )
    nearest = np.stack([((pixels - centre) ** 2).sum(axis=1) for centre in centres]).argmin(axis=0)
    below = np.concatenate(
        [appearance[~up] for appearance, up in zip(appearances, above, strict=True)]
    )
    # The darker of the two: below mostly the road where sky fills the part above; at night whatever
    # the headlights do not reach.
    brightness = min(np.median(part[:, 0]) for part in (pixels, below) if len(part))
    warmth = np.median(np.concatenate([pixels, below])[:, 2])
    candidates = {
        cluster: (heights[nearest == cluster].mean(), light)
        for cluster, (light, _, yellow, texture) in enumerate(centres.tolist())
        if (nearest == cluster).mean() >= MIN_SHARE
        and light > brightness + MIN_BRIGHTER
        and yellow < warmth + MAX_WARMER
        and texture < MAX_TEXTURE
    }
    highest, highest_light = max(candidates.values(), default=(0.0, 0.0))
    ends = np.cumsum([np.count_nonzero(up) for up in above])[:-1]
    clusters = []
    for cluster, (height, light) in candidates.items():
        if height >= MIN_HEIGHT * highest and light >= MIN_LIGHT * highest_light:
            masks = [np.zeros(up.shape, dtype=bool) for up in above]
            for mask, up, part in zip(
                masks, above, np.split(nearest == cluster, ends), strict=True
            ):
                mask[up] = part
            clusters.append(masks)
    return clusters


def _like(
    sky: list[np.ndarray],
    seeds: list[np.ndarray],
    appearances: list[np.ndarray],
    elevations: list[np.ndarray],
) -> list[np.ndarray]:
    """The pixels above the horizon that look like ``sky``, in regions that contain seeds."""
    if sum(int(mask.sum()) for mask in sky) < 10:
        return [np.zeros(mask.shape, dtype=bool) for mask in sky]
    colour = np.concatenate(
        [appearance[mask][:, :3] for appearance, mask in zip(appearances, sky, strict=True)]
    )
    height = np.concatenate(
        [elevation[mask] for elevation, mask in zip(elevations, sky, strict=True)]
    )
    line, *_ = np.linalg.lstsq(np.stack([np.ones_like(height), height], axis=1), colour, rcond=None)
    covariance = np.cov((colour - line[0] - height[:, None] * line[1]).T) + 0.5 * np.eye(3)
    inverse = np.linalg.inv(covariance)
    found = []
    for seed, appearance, elevation in zip(seeds, appearances, elevations, strict=True):
        away = appearance[..., :3] - line[0] - elevation[..., None] * line[1]
        near = np.einsum("hwi,ij,hwj->hw", away, inverse, away) < MAX_DISTANCE
        near = cv2.morphologyEx(
            (near & (elevation > MIN_ELEVATION)).astype(np.uint8),
            cv2.MORPH_OPEN,
            np.ones((3, 3), np.uint8),
        )
        count, regions, statistics, _ = cv2.connectedComponentsWithStats(near, connectivity=4)
        area = statistics[:, cv2.CC_STAT_AREA]
        is_sky = (np.bincount(regions[seed], minlength=count) > area / 4) & (area > 20)
        is_sky[0] = False
        found.append(is_sky[regions])
    return found


def _without_surfaces(
    sky: np.ndarray, elevation: np.ndarray, intrinsics: np.ndarray, surface_pixels: np.ndarray
) -> np.ndarray:
    """The regions of ``sky`` in which less than half of the part that a LiDAR can see is hit."""
    returns = np.zeros(sky.shape, dtype=np.uint8)
    column, row = surface_pixels[np.isfinite(surface_pixels).all(axis=1)].round().astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < sky.shape[1]) & (row < sky.shape[0])
    returns[row[inside], column[inside]] = 1
    spacing = [round(intrinsics[0, 0] * radians) for radians in BEAM_SPACING]
    hit = cv2.dilate(returns, np.ones([max(3, pixels | 1) for pixels in spacing], np.uint8)) > 0
    count, regions = cv2.connectedComponents(sky.astype(np.uint8), connectivity=4)
    low = elevation < LIDAR_ELEVATION
    seen, hits = (np.bincount(regions[mask], minlength=count) for mask in (low, low & hit))
    is_sky = (hits <= seen / 2) | (seen <= 20)
    is_sky[0] = False
    kept: np.ndarray = is_sky[regions]
    return kept
