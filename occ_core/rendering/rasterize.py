"""Gaussians and cameras -> images, depth, alpha; differentiable (3D Gaussian splatting, reference
17 of TACOcc; GaussRender).

gsplat renders on CUDA, ``occ_core.rendering.cpu.blend`` on the CPU and ``rasterize_dense``
elsewhere, by the same conventions: a low-pass of 0.3 px^2, alpha between 1/255 and 0.99 (gsplat
1.5: 0.999), a pixel is finished before its transmittance falls below 1e-4, and depth is that of the
centres along the optical axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.ops import backend
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.blend import MAX_ALPHA, MIN_TRANSMITTANCE, Pixels, Splats, blend
from occ_core.rendering.cpu.project import project_views
from occ_core.rendering.project import MIN_ALPHA, Projected, project
from occ_core.types import Gaussians


class RasterImages(NamedTuple):
    """Images of N views, without a background."""

    image: Float[Tensor, "view channel h w"]
    """Weighted sums of the features."""
    depth: Float[Tensor, "view h w"]
    """Weighted sums of the depths in metres; divide by ``alpha`` for the mean."""
    alpha: Float[Tensor, "view h w"]
    """Sums of the weights."""


def rasterize(gaussians: Gaussians, cameras: Cameras) -> RasterImages:
    """Renders all channels of the Gaussians' features into every view.

    Gradients reach every parameter of the Gaussians, and the poses of the cameras.
    """
    return rasterize_many(gaussians, [cameras])[0]


def rasterize_many(gaussians: Gaussians, cameras: Sequence[Cameras]) -> list[RasterImages]:
    """As ``rasterize``, for cameras of different sizes or kinds, whose views share the CPU's
    threads.
    """
    if backend.use_cuda_library("gsplat", gaussians.means):
        from occ_core.rendering.rasterize_gsplat import rasterize_gsplat

        return [RasterImages(*rasterize_gsplat(gaussians, each)) for each in cameras]
    if not backend.use_kernel("rasterize", *_tensors(gaussians)):
        return [rasterize_dense(gaussians, each) for each in cameras]
    views = [each.only(view) for each in cameras for view in range(len(each.intrinsics))]
    projections = zip(views, project_views(gaussians, views), strict=True)
    splats = [_splats(gaussians, view, projected) for view, projected in projections]
    pixels = iter(blend(splats, [view.size for view in views]))
    return [_stack([next(pixels) for _ in each.intrinsics]) for each in cameras]


def _splats(gaussians: Gaussians, view: Cameras, projected: Projected) -> Splats:
    """What one view draws; projected again, with gradients, where one is needed."""
    geometry = (gaussians.means, gaussians.quaternions, gaussians.scales)
    lens = (view.intrinsics, view.camera_from_grid)
    if not backend.use_kernel("project", constants=(*geometry, *lens)):
        # of the visible Gaussians alone: each of six cameras sees a sixth of them
        visible = projected.visible.nonzero()[:, 0]
        gaussians = Gaussians(*(part.index_select(0, visible) for part in _tensors(gaussians)))
        projected = project(gaussians, view, 0)
    return Splats(
        projected.centres,
        projected.conics,
        gaussians.opacities,
        gaussians.features,
        projected.depths,
        projected.reach,
        _front_to_back(projected),
    )


def rasterize_dense(
    gaussians: Gaussians, cameras: Cameras, pixels_at_once: int = 1024
) -> RasterImages:
    """As ``rasterize``, with every Gaussian evaluated at every pixel: the reference, and the form
    for other devices.
    """
    height, width = cameras.size
    rows, columns = (torch.arange(side, device=gaussians.means.device) for side in cameras.size)
    pixels = torch.cartesian_prod(rows, columns).flip(1).to(gaussians.means)  # [H * W, 2], (u, v)
    views = []
    for view in range(len(cameras.intrinsics)):
        projected = project(gaussians, cameras, view)
        order = _front_to_back(projected)
        centres, (a, b, c) = projected.centres[order], projected.conics[order].unbind(1)
        opacities, features = gaussians.opacities[order], gaussians.features[order]
        parts = []
        for part in pixels.split(pixels_at_once):
            du, dv = (part[:, None] - centres).unbind(2)  # [P, G]
            alpha = opacities * torch.exp(-(a * du * du + 2 * b * du * dv + c * dv * dv) / 2)
            alpha = torch.where(alpha < MIN_ALPHA, 0, alpha.clamp(max=MAX_ALPHA))
            after = (1 - alpha).cumprod(dim=1)
            # a pixel is finished before the first Gaussian that would leave less
            alpha = torch.where(after > MIN_TRANSMITTANCE, alpha, 0)
            passed = (1 - alpha).cumprod(dim=1)
            before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)
            weight = alpha * before
            parts.append((weight @ features, weight @ projected.depths[order], weight.sum(dim=1)))
        image, depth, alpha = (torch.cat(each) for each in zip(*parts, strict=True))
        size = (height, width)
        views.append(Pixels(image.view(*size, -1), depth.view(size), alpha.view(size)))
    return _stack(views)


def _tensors(gaussians: Gaussians) -> list[Tensor]:
    return [getattr(gaussians, field.name) for field in fields(Gaussians)]


def _front_to_back(projected: Projected) -> Tensor:
    visible = projected.visible.nonzero()[:, 0]
    depths = projected.depths[visible].detach()
    # voxels, of which there are many, come sorted for the camera above
    if bool((depths[1:] >= depths[:-1]).all()):
        return visible
    return visible[depths.sort(stable=True).indices]


def _stack(views: Sequence[Pixels]) -> RasterImages:
    images, depths, alphas = (torch.stack(parts) for parts in zip(*views, strict=True))
    return RasterImages(images.permute(0, 3, 1, 2), depths, alphas)
