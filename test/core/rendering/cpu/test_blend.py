import numpy as np
import pytest
import torch

from occ_core.rendering.cpu.blend import Splats, _bands, _Ellipse, _row_alphas, _span, blend


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-6)])
def test_alphas_of_a_row_are_those_of_exp(kind: type, tolerance: float):
    """A Gaussian of 8 px, tilted, 3 px above the row: the whole row, exponents from 0 to beyond log
    255.
    """
    values = (40.3, 2.0, 1 / 64, 0.002, 1 / 50, 0.9)
    u, v, uu, uv, vv, opacity = (kind(value) for value in values)
    ellipse = _Ellipse(u, v, uu, uv, vv, opacity, np.log(opacity * kind(255)))
    alphas, dv = np.empty(80, kind), 3.0
    _row_alphas(ellipse, 5, 0, 80, alphas)
    du = np.arange(80) - np.float64(u)
    exact = opacity * np.exp(-(uu * du**2 + vv * dv**2) / 2 - uv * du * dv)
    seen = exact >= 1 / 255
    assert 30 < seen.sum() < 70 and (alphas[~seen] == 0).all()
    assert np.abs(alphas[seen] / exact[seen] - 1).max() < tolerance


def test_what_is_not_a_gaussian_is_not_seen():
    alphas = np.ones(3)
    growing = _Ellipse(u=0.0, v=0.0, uu=-1.0, uv=0.0, vv=1.0, opacity=0.5, max_exponent=4.8)
    _row_alphas(growing, 0, 1, 4, alphas)  # grows to both sides
    assert (alphas == 0).all()


def test_pixels_within_reach():
    assert _span(5.2, 2.0, 0, 10) == (4, 8)  # 3.2 to 7.2
    assert _span(5.0, 2.0, 0, 10) == (3, 8)  # 3 and 7 are just reached
    assert _span(0.5, 3.0, 0, 3) == (0, 3)
    assert _span(5.0, np.inf, 2, 9) == (2, 9)


@pytest.mark.parametrize(
    ("threads", "heights", "bands"),
    [
        (2, [64], [2]),
        (2, [64, 64], [1, 1]),
        (2, [64] * 3, [2, 2, 2]),
        (4, [64] * 6, [2] * 6),
        (3, [64, 64], [3, 3]),
        (8, [40, 5], [2, 1]),
    ],
)
def test_views_are_cut_so_that_all_threads_get_the_same_number_of_bands(
    threads: int, heights: list[int], bands: list[int], set_threads
):
    """4 threads and 6 views: 12 bands, 3 for each thread. No band has fewer than 16 rows, unless
    its view has.
    """
    set_threads(threads)
    found = _bands(dict(enumerate(heights)))
    for view, (height, count) in enumerate(zip(heights, bands, strict=True)):
        own = [band for band in found if band.view == view]
        assert len(own) == count
        assert [row for band in own for row in range(band.first, band.end)] == list(range(height))


def test_a_second_derivative_is_refused():
    """It is not implemented, and must not silently be 0."""
    opacity = torch.tensor([0.5], requires_grad=True)
    one, round_ = torch.ones(1, 1), torch.tensor([[1.0, 0, 1]])
    splats = Splats(
        torch.ones(1, 2),
        round_,
        opacity,
        one,
        torch.ones(1),
        torch.full((1, 2), 2.0),
        torch.tensor([0]),
    )
    alpha = blend([splats], [(3, 3)])[0].alpha
    (first,) = torch.autograd.grad(alpha.square().sum(), opacity, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.backward()
