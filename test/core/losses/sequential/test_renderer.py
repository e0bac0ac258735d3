import math
from dataclasses import replace

import pytest
import torch

from occ_core.losses.sequential.anchors import Anchors, dual_source_anchors
from occ_core.losses.sequential.renderer import SequentialRenderer, SequentialRendererConfig
from occ_core.losses.sequential.target_views import target_views
from occ_core.losses.sequential.temporal_gaussians import (
    ParameterNetwork,
    TemporalGaussians,
    VelocityGate,
    parameter_consistency,
)
from occ_core.types import DriveContext, Frame
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), 1.0)  # 8x8x4


def a_point(x: float, y: float, z: float, age_s: float = 0.0) -> list[float]:
    return [x, y, z, 10.0, age_s]


def frame(seed: int = 0) -> Frame:
    """Two cameras that look along +y and -y of the grid, the second missing; a wall of points 3 m
    ahead.
    """
    generator = torch.Generator().manual_seed(seed)
    ahead = torch.tensor(
        [[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    back = torch.tensor(
        [[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    wall = [a_point(x / 4, 3.0, z / 4) for x in range(-10, 11) for z in range(-6, 7)]
    return Frame(
        images=torch.randint(0, 255, (1, 2, 3, 48, 64), dtype=torch.uint8, generator=generator),
        camera_mask=torch.tensor([[True, False]]),
        intrinsics=torch.tensor([[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]]).expand(1, 2, 3, 3),
        grid_from_camera=torch.stack([ahead, back])[None].float(),
        points=(torch.tensor(wall),),
        world_from_grid=torch.eye(4, dtype=torch.float64)[None],
        stamp_ns=(0,),
        context=(DriveContext(),),
    )


def gaussians(count: int = 1, **changes: float) -> TemporalGaussians:
    rows = {
        "offset": (count, 3),
        "quaternion": (count, 4),
        "scale": (count, 3),
        "colour": (count, 3),
    }
    parts = {
        name: torch.full(rows.get(name, (count,)), changes.get(name, 0.0))
        for name in TemporalGaussians._fields
    }
    parts["quaternion"][:, 0] = 1
    return TemporalGaussians(**parts)


def anchors(count: int = 1, size_m: float = 0.5) -> Anchors:
    return Anchors(
        torch.zeros(count, 3), torch.full((count,), size_m), torch.zeros(count, dtype=torch.bool)
    )


def test_anchors_are_new_points_and_occupied_voxels_without_them():
    points = torch.tensor(
        [a_point(0.5, 0.5, 0.5), a_point(1.5, 0.5, 0.5, age_s=0.1), a_point(9.0, 0, 0)]
    )
    occupied = torch.zeros(GRID.shape, dtype=torch.bool)
    occupied[4, 4, 2] = True  # 0..1 m along every axis: holds the first point
    occupied[5, 4, 2] = True  # holds the older point alone
    found = dual_source_anchors(points, occupied, GRID)
    assert found.centres.tolist() == [[0.5, 0.5, 0.5], [1.5, 0.5, 0.5]]
    assert found.is_point.tolist() == [True, False]
    assert found.size_m.tolist() == pytest.approx([0.2, 0.5])


def test_no_more_anchors_than_asked_for():
    # 10 points, 4 at most: every third, 0, 3, 6, 9
    points = torch.tensor([a_point(-3.9 + 0.5 * i, 0, 0) for i in range(10)])
    found = dual_source_anchors(points, torch.zeros(GRID.shape, dtype=torch.bool), GRID, most=4)
    assert found.centres[:, 0].tolist() == pytest.approx([-3.9, -2.4, -0.9, 0.6])


def test_opacity_is_weighted_in_time():
    # sigma_t = exp(0) = 1 s around 0.5 s; opacity sigmoid(0) = 0.5
    one = gaussians(centre_s=0.5)
    assert one.at(0.5, anchors()).opacities.item() == pytest.approx(0.5)
    assert one.at(-0.5, anchors()).opacities.item() == pytest.approx(0.5 * math.exp(-0.5))
    wider = gaussians(centre_s=0.5, width=math.log(2))
    assert wider.at(-0.5, anchors()).opacities.item() == pytest.approx(0.5 * math.exp(-0.125))


def test_gaussians_stay_at_their_anchors():
    far = gaussians(offset=100.0, scale=math.log(0.4)).at(0.0, anchors(size_m=0.2))
    assert far.means.tolist() == [pytest.approx([0.2, 0.2, 0.2])]
    assert far.scales.tolist() == [pytest.approx([0.08, 0.08, 0.08])]


def test_no_gaussian_outgrows_its_anchor_and_what_did_may_shrink():
    """exp(9) anchor sizes count as 4: 4 * 0.2 m; d scales / d scale is scales."""
    grown = gaussians(scale=9.0)._replace(scale=torch.full((1, 3), 9.0, requires_grad=True))
    scales = grown.at(0.0, anchors(size_m=0.2)).scales
    assert scales.tolist() == [pytest.approx([0.8] * 3)]
    scales.sum().backward()
    assert grown.scale.grad.tolist() == [pytest.approx([0.8] * 3)]


def test_the_network_starts_at_round_gaussians_and_reaches_the_volume():
    torch.manual_seed(0)
    network = ParameterNetwork(4, GRID)
    volume = torch.zeros(1, 4, *GRID.shape, requires_grad=True)
    network.linear.weight.data.zero_()
    first = network(volume, anchors(3)).at(0.0, anchors(3))
    assert first.opacities.tolist() == pytest.approx([0.3] * 3)
    assert first.means.tolist() == [[0.0] * 3] * 3
    assert first.scales.flatten().tolist() == pytest.approx([0.5] * 9)
    network.linear.reset_parameters()
    sum(part.sum() for part in network(volume + 0.1, anchors(3))).backward()
    assert volume.grad.abs().sum() > 0


def test_the_gate_widens_what_is_faster_than_the_scene():
    gate = VelocityGate(widest=3.0)
    # beta = 1: tau is the mean, 2 m/s. sigmoid((2 - 2) / 0.5) = 1/2: 1 + 2 / 2 = 2; (0 - 2) / 0.5 =
    # -4, (4 - 2) / 0.5 = 4
    factors = gate(gaussians(3), torch.tensor([0.0, 2.0, 4.0])).width.exp()
    slow, fast = 1 / (1 + math.exp(4)), 1 / (1 + math.exp(-4))
    assert factors.tolist() == pytest.approx([1 + 2 * slow, 2.0, 1 + 2 * fast])
    factors[1].backward()
    # 2 sigmoid'(0) * -d tau / softness
    assert gate.log_beta.grad.item() == pytest.approx(2 * 0.25 * -2 / 0.5)


def test_consistency_is_a_mean_and_teaches_the_initial_alone():
    before, after = gaussians(2), gaussians(2, colour=0.8, opacity=-0.4)
    for part in (*before, *after):
        part.requires_grad_()
    loss = parameter_consistency(before, after)
    assert loss.item() == pytest.approx((2 * 3 * 0.8 + 2 * 0.4) / (2 * 16))
    loss.backward()
    assert before.colour.grad.flatten().tolist() == pytest.approx([-1 / 32] * 6)
    assert after.colour.grad is None
    assert parameter_consistency(gaussians(0), gaussians(0)).item() == 0


def test_views_are_scaled_with_their_cameras():
    view = target_views(frame(), 0, 0.5)
    # One of two cameras is there. Pixel c becomes (c + 0.5) / 2 - 0.5: the centre 31.5 is at 15.5.
    assert view.images.shape == (1, 3, 24, 32)
    assert view.cameras.intrinsics[0].tolist() == [[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]]
    assert view.images[0, 0, 0, 0] == pytest.approx(
        frame().images[0, 0, 0, :2, :2].float().mean() / 255
    )
    sky = torch.zeros(2, 48, 64, dtype=torch.bool)
    sky[0, 0, 3] = True
    assert (~target_views(frame(), 0, 0.5, sky).valid).nonzero().tolist() == [[0, 0, 1]]


def test_a_view_of_the_past_stands_where_the_vehicle_was():
    # The vehicle has driven 2 m along x since: then, its camera was at x = -2 of the present grid.
    then_from_now = torch.eye(4, dtype=torch.float64)
    then_from_now[0, 3] = 2
    view = target_views(frame(), 0, 0.5).seen_from(then_from_now, time_s=-0.5)
    assert view.time_s == -0.5
    assert torch.linalg.inv(view.cameras.camera_from_grid[0])[:3, 3].tolist() == pytest.approx(
        [-2, 0, 0]
    )


def renderer(**changes: float) -> SequentialRenderer:
    torch.manual_seed(0)
    return SequentialRenderer(4, GRID, SequentialRendererConfig(image_scale=0.5, **changes))


def inputs() -> tuple:
    generator = torch.Generator().manual_seed(1)
    volume = torch.rand(1, 4, *GRID.shape, generator=generator).requires_grad_()
    occupied = torch.zeros(1, *GRID.shape, dtype=torch.bool)
    occupied[0, :, 6] = True
    return (
        volume,
        occupied,
        frame().points[0],
        torch.zeros(GRID.shape),
        [target_views(frame(), 0, 0.5)],
    )


def test_the_gaussians_become_more_like_the_images_and_teach_the_volume():
    volume, *rest = inputs()
    one = renderer()
    losses = one(volume, *rest)
    assert losses.refined < losses.photometric - 0.005
    assert not losses.refined.requires_grad
    losses.consistency.backward()
    assert volume.grad.abs().sum() > 0
    assert one.parameters_of.linear.weight.grad.abs().sum() > 0


def test_the_consistency_teaches_the_gate():
    """Half of the scene moves; a wider sigma_t in the initial Gaussians is a difference to what the
    images made of them.
    """
    volume, occupied, points, speed, views = inputs()
    speed[:4] = 5.0
    one = renderer()
    one(
        volume, occupied, points, speed, [views[0], views[0]._replace(time_s=-0.5)]
    ).consistency.backward()
    assert one.gate.log_beta.grad.abs() > 0


def test_density_control_is_for_the_photometric_loss_alone():
    volume, *rest = inputs()
    one = renderer(consistency_weight=0.0, photometric_weight=1.0, density_control=True)
    losses = one(volume, *rest)
    losses.photometric.backward()
    assert volume.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="their number|one to one"):
        SequentialRendererConfig(density_control=True)


def test_following_the_consistency_lowers_the_photometric_loss():
    volume, *rest = inputs()
    one = renderer()
    optimiser = torch.optim.Adam(one.parameters(), lr=1e-3)
    first = one(volume, *rest).photometric.item()
    for _ in range(10):
        optimiser.zero_grad()
        one(volume, *rest).consistency.backward()
        optimiser.step()
    assert one(volume, *rest).photometric.item() < first - 0.005


def test_without_consistency_the_gaussians_are_not_refined():
    volume, *rest = inputs()
    losses = renderer(consistency_weight=0.0, photometric_weight=1.0)(volume, *rest)
    assert losses.consistency.item() == 0
    losses.photometric.backward()
    assert volume.grad.abs().sum() > 0


def test_an_empty_scene_is_no_error():
    volume, occupied, points, speed, views = inputs()
    one = renderer()
    losses = one(volume, torch.zeros_like(occupied), points[:0], speed, views)
    assert losses.consistency.item() == 0
    assert torch.isfinite(losses.photometric)
    (losses.consistency + losses.photometric).backward()
    assert all(
        weights.grad is None or torch.isfinite(weights.grad).all() for weights in one.parameters()
    )


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="image_scale"):
        SequentialRendererConfig(image_scale=0.0)
    with pytest.raises(ValueError, match="one of them must be above"):
        SequentialRendererConfig(consistency_weight=0.0)
    with pytest.raises(ValueError, match="weights"):
        replace(SequentialRendererConfig(), consistency_weight=1.0)
