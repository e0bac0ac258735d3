"""Options of the frame assembler, which are parameters of the node and of ``occ_offline`` alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from occ_core.geometry.points import EGO_BOX_M
from occ_perception_ros.context import ContextConfig
from occ_perception_ros.messages import INTENSITY_MAX
from occ_perception_ros.ranges import range_problems, refuse
from occ_perception_ros.sync_config import SyncConfig, fit_problems
from occ_perception_ros.topics import CAMERAS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A part of a topic's name."""


@dataclass(frozen=True, kw_only=True)
class AssemblerConfig:
    """How messages become frames."""

    cameras: tuple[str, ...] = CAMERAS
    """Names of the cameras, in the model's order; empty: a rig with LiDAR alone."""
    lidar: bool = True
    """Whether there is a LiDAR; otherwise each image of the first camera that is due is answered,
    and camera offsets count from its stamp."""
    rectified_images: Literal["auto", "always", "never"] = "auto"
    """Whether images come rectified; auto: those of topics with "rect" in their name. Others are
    undistorted by their camera_info."""
    grid_frame: str = "lidar_top"
    """TF frame to which the voxel grid is fixed; it has to match the checkpoint's training."""
    world_frame: str = "map"
    """Fixed TF frame: the parent frame of the odometry or of the moving transforms on /tf."""
    calibration_file: str = ""
    """YAML file of static transforms and, optionally, camera models; empty: use /tf_static."""
    pose_timeout_s: float = field(default=0.2, metadata={"range": (0.0, 10.0), "dynamic": True})
    """How long to wait for a pose at a sweep's stamp before the nearest one is used, in sensor time
    and live in real time too; a sweep without any pose near it is given up after 4 s."""
    pose_tolerance_s: float = field(default=0.06, metadata={"range": (0.0, 10.0)})
    """How far outside the known poses the nearest pose may still be used."""
    max_speed_mps: float = field(default=70.0, metadata={"range": (1.0, 1000.0), "dynamic": True})
    """A vehicle that moves faster than this between two frames was relocated: memory is reset."""
    max_points: int = field(default=400_000, metadata={"range": (1, 100_000_000), "dynamic": True})
    """Frames with more points, those of all sweeps together, are thinned to at most this number."""
    intensity_max: float = field(
        default=INTENSITY_MAX, metadata={"range": (1e-3, 1e9), "dynamic": True}
    )
    """Largest intensity of the LiDAR, which becomes 255, the training's: 255, 1.0, 65535, ..."""
    ego_box_m: tuple[float, ...] = field(default=EGO_BOX_M, metadata={"dynamic": True})
    """Box around the vehicle whose LiDAR returns are dropped, as x_min, y_min, z_min, x_max, y_max,
    z_max in grid_frame, whatever the frame of the cloud; the default fits nuScenes' car."""
    ego_polygon_m: tuple[float, ...] = field(default=(), metadata={"dynamic": True})
    """Outline of the vehicle in grid_frame, seen from above, as x, y of each corner: it replaces x
    and y of ego_box_m, whose z still counts. Empty: the box."""
    sync: SyncConfig = SyncConfig()
    context: ContextConfig = ContextConfig()

    @property
    def anchor(self) -> str:
        """The input whose stamps are answered: ``points`` or, without LiDAR, the first camera."""
        return "points" if self.lidar else self.cameras[0]

    def __post_init__(self) -> None:
        refuse(self.problems())

    def problems(self) -> list[str]:
        """What is wrong with the values, one text each."""
        problems = []
        if len(set(self.cameras)) != len(self.cameras):
            problems.append(f"cameras must be distinct names, got {list(self.cameras)}")
        if wrong := [
            name for name in self.cameras if not _NAME.fullmatch(name) or name == "points"
        ]:
            problems.append(
                "cameras must be names of letters, digits and underscores, and none 'points', got "
                f"{wrong}"
            )
        if not self.cameras and not self.lidar:
            problems.append("without lidar there must be cameras, got none")
        if not self.grid_frame or not self.world_frame:
            problems.append("grid_frame and world_frame must not be empty")
        box = self.ego_box_m
        if len(box) != 6 or not all(
            low <= high for low, high in zip(box[:3], box[3:], strict=False)
        ):
            problems.append(
                f"ego_box_m must be x_min, y_min, z_min, x_max, y_max, z_max, got {list(box)}"
            )
        corners = len(self.ego_polygon_m)
        if corners % 2 or corners in (2, 4) or not all(map(isfinite, self.ego_polygon_m)):
            problems.append(
                "ego_polygon_m must be x, y of at least three corners, got "
                f"{list(self.ego_polygon_m)}"
            )
        return problems + range_problems(self) + fit_problems(self.cameras, self.sync)


def check_sensors(config: AssemblerConfig, uses_cameras: bool, uses_lidar: bool) -> None:
    """Checks that a model sees something of the vehicle's sensors.

    Args:
        config: the vehicle's sensors.
        uses_cameras: whether the model looks at images.
        uses_lidar: whether it looks at points.

    Raises:
        ValueError: it looks at none that the vehicle has.
    """
    if (uses_cameras and config.cameras) or (uses_lidar and config.lidar):
        return
    used = [name for name, use in (("images", uses_cameras), ("points", uses_lidar)) if use]
    raise ValueError(
        f"the checkpoint's model uses {' and '.join(used)} only, but the vehicle has "
        f"{len(config.cameras)} cameras and {'a' if config.lidar else 'no'} LiDAR; set cameras and "
        "lidar to what there is, or use another checkpoint"
    )
