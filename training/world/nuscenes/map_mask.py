"""The map image of a scene and the coordinate frame of its tables."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.world.scene import Drive

_DRIVEABLE = list(LIDARSEG_CATEGORIES).index("flat.driveable_surface")
_PIXELS_PER_M = 10
_MARGIN_M = 60.0


@dataclass(frozen=True)
class MapFrame:
    """A frame parallel to the world's, with its origin at the south-west corner of the map image.

    nuScenes gives all poses in such a frame.
    """

    corner_m: np.ndarray
    """float64 [2], in the world frame."""
    extent_m: np.ndarray
    """float64 [2], size of the map from west to east and from south to north."""

    def map_from_body(self, world_from_body: np.ndarray) -> np.ndarray:
        """The pose [4, 4] of a body in this frame."""
        map_from_body = world_from_body.copy()
        map_from_body[:2, 3] -= self.corner_m
        return map_from_body


def map_frame(drive: Drive) -> MapFrame:
    """The frame of a map that contains the way of the ego vehicle with a margin."""
    times = np.arange(0.0, drive.duration_s + 0.25, 0.5)
    path = np.array([drive.world_from_ego(time_s)[:2, 3] for time_s in times])
    return MapFrame(path.min(0) - _MARGIN_M, np.ptp(path, axis=0) + 2 * _MARGIN_M)


def draw_map(drive: Drive, frame: MapFrame) -> np.ndarray:
    """Image uint8 [H, W] of the driveable surface (255), 10 pixels a metre, north at the top."""
    width, height = (int(np.ceil(edge * _PIXELS_PER_M)) for edge in frame.extent_m)
    mesh = drive.static
    corners = mesh.vertices[mesh.triangles[mesh.category == _DRIVEABLE], :2] - frame.corner_m
    pixels = np.round(corners * _PIXELS_PER_M).astype(np.int32)
    pixels[..., 1] = height - 1 - pixels[..., 1]
    image = np.zeros((height, width), np.uint8)
    for triangle in pixels:
        cv2.fillConvexPoly(image, triangle, 255)
    return image
