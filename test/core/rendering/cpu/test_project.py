import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occ_core.rendering.cameras import Cameras
from occ_core.rendering.cpu.project import project_views
from occ_core.rendering.project import project
from occ_core.types import Gaussians


def gaussians(count: int, seed: int, dtype: torch.dtype) -> Gaussians:
    """All around the cameras, some too faint to be seen."""
    torch.manual_seed(seed)
    return Gaussians(
        means=6 * torch.randn(count, 3, dtype=dtype),
        quaternions=torch.randn(count, 4, dtype=dtype),
        scales=0.02 + torch.rand(count, 3, dtype=dtype),
        opacities=torch.rand(count, dtype=dtype) ** 4,
        features=torch.zeros(count, 1, dtype=dtype),
    )


def cameras(orthographic: bool) -> Cameras:
    """Two views, the second turned by 1 rad about y."""
    focal = 9.0 if orthographic else 20.0
    poses = torch.eye(4).repeat(2, 1, 1)
    turn = torch.tensor(1.0)
    poses[1, 0, 0] = poses[1, 2, 2] = turn.cos()
    poses[1, 0, 2], poses[1, 2, 0] = turn.sin(), -turn.sin()
    poses[1, :3, 3] = torch.tensor([0.5, -0.2, 1.0])
    intrinsics = torch.tensor([[focal, 0, 15.0], [0, 1.2 * focal, 9.0], [0, 0, 1]]).expand(2, 3, 3)
    return Cameras(intrinsics, poses, (20, 32), orthographic)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), orthographic=st.booleans(), view=st.integers(0, 1))
def test_it_projects_as_torch(seed: int, orthographic: bool, view: int):
    some, seen_by = gaussians(200, seed, torch.float64), cameras(orthographic)
    some.scales[:50] = some.scales[:50, :1]  # spheres, rotated as the others are
    ours, expected = project_views(some, [seen_by.only(view)])[0], project(some, seen_by, view)
    assert torch.equal(ours.visible, expected.visible)
    for mine, other in zip(ours[:-1], expected[:-1], strict=True):
        torch.testing.assert_close(
            mine[expected.visible], other[expected.visible], rtol=1e-9, atol=1e-9
        )


def test_single_precision_stays_single():
    some = gaussians(500, 0, torch.float32)
    ours, expected = (
        project_views(some, [cameras(False).only(0)])[0],
        project(some, cameras(False), 0),
    )
    assert 20 < ours.visible.sum() < 400 and ours.centres.dtype == torch.float32
    both = ours.visible & expected.visible
    assert (ours.visible != expected.visible).sum() <= 1  # at the border
    torch.testing.assert_close(ours.conics[both], expected.conics[both], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(ours.centres[both], expected.centres[both], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_visible(broken: float):
    some = gaussians(40, 0, torch.float64)
    for row, name in enumerate(("means", "opacities", "quaternions")):
        getattr(some, name)[row * 10 : row * 10 + 10] = broken
    some.quaternions[30:] = 0  # no rotation
    some.scales[::2] = some.scales[::2, :1]  # spheres
    ours, expected = (
        project_views(some, [cameras(False).only(0)])[0],
        project(some, cameras(False), 0),
    )
    assert not ours.visible[:10].any() and not ours.visible[20:30].any()
    if broken != broken:
        assert torch.equal(ours.visible, expected.visible) and not ours.visible[:30].any()
    assert torch.equal(ours.visible[30:], expected.visible[30:]) and ours.visible[30:].any()
    torch.testing.assert_close(
        ours.conics[30:][ours.visible[30:]], expected.conics[30:][ours.visible[30:]]
    )


def test_no_gaussians_give_no_projections():
    assert (
        len(project_views(gaussians(0, 0, torch.float32), [cameras(False).only(0)])[0].visible) == 0
    )


def test_of_several_views_each_is_projected_as_alone():
    some, views = (
        gaussians(200, 3, torch.float64),
        [cameras(False).only(1), cameras(True).only(0), cameras(False).only(0)],
    )
    for one, view in zip(project_views(some, views), views, strict=True):
        (alone,) = project_views(some, [view])
        assert (
            all(torch.equal(part, other) for part, other in zip(one, alone, strict=True))
            and one.visible.any()
        )
    assert project_views(some, []) == []
