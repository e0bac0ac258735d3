"""``project.project`` in one pass, compiled: for the CPU, where neither the Gaussians' places and
shapes nor the camera learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.threads import at_once
from occ_core.rendering.project import LOW_PASS_PX2, MIN_ALPHA, Projected
from occ_core.types import Gaussians


def is_fixed(gaussians: Gaussians, cameras: Cameras) -> bool:
    """Whether no gradient is asked of the projection, as of voxels' Gaussians, which differ in
    opacity and features alone.
    """
    asked = (
        gaussians.means,
        gaussians.quaternions,
        gaussians.scales,
        cameras.intrinsics,
        cameras.camera_from_grid,
    )
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in asked))


def project_fixed(gaussians: Gaussians, views: Sequence[Cameras]) -> list[Projected]:
    """The Gaussians in cameras of one view each, several at once, without gradients."""
    count, like = len(gaussians.means), gaussians.means.detach()
    made = [
        Projected(
            like.new_zeros(count, 2),
            like.new_zeros(count, 3),
            like.new_zeros(count),
            like.new_zeros(count, 2),
            torch.zeros(count, dtype=torch.bool),
        )
        for _ in views
    ]
    shapes = _arrays(
        like, gaussians.means, gaussians.quaternions, gaussians.scales, gaussians.opacities
    )
    places = [_arrays(like, view.intrinsics[0], view.camera_from_grid[0]) for view in views]
    outputs = [[tensor.numpy() for tensor in of_view] for of_view in made]

    def work(place: int) -> None:
        view = views[place]
        _project(
            *shapes, *places[place], view.size, view.orthographic, view.near_m, *outputs[place]
        )

    at_once(work, [(place,) for place in range(len(views))])
    return made


def _arrays(like: Tensor, *tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().to(like.dtype).contiguous().numpy() for tensor in tensors]


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _project(
    means: np.ndarray,
    quaternions: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    intrinsics: np.ndarray,
    pose: np.ndarray,
    size: tuple[int, int],
    orthographic: bool,
    near_m: float,
    centres: np.ndarray,
    conics: np.ndarray,
    depths: np.ndarray,
    reach: np.ndarray,
    visible: np.ndarray,
) -> None:
    """As the twin, Gaussian by Gaussian; what cannot be seen stays zero."""
    height, width = size
    fu, fv, cu, cv = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    beyond_u, beyond_v = 0.15 * width / fu, 0.15 * height / fv
    along_u, along_v, in_u, in_v = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for g in range(len(means)):
        x = (
            pose[0, 0] * means[g, 0]
            + pose[0, 1] * means[g, 1]
            + pose[0, 2] * means[g, 2]
            + pose[0, 3]
        )
        y = (
            pose[1, 0] * means[g, 0]
            + pose[1, 1] * means[g, 1]
            + pose[1, 2] * means[g, 2]
            + pose[1, 3]
        )
        z = (
            pose[2, 0] * means[g, 0]
            + pose[2, 1] * means[g, 1]
            + pose[2, 2] * means[g, 2]
            + pose[2, 3]
        )
        if not (z > near_m and opacities[g] > MIN_ALPHA):  # so that NaN is not seen
            continue
        if orthographic:
            u, v = fu * x + cu, fv * y + cv
            for axis in range(3):
                along_u[axis], along_v[axis] = fu * pose[0, axis], fv * pose[1, axis]
        else:
            u, v = fu * x / z + cu, fv * y / z + cv
            slope_x = min(
                max(x / z, -(cu + 0.5) / fu - beyond_u), (width - 0.5 - cu) / fu + beyond_u
            )
            slope_y = min(
                max(y / z, -(cv + 0.5) / fv - beyond_v), (height - 0.5 - cv) / fv + beyond_v
            )
            for axis in range(3):
                along_u[axis] = fu / z * (pose[0, axis] - slope_x * pose[2, axis])
                along_v[axis] = fv / z * (pose[1, axis] - slope_y * pose[2, axis])
        norm = sqrt(
            quaternions[g, 0] ** 2
            + quaternions[g, 1] ** 2
            + quaternions[g, 2] ** 2
            + quaternions[g, 3] ** 2
        )
        norm = max(norm, 1e-12)  # torch's normalize
        if (
            norm < np.inf and scales[g, 0] == scales[g, 1] == scales[g, 2]
        ):  # a sphere looks the same however it is turned
            for axis in range(3):
                in_u[axis], in_v[axis] = along_u[axis] * scales[g, 0], along_v[axis] * scales[g, 0]
        else:
            a, b, c, d = (
                quaternions[g, 0] / norm,
                quaternions[g, 1] / norm,
                quaternions[g, 2] / norm,
                quaternions[g, 3] / norm,
            )
            rotation = (
                (1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)),
                (2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)),
                (2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)),
            )
            for axis in range(3):
                in_u[axis], in_v[axis] = 0.0, 0.0
                for row in range(3):
                    in_u[axis] += along_u[row] * rotation[row][axis] * scales[g, axis]
                    in_v[axis] += along_v[row] * rotation[row][axis] * scales[g, axis]
        uu, vv, uv, cross = LOW_PASS_PX2, LOW_PASS_PX2, 0.0, 0.0
        for axis in range(3):
            uu, vv, uv = uu + in_u[axis] ** 2, vv + in_v[axis] ** 2, uv + in_u[axis] * in_v[axis]
            cross += (in_u[axis - 2] * in_v[axis - 1] - in_u[axis - 1] * in_v[axis - 2]) ** 2
        exponent = log(opacities[g] / MIN_ALPHA)
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
        conics[g, 0], conics[g, 1], conics[g, 2] = (
            vv / determinant,
            -uv / determinant,
            uu / determinant,
        )
        reach[g, 0], reach[g, 1] = reach_u, reach_v
