"""GaussRender (section 3): the prediction and the truth, rendered from a moving camera and from
above, must look alike.

Plugs into any model that predicts voxels::

    loss = GaussRenderLoss(grid)
    total = loss_3d + loss(logits, labels, sensors, random).total  # Eq. 1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from occ_core.head import dense_logits
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import Rendered, render_each
from occ_core.rendering.virtual_cameras import (
    STANDING,
    Strategy,
    camera_above,
    pinhole_above,
    view_weights,
    virtual_camera,
    worst_place,
)
from occ_core.rendering.voxel_gaussians import (
    SCALE,
    OpacityNetwork,
    cascade_gaussians,
    predicted_gaussians,
    true_gaussians,
)
from occ_core.taxonomy import IGNORE, NUM_CLASSES
from occ_core.types import Gaussians, HeadOutput
from occ_core.voxel_grid import VoxelGrid


@dataclass(frozen=True, kw_only=True)
class GaussRenderConfig:
    """What is rendered, and how much it counts; the defaults are the paper's, see ``released``."""

    strategy: Strategy = "elevated_around"
    above: Literal["orthographic", "pinhole"] = "orthographic"
    scale: float = SCALE
    """Standard deviation of a Gaussian, in voxels."""
    weight: float = 15.0
    """lambda of Eq. 1, beside a cross entropy that counts 10, as in the authors' code; where that
    counts 1, take a tenth.
    """
    camera: bool = True
    """Semantics from the moving camera; the switches are Table 6's."""
    camera_depth: bool = True
    bev: bool = True
    bev_depth: bool = True

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.weight <= 0:
            raise ValueError(f"GaussRenderConfig needs a scale and a weight above 0, got {self}")
        if not (self.camera or self.camera_depth or self.bev or self.bev_depth):
            raise ValueError("GaussRenderConfig: every term is off; nothing would be taught")


def released() -> GaussRenderConfig:
    """What the authors' code does, where it differs from their paper."""
    return GaussRenderConfig(strategy="lifted", above="pinhole", weight=10.0)


class GaussRenderLosses(NamedTuple):
    """Eq. 4's terms, means over the batch, and Eq. 1's second summand; a term that is off is 0."""

    camera: Float[Tensor, ""]
    camera_depth: Float[Tensor, ""]
    bev: Float[Tensor, ""]
    bev_depth: Float[Tensor, ""]
    total: Float[Tensor, ""]
    """lambda L_2D: to be added to the loss of the voxels."""


class _View(NamedTuple):
    """One camera of a sample, and what becomes of its render."""

    camera: Cameras
    far_m: float
    """What depths are divided by."""
    stands: bool
    """Sees the same in every epoch."""
    term: int
    """The place of its semantics among Eq. 4's terms; its depth's is the next."""


class GaussRenderLoss(nn.Module):
    """L_2D of Eq. 6 for one camera drawn per sample, and one above.

    Args:
        grid: of the voxels.
        feature_channels: of the voxel features that opacity is learned from; 0 derives it from the
            empty class's logit.
        cache: where renders of truths are kept, of cameras that do not move from epoch to epoch;
            None renders them every time.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        config: GaussRenderConfig = GaussRenderConfig(),
        classes: int = NUM_CLASSES,
        feature_channels: int = 0,
        cache: TruthCache | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.config, self.classes, self.cache = grid, config, classes, cache
        self.opacity = OpacityNetwork(feature_channels) if feature_channels else None

    def forward(
        self,
        logits: Float[Tensor, "batch class x y z"],
        labels: UInt8[Tensor, "batch x y z"],
        sensors: Sequence[Cameras],
        random: np.random.Generator,
        features: Float[Tensor, "batch channel x y z"] | None = None,
    ) -> GaussRenderLosses:
        """Renders prediction and truth of every sample.

        Args:
            labels: class ids, 255 ignored: such voxels are left out on both sides.
            sensors: of every sample the cameras of the vehicle, at the size that is to be rendered;
                front and back, if there
                are six in nuScenes' order, are drawn twice as often as the others.
            random: draws the cameras.
            features: voxel features, where opacity is learned.
        """
        if (features is None) != (self.opacity is None):
            raise ValueError(
                "GaussRenderLoss takes features exactly where it was made with feature_channels"
            )

        def predicted(sample: int) -> Gaussians:
            opacity = (
                None if self.opacity is None or features is None else self.opacity(features[sample])
            )
            ignored = labels[sample] == IGNORE
            return predicted_gaussians(
                logits[sample], self.grid, opacity=opacity, ignored=ignored, scale=self.config.scale
            )

        zero = logits.flatten()[:0].sum()  # so that there is a gradient where nothing is rendered
        return self._compared(
            predicted, lambda sample: logits[sample], labels, sensors, random, zero
        )

    def of_cascade(
        self,
        output: HeadOutput,
        labels: UInt8[Tensor, "batch x y z"],
        sensors: Sequence[Cameras],
        random: np.random.Generator,
    ) -> GaussRenderLosses:
        """The same of a cascade's logits, which on the CPU are not made dense for it: faster."""
        if self.opacity is not None:
            raise ValueError(
                "GaussRenderLoss.of_cascade derives opacity; made with feature_channels, it takes "
                "dense logits"
            )
        ratio = self.grid.shape[0] // output.coarse.shape[2]
        counts = output.children[:, 0].bincount(minlength=len(sensors)).tolist()
        parts = list(zip(output.fine.split(counts), output.children.split(counts), strict=True))

        def predicted(sample: int) -> Gaussians:
            fine, children = parts[sample]
            ignored = labels[sample] == IGNORE
            if labels.device.type != "cpu":
                return predicted_gaussians(
                    logits(sample), self.grid, ignored=ignored, scale=self.config.scale
                )
            return cascade_gaussians(
                output.coarse[sample],
                fine,
                children[:, 1:],
                self.grid,
                ignored=ignored,
                scale=self.config.scale,
            )

        def logits(sample: int) -> Tensor:
            fine, children = parts[sample]
            children = torch.cat([torch.zeros_like(children[:, :1]), children[:, 1:]], dim=1)
            return dense_logits(
                HeadOutput(output.coarse[sample : sample + 1], fine, children), ratio
            )[0]

        return self._compared(
            predicted, logits, labels, sensors, random, output.coarse.flatten()[:0].sum()
        )

    def _compared(
        self,
        predicted: Callable[[int], Gaussians],
        logits: Callable[[int], Tensor],
        labels: Tensor,
        sensors: Sequence[Cameras],
        random: np.random.Generator,
        zero: Tensor,
    ) -> GaussRenderLosses:
        """Every sample's Gaussians against its truth; ``logits``, of a sample, are asked for where
        errors draw the camera.
        """
        sums = [zero, zero, zero, zero]
        for sample, cameras in enumerate(sensors):
            views: list[_View] = []
            if (self.config.camera or self.config.camera_depth) and len(cameras.intrinsics):
                views.append(self._camera(logits, sample, labels[sample], cameras, random))
            if self.config.bev or self.config.bev_depth:
                views.append(self._above(labels.device))
            if not views:
                continue
            predictions = render_each(predicted(sample), [view.camera for view in views])
            for view, prediction, truth in zip(
                views, predictions, self._truths(labels[sample], views), strict=True
            ):
                semantics, depth = difference(prediction, truth, view.far_m)
                sums[view.term], sums[view.term + 1] = (
                    sums[view.term] + semantics,
                    sums[view.term + 1] + depth,
                )
        switches = (
            self.config.camera,
            self.config.camera_depth,
            self.config.bev,
            self.config.bev_depth,
        )
        terms = [one / len(sensors) * switch for one, switch in zip(sums, switches, strict=True)]
        camera, camera_depth, bev, bev_depth = terms
        return GaussRenderLosses(
            camera, camera_depth, bev, bev_depth, self.config.weight * torch.stack(terms).sum()
        )

    def _truths(self, labels: Tensor, views: Sequence[_View]) -> list[Rendered]:
        def rendered(cameras: Sequence[Cameras]) -> list[Rendered]:
            return render_each(
                true_gaussians(labels, self.classes, self.grid, scale=self.config.scale), cameras
            )

        def alone(view: _View) -> Rendered:
            return rendered([view.camera])[0]

        cache, settings = self.cache, (self.grid, self.classes, self.config.scale)
        if cache is None:
            return rendered([view.camera for view in views])
        return [
            cache(labels, view.camera, settings, partial(alone, view))
            if view.stands
            else alone(view)
            for view in views
        ]

    def _camera(
        self,
        logits: Callable[[int], Tensor],
        sample: int,
        labels: Tensor,
        cameras: Cameras,
        random: np.random.Generator,
    ) -> _View:
        target = None
        if self.config.strategy == "dynamic":
            with torch.no_grad():
                said = logits(sample)[None].float()
                errors = F.cross_entropy(
                    said, labels[None].long(), reduction="none", ignore_index=IGNORE
                )
                target = worst_place(errors[0], self.grid)
        camera = virtual_camera(
            self.config.strategy, cameras, view_weights(cameras), self.grid, random, target
        )
        far_m = max(abs(side) for side in self.grid.range_m[:2] + self.grid.range_m[3:5])
        return _View(camera, far_m, self.config.strategy in STANDING, 0)

    def _above(self, device: torch.device) -> _View:
        """Depths are divided by the grid's width, as high as the released camera stands, whichever
        camera it is.

        Divided by the few metres below the orthographic one, depth would outweigh every other term.
        """
        orthographic = self.config.above == "orthographic"
        camera = (
            camera_above(self.grid, 1, device)
            if orthographic
            else pinhole_above(self.grid, device=device)
        )
        return _View(camera, self.grid.range_m[3] - self.grid.range_m[0], True, 2)


def difference(
    predicted: Rendered, true: Rendered, far_m: float, least_depth_m: float = 0.1
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Eq. 4: mean absolute differences of semantics and of depth over ``far_m``, the latter where
    the truth has something.
    """
    semantics = (predicted.semantics - true.semantics).abs().mean()
    there = true.depth_m > least_depth_m
    depth = (
        ((predicted.depth_m - true.depth_m).abs() * there).sum() / there.sum().clamp(min=1) / far_m
    )
    return semantics, depth
