"""The rasteriser on CUDA; the one module that knows gsplat."""

from __future__ import annotations

from gsplat import rasterization
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.types import Gaussians


def rasterize_gsplat(gaussians: Gaussians, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """As ``rasterize.rasterize``.

    Returns:
        Image ``[N, C, H, W]``, depth ``[N, H, W]`` and alpha ``[N, H, W]``.
    """
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, :2, 2] += 0.5  # gsplat's pixel centres lie at halves
    height, width = cameras.size
    rendered, alpha, _ = rasterization(
        means=gaussians.means,
        quats=gaussians.quaternions,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=gaussians.features,
        viewmats=cameras.camera_from_grid,
        Ks=intrinsics,
        width=width,
        height=height,
        near_plane=cameras.near_m,
        render_mode="RGB+D",
        camera_model="ortho" if cameras.orthographic else "pinhole",
        packed=False,
    )  # [N, H, W, C + 1], [N, H, W, 1]
    return rendered[..., :-1].permute(0, 3, 1, 2), rendered[..., -1], alpha[..., 0]
