from dataclasses import replace

import pytest
import torch
from torch import nn

from occ_core.baselines.occmamba.encoder import (
    LocalContext,
    OccMambaConfig,
    OccMambaEncoder,
    VolumeMamba,
)
from occ_core.baselines.occmamba.hilbert import height_first_order

SMALL = OccMambaConfig(
    channels=8, layers=(1, 1, 1), state=2, expand=1, patches=(2, 3), patch_channels=4
)


@pytest.mark.parametrize("patches", [(), (2, 3)])
def test_shape_and_gradient_on_sides_that_cannot_be_halved(patches: tuple[int, ...]):
    """7 x 6 x 3 voxels, then 4 x 3 x 2 and 2 x 2 x 2."""
    encoder = OccMambaEncoder(16, (7, 6, 3), replace(SMALL, patches=patches))
    volume = torch.randn(2, 16, 7, 6, 3, requires_grad=True)
    result = encoder(volume)
    assert result.shape == volume.shape
    (result * torch.randn_like(result)).sum().backward()
    assert volume.grad is not None and volume.grad.any()
    without = [name for name, each in encoder.named_parameters() if not each.grad.any()]
    assert without == []


@torch.no_grad()
def test_a_volume_is_read_along_the_curve():
    """Layers that write the number of the step: the first voxel of the curve gets 0, ..."""

    class Count(nn.Module):
        def forward(self, sequence: torch.Tensor) -> torch.Tensor:
            return torch.arange(float(sequence.shape[1]))[None, :, None].expand_as(sequence)

    mamba = VolumeMamba((4, 3, 2), 1, SMALL)
    mamba.mamba = Count()
    found = mamba(torch.randn(1, 8, 4, 3, 2))[0, 0].flatten()
    assert found[height_first_order((4, 3, 2))].tolist() == list(range(24))


@torch.no_grad()
def test_patches_come_back_to_their_places():
    """Layers that change nothing: the volume as it was, with patches over the border too."""
    context = LocalContext(8, 3, SMALL)
    volume = torch.randn(2, 8, 7, 5, 3)
    for side in SMALL.patches:
        assert torch.equal(context.within_patches(volume, side, nn.Identity()), volume)


@torch.no_grad()
def test_a_patch_sees_itself_alone():
    """Layers that give the sum over their sequence: for sides of 3, voxel (4, 1) lies in the patch
    of the columns 3 to 5 along x and 0 to 2 along y.
    """

    class Sum(nn.Module):
        def forward(self, sequence: torch.Tensor) -> torch.Tensor:
            return sequence.sum(dim=1, keepdim=True).expand_as(sequence)

    context = LocalContext(8, 3, SMALL)
    volume = torch.randn(1, 8, 7, 5, 3)
    found = context.within_patches(volume, 3, Sum())
    expected = volume[0, :, 3:6, 0:3].sum(dim=(1, 2, 3))
    torch.testing.assert_close(found[0, :, 4, 1, 2], expected)


@torch.no_grad()
def test_bfloat16_gives_nearly_the_same():
    """Two layers of voxels, which must not be halved to one: see ``halvable``."""
    encoder = OccMambaEncoder(8, (10, 10, 2), SMALL)
    volume = torch.randn(1, 8, 10, 10, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = encoder(volume)
    # values are around 1; a cell that is not computed holds whatever was in memory
    assert (rounded.float() - encoder(volume)).abs().mean() < 0.1


@torch.no_grad()
def test_the_whole_scene_is_seen():
    """A change in one corner reaches the other one."""
    encoder = OccMambaEncoder(16, (8, 8, 2), replace(SMALL, patches=()))
    volume = torch.randn(1, 16, 8, 8, 2)
    changed = volume.clone()
    changed[0, :, 0, 0, 0] += 1.0
    assert (encoder(changed) - encoder(volume))[0, :, 7, 7].abs().max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 12}, "channels in multiples of 8"),
        ({"layers": (1, 0)}, "layers must be at least 1"),
        ({"patches": (1,)}, "patches must be 2 columns or more"),
    ],
)
def test_nonsense_is_refused(change: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
