from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.engine import OccupancyEngine
from occ_core.preprocessing.lidar_filter import surface_points
from occ_core.preprocessing.masked_inputs import frame_sky, mask_inputs
from occ_core.types import Frame, collate_frames

AIR = [3.0, 4.0, 5.0]
"""Where there is nothing, far from all other points."""


@pytest.fixture
def frame(make_frame) -> Frame:
    """A street under a blue sky (the upper half of each image) before a wall, two sweeps of it, and
    a return in the air.
    """
    frame = make_frame(cameras=2)
    height, width = frame.images.shape[-2:]
    image = np.empty((height, width, 3))
    image[: height // 2], image[height // 2 :] = (150, 180, 215), (80, 80, 80)
    image[height // 6 : height // 2, width // 2 :] = (150, 110, 90)  # a facade
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    image = torch.from_numpy(np.clip(image + noise, 0, 255).astype(np.uint8)).permute(2, 0, 1)
    across, up = np.meshgrid(np.arange(-6, 6, 0.1), np.arange(-1.5, 2, 0.1))
    wall = np.stack([across, np.full_like(up, 20), up, np.full_like(up, 40), np.zeros_like(up)], -1)
    sweep = torch.from_numpy(wall.reshape(-1, 5)).float()
    older = sweep + torch.tensor([0.0, 0, 0, 0, 0.1])
    air = torch.tensor([[*AIR, 50.0, 0.0]])
    return replace(
        frame, images=image.expand_as(frame.images), points=(torch.cat([sweep, older, air]),)
    )


def test_the_sky_is_black_and_noise_is_gone(frame: Frame):
    sky = frame_sky(frame, 0)
    height, width = frame.images.shape[-2:]
    assert sky[:, : height // 2 - 2, : width // 2 - 2].float().mean() > 0.9
    assert not sky[:, height // 2 :].any()
    masked = mask_inputs(frame)
    black = sky[:, None].expand(-1, 3, -1, -1)
    assert (masked.images[0][black] == 0).all() and (frame.images[0][black] > 0).any()
    assert torch.equal(masked.images[0][~black], frame.images[0][~black])
    assert torch.equal(masked.points[0], frame.points[0][:-1])


def test_every_sweep_is_filtered_by_itself(frame: Frame):
    """Returns in the air at the same place, a tenth of a second apart: each is alone. Together they
    would be each other's neighbours.
    """
    later = torch.tensor([[*AIR, 50.0, 0.1]])
    cloud = torch.cat([frame.points[0], later])
    assert surface_points(cloud.numpy(), frame.context[0]).all()
    (kept,) = mask_inputs(replace(frame, points=(cloud,))).points
    assert torch.equal(kept, cloud[:-2])


def test_samples_and_masked_cameras_are_each_their_own(frame: Frame):
    blind = replace(frame, camera_mask=torch.zeros_like(frame.camera_mask))
    both = mask_inputs(collate_frames([blind, frame]))
    assert torch.equal(both.images[0], frame.images[0])  # no camera, no sky
    alone = mask_inputs(frame)
    assert torch.equal(both.images[1], alone.images[0])
    assert torch.equal(both.points[1], alone.points[0])


def test_without_points_only_the_sky_goes(frame: Frame):
    masked = mask_inputs(replace(frame, points=(torch.zeros(0, 5),)))
    assert masked.points[0].shape == (0, 5) and (masked.images != frame.images).any()


def test_the_engine_masks_what_the_model_gets(frame: Frame):
    torch.manual_seed(0)
    masking = build_model(replace(debug(), masked_inputs=True))
    plain = build_model(debug())
    plain.load_state_dict(masking.state_dict())
    answers = [
        OccupancyEngine(masking).step(frame),
        OccupancyEngine(plain).step(mask_inputs(frame)),
        OccupancyEngine(plain).step(frame),
    ]
    assert torch.equal(answers[0].probability, answers[1].probability)
    assert not torch.equal(answers[0].probability, answers[2].probability)
