from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.losses.sequential.renderer import (
    SequentialRenderer,
    SequentialRendererConfig,
    SequentialRendererLosses,
)
from occ_core.model import OccupancyModel
from training.learning import sequential_rendering as rendering
from training.learning.config import TrainConfig
from training.learning.sequential_rendering import (
    Past,
    SkyAndMotion,
    render,
    sky_and_motion,
    total_loss,
)
from training.train import train


@pytest.fixture
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)


@pytest.fixture
def model() -> OccupancyModel:
    torch.manual_seed(0)
    return build_model(debug())


@pytest.fixture
def renderer() -> SequentialRenderer:
    torch.manual_seed(0)
    return SequentialRenderer(
        debug().channels,
        debug().coarse_grid,
        SequentialRendererConfig(inner_steps=2, image_scale=0.5),
    )


def extras(frames: NuScenesFrames, index: int) -> tuple[SkyAndMotion]:
    frame, _ = frames[index]
    return (sky_and_motion(frames, index, frame, np.eye(4), debug().coarse_grid),)


def test_sky_and_motion_are_computed_once(frames: NuScenesFrames, monkeypatch: pytest.MonkeyPatch):
    (first,) = extras(frames, 0)
    assert first.sky.shape == (6, *debug().image_size) and first.sky.any() and not first.sky.all()
    assert first.speed_mps.shape == debug().coarse_grid.shape
    monkeypatch.setattr(rendering, "point_velocities", None)  # would fail
    (again,) = extras(frames, 0)
    assert all(torch.equal(old, new) for old, new in zip(first, again, strict=True))


def test_speeds_are_mirrored_with_the_grid(frames: NuScenesFrames, monkeypatch: pytest.MonkeyPatch):
    frame, _ = frames[1]
    moving = torch.tensor([[10.1, 0.1, 0.1]]).numpy(), torch.tensor([[3.0, 0, 0]]).numpy()
    monkeypatch.setattr(rendering, "point_velocities", lambda _: moving)
    monkeypatch.setattr(
        rendering, "frame_sky", lambda frame, sample: torch.zeros(1, 1, 1, dtype=torch.bool)
    )
    frames.image_size = (1, 1)
    frame = replace(frame, images=frame.images[..., :1, :1])  # a file of its own
    plain, mirrored = (
        sky_and_motion(
            frames, 1, frame, np.diag([sign, 1.0, 1.0, 1.0]), debug().coarse_grid
        ).speed_mps
        for sign in (1.0, -1.0)
    )
    assert plain.max() == 3 and torch.equal(mirrored, plain.flip(0))


def test_rendering_teaches_the_model(
    frames: NuScenesFrames, model: OccupancyModel, renderer: SequentialRenderer
):
    frame, _ = frames[0]
    losses, (past,) = render(renderer, model(frame), frame, extras(frames, 0), ())
    assert isinstance(past, Past) and past.stamp_ns == frame.stamp_ns[0]
    losses.consistency.backward()
    assert any(
        weight.grad is not None and weight.grad.abs().sum() > 0
        for weight in model.volume_encoder.parameters()
    )
    assert losses.refined < losses.photometric


def test_past_views_are_seen_from_the_present(
    frames: NuScenesFrames, model: OccupancyModel, renderer: SequentialRenderer
):
    before, now = frames[0][0], frames[1][0]
    _, (past,) = render(renderer, model(before), before, extras(frames, 0), ())
    view = rendering._seen_from(past, now)
    assert (
        view.time_s == pytest.approx((before.stamp_ns[0] - now.stamp_ns[0]) * 1e-9)
        and view.time_s < 0
    )
    # The same camera in the world: world_from_now @ now_from_camera = world_from_before @
    # before_from_camera
    world = now.world_from_grid[0] @ torch.linalg.inv(view.cameras.camera_from_grid[0].double())
    torch.testing.assert_close(
        world, before.world_from_grid[0] @ before.grid_from_camera[0, 0].double(), atol=1e-3, rtol=0
    )
    alone, _ = render(renderer, model(now), now, extras(frames, 1), ())
    both, _ = render(renderer, model(now), now, extras(frames, 1), (past,))
    assert alone.photometric != both.photometric


def test_as_many_keyframes_are_rendered_as_asked_for(
    frames: NuScenesFrames, model: OccupancyModel, monkeypatch: pytest.MonkeyPatch
):
    """The paper's T = 5, here 3: the present and two before. A frame without cameras adds none."""
    config = SequentialRendererConfig(frames=3, consistency_weight=0.0, photometric_weight=1.0)
    renderer = SequentialRenderer(debug().channels, debug().coarse_grid, config)
    rendered: list[list[float]] = []
    monkeypatch.setattr(
        renderer,
        "_photometric",
        lambda gaussians, anchors, views: (
            rendered.append([view.time_s for view in views]) or gaussians.offset.sum()
        ),
    )
    frame, _ = frames[0]
    past: tuple[Past, ...] = ()
    for half_seconds in range(5):
        stamp_ns = (frame.stamp_ns[0] + half_seconds * 500_000_000,)
        mask = frame.camera_mask if half_seconds != 3 else torch.zeros_like(frame.camera_mask)
        now = replace(frame, stamp_ns=stamp_ns, camera_mask=mask)
        _, past = render(renderer, model(now), now, extras(frames, 0), past)
    seen = [[0.0], [0.0, -0.5], [0.0, -1.0, -0.5], [0.0, -1.5, -1.0]]  # at 0, 0.5, 1 and 2 s
    assert rendered == [pytest.approx(times) for times in seen]
    assert [(each.stamp_ns - frame.stamp_ns[0]) * 1e-9 for each in past] == pytest.approx([1, 2])


def test_fewer_than_two_keyframes_are_refused():
    with pytest.raises(ValueError, match="frames must be at least 2, .* got 1"):
        SequentialRendererConfig(frames=1)


def test_without_cameras_nothing_is_taught(
    frames: NuScenesFrames, model: OccupancyModel, renderer: SequentialRenderer
):
    frame, _ = frames[0]
    blind = replace(frame, camera_mask=torch.zeros_like(frame.camera_mask))
    losses, past = render(renderer, model(blind), blind, extras(frames, 0), ())
    assert past == () and losses.consistency.item() == 0
    losses.consistency.backward()


def test_the_total_is_that_of_eq_5():
    losses = SequentialRendererLosses(torch.tensor(0.5), torch.tensor(0.4), torch.tensor(0.1))
    occupancy = torch.tensor(2.0)
    # 0.8 * 2 + 0.2 * 0.1
    assert total_loss(occupancy, losses, SequentialRendererConfig()).item() == pytest.approx(1.62)
    # and 3 * 0.5 more
    photometric = SequentialRendererConfig(photometric_weight=3.0)
    assert total_loss(occupancy, losses, photometric).item() == pytest.approx(3.12)


def test_batches_are_rendered_and_nothing_of_it_is_shipped(smallest: TrainConfig):
    rendering = SequentialRendererConfig(inner_steps=1, image_scale=0.5)
    config = replace(smallest, steps=1, batch_size=2, rendering=rendering)
    shipped, _ = load_checkpoint(train(config))
    assert set(shipped.state_dict()) == set(build_model(config.model).state_dict())
