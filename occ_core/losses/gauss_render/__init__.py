"""GaussRender's loss, for any model that predicts voxels."""

from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss

__all__ = ["GaussRenderConfig", "GaussRenderLoss"]
