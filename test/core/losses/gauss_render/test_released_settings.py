"""What the authors' code does otherwise than the paper: faint voxels, borders of images, figures
for each benchmark.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss, authors_code
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.virtual_cameras import look_at_pose
from occ_core.rendering.voxel_gaussians import centred_inside, true_gaussians
from occ_core.types import HeadOutput
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)  # 16 x 16 x 4
CLASSES = 4


def sensors() -> Cameras:
    """One camera, 1 m up, that looks along +y."""
    pose = torch.from_numpy(look_at_pose(np.array([0.0, 0, 1]), np.array([0.0, 5, 1]))).float()
    intrinsics = torch.tensor([[[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]]])
    return Cameras(intrinsics, torch.linalg.inv(pose)[None], (48, 64))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize(("min_opacity", "renders"), [(0.02, False), (1 / 255, True)])
def test_fog_is_rendered_if_asked(dense: bool, min_opacity: float, renders: bool):
    """Every voxel is empty with 0.86 and anything else alike with 0.14 / 3: the opacity is 0.14^2 =
    0.0196, below 0.02 and above 1 / 255.
    """
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[..., 0] = 1
    probability = torch.tensor([0.86, 0.14 / 3, 0.14 / 3, 0.14 / 3])
    shape = GRID.shape if dense else GRID.coarser(2).shape
    logits = probability.log()[None, :, None, None, None].expand(1, -1, *shape).clone()
    logits.requires_grad_()
    loss = GaussRenderLoss(
        GRID, GaussRenderConfig(strategy="sensor", min_opacity=min_opacity), CLASSES
    )
    random = np.random.default_rng(0)
    if dense:
        total = loss(logits, labels, [sensors()], random).total
    else:
        total = loss.from_cascade(HeadOutput.dense(logits), labels, [sensors()], random).total
    (gradient,) = torch.autograd.grad(total, logits)
    assert bool(gradient.any()) == renders


def test_centres_inside_an_image():
    """4 m ahead, x projects to 31.5 + 40 x / 4: the last pixel ends at 63.5, x = 3.2. Behind the
    camera nothing is inside.
    """
    gaussians = true_gaussians(
        torch.ones(3, 1, 1, dtype=torch.uint8), 2, VoxelGrid((0.0, 0.0, 0.0, 3.0, 1.0, 1.0), 1.0)
    )
    means = torch.tensor([[3.1, 4.0, 1.0], [3.3, 4.0, 1.0], [0.0, -4.0, 1.0]])
    inside = centred_inside(replace(gaussians, means=means), sensors())
    assert torch.equal(inside.means, means[:1])
    assert len(inside.opacities) == len(inside.features) == 1


def test_voxels_centred_outside_are_left_out_if_asked():
    """A wall around the camera reaches over the border of its image: with its outer voxels left out
    of prediction and truth alike, only their difference inside counts. From above all are drawn.
    """
    truth = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    truth[0, 13, 12, 2:] = 2  # (5.5, 4.5, 0.5 and 1.5): u = 31.5 + 40 * 5.5 / 4.5 = 80.4, outside
    other = torch.nn.functional.one_hot(torch.zeros_like(truth).long(), CLASSES)
    logits = 20.0 * other.permute(0, 4, 1, 2, 3).float()

    def terms(*, inside_only: bool):
        config = GaussRenderConfig(strategy="sensor", inside_only=inside_only, scale=1.5)
        loss = GaussRenderLoss(GRID, config, CLASSES)
        return loss(logits, truth, [sensors()], np.random.default_rng(0))

    drawn, left_out = terms(inside_only=False), terms(inside_only=True)
    assert drawn.camera > 0 and left_out.camera == 0
    assert drawn.bev == left_out.bev > 0


@pytest.mark.parametrize(
    ("benchmark", "strategy", "voxel_m", "sigma_m"),
    [
        ("surroundocc", "lifted", 0.5, 0.25),
        ("occ3d", "sensor", 0.4, 0.27),
        ("kitti360", "sensor", 0.2, 0.1),
    ],
)
def test_the_authors_figures(benchmark: str, strategy: str, voxel_m: float, sigma_m: float):
    config = authors_code(benchmark)
    assert config.strategy == strategy and config.above == "pinhole" and config.weight == 10.0
    assert config.scale * voxel_m == pytest.approx(sigma_m)
    assert config.max_depths_m == (50.0, 100.0)
    assert config.inside_only and config.min_opacity == 1 / 255


def test_depths_are_divided_as_told():
    """Depth in the images of twice the divisors counts half."""
    truth = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    truth[..., 0] = 1
    logits = torch.zeros(1, CLASSES, *GRID.shape)
    logits[:, 0], logits[:, 1, :, :, 1] = 4.0, 8.0

    def terms(max_depths_m: tuple[float, float] | None):
        config = GaussRenderConfig(strategy="sensor", max_depths_m=max_depths_m)
        return GaussRenderLoss(GRID, config, CLASSES)(
            logits, truth, [sensors()], np.random.default_rng(0)
        )

    default, doubled = terms(None), terms((16.0, 32.0))  # half the width is 8 m, the whole 16 m
    torch.testing.assert_close(doubled.camera_depth * 2, default.camera_depth)
    torch.testing.assert_close(doubled.bev_depth * 2, default.bev_depth)
    assert default.camera_depth > 0 and default.bev_depth > 0


def test_nonsense_figures_are_refused():
    with pytest.raises(ValueError, match=r"min_opacity in \[0, 1\)"):
        GaussRenderConfig(min_opacity=1.0)
    with pytest.raises(ValueError, match="max_depths_m above 0"):
        GaussRenderConfig(max_depths_m=(0.0, 1.0))
