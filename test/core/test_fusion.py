import torch

from occ_core.fusion import ConcatFusion


def test_concatenation_is_reduced_in_parts():
    torch.manual_seed(0)
    fusion, image, lidar = ConcatFusion(8), torch.randn(2, 8, 4, 3, 2), torch.randn(2, 8, 4, 3, 2)
    expected = fusion.reduce(torch.cat([image, lidar], dim=1))
    torch.testing.assert_close(fusion(image, lidar).volume, expected, atol=1e-5, rtol=1e-5)
