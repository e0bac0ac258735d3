import pytest
import torch

from occ_core.backbones.resnet import ResNet


def test_stages_have_strides_4_to_32():
    """64 x 96 pixels: 16 x 24, 8 x 12, 4 x 6 and 2 x 3 cells."""
    resnet = ResNet((1, 1, 1, 1), (8, 16, 32, 64), "basic").eval()
    stages = resnet.stages(torch.zeros(2, 3, 64, 96, dtype=torch.uint8))
    assert {stride: tuple(stage.shape) for stride, stage in stages.items()} == {
        4: (2, 8, 16, 24),
        8: (2, 16, 8, 12),
        16: (2, 32, 4, 6),
        32: (2, 64, 2, 3),
    }


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="'.*absent' do not exist; give the folder"):
        ResNet((1, 1, 1, 1), (8, 16, 32, 64), "basic").load_pretrained(tmp_path / "absent")


def test_weights_are_loaded_from_a_saved_folder(tmp_path):
    saved = ResNet((1, 1, 1, 1), (8, 16, 32, 64), "basic")
    saved.save_pretrained(tmp_path)
    loaded = ResNet((1, 1, 1, 1), (8, 16, 32, 64), "basic")
    loaded.load_pretrained(tmp_path)
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, saved.state_dict()[name]), name
