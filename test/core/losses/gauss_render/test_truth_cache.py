from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.losses.gauss_render.loss import GaussRenderConfig, GaussRenderLoss
from occ_core.losses.gauss_render.truth_cache import TruthCache
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import SemanticImage
from occ_core.rendering.virtual_cameras import look_at_pose
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 1.0)
LABELS = torch.zeros(8, 8, 2, dtype=torch.uint8)
SEEN = SemanticImage(torch.rand(3, 4, 5), torch.rand(4, 5) * 50)


def camera() -> Cameras:
    pose = torch.from_numpy(look_at_pose(np.array([0.0, -4, 1]), np.array([0.0, 4, 0]))).float()
    return Cameras(
        torch.tensor([[[20.0, 0, 15.5], [0, 20.0, 11.5], [0, 0, 1]]]),
        torch.linalg.inv(pose)[None],
        (24, 32),
    )


def never() -> SemanticImage:
    raise AssertionError("rendered again")


def test_what_was_rendered_is_not_rendered_again(tmp_path: Path):
    cache = TruthCache(tmp_path / "new")
    first = cache(LABELS, camera(), (GRID, 0.5), lambda: SEEN)
    kept = TruthCache(tmp_path / "new")(LABELS, camera(), (GRID, 0.5), never)
    torch.testing.assert_close(
        kept.semantics, SEEN.semantics, rtol=0, atol=2**-11
    )  # half precision below 1
    assert torch.equal(kept.semantics, first.semantics) and torch.equal(
        kept.depth_m, first.depth_m
    )  # from the first time on
    assert torch.equal(kept.depth_m, SEEN.depth_m) and kept.semantics.dtype is torch.float32
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_kept_lies_in_memory_as_renders_do_and_is_as_readable_as_other_files(
    tmp_path: Path,
):
    """A pixel's classes side by side, so that comparing the two goes straight through memory."""
    TruthCache(tmp_path)(LABELS, camera(), (), lambda: SEEN)
    kept = TruthCache(tmp_path)(LABELS, camera(), (), never)
    assert kept.semantics.permute(1, 2, 0).is_contiguous()
    (path,), other = tmp_path.glob("*.safetensors"), tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("other", ["labels", "mirrored", "pose", "lens", "size", "settings"])
def test_whatever_else_is_shown_is_another_render(other: str, tmp_path: Path):
    cache, view = TruthCache(tmp_path), camera()
    labels = LABELS.clone()
    labels[0, 0, 0] = 2
    cache(labels, view, (GRID, 0.5), lambda: SEEN)
    moved = view.camera_from_grid + torch.tensor(
        [[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1e-3], [0, 0, 0, 0]]
    )
    now = {
        "labels": (LABELS, view, (GRID, 0.5)),
        "mirrored": (labels.flip(0), view, (GRID, 0.5)),
        "pose": (labels, replace(view, camera_from_grid=moved), (GRID, 0.5)),
        "lens": (labels, replace(view, intrinsics=view.intrinsics * 1.01), (GRID, 0.5)),
        "size": (labels, replace(view, size=(24, 33)), (GRID, 0.5)),
        "settings": (labels, view, (GRID, 0.6)),
    }[other]
    with pytest.raises(AssertionError, match="rendered again"):
        cache(*now, never)


@pytest.mark.parametrize(("strategy", "kept"), [("lifted", 2), ("elevated_around", 1)])
def test_the_loss_is_the_same_with_it_and_only_cameras_that_stand_still_are_kept(
    strategy: str, kept: int, tmp_path: Path
):
    """One view and one from above; the former only where it comes again. The second epoch reads
    what the first wrote.
    """
    labels = torch.randint(0, 3, (1, 8, 8, 2), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    logits = torch.randn(
        1, 3, 8, 8, 2, generator=torch.Generator().manual_seed(1), requires_grad=True
    )
    config = replace(GaussRenderConfig(), strategy=strategy)
    plain = GaussRenderLoss(GRID, config, 3)
    cached = GaussRenderLoss(GRID, config, 3, cache=TruthCache(tmp_path))
    expected = plain(logits, labels, [camera()], np.random.default_rng(0))
    (gradient,) = torch.autograd.grad(expected.total, logits)
    for _ in range(2):
        losses = cached(logits, labels, [camera()], np.random.default_rng(0))
        torch.testing.assert_close(losses, expected, rtol=1e-3, atol=1e-4)  # half precision
        (now,) = torch.autograd.grad(losses.total, logits)
        assert (
            (now - gradient).norm() < 0.01 * gradient.norm()
        )  # where prediction and truth agree to 1e-3 the sign may turn
        assert len(list(tmp_path.glob("*.safetensors"))) == kept
