from dataclasses import replace

import pytest
import torch

from occ_core.baselines.symphonies.layer import over_images
from occ_core.baselines.symphonies.model import Symphonies
from occ_core.build import build_model
from occ_core.config import SymphoniesConfig, debug
from occ_core.interface import visible_cameras
from occ_core.types import Frame, collate_frames
from occ_core.view_transform import DepthBins
from occ_core.voxel_grid import VoxelGrid

SMALL = replace(
    debug(),
    lidar=False,
    cascade_ratio=1,
    image_encoder=replace(debug().image_encoder, stride=8),
    symphonies=SymphoniesConfig(channels=16, heads=2, layers=2, instances=5, samples=2, levels=2),
)


def make_model(**changes: object) -> Symphonies:
    model = build_model(replace(SMALL, **changes)).eval()
    assert isinstance(model, Symphonies)
    return model


@torch.no_grad()
def test_a_wall_is_proposed_where_it_stands(make_frame):
    """Cameras look along +y, and depth says 11 m (bin 4 of those from 2 m on, 2 m wide) everywhere:
    the proposed voxels are those with their y around 11 m.
    """
    model = make_model(grid=VoxelGrid((-20.0, 0.0, -4.0, 20.0, 20.0, 4.0), 1.0), volume_blocks=(1,))
    cameras = visible_cameras(make_frame())
    logits = torch.zeros(3, SMALL.depth.count, 8, 24)
    logits[:, 4] = 1.0
    surface_m = model.surface(logits, cameras)
    assert surface_m[..., 1].flatten().tolist() == pytest.approx([11.0] * (3 * 8 * 24))
    proposed = model.proposed(surface_m).view(3, 20, 10, 4)
    assert proposed.any(dim=(1, 3)).tolist() == [[False] * 5 + [True] + [False] * 4] * 3
    # the image is 192 pixels wide with a lens of 150: +-96 / 150 * 11 = +-7 m, 7 voxels of 2 m
    assert int(proposed[0, :, 5].any(dim=1).sum()) in (7, 8)


@torch.no_grad()
def test_instances_are_lifted_to_where_their_pixels_are(make_frame):
    """The image's middle at a depth of 11 m, in a grid of 20 m along y: (0.5, 0.55, 0.5)."""
    model = make_model(grid=VoxelGrid((-20.0, 0.0, -4.0, 20.0, 20.0, 4.0), 1.0), volume_blocks=(1,))
    model.place.zero_()  # sigmoid(0) = 1 / 2
    cameras = visible_cameras(make_frame(cameras=2))
    logits = torch.zeros(2, SMALL.depth.count, 8, 24)
    logits[:, 4] = 1.0
    places = model.instance_places(model.surface(logits, cameras), cameras.sample)
    assert places.pixel.shape == (2, 5, 1, 2) and (places.pixel == 0.5).all()
    # the cell right below the middle: half of its 8 pixels off, 4 / 150 * 11 = 0.3 m
    expected = torch.tensor([0.5, 0.55, 0.5]).expand(2, 5, 3)
    torch.testing.assert_close(places.voxel, expected, atol=0.05, rtol=0)


@torch.no_grad()
def test_voxels_that_no_camera_sees_are_left_as_they_are(make_frame):
    """Cameras look along +y: behind them the scene is what was learned, ahead it is not."""
    model = make_model()
    scenes: list[torch.Tensor] = []
    model.context.register_forward_pre_hook(lambda _, inputs: scenes.append(inputs[0]))
    model(make_frame())
    learned = model.scene.T.unflatten(1, (50, 50, 4))
    assert torch.equal(scenes[0][0, :, :, :25], learned[:, :, :25])
    assert (scenes[0][0, :, :, 40] - learned[:, :, 40]).abs().max() > 1e-3


@torch.no_grad()
def test_samples_of_a_batch_do_not_hear_each_other(make_frame):
    """Two samples with one camera missing in the second give what each gives alone."""
    model = make_model()
    first = make_frame(0)
    second = replace(make_frame(1), camera_mask=torch.tensor([[True, False, True]]))
    both = model(collate_frames([first, second])).head.coarse
    for sample, frame in enumerate((first, second)):
        alone = model(frame).head.coarse
        torch.testing.assert_close(both[sample : sample + 1], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_cameras_that_see_no_voxel_leave_the_scene(make_frame):
    frame = make_frame()
    away = frame.grid_from_camera.clone()
    away[..., 2, 3] += 1000.0  # far above the grid, looking to the horizon
    assert torch.isfinite(make_model()(replace(frame, grid_from_camera=away)).head.coarse).all()


def gradients(frame: Frame) -> dict[str, torch.Tensor]:
    """By parameter: its gradient, with layers that start at zero set to random numbers."""
    model = make_model(depth=DepthBins(step_m=2.0)).train()
    with torch.no_grad():
        for each in model.parameters():
            if not each.any():
                each.normal_(std=0.1)
    prediction = model(frame)
    (prediction.head.coarse.square().sum() + prediction.depth_logits.square().sum()).backward()
    return {name: each.grad for name, each in model.named_parameters()}


def test_every_part_learns(make_frame):
    """Through all five attentions of a layer, and the depth by its own logits."""
    found = gradients(make_frame())
    # the bias of keys moves all logits of a softmax alike: no gradient but by rounding
    assert [name for name, each in found.items() if each is None or not each.any()] == []


def test_views_are_joined_by_sample():
    seen = torch.tensor([[True, False, False], [False, False, True], [False, True, False]])
    joined = over_images(seen, torch.tensor([0, 0, 2]), 3)
    assert joined.tolist() == [[True, False, True], [False, False, False], [False, True, False]]
