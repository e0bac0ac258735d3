from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.head import dense_logits
from occ_core.losses.gauss_render.loss import (
    GaussRenderConfig,
    GaussRenderLoss,
    authors_code,
    image_losses,
)
from occ_core.losses.gauss_render.opacity import OpacityNetwork
from occ_core.rendering.bev_cameras import bev_camera
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import SemanticImage, render
from occ_core.rendering.virtual_cameras import STRATEGIES, look_at_pose
from occ_core.rendering.voxel_gaussians import (
    opacity_from_empty,
    predicted_gaussians,
    true_gaussians,
)
from occ_core.types import HeadOutput
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0)  # 16 x 16 x 4
CLASSES = 4


def sensors() -> Cameras:
    """One camera, 1 m up, that looks along +y."""
    pose = torch.from_numpy(look_at_pose(np.array([0.0, 0, 1]), np.array([0.0, 5, 1]))).float()
    intrinsics = torch.tensor([[[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]]])
    return Cameras(intrinsics, torch.linalg.inv(pose)[None], (48, 64))


def street() -> torch.Tensor:
    """A ground of class 1 and a block of class 2 ahead."""
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[..., 0] = 1
    labels[0, 6:10, 12:14, 1:3] = 2
    return labels


def sure(labels: torch.Tensor, certainty: float = 12.0) -> torch.Tensor:
    """Logits of a prediction of these labels, almost certain."""
    one_hot = torch.nn.functional.one_hot(labels.long().clamp(max=CLASSES - 1), CLASSES)
    return certainty * one_hot.permute(0, 4, 1, 2, 3).float()


def losses(logits: torch.Tensor, labels: torch.Tensor, seed: int = 0, **changes):
    loss = GaussRenderLoss(GRID, replace(GaussRenderConfig(), **changes), CLASSES)
    return loss(logits, labels, [sensors()] * len(labels), np.random.default_rng(seed))


def test_gaussians_of_a_truth_are_its_occupied_voxels():
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[0, 1, 2], labels[5, 5, 3] = 2, 255
    made = true_gaussians(labels, CLASSES, GRID)
    assert made.means.tolist() == [[-7.5, -6.5, 0.5]]
    assert made.scales.tolist() == [[0.5] * 3] and made.opacities.tolist() == [1.0]
    assert made.features.tolist() == [[0, 0, 1, 0]]


def test_opacity_is_derived_from_being_empty():
    # below 1/2: 1 - p^2; above: 1 - (1 - (1 - p)^2) = (1 - p)^2
    assert opacity_from_empty(torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])).tolist() == pytest.approx(
        [1, 0.96, 0.25, 0.01, 0]
    )


def test_what_cannot_be_seen_is_left_out():
    logits = torch.zeros(CLASSES, *GRID.shape)
    logits[0] = 8.0  # empty, surely: opacity (3 exp(-8))^2 = 1e-6
    logits[:, 3, 3, 3] = torch.tensor([0.0, 0, 9, 0])
    ignored = torch.zeros(GRID.shape, dtype=torch.bool)
    assert len(predicted_gaussians(logits, GRID, ignored=ignored).means) == 1
    ignored[3, 3, 3] = True
    assert len(predicted_gaussians(logits, GRID, ignored=ignored).means) == 0


def test_transmittance_counts_as_empty():
    labels = torch.zeros(GRID.shape, dtype=torch.uint8)
    labels[:8] = 2
    seen = render(true_gaussians(labels, CLASSES, GRID), bev_camera(GRID, pixels_per_voxel=1))
    torch.testing.assert_close(seen.semantics.sum(dim=0), torch.ones(16, 16))
    assert seen.semantics[0, 8, 14] == 1 and seen.semantics[2, 8, 2] > 0.99


def test_eq_4_by_hand():
    """Two classes, two pixels; semantics differ by 0.4 in both channels of one pixel: 0.8 / 4.
    Depth counts where the truth has something, the first pixel: |3 - 5| / 10."""
    semantics, depth_m = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]), torch.tensor([[5.0, 0.0]])
    true = SemanticImage(semantics, depth_m)
    semantics, depth_m = torch.tensor([[[0.4, 1.0]], [[0.6, 0.0]]]), torch.tensor([[3.0, 9.0]])
    predicted = SemanticImage(semantics, depth_m)
    semantics, depth = image_losses(predicted, true, max_depth_m=10.0)
    assert semantics.item() == pytest.approx(0.2) and depth.item() == pytest.approx(0.2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_right_prediction_looks_like_the_truth(strategy: str):
    labels = street()
    right, wrong = (
        losses(sure(predicted), labels, strategy=strategy)
        for predicted in (labels, torch.zeros_like(labels))
    )
    assert right.total < 0.01
    assert wrong.bev > 0.1 and wrong.total > 1


def test_a_floater_before_the_cameras_costs():
    """Eight voxels in mid-air: few among 1024 for the voxels' losses, plainly seen by a camera."""
    labels = street()
    floating = labels.clone()
    floating[0, 7:9, 10:12, 2:4] = 3
    clean, cluttered = (
        losses(sure(predicted), labels, strategy="sensor", seed=1)
        for predicted in (labels, floating)
    )
    assert cluttered.camera > 10 * clean.camera and cluttered.camera_depth > 10 * clean.camera_depth


def test_depth_from_above_is_a_share_of_the_grids_width():
    """The whole ground a voxel too high: 1 m of 16 m; between Gaussians a little of it is seen
    through.
    """
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[..., 0] = 1
    raised = labels.roll(1, dims=3)
    assert losses(sure(raised), labels).bev_depth.item() == pytest.approx(1 / 16, rel=0.05)


def test_gradients_lower_the_loss():
    """From noise, with images alone: what is seen from above gets its class; that voxels before it
    go takes longer.
    """
    torch.manual_seed(0)
    labels = street()
    logits = torch.randn(1, CLASSES, *GRID.shape, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    first = losses(logits, labels, strategy="sensor")
    for _ in range(40):
        optimiser.zero_grad()
        losses(logits, labels, strategy="sensor").total.backward()
        optimiser.step()
    last = losses(logits, labels, strategy="sensor")
    assert last.bev < 0.2 * first.bev
    assert last.total < 0.8 * first.total


def test_terms_that_are_off_are_zero():
    labels = street()
    logits = torch.randn(1, CLASSES, *GRID.shape, generator=torch.Generator().manual_seed(0))
    alone = losses(logits, labels, camera_depth=False, bev=False, bev_depth=False)
    assert alone.camera > 0 and alone.bev == alone.bev_depth == alone.camera_depth == 0
    assert alone.total.item() == pytest.approx(15 * alone.camera.item())


def test_ignored_voxels_count_on_neither_side():
    labels = street()
    unknown = labels.clone()
    unknown[0, 6:10, 12:14, 1:3] = 255
    assert losses(sure(labels), unknown).total < 0.01


def cascade(seed: int, ratio: int) -> HeadOutput:
    """Two samples, half and a fifth of whose coarse voxels are refined, with all eight children;
    with ratio 1 none are.
    """
    torch.manual_seed(seed)
    shape = tuple(side // ratio for side in GRID.shape)
    coarse = 2 * torch.randn(2, CLASSES, *shape)
    coarse[:, 0] += 3  # most are empty
    coarse.requires_grad_()
    if ratio == 1:
        return HeadOutput.dense(coarse)
    steps = torch.cartesian_prod(*[torch.arange(ratio)] * 3)
    children = []
    for sample, share in enumerate((0.5, 0.2)):
        index = ((torch.rand(shape) < share).nonzero()[:, None] * ratio + steps).reshape(-1, 3)
        children.append(torch.cat([torch.full((len(index), 1), sample), index], dim=1))
    return HeadOutput(
        coarse,
        (2 * torch.randn(sum(map(len, children)), CLASSES)).requires_grad_(),
        torch.cat(children),
    )


@pytest.mark.parametrize(
    ("strategy", "ratio"), [("elevated_around", 2), ("dynamic", 2), ("sensor", 1)]
)
def test_a_cascade_is_rendered_as_its_dense_logits(strategy: str, ratio: int):
    labels = street().repeat(2, 1, 1, 1)
    labels[:, 2:5, 2:5] = 255
    labels[1, 6:10, 12:14, 1:3] = 3  # the samples differ
    loss = GaussRenderLoss(GRID, GaussRenderConfig(strategy=strategy), CLASSES)
    sides = []
    for dense in (True, False):
        output, random = cascade(1, ratio), np.random.default_rng(5)
        if dense:
            made = loss(dense_logits(output, ratio), labels, [sensors()] * 2, random)
        else:
            made = loss.from_cascade(output, labels, [sensors()] * 2, random)
        made.total.backward()
        gradients = [output.coarse.grad] if ratio == 1 else [output.coarse.grad, output.fine.grad]
        for sample in (0, 1):
            assert output.coarse.grad[sample].abs().sum() > 0
        sides.append((*made, *gradients))
    for one, other in zip(*sides, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_cascade_has_no_features_for_learned_opacity():
    with pytest.raises(ValueError, match="takes dense logits"):
        loss = GaussRenderLoss(GRID, GaussRenderConfig(), CLASSES, feature_channels=8)
        loss.from_cascade(cascade(1, 2), street(), [], np.random.default_rng(0))


def test_without_anything_to_render_there_is_a_gradient_of_zero():
    output = cascade(1, 2)
    blind = replace(
        sensors(), intrinsics=torch.zeros(0, 3, 3), camera_from_grid=torch.zeros(0, 4, 4)
    )
    loss = GaussRenderLoss(GRID, GaussRenderConfig(bev=False, bev_depth=False), CLASSES)
    for logits in (output, dense_logits(output, 2)):
        give = loss.from_cascade if isinstance(logits, HeadOutput) else loss
        give(
            logits, street().repeat(2, 1, 1, 1), [blind] * 2, np.random.default_rng(0)
        ).total.backward()
        assert output.coarse.grad.abs().max() == 0
        output.coarse.grad = None


def test_learned_opacity_starts_low_and_gets_a_gradient():
    torch.manual_seed(0)
    labels, features = street(), torch.randn(1, 8, *GRID.shape)
    network = OpacityNetwork(8)
    torch.nn.init.zeros_(network[-1].weight)
    assert network(features[0]).flatten()[0].item() == pytest.approx(
        0.26894, abs=1e-5
    )  # sigmoid(-1)
    loss = GaussRenderLoss(GRID, GaussRenderConfig(), CLASSES, feature_channels=8)
    loss(sure(labels), labels, [sensors()], np.random.default_rng(0), features).total.backward()
    assert loss.opacity[0].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="features"):
        loss(sure(labels), labels, [sensors()], np.random.default_rng(0))


def test_the_authors_code_differs_from_the_paper():
    config = authors_code()
    assert (config.weight, config.strategy, config.above) == (10.0, "lifted", "pinhole")
    labels = street()
    loss = GaussRenderLoss(GRID, authors_code(), CLASSES)
    assert loss(sure(labels), labels, [sensors()], np.random.default_rng(0)).total < 0.01


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="every term"):
        GaussRenderConfig(camera=False, camera_depth=False, bev=False, bev_depth=False)
    with pytest.raises(ValueError, match="above 0"):
        GaussRenderConfig(weight=0.0)


def test_cameras_of_several_views_are_refused():
    one = sensors()
    two = replace(
        one,
        intrinsics=one.intrinsics.repeat(2, 1, 1),
        camera_from_grid=one.camera_from_grid.repeat(2, 1, 1),
    )
    with pytest.raises(
        ValueError, match=r"one view each, see Cameras.only; got some of \[2\] views"
    ):
        render(true_gaussians(street()[0], CLASSES, GRID), two)
