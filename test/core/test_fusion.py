import torch

from occ_core.fusion import AddFusion, ConcatFusion, ConvFusion, NoFusion


def test_concatenation_is_reduced_in_parts():
    fusion, image, lidar = ConcatFusion(8), torch.randn(2, 8, 4, 3, 2), torch.randn(2, 8, 4, 3, 2)
    expected = fusion.reduce(torch.cat([image, lidar], dim=1))
    torch.testing.assert_close(fusion(image, lidar).volume, expected, atol=1e-5, rtol=1e-5)


def test_both_volumes_have_influence():
    image, lidar = torch.randn(2, 8, 4, 3, 2), torch.randn(2, 8, 4, 3, 2)
    for kind in (AddFusion, ConcatFusion, ConvFusion):
        fusion = kind(8)
        fused = fusion(image, lidar).volume
        assert fused.shape == image.shape
        assert (fusion(-image, lidar).volume - fused).abs().max() > 0.1
        assert (fusion(image, -lidar).volume - fused).abs().max() > 0.1


def test_a_single_sensor_is_passed_on():
    volume, absent = torch.randn(2, 8, 4, 3, 2), torch.zeros(2, 0, 4, 3, 2)
    assert NoFusion()(volume, absent).volume is volume
    assert NoFusion()(absent, volume).volume is volume
