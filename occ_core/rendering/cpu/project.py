"""As ``rendering.project.project``, compiled, for several views: one pass over the Gaussians,
without gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch

from occ_core.ops.cpu.arrays import arrays, named_arrays
from occ_core.ops.cpu.kernel import kernel
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.threads import run_parallel
from occ_core.rendering.project import LOW_PASS_PX2, MIN_ALPHA, Projected
from occ_core.types import Gaussians


class _Shapes(NamedTuple):
    """The part of the Gaussians that determines where they are seen, in their own precision."""

    means: np.ndarray
    quaternions: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray


class _View(NamedTuple):
    """One camera."""

    intrinsics: np.ndarray
    pose: np.ndarray
    """Camera from grid."""
    size: tuple[int, int]
    orthographic: bool
    near_m: float


def project_views(gaussians: Gaussians, views: Sequence[Cameras]) -> list[Projected]:
    """The Gaussians in cameras of one view each."""
    means, count = gaussians.means.detach(), len(gaussians.means)
    results = [
        Projected(
            means.new_zeros(count, 2),
            means.new_zeros(count, 3),
            means.new_zeros(count),
            means.new_zeros(count, 2),
            torch.zeros(count, dtype=torch.bool),
        )
        for _ in views
    ]
    shapes = (means, gaussians.quaternions, gaussians.scales, gaussians.opacities)
    shape_arrays = _Shapes(*arrays(*(part.to(means) for part in shapes)))
    cameras = []
    for view in views:
        intrinsics, pose = arrays(view.intrinsics[0].to(means), view.camera_from_grid[0].to(means))
        cameras.append(_View(intrinsics, pose, view.size, view.orthographic, view.near_m))
    outputs = [named_arrays(projected) for projected in results]
    run_parallel(
        lambda view: _project(shape_arrays, cameras[view], outputs[view]),
        [(view,) for view in range(len(views))],
    )
    return results


@kernel
def _project(shapes: _Shapes, view: _View, projected: Any) -> None:
    """Fills ``projected`` (of arrays); what cannot be seen stays zero."""
    means, quaternions, scales, opacities = shapes
    centres, conics, depths, reach, visible = projected
    pose, (height, width) = view.pose, view.size
    fu, fv = view.intrinsics[0, 0], view.intrinsics[1, 1]
    cu, cv = view.intrinsics[0, 2], view.intrinsics[1, 2]
    (min_x, max_x), (min_y, max_y) = _slopes(fu, cu, width), _slopes(fv, cv, height)
    # how u and v change with the mean, and with a step of a standard deviation along each axis
    along_u, along_v, u_axes, v_axes = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for g in range(len(means)):
        mean, opacity = means[g], opacities[g]
        x = pose[0, 0] * mean[0] + pose[0, 1] * mean[1] + pose[0, 2] * mean[2] + pose[0, 3]
        y = pose[1, 0] * mean[0] + pose[1, 1] * mean[1] + pose[1, 2] * mean[2] + pose[1, 3]
        z = pose[2, 0] * mean[0] + pose[2, 1] * mean[1] + pose[2, 2] * mean[2] + pose[2, 3]
        if not (z > view.near_m and opacity > MIN_ALPHA):  # so that NaN is not seen
            continue
        if view.orthographic:
            u, v = fu * x + cu, fv * y + cv
            for axis in range(3):
                along_u[axis], along_v[axis] = fu * pose[0, axis], fv * pose[1, axis]
        else:
            u, v = fu * x / z + cu, fv * y / z + cv
            slope_x, slope_y = min(max(x / z, min_x), max_x), min(max(y / z, min_y), max_y)
            for axis in range(3):
                along_u[axis] = fu / z * (pose[0, axis] - slope_x * pose[2, axis])
                along_v[axis] = fv / z * (pose[1, axis] - slope_y * pose[2, axis])
        _project_axes(quaternions[g], scales[g], along_u, u_axes)
        _project_axes(quaternions[g], scales[g], along_v, v_axes)
        uu, vv, uv, cross = LOW_PASS_PX2, LOW_PASS_PX2, 0.0, 0.0
        for axis in range(3):
            uu, vv = uu + u_axes[axis] ** 2, vv + v_axes[axis] ** 2
            uv += u_axes[axis] * v_axes[axis]
            product = u_axes[axis - 2] * v_axes[axis - 1] - u_axes[axis - 1] * v_axes[axis - 2]
            cross += product**2
        exponent = log(opacity / MIN_ALPHA)
        reach_u, reach_v = sqrt(2 * exponent * uu), sqrt(2 * exponent * vv)
        if not (
            u + reach_u >= 0
            and v + reach_v >= 0
            and u - reach_u <= width - 1
            and v - reach_v <= height - 1
        ):
            continue
        determinant = cross + LOW_PASS_PX2 * (uu + vv - LOW_PASS_PX2)
        visible[g] = True
        centres[g, 0], centres[g, 1], depths[g] = u, v, z
        conics[g, 0] = vv / determinant
        conics[g, 1] = -uv / determinant
        conics[g, 2] = uu / determinant
        reach[g, 0], reach[g, 1] = reach_u, reach_v


@kernel(inline="always")
def _slopes(focal: float, centre: float, side: int) -> tuple[float, float]:
    """Slopes up to which the projection is linearised where it is: 0.15 image sides beyond both
    borders.
    """
    beyond = 0.15 * side / focal
    return -(centre + 0.5) / focal - beyond, (side - 0.5 - centre) / focal + beyond


@kernel(inline="always")
def _project_axes(
    quaternion: np.ndarray, scale: np.ndarray, along: np.ndarray, axes: np.ndarray
) -> None:
    """Fills ``axes`` [3] with what the axes of a Gaussian add to u or to v."""
    norm = sqrt(quaternion[0] ** 2 + quaternion[1] ** 2 + quaternion[2] ** 2 + quaternion[3] ** 2)
    norm = max(norm, 1e-12)  # as torch normalises
    if norm < np.inf and scale[0] == scale[1] == scale[2]:
        for axis in range(3):  # a sphere looks the same however it is turned
            axes[axis] = along[axis] * scale[0]
        return
    a, b = quaternion[0] / norm, quaternion[1] / norm
    c, d = quaternion[2] / norm, quaternion[3] / norm
    rotation = (
        (1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)),
    )
    for axis in range(3):
        axes[axis] = 0.0
        for row in range(3):
            axes[axis] += along[row] * rotation[row][axis] * scale[axis]
