"""GaussRender's loss (section 3): the prediction and the truth, rendered from a moving camera and
from above, must look alike.

It plugs into any model that predicts voxels::

    loss = GaussRenderLoss(grid)
    total = loss_3d + loss(logits, labels, sensors, random).total  # Eq. 1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from occ_core.head import dense_logits
from occ_core.losses.gauss_render.opacity import OpacityNetwork
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.rendering.bev_cameras import bev_camera, bev_pinhole
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import SemanticImage, render_many
from occ_core.rendering.virtual_cameras import (
    STATIC_STRATEGIES,
    Strategy,
    view_weights,
    virtual_camera,
    worst_location,
)
from occ_core.rendering.voxel_gaussians import (
    MIN_OPACITY,
    SCALE,
    cascade_gaussians,
    centred_inside,
    predicted_gaussians,
    true_gaussians,
)
from occ_core.taxonomy import EMPTY, IGNORE, NUM_CLASSES
from occ_core.types import Gaussians, HeadOutput
from occ_core.voxel_grid import VoxelGrid


@dataclass(frozen=True, kw_only=True)
class GaussRenderConfig:
    """What is rendered, and with which weight; the defaults are those of the paper."""

    strategy: Strategy = "elevated_around"
    above: Literal["orthographic", "pinhole"] = "orthographic"
    scale: float = SCALE
    """Standard deviation of a Gaussian, in voxels."""
    weight: float = 15.0
    """lambda of Eq. 1, for a voxel loss whose cross entropy has weight 10, as in the authors' code;
    where it has weight 1, use a tenth.
    """
    camera: bool = True
    """Semantics from the moving camera; this and the next three are the switches of Table 6."""
    camera_depth: bool = True
    """Depth from the moving camera."""
    bev: bool = True
    """Semantics from above."""
    bev_depth: bool = True
    """Depth from above."""
    min_opacity: float = MIN_OPACITY
    """Voxels of a lower opacity are not rendered, and get no gradient. The default leaves out fog
    of voxels that are empty with a probability above 0.858; the authors' code has 1 / 255.
    """
    inside_only: bool = False
    """Leave out of the moving camera's view the voxels whose centre is outside the image, as the
    authors' code does; by default their parts that reach into it are drawn.
    """
    learned_opacity: bool = False
    """Training learns opacities from the features of the voxels (section 3.3), instead of deriving
    them from the probability of being empty.
    """
    max_depths_m: tuple[float, float] | None = None
    """Divisors of the depths from the moving camera and from above; None: half the width of the
    grid and the whole.
    """

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.weight <= 0:
            raise ValueError(f"GaussRenderConfig needs a scale and a weight above 0, got {self}")
        if not 0 <= self.min_opacity < 1 or min(self.max_depths_m or (1.0,)) <= 0:
            raise ValueError(
                "GaussRenderConfig needs min_opacity in [0, 1) and max_depths_m above 0, got "
                f"{self.min_opacity} and {self.max_depths_m}"
            )
        if not (self.camera or self.camera_depth or self.bev or self.bev_depth):
            raise ValueError("GaussRenderConfig: every term is off; switch one on")


def authors_code(
    benchmark: Literal["surroundocc", "occ3d", "kitti360"] = "surroundocc",
) -> GaussRenderConfig:
    """The settings of the authors' code for a benchmark, where they differ from the paper. That for
    TPVFormer learns the opacity (``learned_opacity``), too.
    """
    released = GaussRenderConfig(
        strategy="sensor",
        above="pinhole",
        weight=10.0,
        min_opacity=1 / 255,
        inside_only=True,
        max_depths_m=(50.0, 100.0),
    )
    if benchmark == "surroundocc":
        return replace(released, strategy="lifted")
    # Gaussians of 0.27 m in voxels of 0.4 m; of 0.1 m in those of 0.2 m
    return replace(released, scale=0.27 / 0.4 if benchmark == "occ3d" else SCALE)


class GaussRenderLosses(NamedTuple):
    """The terms of Eq. 4 as means over the batch, 0 where a term is off, and their weighted sum."""

    camera: Float[Tensor, ""]
    camera_depth: Float[Tensor, ""]
    bev: Float[Tensor, ""]
    bev_depth: Float[Tensor, ""]
    total: Float[Tensor, ""]
    """lambda L_2D of Eq. 1, to be added to the loss of the voxels."""


class _VirtualView(NamedTuple):
    """A camera into which prediction and truth of one sample are rendered."""

    camera: Cameras
    max_depth_m: float
    """Divisor of the depths."""
    is_static: bool
    """Whether the view is the same in every epoch, so that its truth can be cached."""
    term: int
    """Position of its semantic term among those of Eq. 4; that of its depth follows."""

    @property
    def is_above(self) -> bool:
        """Whether it is the camera from above."""
        return self.term == 2


class GaussRenderLoss(nn.Module):
    """L_2D of Eq. 6, for one camera of each sample and one above it.

    Args:
        grid: grid of the voxels.
        classes: number of classes, the empty one included.
        feature_channels: number of channels of the voxel features from which opacity is learned; 0
            derives it from the probability of the empty class.
        cache: stores renders of truths from cameras that are the same in every epoch; None renders
            them every time.
        empty: id of the empty class.
    """

    def __init__(
        self,
        grid: VoxelGrid,
        config: GaussRenderConfig = GaussRenderConfig(),
        classes: int = NUM_CLASSES,
        feature_channels: int = 0,
        cache: TruthCache | None = None,
        empty: int = EMPTY,
    ) -> None:
        super().__init__()
        self.grid, self.config, self.cache = grid, config, cache
        self.classes, self.empty = classes, empty
        self.opacity = OpacityNetwork(feature_channels) if feature_channels else None

    def forward(
        self,
        logits: Float[Tensor, "batch class x y z"],
        labels: UInt8[Tensor, "batch x y z"],
        sensors: Sequence[Cameras],
        random: np.random.Generator,
        features: Float[Tensor, "batch channel x y z"] | None = None,
    ) -> GaussRenderLosses:
        """Renders prediction and truth of every sample and compares them.

        Args:
            labels: class ids; voxels of 255 are left out of prediction and truth.
            sensors: for every sample the cameras of the vehicle, at the size to render.
            random: draws the cameras.
            features: voxel features, where opacity is learned from them.

        Raises:
            ValueError: features are missing, or given without ``feature_channels``.
        """
        if (features is None) != (self.opacity is None):
            raise ValueError(
                "GaussRenderLoss needs features if, and only if, it has feature_channels"
            )

        def predicted(sample: int) -> Gaussians:
            opacity = None
            if self.opacity is not None and features is not None:
                opacity = self.opacity(features[sample])
            return predicted_gaussians(
                logits[sample],
                self.grid,
                opacity=opacity,
                ignored=labels[sample] == IGNORE,
                scale=self.config.scale,
                min_opacity=self.config.min_opacity,
                empty=self.empty,
            )

        def dense(sample: int) -> Tensor:
            return logits[sample]

        zero = logits.flatten()[:0].sum()  # so that there is a gradient where nothing is rendered
        return self._compare(predicted, dense, labels, sensors, random, zero)

    def from_cascade(
        self,
        output: HeadOutput,
        labels: UInt8[Tensor, "batch x y z"],
        sensors: Sequence[Cameras],
        random: np.random.Generator,
    ) -> GaussRenderLosses:
        """As ``forward``, from the logits of a cascade, which the CPU need not make dense.

        Raises:
            ValueError: opacity is learned from features.
        """
        if self.opacity is not None:
            raise ValueError(
                "GaussRenderLoss.from_cascade derives opacity; a loss with feature_channels takes "
                "dense logits"
            )
        ratio = self.grid.shape[0] // output.coarse.shape[2]
        counts = output.children[:, 0].bincount(minlength=len(sensors)).tolist()
        parts = list(zip(output.fine.split(counts), output.children.split(counts), strict=True))

        def predicted(sample: int) -> Gaussians:
            fine, children = parts[sample]
            return cascade_gaussians(
                output.coarse[sample],
                fine,
                children[:, 1:],
                self.grid,
                ignored=labels[sample] == IGNORE,
                scale=self.config.scale,
                min_opacity=self.config.min_opacity,
                empty=self.empty,
            )

        def dense(sample: int) -> Tensor:
            fine, children = parts[sample]
            children = torch.cat([torch.zeros_like(children[:, :1]), children[:, 1:]], dim=1)
            alone = HeadOutput(output.coarse[sample : sample + 1], fine, children)
            return dense_logits(alone, ratio)[0]

        zero = output.coarse.flatten()[:0].sum()
        return self._compare(predicted, dense, labels, sensors, random, zero)

    def _compare(
        self,
        predicted: Callable[[int], Gaussians],
        dense: Callable[[int], Tensor],
        labels: Tensor,
        sensors: Sequence[Cameras],
        random: np.random.Generator,
        zero: Tensor,
    ) -> GaussRenderLosses:
        """The losses of every sample's Gaussians; ``dense`` gives a sample's dense logits, which
        only the strategy ``dynamic`` needs.
        """
        config, sums = self.config, [zero, zero, zero, zero]
        for sample, cameras in enumerate(sensors):
            views: list[_VirtualView] = []
            if (config.camera or config.camera_depth) and len(cameras.intrinsics):
                views.append(self._camera_view(dense, sample, labels[sample], cameras, random))
            if config.bev or config.bev_depth:
                views.append(self._bev_view(labels.device))
            if not views:
                continue
            predictions = self._render(predicted(sample), views)
            truths = self._truths(labels[sample], views)
            for view, prediction, truth in zip(views, predictions, truths, strict=True):
                semantics, depth = image_losses(prediction, truth, view.max_depth_m)
                sums[view.term] = sums[view.term] + semantics
                sums[view.term + 1] = sums[view.term + 1] + depth
        switches = (config.camera, config.camera_depth, config.bev, config.bev_depth)
        terms = [
            total / len(sensors) * switch for total, switch in zip(sums, switches, strict=True)
        ]
        camera, camera_depth, bev, bev_depth = terms
        weighted = config.weight * torch.stack(terms).sum()
        return GaussRenderLosses(camera, camera_depth, bev, bev_depth, weighted)

    def _render(self, gaussians: Gaussians, views: Sequence[_VirtualView]) -> list[SemanticImage]:
        if not self.config.inside_only:
            return render_many(gaussians, [view.camera for view in views], self.empty)
        shown = [
            gaussians if view.is_above else centred_inside(gaussians, view.camera) for view in views
        ]
        return [
            render_many(each, [view.camera], self.empty)[0]
            for each, view in zip(shown, views, strict=True)
        ]

    def _truths(self, labels: Tensor, views: Sequence[_VirtualView]) -> list[SemanticImage]:
        classes, empty = self.classes, self.empty

        def render_truth(views: Sequence[_VirtualView]) -> list[SemanticImage]:
            gaussians = true_gaussians(
                labels, classes, self.grid, scale=self.config.scale, empty=empty
            )
            return self._render(gaussians, views)

        def render_alone(view: _VirtualView) -> SemanticImage:
            return render_truth([view])[0]

        cache = self.cache
        settings: tuple[object, ...] = (self.grid, classes, self.config.scale, empty)
        if self.config.inside_only:
            settings = (*settings, "inside_only")
        if cache is None:
            return render_truth(views)
        return [
            cache(labels, view.camera, settings, partial(render_alone, view))
            if view.is_static
            else render_alone(view)
            for view in views
        ]

    def _camera_view(
        self,
        dense: Callable[[int], Tensor],
        sample: int,
        labels: Tensor,
        cameras: Cameras,
        random: np.random.Generator,
    ) -> _VirtualView:
        target = None
        if self.config.strategy == "dynamic":
            with torch.no_grad():
                logits = dense(sample)[None].float()
                errors = F.cross_entropy(
                    logits, labels[None].long(), reduction="none", ignore_index=IGNORE
                )
                target = worst_location(errors[0], self.grid)
        camera = virtual_camera(
            self.config.strategy, cameras, view_weights(cameras), self.grid, random, target
        )
        max_depth_m = max(abs(side) for side in self.grid.range_m[:2] + self.grid.range_m[3:5])
        if self.config.max_depths_m is not None:
            max_depth_m = self.config.max_depths_m[0]
        is_static = self.config.strategy in STATIC_STRATEGIES
        return _VirtualView(camera, max_depth_m, is_static, term=0)

    def _bev_view(self, device: torch.device) -> _VirtualView:
        if self.config.above == "orthographic":
            camera = bev_camera(self.grid, 1, device)
        else:
            camera = bev_pinhole(self.grid, device=device)
        # The width of the grid is the height of the pinhole camera. The orthographic one is only
        # a few metres above the grid: divided by these, depth would outweigh every other term.
        width_m = self.grid.range_m[3] - self.grid.range_m[0]
        if self.config.max_depths_m is not None:
            width_m = self.config.max_depths_m[1]
        return _VirtualView(camera, width_m, is_static=True, term=2)


def image_losses(
    predicted: SemanticImage, true: SemanticImage, max_depth_m: float, min_depth_m: float = 0.1
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Eq. 4: the mean absolute differences of semantics and of depth.

    Args:
        max_depth_m: divisor of the depths.
        min_depth_m: pixels whose true depth is not above this show nothing, and do not count for
            the depth.
    """
    semantics = (predicted.semantics - true.semantics).abs().mean()
    counted = true.depth_m > min_depth_m
    difference = ((predicted.depth_m - true.depth_m).abs() * counted).sum()
    return semantics, difference / counted.sum().clamp(min=1) / max_depth_m
