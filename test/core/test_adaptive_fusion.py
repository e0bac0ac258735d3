from dataclasses import replace

import pytest
import torch
from torch import Tensor

from occ_core.adaptive_fusion import (
    AdaptiveFusion,
    AdaptiveFusionConfig,
    NeighbourhoodSelector,
    NonEmpty,
    Retrieval,
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


def test_selected_k_is_the_rounded_expectation():
    """Logits (0, 0, ln 2): shares 1/4, 1/4, 1/2 of k = 1, 2, 3; expectation 1/4 + 2/4 + 6/4 = 9/4,
    rounded 2.
    """
    selector = NeighbourhoodSelector(4, (1, 2, 3)).eval()
    selector.mlp = torch.nn.Identity()
    logits = torch.tensor([[0.0, 0.0, torch.tensor(2.0).log()]], requires_grad=True)
    k = selector(logits)
    assert k.tolist() == [2.0]
    # d E / d logit_i = p_i (k_i - E): straight through the rounding
    k.sum().backward()
    torch.testing.assert_close(
        logits.grad, torch.tensor([[0.25 * (1 - 2.25), 0.25 * (2 - 2.25), 0.5 * (3 - 2.25)]])
    )


def test_selection_is_noisy_in_training_alone():
    torch.manual_seed(0)
    selector, query = NeighbourhoodSelector(8, (1, 2, 3)), torch.randn(400, 8)
    assert not torch.equal(selector.train()(query), selector(query))
    assert torch.equal(selector.eval()(query), selector(query))
    assert set(selector(query).tolist()) <= {1.0, 2.0, 3.0}


def test_a_low_temperature_approaches_the_most_probable_candidate():
    """Shares 0.5, 0.1, 0.4: at temperature 1 the expectation 1.9 rounds to 2, at 0.1 the candidate
    1 has 0.9 of all.
    """
    selector = NeighbourhoodSelector(3, (1, 2, 3)).eval()
    selector.mlp = torch.nn.Identity()
    logits = torch.tensor([[0.5, 0.1, 0.4]]).log()
    assert selector(logits).tolist() == [2.0]
    selector.temperature.fill_(0.1)
    assert selector(logits).tolist() == [1.0]


def test_annealing_goes_from_one_to_a_tenth():
    fuser = AdaptiveFusion(8, AdaptiveFusionConfig(strides=(1,)))
    for progress, expected in ((0.0, 1.0), (0.5, 10**-0.5), (1.0, 0.1), (2.0, 0.1)):
        fuser.anneal(progress)
        assert [
            float(m.temperature) for m in fuser.modules() if isinstance(m, NeighbourhoodSelector)
        ] == pytest.approx([expected, expected])


def test_retrieval_reads_the_k_nearest_and_nothing_else():
    """Keys at distances 1, 2, 3 of the one query; k = 2 is chosen: the third key's feature has no
    influence.
    """
    torch.manual_seed(0)
    retrieval = Retrieval(8, (1, 2, 3), radius=3.0).eval()
    retrieval.selector.mlp[2].weight.data.zero_()
    retrieval.selector.mlp[2].bias.data = torch.tensor([0.0, 9.0, 0.0])
    image, lidar = torch.zeros(1, 8, 5, 1, 1), torch.zeros(1, 8, 5, 1, 1)
    image[0, :, 0, 0, 0] = torch.randn(8)
    lidar[0, :, 1:4, 0, 0] = torch.randn(8, 3)

    def weights(keys: Tensor) -> Tensor:
        return retrieval(
            NonEmpty(image, (image != 0).any(1), 1), NonEmpty(keys, (keys != 0).any(1), 1)
        )[0]

    before = weights(lidar)
    for place, matters in ((1, True), (2, True), (3, False)):
        other = lidar.clone()
        other[0, :, place] += 1.0
        assert torch.equal(weights(other), before) != matters


def test_unmatched_queries_weigh_nothing():
    torch.manual_seed(0)
    retrieval = Retrieval(8, (1, 2), radius=2.0)
    image, lidar = torch.zeros(2, 8, 6, 1, 1), torch.zeros(2, 8, 6, 1, 1)
    image[:, :, 0] = 1.0
    image[0, :, 5] = 1.0
    lidar[0, :, 1] = 1.0  # near the first voxel of the first sample; the second sample has none
    omega, counts = retrieval(
        NonEmpty(image, (image != 0).any(1), 1), NonEmpty(lidar, (lidar != 0).any(1), 1)
    )
    assert (omega.abs().sum(dim=1) > 0).tolist() == [True, False, False]
    assert counts.sum() == 1


def test_a_pyramid_level_is_the_mean_of_the_non_empty_voxels():
    volume = torch.zeros(
        1, 1, 3, 2, 2
    )  # 3 is not a multiple of 2: the last level voxel has 4 cells instead of 8
    volume[0, 0, 0, 0, 0], volume[0, 0, 1, 1, 1], volume[0, 0, 2, 0, 0] = 2.0, 4.0, 5.0
    level = NonEmpty(volume, (volume != 0).any(1), 2)
    assert level.index.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert level.features[:, 0].tolist() == [3.0, 5.0]
    fine = torch.tensor([[0, 2, 1, 1], [0, 1, 1, 0]])
    assert level.spread(level.features, fine, 2)[:, 0].tolist() == [5.0, 3.0]


@pytest.mark.parametrize(
    "config",
    [
        AdaptiveFusionConfig(),
        AdaptiveFusionConfig(candidates=(2,)),
        AdaptiveFusionConfig(strides=(1,)),
        AdaptiveFusionConfig(image_queries=False),
        AdaptiveFusionConfig(lidar_queries=False),
    ],
    ids=["full", "fixed_k", "single_scale", "lidar_asks", "image_asks"],
)
def test_fused_volume(config: AdaptiveFusionConfig):
    torch.manual_seed(0)
    fuser = AdaptiveFusion(8, config)
    fused = fuser(*volumes())
    assert fused.volume.shape == (2, 8, 9, 7, 5)
    directions = config.image_queries + config.lidar_queries
    assert fused.neighbourhoods.shape == (directions * len(config.strides), len(config.candidates))
    assert fused.neighbourhoods.sum() > 0


def test_equation_1_as_it_is_written():
    """Concat(F_I, F_L, F_I * omega_I, F_L * omega_L), then the reduction, on dense volumes: values
    and gradients.
    """
    fusion = AdaptiveFusion(8, AdaptiveFusionConfig(strides=(1, 2))).eval()
    volumes_, twins = ([volume.requires_grad_() for volume in volumes()] for _ in range(2))
    ours = fusion(*volumes_).volume

    pyramids = [fusion.pyramid(volume) for volume in twins]
    parts = list(twins)
    for direction, retrievals in enumerate((fusion.image_queries, fusion.lidar_queries)):
        queries, keys, volume = pyramids[direction], pyramids[1 - direction], twins[direction]
        omega = torch.zeros(2, *volume.shape[2:], 8)
        for level, stride in enumerate((1, 2)):
            weights, _ = retrievals[level](queries[level], keys[level])
            share = fusion.level_logits[direction].softmax(dim=0)[level]
            at_queries = share * queries[level].spread(weights, queries[0].index, stride)
            omega = omega.index_put(queries[0].index.unbind(1), at_queries, accumulate=True)
        parts.append(volume * omega.permute(0, 4, 1, 2, 3))
    theirs = fusion.reduce(torch.cat(parts, dim=1))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    upstream = torch.randn_like(ours)
    mine = torch.autograd.grad(
        (ours * upstream).sum(), [*volumes_, *fusion.parameters()], allow_unused=True
    )
    other = torch.autograd.grad(
        (theirs * upstream).sum(), [*twins, *fusion.parameters()], allow_unused=True
    )
    for one, two in zip(mine, other, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_gradient_reaches_the_selectors_mlp():
    torch.manual_seed(0)
    fuser = AdaptiveFusion(8, AdaptiveFusionConfig())
    fuser(*volumes()).volume.square().sum().backward()
    for name, parameter in fuser.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradient_to_k_has_the_sign_of_what_one_more_neighbour_does():
    """Straight through: d loss / d k is the sum of what the last retrieved and the first left-out
    neighbour contribute.
    """
    k = torch.tensor([2.0], requires_grad=True)
    key = torch.tensor([5.0, 7.0, 11.0])
    (((k[:, None] - torch.arange(3)).clamp(0, 1)) * key).sum().backward()
    assert k.grad.tolist() == [7.0 + 11.0]


@pytest.mark.parametrize("sensor", ["image", "lidar", "both"])
def test_an_absent_sensor_gives_no_nan(sensor: str):
    torch.manual_seed(0)
    fuser = AdaptiveFusion(8, AdaptiveFusionConfig())
    image, lidar = volumes()
    image = torch.zeros_like(image) if sensor != "lidar" else image
    lidar = torch.zeros_like(lidar) if sensor != "image" else lidar
    fused = fuser(image, lidar)
    assert torch.isfinite(fused.volume).all() and fused.neighbourhoods.sum() == 0


def test_samples_of_a_batch_do_not_meet():
    torch.manual_seed(0)
    fuser = AdaptiveFusion(8, AdaptiveFusionConfig()).eval()
    image, lidar = volumes()
    both = fuser(image, lidar).volume
    for number in range(2):
        alone = fuser(image[number : number + 1], lidar[number : number + 1]).volume
        torch.testing.assert_close(both[number : number + 1], alone)


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


def test_the_model_with_it_trains_and_comes_back_from_disk(make_frame, tmp_path):
    torch.manual_seed(0)
    model = build_model(replace(debug(), adaptive_fusion=AdaptiveFusionConfig()))
    prediction = model(make_frame())
    prediction.head.coarse.sum().backward()
    assert prediction.neighbourhoods.shape == (6, 3)
    save_checkpoint(tmp_path / "model.safetensors", model.eval(), {})
    again, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert again.config == model.config
    with torch.inference_mode():
        assert torch.equal(again(make_frame()).head.coarse, model(make_frame()).head.coarse)
