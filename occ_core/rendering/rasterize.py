"""Gaussians and cameras -> images, depth, alpha; differentiable (3D Gaussian splatting; TACOcc's
[17], GaussRender).

gsplat renders on CUDA, ``occ_core.rendering.cpu.blend`` on the CPU, by the same conventions: 0.3
px^2 low-pass, alpha between 1/255 and 0.99 (gsplat 1.5: 0.999), a pixel is finished before less
than 1e-4 would pass, depth is that of the centres along the optical axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.blend import MAX_ALPHA, MIN_TRANSMITTANCE, Blended, Seen, blend
from occ_core.rendering.cpu.project import is_fixed, project_fixed
from occ_core.rendering.project import MIN_ALPHA, Projected, project
from occ_core.types import Gaussians


class Rendering(NamedTuple):
    """What N views see; nothing is put behind the Gaussians."""

    image: Float[Tensor, "view channel h w"]
    """Features, each by its weight."""
    depth: Float[Tensor, "view h w"]
    """Depths in metres, each by its weight; divide by ``alpha`` for the mean."""
    alpha: Float[Tensor, "view h w"]
    """Sum of the weights."""


def rasterize(gaussians: Gaussians, cameras: Cameras) -> Rendering:
    """Renders all channels of the Gaussians' features into every view; gradients reach every
    parameter.
    """
    return rasterize_each(gaussians, [cameras])[0]


def rasterize_each(gaussians: Gaussians, several: Sequence[Cameras]) -> list[Rendering]:
    """``rasterize`` for cameras of several sizes or kinds; on the CPU sooner than one by one."""
    if gaussians.means.is_cuda:
        from occ_core.rendering.rasterize_gsplat import rasterize_gsplat

        return [Rendering(*rasterize_gsplat(gaussians, cameras)) for cameras in several]
    views = [cameras.only(view) for cameras in several for view in range(len(cameras.intrinsics))]
    seen = [
        _seen(gaussians, view, projected)
        for view, projected in zip(views, project_fixed(gaussians, views), strict=True)
    ]
    blended = iter(blend(seen, [view.size for view in views]))
    return [_stack([next(blended) for _ in cameras.intrinsics]) for cameras in several]


def _seen(gaussians: Gaussians, view: Cameras, projected: Projected) -> Seen:
    if not is_fixed(
        gaussians, view
    ):  # gradients for those alone that are seen: of six cameras, each sees a sixth
        seen = projected.visible.nonzero()[:, 0]
        gaussians = Gaussians(
            *(getattr(gaussians, part.name).index_select(0, seen) for part in fields(Gaussians))
        )
        projected = project(gaussians, view, 0)
    centres, conics, depths, reach, _ = projected
    return Seen(
        centres,
        conics,
        gaussians.opacities,
        gaussians.features,
        depths,
        reach,
        _front_to_back(projected),
    )


def rasterize_dense(
    gaussians: Gaussians, cameras: Cameras, pixels_at_once: int = 1024
) -> Rendering:
    """The same, every Gaussian against every pixel: the readable form, and the reference in
    float64.
    """
    height, width = cameras.size
    views = []
    for view in range(len(cameras.intrinsics)):
        projected = project(gaussians, cameras, view)
        order = _front_to_back(projected)
        centres, (a, b, c) = projected.centres[order], projected.conics[order].unbind(1)
        features, depths = gaussians.features[order], projected.depths[order]
        pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).flip(
            1
        )  # [P, 2] as (u, v)
        image, depth, alphas = [], [], []
        for part in pixels.to(centres.dtype).split(pixels_at_once):
            du, dv = (part[:, None] - centres).unbind(2)  # [P, G]
            alpha = gaussians.opacities[order] * torch.exp(
                -(a * du * du + 2 * b * du * dv + c * dv * dv) / 2
            )
            alpha = torch.where(alpha < MIN_ALPHA, 0, alpha.clamp(max=MAX_ALPHA))
            after = (1 - alpha).cumprod(dim=1)
            alpha = torch.where(
                after > MIN_TRANSMITTANCE, alpha, 0
            )  # finished before the first that would leave less
            before = torch.cat(
                [torch.ones_like(after[:, :1]), (1 - alpha).cumprod(dim=1)[:, :-1]], dim=1
            )
            weight = alpha * before
            image.append(weight @ features)
            depth.append(weight @ depths)
            alphas.append(weight.sum(dim=1))
        seen_depth, seen_alpha = (torch.cat(one).view(height, width) for one in (depth, alphas))
        views.append(Blended(torch.cat(image).view(height, width, -1), seen_depth, seen_alpha))
    return _stack(views)


def _front_to_back(projected: Projected) -> Tensor:
    visible = projected.visible.nonzero()[:, 0]
    depths = projected.depths[visible].detach()
    if bool(
        (depths[1:] >= depths[:-1]).all()
    ):  # voxels seen from above come so, and there are many
        return visible
    return visible[depths.sort(stable=True).indices]


def _stack(views: Sequence[Blended]) -> Rendering:
    images, depths, alphas = (torch.stack(parts) for parts in zip(*views, strict=True))
    return Rendering(images.permute(0, 3, 1, 2), depths, alphas)
