"""All parameters of the occupancy node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from occ_perception_ros.assembler_config import AssemblerConfig


@dataclass(frozen=True, kw_only=True)
class NodeConfig(AssemblerConfig):
    """All parameters of the node."""

    autostart: bool = True
    """Whether the node configures and activates itself at its start; otherwise a lifecycle manager
    has to, or `ros2 lifecycle set`."""
    checkpoint: str = ""
    """Model weights, a .safetensors file with a .json file of the same name; empty: the small model
    of the package."""
    exported_model: str = ""
    """A model that occ_export made, a .pt2 file with a .json file of the same name, instead of a
    checkpoint; it is a program, so take only files that you trust."""
    device: str = "auto"
    """Device of the model: auto (CUDA if available), cpu, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the model; auto: bfloat16 if the device supports it natively."""
    compressed_images: tuple[bool, ...] = (True,)
    """Whether images are sensor_msgs/CompressedImage (JPEG, PNG) instead of sensor_msgs/Image: one
    value per camera, or a single one for all."""
    input_qos: Literal["sensor_data", "reliable"] = "sensor_data"
    """Reliability of the subscriptions; sensor_data (best effort) is compatible with every
    publisher, reliable loses no message of a bag."""
    pose_source: Literal["odometry", "tf"] = "odometry"
    """Source of the vehicle's motion: ~/input/odometry, or /tf (needs tf2_msgs)."""
    vehicle_height_m: float = field(default=2.5, metadata={"range": (0.0, 10.0), "dynamic": True})
    """Obstacles higher than this above the road do not block the 2D map."""
    latched_grid: bool = False
    """Whether late subscribers get the last 2D map, as Nav2's static layer expects (transient local
    durability); it is then built for every frame, also without a subscriber."""
    marker_lifetime_s: float = field(
        default=3.0, metadata={"range": (0.0, 3600.0), "dynamic": True}
    )
    """How long RViz shows the markers of a frame unless new ones replace them, so that those of a
    node that ended vanish; longer than the time between two answers, or they flicker. 0: for
    ever."""
    max_processing_ms: float = field(
        default=500.0, metadata={"range": (1.0, 60_000.0), "dynamic": True}
    )
    """Processing time of a frame above which the diagnostics warn."""
    latency_goal_ms: float = field(
        default=0.0, metadata={"range": (0.0, 60_000.0), "dynamic": True}
    )
    """Processing time that frames are to take: where they take longer, fewer voxels are refined.
    0: as long as they take."""
    max_delays: int = field(default=20, metadata={"range": (1, 100_000), "dynamic": True})
    """Number of such frames in a row after which the diagnostics show an error."""
    max_clock_offset_s: float = field(
        default=0.5, metadata={"range": (0.01, 3600.0), "dynamic": True}
    )
    """Difference of a sensor's stamps from the LiDAR's, as they arrive, above which the diagnostics
    warn of its clock."""
    max_failures: int = field(default=10, metadata={"range": (1, 1000)})
    """Number of failed frames in a row after which the node ends."""

    def problems(self) -> list[str]:
        """What is wrong with the values, one text each."""
        problems = super().problems()
        if self.device not in ("auto", "cpu", "cuda") and not (
            self.device.startswith("cuda:") and self.device[5:].isdigit()
        ):
            problems.append(f"device must be auto, cpu, cuda or cuda:N, got '{self.device}'")
        if self.checkpoint and self.exported_model:
            problems.append(
                f"checkpoint '{self.checkpoint}' and exported_model '{self.exported_model}' are "
                "two models; give one of them"
            )
        if len(self.compressed_images) not in (1, len(self.cameras)):
            problems.append(
                f"compressed_images holds {len(self.compressed_images)} values, but there are "
                f"{len(self.cameras)} cameras; give one for all, or one per camera"
            )
        if 0 < self.marker_lifetime_s <= self.sync.frame_period_s:
            problems.append(
                f"marker_lifetime_s must be 0 or longer than sync.frame_period_s "
                f"({self.sync.frame_period_s}), or the markers flicker; got "
                f"{self.marker_lifetime_s}"
            )
        return problems

    def compressed_by_camera(self) -> dict[str, bool]:
        """Whether each camera's images are compressed, by name."""
        values = self.compressed_images
        if len(values) == 1:
            values *= len(self.cameras)
        return dict(zip(self.cameras, values, strict=True))
