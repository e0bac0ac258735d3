"""Gaussians -> ellipses in an image (EWA splatting, Zwicker et al. 2001, as 3D Gaussian splatting
and gsplat compute it).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.types import Gaussians

LOW_PASS_PX2 = 0.3
"""Added to the variances in the image, so that nothing is thinner than a pixel."""
MIN_ALPHA = 1 / 255
"""Contributions with a smaller alpha are left out."""


class Projected(NamedTuple):
    """Gaussians in one image; the values of those that are not ``visible`` are undefined."""

    centres: Float[Tensor, "gaussian 2"]
    """Image positions (u, v) in pixels."""
    conics: Float[Tensor, "gaussian 3"]
    """Inverse covariances (a, b, c): the exponent is (a du^2 + 2 b du dv + c dv^2) / 2."""
    depths: Float[Tensor, " gaussian"]
    """Depths of the centres along the optical axis, in metres."""
    reach: Float[Tensor, "gaussian 2"]
    """Half the width and height, in pixels, of the box outside which alpha is below ``MIN_ALPHA``;
    without gradient.
    """
    visible: Bool[Tensor, " gaussian"]


def rotation_matrices(quaternions: Float[Tensor, "gaussian 4"]) -> Float[Tensor, "gaussian 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z), which need not be normalised."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=1).unbind(1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        dim=1,
    ).view(-1, 3, 3)


def project(gaussians: Gaussians, cameras: Cameras, view: int) -> Projected:
    """Projects the Gaussians into view ``view``.

    Gradients reach means, quaternions, scales and the camera.
    """
    dtype = gaussians.means.dtype
    intrinsics, pose = cameras.intrinsics[view].to(dtype), cameras.camera_from_grid[view].to(dtype)
    height, width = cameras.size
    fu, fv, cu, cv = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    points = gaussians.means @ pose[:3, :3].T + pose[:3, 3]  # [G, 3]
    x, y, z = points.unbind(1)
    in_front = z > cameras.near_m
    right, down, forward = pose[:3, :3]  # the camera's axes, in the grid
    if cameras.orthographic:
        u, v = fu * x + cu, fv * y + cv
        # how u and v change with the mean
        along_u, along_v = (fu * right).expand_as(points), (fv * down).expand_as(points)
    else:
        z = torch.where(in_front, z, 1)
        u, v = fu * x / z + cu, fv * y / z + cv
        # Far outside the image the linear approximation breaks down: it is taken no farther than
        # 0.15 image sizes beyond it.
        beyond_u, beyond_v = 0.15 * width / fu, 0.15 * height / fv
        slope_x = (x / z).clamp(-(cu + 0.5) / fu - beyond_u, (width - 0.5 - cu) / fu + beyond_u)
        slope_y = (y / z).clamp(-(cv + 0.5) / fv - beyond_v, (height - 0.5 - cv) / fv + beyond_v)
        along_u = (fu / z)[:, None] * (right - slope_x[:, None] * forward)  # [G, 3]
        along_v = (fv / z)[:, None] * (down - slope_y[:, None] * forward)
    axes = rotation_matrices(gaussians.quaternions) * gaussians.scales[:, None, :]  # [G, 3, axis]
    u_axes = (along_u[:, :, None] * axes).sum(dim=1)  # [G, axis]
    v_axes = (along_v[:, :, None] * axes).sum(dim=1)
    uu, vv = u_axes.square().sum(dim=1) + LOW_PASS_PX2, v_axes.square().sum(dim=1) + LOW_PASS_PX2
    uv = (u_axes * v_axes).sum(dim=1)
    # by Lagrange's identity: for a Gaussian as large as the scene, uu vv - uv^2 would cancel to 0
    spread = uu + vv - LOW_PASS_PX2  # the sum without one of the two low-passes
    determinant = torch.linalg.cross(u_axes, v_axes).square().sum(dim=1) + LOW_PASS_PX2 * spread
    conics = torch.stack([vv, -uv, uu], dim=1) / determinant[:, None]
    with torch.no_grad():
        # the exponent at which alpha falls to MIN_ALPHA
        exponent = (gaussians.opacities / MIN_ALPHA).clamp(min=1e-6).log()
        reach = (2 * exponent.clamp(min=0)[:, None] * torch.stack([uu, vv], dim=1)).sqrt()
        centres = torch.stack([u, v], dim=1)
        last_pixel = reach.new_tensor([width - 1, height - 1])
        touches = (centres + reach >= 0) & (centres - reach <= last_pixel)
        visible = in_front & (exponent > 0) & touches.all(dim=1)
    return Projected(torch.stack([u, v], dim=1), conics, points[:, 2], reach, visible)
