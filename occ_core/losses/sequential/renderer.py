"""TACOcc's sequential volume renderer (section III-B): smoothed volume -> Gaussians -> images, and
the losses for the volume.

A network predicts the Gaussians from the volume. They alone are then optimised until their renders
match the images, and the result is the pseudo ground truth of the network's prediction (Eq. 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from occ_core.losses.photometric import photometric_loss
from occ_core.losses.sequential.anchors import Anchors, dual_source_anchors
from occ_core.losses.sequential.density_control import control_density
from occ_core.losses.sequential.target_views import TargetViews
from occ_core.losses.sequential.temporal_gaussians import (
    ParameterNetwork,
    TemporalGaussians,
    VelocityGate,
    parameter_consistency,
)
from occ_core.rendering.rasterize import RasterImages, rasterize
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
"""Learning rates of Adam in the inner optimisation, after those of 3D Gaussian splatting; here
offsets are in anchor sizes, and colours are logits.
"""


@dataclass(frozen=True, kw_only=True)
class SequentialRendererConfig:
    """What is rendered, and with which weights.

    Raises:
        ValueError: a field is out of range, or two contradict each other.
    """

    frames: int = 2
    """Number of keyframes whose views are rendered, the present one included. The paper has T = 5;
    time and memory of a step grow with it.
    """
    image_scale: float = 0.25
    """Size of the rendered images relative to that of the model's."""
    most_anchors: int = 8000
    """Maximum number of anchors at points, and of those at voxels."""
    inner_steps: int = 10
    """Number of steps of the inner optimisation."""
    ssim_weight: float = 0.2
    """lambda of L_rgb."""
    consistency_weight: float = 0.2
    """lambda of Eq. 5: ``(1 - lambda) L_occ + lambda L_pc``; 0 leaves out L_pc, and with it the
    inner optimisation.
    """
    photometric_weight: float = 0.0
    """Weight of L_rgb of the predicted Gaussians, which is added to Eq. 5."""
    density_control: bool = False
    """Clone, split and prune the Gaussians before L_rgb; not together with L_pc, which compares
    Gaussians one to one.
    """
    points: bool = True
    """Whether LiDAR points are anchors too (Table III, "DGA"), or voxels alone."""

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(
                "SequentialRendererConfig.frames must be at least 2, the present and one before, "
                f"got {self.frames}"
            )
        if not 0 < self.image_scale <= 1 or self.inner_steps < 1 or self.most_anchors < 1:
            raise ValueError(
                "SequentialRendererConfig needs image_scale in (0, 1], inner_steps and "
                f"most_anchors of 1 or more, got {self}"
            )
        if (
            not 0 <= self.consistency_weight < 1
            or not 0 <= self.ssim_weight <= 1
            or self.photometric_weight < 0
        ):
            raise ValueError(f"SequentialRendererConfig's weights must be in [0, 1), got {self}")
        if self.consistency_weight == self.photometric_weight == 0:
            raise ValueError(
                "SequentialRendererConfig.consistency_weight and photometric_weight are both 0; "
                "one of them must be above"
            )
        if self.density_control and self.consistency_weight > 0:
            raise ValueError(
                "SequentialRendererConfig.density_control changes the number of Gaussians, and "
                f"L_pc (consistency_weight {self.consistency_weight}) compares them one to one; "
                "set consistency_weight=0"
            )


class SequentialRendererLosses(NamedTuple):
    """The losses of one sample, or their means over a batch."""

    photometric: Float[Tensor, ""]
    """L_rgb of the predicted Gaussians; without gradient where its weight is 0."""
    refined: Float[Tensor, ""]
    """L_rgb before the last step of the inner optimisation; without gradient."""
    consistency: Float[Tensor, ""]
    """L_pc."""


class SequentialRenderer(nn.Module):
    """Predicts Gaussians from a volume, renders them and computes the losses.

    Args:
        channels: number of channels of the volume.
        grid: grid of the volume.
    """

    def __init__(self, channels: int, grid: VoxelGrid, config: SequentialRendererConfig) -> None:
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
        views: Sequence[TargetViews],
    ) -> SequentialRendererLosses:
        """The losses of one sample.

        Args:
            volume: temporally smoothed features.
            occupied: the voxels of the volume that are predicted occupied.
            points: as in ``Frame``.
            speed_mps: speed of every voxel, see ``voxel_speed``.
            views: those of this frame, and of frames before.
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
            gradient = self._anchor_gradient(initial, anchors, views)
            initial, anchors = control_density(initial, anchors, gradient)
        if self.config.consistency_weight == 0:
            photometric = self._photometric(initial, anchors, views)
            zero = photometric.new_zeros(())
            return SequentialRendererLosses(photometric, photometric.detach(), zero)
        final, losses = self.refine(initial, anchors, views)
        photometric = losses[0]
        if self.config.photometric_weight > 0:
            photometric = self._photometric(initial, anchors, views)
        consistency = parameter_consistency(initial, final)
        return SequentialRendererLosses(photometric, losses[-1], consistency)

    def refine(
        self, initial: TemporalGaussians, anchors: Anchors, views: Sequence[TargetViews]
    ) -> tuple[TemporalGaussians, Float[Tensor, " step"]]:
        """The Gaussians after the inner optimisation, and L_rgb before each of its steps.

        Their number does not change, and no gradient flows through the optimisation.
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

    def render(
        self, gaussians: TemporalGaussians, anchors: Anchors, views: TargetViews
    ) -> RasterImages:
        """The Gaussians as the cameras of ``views`` see them, at their time."""
        return rasterize(gaussians.at(views.time_s, anchors), views.cameras)

    def _photometric(
        self, gaussians: TemporalGaussians, anchors: Anchors, views: Sequence[TargetViews]
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

    def _anchor_gradient(
        self, gaussians: TemporalGaussians, anchors: Anchors, views: Sequence[TargetViews]
    ) -> Float[Tensor, "gaussian 3"]:
        """Gradient of L_rgb at the anchors of the Gaussians, in 1/m."""
        centres = anchors.centres.detach().clone().requires_grad_()
        with torch.enable_grad():
            loss = self._photometric(_leaves(gaussians), anchors._replace(centres=centres), views)
        return torch.autograd.grad(loss, centres)[0]


def _leaves(gaussians: TemporalGaussians) -> TemporalGaussians:
    return TemporalGaussians(*(part.detach().clone().requires_grad_() for part in gaussians))
