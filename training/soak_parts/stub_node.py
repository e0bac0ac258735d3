"""The real node with a quick engine: ``python -m training.soak_parts.stub_node [ARGUMENTS]``.

Everything but the network is the node's own, its arguments too. The engine takes a random time,
sometimes longer than the pause between two frames.
"""

from __future__ import annotations

import time

import numpy as np
import simplejpeg
import torch

from occ_core.types import Frame, Occupancy
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros import occupancy_node
from occ_perception_ros.image_files import decode_image_file
from occ_perception_ros.node_config import NodeConfig

GRID = VoxelGrid((-40.0, -40.0, -4.0, 40.0, 40.0, 4.0), 2.0)
IMAGE_SIZE = (32, 48)
_STEP_S, _LONG_STEP_S, _LONG_SHARE = (0.002, 0.03), (0.2, 0.6), 0.03


class StubEngine:
    """A voxel is occupied where there is a point; its class is 1 + the number of cameras."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def step(self, frame: Frame) -> Occupancy:
        """Answers a frame of batch size 1 after a random time."""
        is_long = self._generator.random() < _LONG_SHARE
        time.sleep(self._generator.uniform(*(_LONG_STEP_S if is_long else _STEP_S)))
        labels = torch.zeros((1, *GRID.shape), dtype=torch.uint8)
        index = GRID.index(frame.points[0][:, :3])
        index = index[GRID.contains(index)]
        labels[0, index[:, 0], index[:, 1], index[:, 2]] = 1 + int(frame.camera_mask.sum())
        return Occupancy(labels, labels.float() / 16, GRID, frame.stamp_ns, "lidar")

    def reset(self, reason: str) -> None:
        """Has no memory to forget."""


def load_stub(config: NodeConfig) -> tuple[StubEngine, tuple[int, int]]:
    """The engine and its image size, as ``occupancy_node.load_engine`` returns them."""
    height, width = IMAGE_SIZE
    # Compiles the check for damage, which takes longer than many frames.
    decode_image_file(simplejpeg.encode_jpeg(np.zeros((height, width, 3), np.uint8)))
    return StubEngine(), IMAGE_SIZE


if __name__ == "__main__":
    occupancy_node.load_engine = load_stub
    occupancy_node.main()
