"""TACOcc's sequential volume renderer (section III-B): smoothed volume -> Gaussians -> images, and
what they teach the volume.

The Gaussians are first made by a network from the volume; then they alone are optimised until they
look like the images; what they have become is the pseudo ground truth of what the network should
have made (Eq. 5). Training only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.losses.photometric import photometric_loss
from occ_core.losses.sequential.anchors import Anchors, dual_source_anchors
from occ_core.losses.sequential.density_control import control_density
from occ_core.losses.sequential.temporal_gaussians import (
    ParameterNetwork,
    TemporalGaussians,
    VelocityGate,
    parameter_consistency,
)
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.rendering.rasterize import Rendering, rasterize
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid

LEARNING_RATES = {
    "offset": 1e-2,
    "quaternion": 1e-3,
    "scale": 5e-3,
    "colour": 2.5e-2,
    "opacity": 5e-2,
    "centre_s": 1e-2,
    "width": 1e-2,
}
"""Of the inner optimisation by Adam, after 3D Gaussian splatting: offsets are in anchor sizes and
colours logits here.
"""


@dataclass(frozen=True, kw_only=True)
class RenderingConfig:
    """What is rendered, and how much it counts."""

    image_scale: float = 0.25
    """Of the model's images."""
    most_anchors: int = 8000
    """Of points, and of voxels."""
    inner_steps: int = 10
    """Steps of L_rgb on the Gaussians alone."""
    ssim_weight: float = 0.2
    """lambda of L_rgb."""
    consistency_weight: float = 0.2
    """lambda of Eq. 5: ``(1 - lambda) L_occ + lambda L_pc``; 0 leaves L_pc out, and the inner
    optimisation with it.
    """
    photometric_weight: float = 0.0
    """L_rgb of the initial Gaussians, straight to the features, beside Eq. 5."""
    density_control: bool = False
    """Of L_rgb alone: Gaussians are cloned, split and pruned before it. L_pc compares one to one,
    and their number must stay.
    """
    points: bool = True
    """Whether LiDAR points are anchors too (Table III, "DGA"); without, voxels alone are."""

    def __post_init__(self) -> None:
        if not 0 < self.image_scale <= 1 or self.inner_steps < 1 or self.most_anchors < 1:
            raise ValueError(
                "RenderingConfig needs image_scale in (0, 1], inner_steps and most_anchors of 1 "
                f"or more, got {self}"
            )
        if (
            not 0 <= self.consistency_weight < 1
            or not 0 <= self.ssim_weight <= 1
            or self.photometric_weight < 0
        ):
            raise ValueError(f"RenderingConfig's weights must be in [0, 1), got {self}")
        if self.consistency_weight == self.photometric_weight == 0:
            raise ValueError(
                "RenderingConfig.consistency_weight and photometric_weight are both 0: nothing "
                "would be taught"
            )
        if self.density_control and self.consistency_weight > 0:
            raise ValueError(
                "RenderingConfig.density_control changes the number of Gaussians, L_pc "
                "(consistency_weight "
                f"{self.consistency_weight}) compares them one to one; set consistency_weight=0"
            )


class View(NamedTuple):
    """Images of one instant that the Gaussians should look like."""

    time_s: float
    """After the frame; before it: negative."""
    cameras: Cameras
    images: Float[Tensor, "view 3 h w"]
    """RGB in [0, 1]."""
    valid: Bool[Tensor, "view h w"]
    """False: sky."""

    def seen_from(self, then_from_now: Float[Tensor, "4 4"], time_s: float) -> View:
        """The same view in the grid of a later frame.

        Args:
            then_from_now: float64, from the later frame's grid to this view's.
            time_s: of this view after that frame: negative.
        """
        moved = (self.cameras.camera_from_grid.double() @ then_from_now).float()
        return self._replace(time_s=time_s, cameras=replace(self.cameras, camera_from_grid=moved))


class RenderingLosses(NamedTuple):
    """What the renderer teaches; see ``total``."""

    photometric: Float[Tensor, ""]
    """L_rgb of the initial Gaussians; no gradient where its weight is 0."""
    refined: Float[Tensor, ""]
    """L_rgb before the last step of the inner optimisation; no gradient."""
    consistency: Float[Tensor, ""]
    """L_pc."""


class SequentialRenderer(nn.Module):
    """Gaussians for a volume, and the losses that they bring.

    Args:
        channels: of the volume.
        grid: of the volume.
    """

    def __init__(self, channels: int, grid: VoxelGrid, config: RenderingConfig) -> None:
        super().__init__()
        self.config = config
        self.grid = grid
        self.parameters_of = ParameterNetwork(channels, grid)
        self.gate = VelocityGate()

    def forward(
        self,
        volume: Float[Tensor, "1 channel x y z"],
        occupied: Bool[Tensor, "1 x y z"],
        points: Float[Tensor, "point 5"],
        speed_mps: Float[Tensor, "x y z"],
        views: Sequence[View],
    ) -> RenderingLosses:
        """Renders one sample.

        Args:
            volume: temporally smoothed features.
            occupied: its voxels that are taken for something.
            points: as in ``Frame``.
            speed_mps: of every voxel, see ``voxel_speed``.
            views: of this frame, and of frames before.
        """
        anchors = dual_source_anchors(
            points if self.config.points else points[:0],
            occupied[0],
            self.grid,
            self.config.most_anchors,
        )
        speed = speed_mps[self.grid.index(anchors.centres).unbind(1)]
        initial = self.gate(self.parameters_of(volume, anchors), speed)
        if self.config.density_control:
            initial, anchors = control_density(
                initial, anchors, self._pull(initial, anchors, views)
            )
        if self.config.consistency_weight == 0:
            photometric = self._photometric(initial, anchors, views)
            return RenderingLosses(photometric, photometric.detach(), photometric.new_zeros(()))
        final, losses = self.refine(initial, anchors, views)
        photometric = (
            self._photometric(initial, anchors, views)
            if self.config.photometric_weight > 0
            else losses[0]
        )
        return RenderingLosses(photometric, losses[-1], parameter_consistency(initial, final))

    def refine(
        self, initial: TemporalGaussians, anchors: Anchors, views: Sequence[View]
    ) -> tuple[TemporalGaussians, Float[Tensor, " step"]]:
        """The Gaussians after the inner optimisation by L_rgb, and L_rgb before each step of it.

        Their number stays. No gradient flows through it.
        """
        losses = []
        with torch.enable_grad():
            leaves = _leaves(initial)
            groups = [
                {"params": [leaf], "lr": LEARNING_RATES[name]}
                for name, leaf in leaves._asdict().items()
            ]
            optimiser = torch.optim.Adam(groups)
            for _ in range(self.config.inner_steps):
                optimiser.zero_grad()
                losses.append(self._photometric(leaves, anchors, views))
                losses[-1].backward()
                optimiser.step()
        return TemporalGaussians(*(leaf.detach() for leaf in leaves)), torch.stack(losses).detach()

    def render(self, gaussians: TemporalGaussians, anchors: Anchors, view: View) -> Rendering:
        """What a view would see."""
        return rasterize(gaussians.at(view.time_s, anchors), view.cameras)

    def _photometric(
        self, gaussians: TemporalGaussians, anchors: Anchors, views: Sequence[View]
    ) -> Tensor:
        losses = [
            photometric_loss(
                self.render(gaussians, anchors, view).image,
                view.images,
                view.valid,
                self.config.ssim_weight,
            )
            for view in views
        ]
        return torch.stack(losses).mean()

    def _pull(
        self, gaussians: TemporalGaussians, anchors: Anchors, views: Sequence[View]
    ) -> Float[Tensor, "gaussian 3"]:
        """Where L_rgb would have the Gaussians: its gradient at their anchors, in 1/m."""
        centres = anchors.centres.detach().clone().requires_grad_()
        with torch.enable_grad():
            loss = self._photometric(_leaves(gaussians), anchors._replace(centres=centres), views)
        return torch.autograd.grad(loss, centres)[0]


def _leaves(gaussians: TemporalGaussians) -> TemporalGaussians:
    return TemporalGaussians(*(part.detach().clone().requires_grad_() for part in gaussians))


def frame_views(frame: Frame, sample: int, scale: float, sky: Tensor | None = None) -> View:
    """The images of one sample of a frame at ``scale``, cameras that are missing left out.

    Args:
        sky: bool ``[camera, H, W]``, True where the sky is seen; None: nowhere.
    """
    there, cameras = frame.camera_mask[sample], frame_cameras(frame, sample, scale)
    images = F.interpolate(frame.images[sample, there].float() / 255, cameras.size, mode="area")
    valid = torch.ones(len(images), *cameras.size, dtype=torch.bool, device=images.device)
    if sky is not None:
        valid = F.adaptive_max_pool2d(sky[there][:, None].float(), cameras.size)[:, 0] == 0
    return View(0.0, cameras, images, valid)
