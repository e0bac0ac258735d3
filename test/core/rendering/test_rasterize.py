from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.project import project_views
from occ_core.rendering.project import project
from occ_core.rendering.rasterize import RasterImages, rasterize, rasterize_dense, rasterize_many
from occ_core.types import Gaussians

SIZE = (11, 17)


def cameras(
    orthographic: bool = False, dtype: torch.dtype = torch.float64, views: int = 2
) -> Cameras:
    """Looking along +z; the second view is turned by 0.3 rad about y and moved."""
    focal = 4.0 if orthographic else 14.0
    intrinsics = (
        torch.tensor([[focal, 0, 8.0], [0, 1.1 * focal, 5.0], [0, 0, 1]], dtype=dtype)
        .expand(views, 3, 3)
        .clone()
    )
    poses = torch.eye(4, dtype=dtype).repeat(views, 1, 1)
    if views > 1:
        angle = torch.tensor(0.3, dtype=dtype)
        poses[1, 0, 0] = poses[1, 2, 2] = angle.cos()
        poses[1, 0, 2], poses[1, 2, 0] = angle.sin(), -angle.sin()
        poses[1, :3, 3] = torch.tensor([0.2, -0.1, 0.4], dtype=dtype)
    return Cameras(intrinsics, poses, SIZE, orthographic)


def some(
    count: int, channels: int = 3, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Gaussians:
    """Gaussians in front of the camera and around, some behind it, opaque and faint ones."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    return Gaussians(
        means=(
            (draw(count, 3) - 0.5) * torch.tensor([5.0, 3.5, 6.0]) + torch.tensor([0, 0, 2.5])
        ).to(dtype),
        quaternions=(draw(count, 4) - 0.5).to(dtype),
        scales=(0.03 + 0.3 * draw(count, 3)).to(dtype),
        opacities=draw(count).pow(0.3).to(dtype),
        features=draw(count, channels).to(dtype),
    )


def one(
    opacity: float = 0.5, scale: float = 0.2, z: float = 4.0, feature: float = 1.0
) -> Gaussians:
    """A ball on the optical axis of the first camera."""
    return Gaussians(
        torch.tensor([[0.0, 0.0, z]]),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), scale),
        torch.tensor([opacity]),
        torch.tensor([[feature]]),
    )


def join(*parts: Gaussians) -> Gaussians:
    return Gaussians(
        *(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Gaussians))
    )


def with_gradients(gaussians: Gaussians) -> Gaussians:
    return Gaussians(
        *(getattr(gaussians, field.name).clone().requires_grad_() for field in fields(Gaussians))
    )


def gradients(
    gaussians: Gaussians, rendering: Sequence[Tensor], seed: int = 3
) -> dict[str, Tensor]:
    """Gradients of a randomly weighted sum of all outputs."""
    random = torch.Generator().manual_seed(seed)
    loss = sum(
        (part * torch.randn(part.shape, generator=random, dtype=torch.float64).to(part.dtype)).sum()
        for part in rendering
    )
    loss.backward()
    return {field.name: getattr(gaussians, field.name).grad for field in fields(Gaussians)}


def joined(renderings: Sequence[RasterImages]) -> list[Tensor]:
    return [part for rendering in renderings for part in rendering]


def test_a_ball_by_hand():
    """Variance in the image (0.2 * 14 / 4)^2 + 0.3 = 0.79 along u; at the centre alpha is the
    opacity.

    Three pixels to the right alpha is 0.5 exp(-9 / (2 * 0.79)) = 0.00168 < 1/255: nothing; two to
    the right 0.5 exp(-4 / 1.58).
    """
    rendering = rasterize(one(), cameras(views=1, dtype=torch.float32))
    alpha = rendering.alpha[0]
    assert alpha[5, 8].item() == pytest.approx(0.5)
    assert alpha[5, 10].item() == pytest.approx(
        0.5 * torch.tensor(-4 / 1.58).exp().item(), rel=1e-5
    )
    assert alpha[5, 11] == 0
    torch.testing.assert_close(rendering.depth[0], alpha * 4.0)


def test_the_nearer_covers_the_farther_whatever_their_order():
    """Two balls: 0.9 of the near one's 1, then 0.1 * 0.9 of the far one's 7."""
    near, far = one(opacity=0.9, z=2.0), one(opacity=0.9, z=4.0, feature=7.0)
    for gaussians in (join(near, far), join(far, near)):
        rendering = rasterize(gaussians, cameras(views=1, dtype=torch.float32))
        assert rendering.image[0, 0, 5, 8].item() == pytest.approx(0.9 + 0.1 * 0.9 * 7)
        assert rendering.depth[0, 5, 8].item() == pytest.approx(0.9 * 2 + 0.1 * 0.9 * 4)


def test_a_finished_pixel_takes_no_more():
    """After three balls of 0.95, 0.05^3 = 1.25e-4 passes; the fourth would leave less than 1e-4 and
    is not drawn.
    """
    gaussians = join(*[one(opacity=0.95, z=z) for z in (1.0, 2.0, 3.0, 4.0)])
    for render in (rasterize, rasterize_dense):
        rendering = render(gaussians, cameras(views=1, dtype=torch.float32))
        assert rendering.alpha[0, 5, 8].item() == pytest.approx(1 - 0.05**3)


def test_orthographic_size_does_not_depend_on_depth():
    near, far = (
        rasterize(one(z=z), cameras(orthographic=True, views=1, dtype=torch.float32))
        for z in (1.0, 40.0)
    )
    assert torch.equal(near.image, far.image) and near.depth.max() * 40 == pytest.approx(
        far.depth.max().item()
    )


@pytest.mark.parametrize("orthographic", [False, True], ids=["perspective", "orthographic"])
def test_a_quarter_turn_swaps_the_axes(orthographic: bool):
    half = 2**-0.5
    turned = replace(
        one(),
        quaternions=torch.tensor([[half, 0, 0, half]]),
        scales=torch.tensor([[1.0, 2.0, 3.0]]),
    )
    swapped = replace(one(), scales=torch.tensor([[2.0, 1.0, 3.0]]))
    view = cameras(orthographic=orthographic, views=1, dtype=torch.float32)
    torch.testing.assert_close(project(turned, view, 0).conics, project(swapped, view, 0).conics)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    channels=st.integers(1, 5),
    orthographic=st.booleans(),
)
def test_values_and_gradients_are_those_of_the_dense_reference(
    seed: int, count: int, channels: int, orthographic: bool
):
    view = cameras(orthographic)
    ours, reference = (with_gradients(some(count, channels, seed)) for _ in range(2))
    rendered, expected = rasterize(ours, view), rasterize_dense(reference, view)
    for part, wanted in zip(rendered, expected, strict=True):
        torch.testing.assert_close(part, wanted, atol=1e-5, rtol=1e-5)
    found, wanted_gradients = gradients(ours, rendered), gradients(reference, expected)
    for name, gradient in found.items():
        scale = wanted_gradients[name].abs().max().clamp(min=1e-6)
        torch.testing.assert_close(
            gradient / scale, wanted_gradients[name] / scale, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_band_of_rows_is_drawn_as_the_reference_draws_it(threads: int, set_threads):
    """53 rows; the largest Gaussians reach over several bands, and the gradients of all bands
    add up.
    """
    view = replace(
        cameras(),
        size=(53, 17),
        intrinsics=cameras().intrinsics * torch.tensor([1.0, 5.0, 1.0])[:, None],
    )
    set_threads(threads)
    ours, reference = (with_gradients(some(60, seed=1)) for _ in range(2))
    rendered, expected = rasterize(ours, view), rasterize_dense(reference, view)
    found, wanted = gradients(ours, rendered), gradients(reference, expected)
    for part, other in zip(rendered, expected, strict=True):
        torch.testing.assert_close(part, other, atol=1e-5, rtol=1e-5)
        assert part[..., :16, :].any() and part[..., 20:32, :].any() and part[..., 40:, :].any()
    for name, gradient in found.items():
        scale = wanted[name].abs().max()
        torch.testing.assert_close(gradient / scale, wanted[name] / scale, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_cameras_of_several_sizes_and_kinds_are_drawn_in_parallel(threads: int, set_threads):
    """Each as the reference draws it alone, and the gradients of all add up; four threads share
    three views.
    """
    wide, above = cameras(), replace(cameras(orthographic=True, views=1), size=(40, 33))
    set_threads(threads)
    ours, reference = (with_gradients(some(60, seed=2)) for _ in range(2))
    rendered = rasterize_many(ours, [wide, above])
    found = gradients(ours, joined(rendered))
    expected = [rasterize_dense(reference, view) for view in (wide, above)]
    wanted = gradients(reference, joined(expected))
    for one, other in zip(joined(rendered), joined(expected), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert [each.alpha.shape for each in rendered] == [each.alpha.shape for each in expected]
    for name, gradient in found.items():
        scale = wanted[name].abs().max()
        torch.testing.assert_close(gradient / scale, wanted[name] / scale, atol=1e-4, rtol=1e-4)
    assert rasterize_many(ours, []) == []


def test_a_view_without_a_gradient_takes_no_part():
    """One of two views receives a gradient: the result is that of this view alone, whatever the
    other one sees.
    """
    views = [cameras().only(1), replace(cameras(views=1), size=(20, 17))]
    plain = some(60, seed=2)
    only_in_the_other = project(plain, views[0], 0).visible & ~project(plain, views[1], 0).visible
    plain.features[only_in_the_other] = torch.inf
    both, alone = with_gradients(plain), with_gradients(plain)
    rendered = rasterize_many(both, views)
    assert only_in_the_other.any() and rendered[0].image.isinf().any()
    found, wanted = gradients(both, rendered[1]), gradients(alone, rasterize(alone, views[1]))
    assert (
        all(torch.equal(found[name], wanted[name]) for name in wanted) and found["features"].any()
    )


def test_one_output_alone_can_receive_a_gradient():
    """The depth, one of three outputs: the gradients of the others are None."""
    ours, reference = (with_gradients(some(60, seed=4)) for _ in range(2))
    found = gradients(ours, [rasterize(ours, cameras()).depth])
    wanted = gradients(reference, [rasterize_dense(reference, cameras()).depth])
    for name in ("means", "scales", "quaternions", "opacities"):
        scale = wanted[name].abs().max()
        torch.testing.assert_close(found[name] / scale, wanted[name] / scale, atol=1e-4, rtol=1e-4)
    assert not found["features"].any()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_fixed_camera_and_one_with_a_gradient_work_together(threads: int, set_threads):
    """Only the Gaussians' opacities and features need a gradient, as those of voxels do, and the
    pose of the second camera.
    """
    gaussians = some(60, seed=6)
    fixed, above = cameras(views=1), replace(cameras(orthographic=True, views=1), size=(40, 33))
    set_threads(threads)
    results = []
    for draw in (
        rasterize_many,
        lambda gaussians, several: [rasterize_dense(gaussians, view) for view in several],
    ):
        moving = replace(above, camera_from_grid=above.camera_from_grid.clone().requires_grad_())
        opacities = gaussians.opacities.clone().requires_grad_()
        features = gaussians.features.clone().requires_grad_()
        ours = replace(gaussians, opacities=opacities, features=features)
        random = torch.Generator().manual_seed(0)
        weighted = [
            (part * torch.randn(part.shape, generator=random, dtype=torch.float64)).sum()
            for part in joined(draw(ours, [fixed, moving]))
        ]
        leaves = [opacities, features, moving.camera_from_grid]
        results.append(torch.autograd.grad(torch.stack(weighted).sum(), leaves))
    for found, wanted in zip(*results, strict=True):
        assert wanted.any()
        torch.testing.assert_close(
            found / wanted.abs().max(), wanted / wanted.abs().max(), atol=1e-4, rtol=1e-4
        )


def test_single_precision_is_close_to_double():
    """A thousand Gaussians, to 5e-3 of the largest value: a contribution may fall on the other side
    of 1/255.
    """
    single = rasterize(some(1000, dtype=torch.float32), cameras(dtype=torch.float32))
    double = rasterize_dense(some(1000), cameras())
    for part, wanted in zip(single, double, strict=True):
        assert (part - wanted).abs().max() <= 5e-3 * wanted.abs().max()
        assert (part - wanted).abs().mean() <= 1e-5 * wanted.abs().max()


def test_gradients_by_finite_differences():
    """Gradients are the change that a small change of the parameter makes."""
    gaussians = with_gradients(some(4, seed=5))
    view = cameras(views=1)

    def render(*parameters: Tensor) -> Tensor:
        rendering = rasterize(Gaussians(*parameters), view)
        return torch.cat(
            [rendering.image.flatten(), rendering.depth.flatten(), rendering.alpha.flatten()]
        )

    parameters = [getattr(gaussians, field.name) for field in fields(Gaussians)]
    weight = torch.randn(
        render(*parameters).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    (render(*parameters) @ weight).backward()
    step = 1e-6
    for parameter in (
        gaussians.features,
        gaussians.opacities,
    ):  # smooth but for the cuts, which these cross rarely
        flat = parameter.detach().clone().flatten()
        for position in range(0, len(flat), 3):
            values = []
            for sign in (1, -1):
                moved = flat.clone()
                moved[position] += sign * step
                changed = [moved.view_as(p) if p is parameter else p.detach() for p in parameters]
                values.append(render(*changed) @ weight)
            numeric = (values[0] - values[1]) / (2 * step)
            torch.testing.assert_close(
                parameter.grad.flatten()[position], numeric, atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("kind", ["none", "behind", "beside", "transparent"])
def test_nothing_to_see_is_black(kind: str):
    gaussians = some(1) if kind == "none" else one()
    if kind == "none":
        gaussians = Gaussians(*(getattr(gaussians, field.name)[:0] for field in fields(Gaussians)))
    if kind == "behind":
        gaussians = replace(gaussians, means=-gaussians.means)
    if kind == "beside":
        gaussians = replace(gaussians, means=torch.tensor([[50.0, 0.0, 4.0]]))
    if kind == "transparent":
        gaussians = replace(gaussians, opacities=torch.zeros(1))
    rendering = rasterize(gaussians, cameras(dtype=gaussians.means.dtype))
    assert all((part == 0).all() for part in rendering)
    assert rendering.image.shape == (2, gaussians.features.shape[1], *SIZE)


def test_what_is_visible_is_in_front_and_reaches_the_image():
    projected = project(some(500), cameras(views=1), 0)
    assert 0 < projected.visible.sum() < 500
    assert (projected.depths[projected.visible] > 0.1).all()


@pytest.mark.parametrize(
    "of", [project, lambda gaussians, view, _: project_views(gaussians, [view])[0]]
)
def test_a_gaussian_longer_than_the_scene_is_projected_as_exactly(of):
    """Its variances in the image, some 1e11 px^2, leave nothing of uu vv - uv^2 in float32."""
    conics = []
    for dtype in (torch.float32, torch.float64):
        long = Gaussians(
            means=torch.tensor([[-38.88, 0.57, 9.16]], dtype=dtype),
            quaternions=torch.tensor([[-0.54, -0.23, -0.62, 0.50]], dtype=dtype),
            scales=torch.tensor([[0.088, 1e5, 3.44]], dtype=dtype),
            opacities=torch.tensor([0.5], dtype=dtype),
            features=torch.ones(1, 1, dtype=dtype),
        )
        lens = torch.tensor([[[38.0, 0, 23], [0, 38.0, 3], [0, 0, 1]]], dtype=dtype)
        conics.append(of(long, Cameras(lens, torch.eye(4, dtype=dtype)[None], (16, 48)), 0).conics)
    torch.testing.assert_close(conics[0], conics[1].float(), rtol=1e-5, atol=0.0)


def test_cameras_refuse_nonsense():
    with pytest.raises(ValueError, match="at least 1x1"):
        Cameras(torch.eye(3)[None], torch.eye(4)[None], (0, 4))
