from dataclasses import replace

import pytest
import torch
from torch import Tensor

from occ_core.adaptive_fusion import (
    AdaptiveFusion,
    AdaptiveFusionConfig,
    NeighbourhoodSelector,
    NonEmptyVoxels,
    Retrieval,
    anneal,
)
from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import debug


def volumes(seed: int = 0, shape: tuple[int, int, int] = (9, 7, 5)) -> tuple[Tensor, Tensor]:
    """An image volume that fills most voxels and a LiDAR volume that fills few."""
    random = torch.Generator().manual_seed(seed)
    image, lidar = (torch.randn(2, 8, *shape, generator=random) for _ in range(2))
    return (
        image * (torch.rand(2, 1, *shape, generator=random) < 0.7),
        lidar * (torch.rand(2, 1, *shape, generator=random) < 0.1),
    )


def voxels(volume: Tensor, stride: int = 1) -> NonEmptyVoxels:
    """The non-empty voxels of a volume at one level."""
    return NonEmptyVoxels(volume, (volume != 0).any(dim=1), stride)


def test_selected_k_is_the_rounded_expectation():
    """Logits (0, 0, ln 2) give k = 1, 2, 3 the shares 1/4, 1/4, 1/2. Their expectation is
    1/4 + 2/4 + 6/4 = 9/4, rounded 2.
    """
    selector = NeighbourhoodSelector(4, (1, 2, 3)).eval()
    selector.mlp = torch.nn.Identity()
    logits = torch.tensor([[0.0, 0.0, torch.tensor(2.0).log()]], requires_grad=True)
    k = selector(logits)
    assert k.tolist() == [2.0]
    # straight through the rounding: d E / d logit_i = p_i (k_i - E)
    k.sum().backward()
    expected = [0.25 * (1 - 2.25), 0.25 * (2 - 2.25), 0.5 * (3 - 2.25)]
    torch.testing.assert_close(logits.grad, torch.tensor([expected]))


def test_selection_is_noisy_in_training_only():
    selector, query = NeighbourhoodSelector(8, (1, 2, 3)), torch.randn(400, 8)
    assert not torch.equal(selector.train()(query), selector(query))
    assert torch.equal(selector.eval()(query), selector(query))
    assert set(selector(query).tolist()) <= {1.0, 2.0, 3.0}


def test_a_low_temperature_approaches_the_most_probable_candidate():
    """Shares 0.5, 0.1, 0.4 have the expectation 1.9, rounded 2. At temperature 0.1 they become
    0.5^10 : 0.1^10 : 0.4^10 = 0.90 : 0.00 : 0.10 with the expectation 1.2, rounded 1.
    """
    selector = NeighbourhoodSelector(3, (1, 2, 3)).eval()
    selector.mlp = torch.nn.Identity()
    logits = torch.tensor([[0.5, 0.1, 0.4]]).log()
    assert selector(logits).tolist() == [2.0]
    selector.temperature.fill_(0.1)
    assert selector(logits).tolist() == [1.0]


def test_annealing_goes_from_one_to_a_tenth():
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig(strides=(1,)))
    selectors = [part for part in fusion.modules() if isinstance(part, NeighbourhoodSelector)]
    assert len(selectors) == 2
    for progress, expected in ((0.0, 1.0), (0.5, 10**-0.5), (1.0, 0.1), (2.0, 0.1)):
        anneal(fusion, progress)
        assert [float(selector.temperature) for selector in selectors] == pytest.approx(
            [expected, expected]
        )


def test_retrieval_reads_the_k_nearest_and_nothing_else():
    """The keys lie at distances 1, 2, 3 from the only query, and k = 2 is chosen. Turning a key
    around, which its layer norm turns around as well, matters for the first two and not for the
    third.
    """
    retrieval = Retrieval(8, (1, 2, 3), radius=3.0).eval()
    torch.nn.init.zeros_(retrieval.selector.mlp[2].weight)
    retrieval.selector.mlp[2].bias.data = torch.tensor([0.0, 9.0, 0.0])
    query, keys = torch.zeros(1, 8, 5, 1, 1), torch.zeros(1, 8, 5, 1, 1)
    query[0, :, 0, 0, 0] = torch.randn(8)
    keys[0, :, 1:4, 0, 0] = torch.randn(8, 3)
    before, counts = retrieval(voxels(query), voxels(keys))
    assert counts.tolist() == [0, 1, 0]
    for distance, matters in ((1, True), (2, True), (3, False)):
        turned = keys.clone()
        turned[0, :, distance] *= -1
        after, _ = retrieval(voxels(query), voxels(turned))
        change = (after - before).abs().max().item()
        assert change > 0.01 if matters else change < 1e-6


def test_queries_without_a_neighbour_have_no_weight():
    retrieval = Retrieval(8, (1, 2), radius=2.0)
    image, lidar = torch.zeros(2, 8, 6, 1, 1), torch.zeros(2, 8, 6, 1, 1)
    image[:, :, 0] = torch.randn(8, 1, 1)
    image[0, :, 5] = torch.randn(8, 1, 1)
    lidar[0, :, 1] = torch.randn(8, 1, 1)  # near the first voxel of the first sample, and no other
    omega, counts = retrieval(voxels(image), voxels(lidar))
    assert omega[0].max() > 0.01
    assert (omega[1:] == 0).all()
    assert counts.sum() == 1


def test_a_pyramid_level_is_the_mean_of_the_non_empty_voxels():
    """Three cells along x: the second voxel of the level has 4 cells instead of 8."""
    volume = torch.zeros(1, 1, 3, 2, 2)
    volume[0, 0, 0, 0, 0], volume[0, 0, 1, 1, 1], volume[0, 0, 2, 0, 0] = 2.0, 4.0, 5.0
    level = voxels(volume, stride=2)
    assert level.index.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    # (2 + 4) / 2 and 5 / 1
    torch.testing.assert_close(level.features[:, 0], torch.tensor([3.0, 5.0]))
    fine = torch.tensor([[0, 2, 1, 1], [0, 1, 1, 0]])
    torch.testing.assert_close(
        level.at_finest(level.features, fine, 2)[:, 0], torch.tensor([5.0, 3.0])
    )


@pytest.mark.parametrize(
    "config",
    [
        AdaptiveFusionConfig(),
        AdaptiveFusionConfig(candidates=(2,)),
        AdaptiveFusionConfig(strides=(1,)),
        AdaptiveFusionConfig(image_queries=False),
        AdaptiveFusionConfig(lidar_queries=False),
    ],
    ids=["full", "fixed_k", "single_scale", "lidar_queries_only", "image_queries_only"],
)
def test_fused_volume(config: AdaptiveFusionConfig):
    fused = AdaptiveFusion(8, config)(*volumes())
    assert fused.volume.shape == (2, 8, 9, 7, 5)
    directions = config.image_queries + config.lidar_queries
    assert fused.neighbourhoods.shape == (directions * len(config.strides), len(config.candidates))
    assert fused.neighbourhoods.sum() > 0


def test_equation_1_as_it_is_written():
    """Concat(F_I, F_L, F_I * omega_I, F_L * omega_L) and its reduction on dense volumes have the
    same values and gradients.
    """
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig(strides=(1, 2))).eval()
    inputs, twins = ([volume.requires_grad_() for volume in volumes()] for _ in range(2))
    fused = fusion(*inputs).volume

    pyramids = [fusion.pyramid(volume) for volume in twins]
    parts = list(twins)
    for direction, retrievals in enumerate((fusion.image_queries, fusion.lidar_queries)):
        queries, keys, volume = pyramids[direction], pyramids[1 - direction], twins[direction]
        omega = torch.zeros(2, *volume.shape[2:], 8)
        for level, stride in enumerate((1, 2)):
            weights, _ = retrievals[level](queries[level], keys[level])
            share = fusion.level_logits[direction].softmax(dim=0)[level]
            at_queries = share * queries[level].at_finest(weights, queries[0].index, stride)
            omega = omega.index_put(queries[0].index.unbind(1), at_queries, accumulate=True)
        parts.append(volume * omega.permute(0, 4, 1, 2, 3))
    written_out = fusion.reduce(torch.cat(parts, dim=1))
    torch.testing.assert_close(fused, written_out, atol=1e-5, rtol=1e-5)

    upstream = torch.randn_like(fused)
    gradients = [
        torch.autograd.grad(
            (result * upstream).sum(), [*sources, *fusion.parameters()], allow_unused=True
        )
        for result, sources in ((fused, inputs), (written_out, twins))
    ]
    for actual, expected in zip(*gradients, strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_the_selectors_mlp():
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig())
    fusion(*volumes()).volume.square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradient_to_k_has_the_sign_of_what_one_more_neighbour_does():
    """Straight through, d loss / d k is the sum of what the last retrieved neighbour and the first
    one left out contribute.
    """
    k = torch.tensor([2.0], requires_grad=True)
    key = torch.tensor([5.0, 7.0, 11.0])
    (((k[:, None] - torch.arange(3)).clamp(0, 1)) * key).sum().backward()
    assert k.grad.tolist() == [7.0 + 11.0]


@pytest.mark.parametrize("present", ["image", "lidar", "neither"])
def test_an_empty_volume_gives_no_nan(present: str):
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig())
    image, lidar = volumes()
    image = image if present == "image" else torch.zeros_like(image)
    lidar = lidar if present == "lidar" else torch.zeros_like(lidar)
    fused = fusion(image, lidar)
    assert torch.isfinite(fused.volume).all() and fused.neighbourhoods.sum() == 0


def test_samples_of_a_batch_do_not_influence_each_other():
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig()).eval()
    image, lidar = volumes()
    both = fusion(image, lidar).volume
    for number in range(2):
        alone = fusion(image[number : number + 1], lidar[number : number + 1]).volume
        # sums over another number of rows may add in another order
        torch.testing.assert_close(both[number : number + 1], alone, atol=1e-4, rtol=1e-4)


def test_nonsense_is_refused():
    for fields in (
        {"candidates": (2, 1)},
        {"candidates": ()},
        {"strides": (2, 4)},
        {"radius": -1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(fields))):
            AdaptiveFusionConfig(**fields)
    with pytest.raises(ValueError, match="both off"):
        AdaptiveFusionConfig(image_queries=False, lidar_queries=False)


def test_a_model_with_adaptive_fusion_trains_and_can_be_saved(make_frame, tmp_path):
    model = build_model(replace(debug(), adaptive_fusion=AdaptiveFusionConfig()))
    prediction = model(make_frame())
    prediction.head.coarse.sum().backward()
    assert prediction.neighbourhoods.shape == (6, 3)
    save_checkpoint(tmp_path / "model.safetensors", model.eval(), {})
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded(make_frame()).head.coarse, model(make_frame()).head.coarse)
