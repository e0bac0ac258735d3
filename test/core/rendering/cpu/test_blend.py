import numpy as np
import pytest
import torch

from occ_core.rendering.cpu.blend import Seen, _row_alphas, _shares, _span, blend


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float32, 2e-6), (np.float64, 5e-7)])
def test_a_row_is_that_of_exp(kind: type, tolerance: float):
    """A Gaussian of 8 px, tilted, 3 px above the row: the whole row, exponents from 0 to beyond log
    255.
    """
    uu, uv, vv, opacity, u, dv = (kind(one) for one in (1 / 64, 0.002, 1 / 50, 0.9, 40.3, 3.0))
    alphas = np.empty(80, kind)
    _row_alphas(u, dv, uu, uv, vv, opacity, np.log(opacity * kind(255)), 0, 80, alphas)
    du = np.arange(80) - np.float64(u)
    exact = opacity * np.exp(-(uu * du**2 + vv * dv**2) / 2 - uv * du * dv)
    seen = exact >= 1 / 255
    assert 30 < seen.sum() < 70 and (alphas[~seen] == 0).all()
    assert np.abs(alphas[seen] / exact[seen] - 1).max() < tolerance


def test_what_is_not_a_gaussian_is_not_seen():
    alphas = np.ones(3)
    _row_alphas(0.0, 0.0, -1.0, 0.0, 1.0, 0.5, np.log(127.5), 1, 4, alphas)  # grows to both sides
    assert (alphas == 0).all()


def test_pixels_within_reach():
    assert _span(5.2, 2.0, 0, 10) == (4, 8)  # 3.2 to 7.2
    assert _span(5.0, 2.0, 0, 10) == (3, 8)  # 3 and 7 are just reached
    assert _span(0.5, 3.0, 0, 3) == (0, 3)
    assert _span(5.0, np.inf, 2, 9) == (2, 9)


@pytest.mark.parametrize(
    ("threads", "heights", "bands"),
    [
        (2, [64], [2]), (2, [64, 64], [1, 1]), (2, [64] * 3, [2, 2, 2]), (4, [64] * 6, [2] * 6), (3, [64, 64], [3, 3]),
        (8, [40, 5], [2, 1]),
    ],
)  # fmt: skip
def test_views_are_cut_so_that_every_thread_can_take_as_many(
    threads: int, heights: list[int], bands: list[int], set_threads
):
    """Of 4 threads and 6 views, 12 bands: 3 for each thread. No band is of fewer than 16 rows,
    unless the view is.
    """
    set_threads(threads)
    shares = _shares(dict(enumerate(heights)))
    assert [sum(view == place for view, *_ in shares) for place in range(len(heights))] == bands
    for place, height in enumerate(heights):
        assert [
            row for view, first, end in shares if view == place for row in range(first, end)
        ] == list(range(height))


def test_a_second_derivative_is_refused():
    """There is none: one that is 0 would be wrong."""
    opacity = torch.tensor([0.5], requires_grad=True)
    one, round_ = torch.ones(1, 1), torch.tensor([[1.0, 0, 1]])
    seen = Seen(
        torch.ones(1, 2),
        round_,
        opacity,
        one,
        torch.ones(1),
        torch.full((1, 2), 2.0),
        torch.tensor([0]),
    )
    alpha = blend([seen], [(3, 3)])[0].alpha
    (first,) = torch.autograd.grad(alpha.square().sum(), opacity, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.backward()
