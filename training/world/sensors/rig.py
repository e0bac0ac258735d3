"""The sensors of a car: six cameras and one LiDAR; ``NUSCENES_RIG`` has those of a nuScenes car.

Its positions and angles are rounded. Ego frame: x forward, y left, z up, origin on the ground below
the rear axle. Camera frame: x right, y down, z forward. LiDAR frame: x right, y forward, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from training.world.sensors.camera_look import CameraLook
from training.world.sensors.lidar_traits import IntensityResponse, LidarLosses, OwnRoof

FULL_SIZE = (900, 1600)
"""Image height and width in pixels to which the intrinsics of the cameras refer."""

_EGO_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera and its mount on the car."""

    channel: str
    position_m: tuple[float, float, float]
    yaw_deg: float
    """0 looks forward, positive to the left."""
    pitch_deg: float
    """Positive looks down."""
    focal_px: float
    """Focal length at ``FULL_SIZE``."""
    centre_px: tuple[float, float]
    """Principal point at ``FULL_SIZE``; pixel centres lie at integer coordinates."""
    delay_us: int
    """Time of exposure relative to the end of the LiDAR sweep; never positive.

    On the nuScenes cars, the LiDAR beam passes the camera at this time.
    """
    roll_deg: float = 0.0
    """Positive leans to the right."""
    look: CameraLook = CameraLook()
    """What its lens and its electronics do to the light."""

    @property
    def ego_from_camera(self) -> np.ndarray:
        """float64 [4, 4]."""
        pose = np.eye(4)
        pose[:3, :3] = (
            Rotation.from_euler("ZY", [self.yaw_deg, self.pitch_deg], degrees=True).as_matrix()
            @ Rotation.from_euler("X", self.roll_deg, degrees=True).as_matrix()
            @ _EGO_FROM_OPTICAL
        )
        pose[:3, 3] = self.position_m
        return pose

    def intrinsics(self, size: tuple[int, int] = FULL_SIZE) -> np.ndarray:
        """Pinhole matrix float64 [3, 3] for images of ``size`` (height, width).

        The image is scaled to the width; then rows are cropped or added at the top. With pixel
        centres at integer coordinates, scale s moves a coordinate c to (c + 0.5) s - 0.5.
        """
        scale = size[1] / FULL_SIZE[1]
        added_rows = size[0] - FULL_SIZE[0] * scale
        focal = self.focal_px * scale
        x, y = ((c + 0.5) * scale - 0.5 for c in self.centre_px)
        return np.array([[focal, 0.0, x], [0.0, focal, y + added_rows], [0.0, 0.0, 1.0]])


CAMERAS = (
    CameraSpec("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55.0, 0.0, 1266.0, (826.0, 480.0), -43_000),
    CameraSpec("CAM_FRONT", (1.70, 0.0, 1.51), 0.0, 0.3, 1266.0, (816.0, 491.0), -35_500),
    CameraSpec("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55.0, 0.7, 1266.0, (808.0, 495.0), -27_500),
    CameraSpec("CAM_BACK_LEFT", (1.04, 0.48, 1.59), 110.0, 0.9, 1266.0, (792.0, 492.0), -500),
    CameraSpec("CAM_BACK", (0.03, 0.0, 1.58), 180.0, -0.9, 809.0, (829.0, 482.0), -10_500),
    CameraSpec("CAM_BACK_RIGHT", (1.01, -0.48, 1.56), -110.0, 0.9, 1266.0, (807.0, 501.0), -20_000),
)
"""In the order of the image batch.

The LiDAR beam passes front left, front, front right, back right, back, back left.
"""


@dataclass(frozen=True)
class LidarSpec:
    """A LiDAR that spins clockwise seen from above, and its mount on the car.

    The defaults are those of the nuScenes cars (HDL-32E).
    """

    channel: str = "LIDAR_TOP"
    position_m: tuple[float, float, float] = (0.94, 0.0, 1.84)
    yaw_deg: float = -90.0
    beams: int = 32
    lowest_deg: float = -30.67
    """Elevation of ring 0."""
    step_deg: float = 4.0 / 3.0
    """Elevation between two rings; 0 where it varies."""
    fan_deg: tuple[float, ...] = ()
    """Elevation of each ring, lowest first, where the step between two varies."""
    columns: int = 1084
    """Firings in one revolution."""
    period_us: int = 50_000
    """Duration of one revolution."""
    first_azimuth_deg: float = -97.0
    """Clockwise from straight ahead: a revolution begins and ends on the left, a little behind."""
    max_range_m: float = 100.0
    range_noise_m: float = 0.02
    """Standard deviation of a measured range."""
    detection_limit: float = 1.4e-6
    """Reflectivity x cosine^0.5 / range^2 at which half the beams return."""
    dropout: float = 0.01
    """Fraction of the returns that are lost for no reason."""
    reports_lost: bool = True
    """Whether its files hold the beams without return too, at the origin as in nuScenes."""
    roof: OwnRoof = OwnRoof()
    response: IntensityResponse = IntensityResponse()
    losses: LidarLosses = LidarLosses()

    def __post_init__(self) -> None:
        if self.fan_deg and len(self.fan_deg) != self.beams:
            raise ValueError(f"{self.beams} beams have {len(self.fan_deg)} elevations in fan_deg")

    @property
    def ego_from_lidar(self) -> np.ndarray:
        """float64 [4, 4]."""
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("Z", self.yaw_deg, degrees=True).as_matrix()
        pose[:3, 3] = self.position_m
        return pose

    @property
    def elevations_deg(self) -> np.ndarray:
        """float64 [beams], lowest first: ring r has ``elevations_deg[r]``."""
        if self.fan_deg:
            return np.array(self.fan_deg)
        return self.lowest_deg + self.step_deg * np.arange(self.beams)

    @property
    def azimuths_deg(self) -> np.ndarray:
        """float64 [columns], clockwise from straight ahead, in firing order."""
        return self.first_azimuth_deg + 360.0 / self.columns * np.arange(self.columns)

    def directions(self) -> np.ndarray:
        """Unit vectors float64 [columns, beams, 3] of the beams in the LiDAR frame."""
        azimuth = np.radians(self.azimuths_deg)[:, None]
        elevation = np.radians(self.elevations_deg)[None]
        horizontal = np.cos(elevation)
        x, y = horizontal * np.sin(azimuth), horizontal * np.cos(azimuth)
        return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], axis=-1)

    def firing_delays_s(self) -> np.ndarray:
        """Firing times relative to the end of the sweep, float64 [columns]; the last is 0."""
        return (np.arange(1, self.columns + 1) / self.columns - 1.0) * self.period_us * 1e-6


LIDAR = LidarSpec()


@dataclass(frozen=True)
class Rig:
    """All sensors of a car."""

    cameras: tuple[CameraSpec, ...]
    """In the order of the image batch."""
    lidar: LidarSpec
    follows_beam: bool = True
    """Whether each camera fires when the LiDAR's beam passes it; otherwise all fire at once."""

    @property
    def seam_camera(self) -> str:
        """Channel of the camera that looks to where a LiDAR revolution ends and the next begins."""
        seam_deg = self.lidar.yaw_deg + 90.0 - self.lidar.first_azimuth_deg
        away_deg = [(c.yaw_deg - seam_deg + 180.0) % 360.0 - 180.0 for c in self.cameras]
        return self.cameras[int(np.argmin(np.abs(away_deg)))].channel


NUSCENES_RIG = Rig(CAMERAS, LIDAR)
