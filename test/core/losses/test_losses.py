import math

import pytest
import torch

from occ_core.losses.cross_entropy import class_weights, cross_entropy
from occ_core.losses.depth import depth_loss, depth_targets
from occ_core.losses.lovasz import descending, jaccard_gradient, lovasz_softmax
from occ_core.types import DriveContext, Frame
from occ_core.view_transform import DepthBins


def test_cross_entropy_by_hand():
    """Two voxels, weights 1 and 3: (1 * -log 0.5 + 3 * -log 0.25) / (1 + 3); the third is
    ignored.
    """
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]))
    loss = cross_entropy(logits, torch.tensor([0, 1, 255]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx((math.log(2) + 3 * math.log(4)) / 4)


def test_cross_entropy_of_ignored_voxels_alone_is_zero_with_zero_gradient():
    logits = torch.randn(3, 2, requires_grad=True)
    cross_entropy(logits, torch.full((3,), 255), torch.ones(2)).backward()
    assert not logits.grad.any()


def test_class_weights_by_hand():
    # occupied: 16 and 256 of 272 -> weights proportional to 16 ** -0.25 = 1/2 and 256 ** -0.25 =
    # 1/4; mean 1: 4/3 and 2/3
    weights = class_weights(torch.tensor([1e6, 16.0, 256.0]))
    torch.testing.assert_close(weights, torch.tensor([2 / 3, 4 / 3, 2 / 3]))
    # a class that never occurs weighs as much as the rarest that does
    assert (
        class_weights(torch.tensor([1e6, 16.0, 256.0, 0.0]))[3]
        == class_weights(torch.tensor([1e6, 16.0, 256.0, 0.0]))[1]
    )
    with pytest.raises(ValueError, match="labelled"):
        class_weights(torch.tensor([100.0, 0.0, 0.0]))


def test_lovasz_is_one_minus_iou_for_hard_predictions():
    """Hard probabilities: a class loses 1 - IoU. Class 0: hits 1, union 2; class 1: hits 2, union
    3: 1 - (1/2 + 2/3) / 2.
    """
    hard = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    loss = lovasz_softmax(torch.log(hard.clamp(min=1e-12)), torch.tensor([0, 0, 1, 1]))
    assert loss.item() == pytest.approx(1 - (1 / 2 + 2 / 3) / 2, abs=1e-5)


def test_lovasz_of_soft_predictions_by_hand():
    """One class present (1), probabilities 0.9 and 0.6: errors 0.1, 0.4; sorted 0.4, 0.1; both
    true, so the Jaccard loss grows by 1/2 with each: 0.4 / 2 + 0.1 / 2 = 0.25."""
    probabilities = torch.tensor([[0.1, 0.9], [0.4, 0.6]])
    assert lovasz_softmax(torch.log(probabilities), torch.tensor([1, 1])).item() == pytest.approx(
        0.25
    )


def test_lovasz_equals_autograd_through_torchs_sort():
    torch.manual_seed(0)
    logits, labels = (torch.randn(500, 4) * 3).requires_grad_(), torch.randint(0, 4, (500,))
    truth = (labels == torch.arange(4)[:, None]).float()
    errors, order = (truth - logits.softmax(dim=1).T).abs().sort(dim=1, descending=True)
    expected = (errors * jaccard_gradient(truth.gather(1, order))).sum(dim=1).mean()
    loss = lovasz_softmax(logits, labels)
    torch.testing.assert_close(loss, expected)
    found, wanted = (torch.autograd.grad(each, logits)[0] for each in (loss, expected))
    torch.testing.assert_close(found, wanted)


def test_descending_puts_large_errors_first_and_zeros_last():
    errors = torch.tensor([[0.25, 0.0, 1e-30, 1.0, 0.25], [0.0, 0.0, 0.5, 0.125, 1e-9]])
    ordered = errors.gather(1, descending(errors))
    assert torch.equal(ordered, errors.sort(dim=1, descending=True).values)


def test_lovasz_ignores_255_and_survives_nothing():
    logits = torch.randn(5, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 255, 255])
    torch.testing.assert_close(
        lovasz_softmax(logits, labels), lovasz_softmax(logits[:3], labels[:3])
    )
    lovasz_softmax(logits, torch.full((5,), 255)).backward()
    assert not logits.grad.any()


def test_depth_targets_take_the_nearest_point_of_the_newest_sweep():
    """Camera at the origin looking along z of the grid; 32x32 image, f = 32, stride 8. Points on
    the axis project to pixel 15.5, cell floor((15.5 + 0.5) / 8) = 2. Depths 10 and 6: the nearer
    counts, bin floor((6 - 2) / 1) = 4; the one of 3 m is old."""
    frame = Frame(
        images=torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8),
        camera_mask=torch.tensor([[True, False]]),
        intrinsics=torch.tensor([[32.0, 0, 15.5], [0, 32.0, 15.5], [0, 0, 1]]).expand(1, 2, 3, 3),
        grid_from_camera=torch.eye(4).expand(1, 2, 4, 4),
        points=(
            torch.tensor(
                [
                    [0.0, 0, 10, 9, 0],
                    [0, 0, 6, 9, 0],
                    [0, 0, 3, 9, 0.05],
                    [0, 0, -5, 9, 0],
                    [90, 0, 5, 9, 0],
                ]
            ),
        ),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )
    targets = depth_targets(frame, DepthBins(min_m=2.0, max_m=20.0, step_m=1.0), stride=8)
    assert targets.shape == (1, 4, 4)  # the masked camera has none
    assert targets[0, 2, 2] == 4
    assert (targets >= 0).sum() == 1


def test_depth_loss_by_hand():
    logits = torch.log(torch.tensor([0.2, 0.8])).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    assert depth_loss(logits, torch.tensor([[[1, -1]]])).item() == pytest.approx(-math.log(0.8))
    assert depth_loss(logits, torch.tensor([[[-1, -1]]])).item() == 0.0
