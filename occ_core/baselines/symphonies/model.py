"""Symphonies: cameras -> instance queries and voxels that inform one another (Jiang et al., CVPR
2024), as the third host of GaussRender.

The original has one camera; here every camera has the instance queries, and a voxel hears those of
all cameras. Where it reads a stored depth map, a layer predicts depth, which the LiDAR supervises
in training (``depth_logits``).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from occ_core.baselines.deformable_attention import project
from occ_core.baselines.symphonies.layer import (
    DilatedConvolutions,
    InstancePlaces,
    SymphoniesLayer,
    VoxelPlaces,
    VoxelProposal,
    over_images,
)
from occ_core.config import OccupancyConfig, SymphoniesConfig
from occ_core.image_encoder import ImagePyramid
from occ_core.interface import Prediction, VisibleCameras, VoxelModel, visible_cameras
from occ_core.prompts import NoPrompts
from occ_core.types import Frame, HeadOutput, TemporalMemory
from occ_core.view_transform import cell_rays

STRIDE = 8
"""Pixels per cell of the finest feature map."""
CAMERAS = 6
"""Number of learned camera embeddings."""


class Symphonies(VoxelModel):
    """Voxel proposals from depth, then layers of serial instance-propagated attention, then a
    classification of every voxel.
    """

    image_encoder: ImagePyramid

    def __init__(self, config: OccupancyConfig, baseline: SymphoniesConfig) -> None:
        super().__init__(config, ImagePyramid(config.image_encoder, baseline.levels))
        self.prompts = NoPrompts()
        self.grid, channels = config.grid.coarser(baseline.ratio), baseline.channels
        centres = self.grid.all_centres().view(-1, 1, 3)  # one reference point per voxel
        self.register_buffer("centres", centres, persistent=False)
        self.enter = nn.Conv2d(config.image_encoder.out_channels, channels, 1)
        self.depth = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, config.depth.count, 1),
        )
        self.camera = nn.Parameter(torch.randn(CAMERAS, channels) * 0.02)
        self.scene = nn.Parameter(torch.randn(len(centres), channels) * 0.02)
        self.axes = nn.ParameterList(
            torch.randn(cells, channels) * 0.02 for cells in self.grid.shape
        )  # learned positions along x, y and z
        self.instances = nn.Parameter(torch.randn(baseline.instances, channels) * 0.02)
        self.instance_position = nn.Parameter(torch.randn(baseline.instances, channels) * 0.02)
        self.place = nn.Parameter(torch.rand(baseline.instances, 2).logit(eps=0.05))
        self.proposal = VoxelProposal(baseline)
        self.layers = nn.ModuleList(
            SymphoniesLayer(baseline, is_last=number == baseline.layers - 1)
            for number in range(baseline.layers)
        )
        self.context = DilatedConvolutions(channels)
        self.finer = nn.Sequential(
            nn.ConvTranspose3d(channels, channels, baseline.ratio, stride=baseline.ratio),
            nn.GroupNorm(8, channels),
            nn.ReLU(inplace=True),
        )
        self.classify = nn.Conv3d(channels, len(config.labels.names), 1)

    def forward(
        self,
        frame: Frame,
        memory: TemporalMemory | None = None,
        prompted_classes: Bool[Tensor, "batch class"] | None = None,
    ) -> Prediction:
        """Predicts the logits of every voxel; memory and prompts are not used."""
        self.check(frame)
        cameras = visible_cameras(frame)
        sample, centres = cameras.sample, self.get_buffer("centres")
        levels = [self.enter(values) for values in self.image_encoder.levels(cameras.images)]
        depth_logits = self.depth(levels[0])  # [K, D, h, w]
        surface_m = self.surface(depth_logits, cameras)  # [K, h, w, 3]
        where, seen = project(
            centres, cameras.intrinsics, cameras.grid_from_camera, self.config.image_size
        )
        voxels = VoxelPlaces(
            self.position(),
            self.fractions(centres[:, 0]),
            over_images(seen, sample, frame.batch_size),
            self.grid.shape,
        )
        scene = self.scene.expand(frame.batch_size, -1, -1)  # [B, V, C]
        proposed = seen & self.proposed(surface_m)  # [K, V]
        scene = self.proposal(scene, voxels.position, where, proposed, sample, levels)
        instances = self.instances + self.camera[cameras.camera % CAMERAS][:, None]  # [K, Q, C]
        places = self.instance_places(surface_m, sample)
        for layer in self.layers:
            scene, instances = layer(
                scene, instances, self.instance_position, voxels, places, levels
            )
        volume = scene.transpose(1, 2).unflatten(2, self.grid.shape)
        volume = self.finer(self.context(volume))
        return Prediction(
            HeadOutput.dense(self.classify(volume)), volume=volume, depth_logits=depth_logits
        )

    def position(self) -> Float[Tensor, "voxel channel"]:
        """The learned position of each voxel: the sum of one along each axis."""
        x, y, z = self.axes
        return (x[:, None, None] + y[None, :, None] + z[None, None]).flatten(0, 2)

    def fractions(self, points_m: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Points in metres as fractions of the grid: 0 and 1 are its faces."""
        low, high = (points_m.new_tensor(side) for side in (self.grid.min_m, self.grid.range_m[3:]))
        return (points_m - low) / (high - low)

    @torch.no_grad()
    def surface(
        self, depth_logits: Float[Tensor, "image bin h w"], cameras: VisibleCameras
    ) -> Float[Tensor, "image h w 3"]:
        """The points in metres that the cells of the images show, at their most probable depth."""
        h, w = depth_logits.shape[2:]
        rays = cell_rays(cameras.intrinsics, cameras.grid_from_camera, (h, w), STRIDE)
        depth_m = self.config.depth.centres(rays.device)[depth_logits.argmax(dim=1)]
        return cameras.grid_from_camera[:, None, None, :3, 3] + depth_m[..., None] * rays

    def proposed(self, surface_m: Float[Tensor, "image h w 3"]) -> Bool[Tensor, "image voxel"]:
        """The voxels in which each image shows a point."""
        index = self.grid.index(surface_m)
        image, row, column = self.grid.contains(index).nonzero(as_tuple=True)
        shape = (len(surface_m), *self.grid.shape)
        found = torch.zeros(shape, dtype=torch.bool, device=surface_m.device)
        found[(image, *index[image, row, column].unbind(1))] = True
        return found.flatten(1)

    def instance_places(
        self, surface_m: Float[Tensor, "image h w 3"], sample: Int[Tensor, " image"]
    ) -> InstancePlaces:
        """The learned reference points of the instances, in the images and, by depth, in space."""
        pixel = self.place.sigmoid()  # [Q, 2]
        size = pixel.new_tensor([surface_m.shape[2], surface_m.shape[1]])
        column, row = (pixel.detach() * size).long().unbind(1)
        voxel = self.fractions(surface_m[:, row, column]).clamp(0, 1)  # [K, Q, 3]
        return InstancePlaces(pixel.expand(len(surface_m), -1, -1)[:, :, None], voxel, sample)
