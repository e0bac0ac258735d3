"""Projected Gaussians -> pixels, on the CPU: front to back, with gradients, compiled.

Gaussian by Gaussian in the order of depth, each over the pixels within its reach, while every pixel keeps how much light still
passes; a thread for each band of rows. Backward, the same walk from the back; what passed is recovered by division. Memory is
that of the image and of the Gaussians, whatever overlaps: pixels x (channels + 5) numbers, Gaussians x (channels + 10), and
Gaussians x (channels + 7) more for the gradients of every thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4
"""A pixel through which less would pass is finished."""
LEAST_ROWS = 16
"""Of the image, that are worth a thread."""


class Blend(torch.autograd.Function):
    """``(centres, conics, opacities, features, depths, reach, order, size) -> image [h, w, C], depth and alpha [h, w]``.

    ``reach`` is a Gaussian's, in pixels to each side; ``order`` has those that are drawn, front to back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        centres: Float[Tensor, "gaussian 2"],
        conics: Float[Tensor, "gaussian 3"],
        opacities: Float[Tensor, " gaussian"],
        features: Float[Tensor, "gaussian channel"],
        depths: Float[Tensor, " gaussian"],
        reach: Float[Tensor, "gaussian 2"],
        order: Int[Tensor, " drawn"],
        size: tuple[int, int],
    ) -> tuple[Float[Tensor, "h w channel"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        image, depth = features.new_zeros(*size, features.shape[1]), features.new_zeros(size)
        passing = features.new_ones(size)
        last = torch.full(size, -1, dtype=torch.int32)
        inputs = [tensor.detach().contiguous() for tensor in (centres, conics, opacities, features, depths, reach, order)]
        arrays = [tensor.numpy() for tensor in (*inputs, image, depth, passing, last)]
        _in_bands(size[0], lambda first, end: _forward(*arrays, first, end))
        ctx.save_for_backward(*inputs, passing, last)
        return image, depth, 1 - passing

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, passing, last = ctx.saved_tensors
        behind = torch.zeros_like(passing)
        arriving = [gradient.contiguous().numpy() for gradient in gradients]
        walked = [tensor.numpy() for tensor in (*inputs, passing.clone(), last)] + arriving + [behind.numpy()]
        shapes = any(ctx.needs_input_grad[:2])
        of_bands: dict[int, list[Tensor]] = {}  # each its own: one Gaussian may lie in several

        def work(first: int, end: int) -> None:
            of_bands[first] = [torch.zeros_like(tensor) for tensor in inputs[:5]]
            _backward(*walked, *(tensor.numpy() for tensor in of_bands[first]), shapes, first, end)

        _in_bands(len(passing), work)
        results, *others = (of_bands[first] for first in sorted(of_bands))
        for other in others:
            for result, more in zip(results, other, strict=True):
                result.add_(more)
        return (*results, None, None, None)


def _in_bands(rows: int, work: Callable[[int, int], None]) -> None:
    """``work(first, end)`` over all rows of an image, in as many bands at once as torch has threads."""
    bands = max(1, min(torch.get_num_threads(), rows // LEAST_ROWS))
    ends = [rows * band // bands for band in range(bands + 1)]
    if bands == 1:
        work(0, rows)
        return
    with ThreadPoolExecutor(bands) as pool:  # a new one each time: a forked process would inherit one without its threads
        list(pool.map(work, ends[:-1], ends[1:]))


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _span(centre: float, reach: float, first: int, end: int) -> tuple[int, int]:
    """Of the pixels from ``first`` to ``end`` those within reach of a centre, the last one excluded."""
    return int(max(np.ceil(centre - reach), first)), int(min(np.floor(centre + reach) + 1, end))


@njit(cache=True, nogil=True, fastmath={"contract"})
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _row_alphas(
    u: float,
    dv: float,
    uu: float,
    uv: float,
    vv: float,
    opacity: float,
    faintest: float,
    first: int,
    end: int,
    alphas: np.ndarray,
) -> None:
    """Of one Gaussian, in a row ``dv`` below its centre, over the columns from ``first`` on, not yet cut at ``MAX_ALPHA``.

    To 1e-6 of itself, in double precision too, for opacities up to 1; 0 where it is below 1 / 255.
    """
    real = alphas.dtype.type
    one = real(1)
    for place in range(end - first):
        du = real(first + place) - u
        exponent = real(0.5) * (uu * du * du + vv * dv * dv) + uv * du * dv
        x = exponent * real(-1 / 8)  # above -0.7, where a short series of exp(x) suffices; exp() itself would not be vectorised
        series = one + x * (one + x * (real(1 / 2) + x * (real(1 / 6) + x * (real(1 / 24) + x * real(1 / 120)))))
        series += x**6 * (real(1 / 720) + x * (real(1 / 5040) + x * (real(1 / 40320) + x * real(1 / 362880))))
        squared = series * series
        fourth = squared * squared
        alphas[place] = opacity * fourth * fourth if (exponent >= 0) & (exponent <= faintest) else real(0)


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _forward(
    centres: np.ndarray,
    conics: np.ndarray,
    opacities: np.ndarray,
    features: np.ndarray,
    depths: np.ndarray,
    reach: np.ndarray,
    order: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
    passing: np.ndarray,
    last: np.ndarray,
    first_row: int,
    end_row: int,
) -> None:
    """Those rows of the image."""
    channels, real = features.shape[1], features.dtype.type  # a bare number would make every product one of doubles
    one, most, least = real(1), real(MAX_ALPHA), real(MIN_TRANSMITTANCE)
    alphas = np.empty(passing.shape[1], features.dtype)
    open_in_row = np.full(end_row, passing.shape[1])  # pixels that are not finished
    rows_open = end_row - first_row
    for place in range(len(order)):
        if rows_open == 0:
            break
        g = order[place]
        u, v, uu, uv, vv = centres[g, 0], centres[g, 1], conics[g, 0], conics[g, 1], conics[g, 2]
        faintest, (first, end) = np.log(opacities[g] * real(255)), _span(u, reach[g, 0], 0, passing.shape[1])
        top, bottom = _span(v, reach[g, 1], first_row, end_row)
        for row in range(top, bottom):
            if open_in_row[row] == 0:
                continue
            _row_alphas(u, real(row) - v, uu, uv, vv, opacities[g], faintest, first, end, alphas)
            for column in range(first, end):
                alpha, passes = alphas[column - first], passing[row, column]
                if alpha == 0 or passes < 0:
                    continue
                alpha = min(most, alpha)
                if passes * (one - alpha) <= least:
                    passing[row, column] = -passes  # finished, marked by the sign until the end
                    open_in_row[row] -= 1
                    rows_open -= open_in_row[row] == 0
                    continue
                weight = alpha * passes
                for channel in range(channels):
                    image[row, column, channel] += weight * features[g, channel]
                depth[row, column] += weight * depths[g]
                passing[row, column] = passes * (one - alpha)
                last[row, column] = place
    for row in range(first_row, end_row):
        for column in range(passing.shape[1]):
            passing[row, column] = abs(passing[row, column])


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})  # sums over channels in any order: several at once
@no_type_check
def _backward(
    centres: np.ndarray,
    conics: np.ndarray,
    opacities: np.ndarray,
    features: np.ndarray,
    depths: np.ndarray,
    reach: np.ndarray,
    order: np.ndarray,
    passing: np.ndarray,
    last: np.ndarray,
    image_gradient: np.ndarray,
    depth_gradient: np.ndarray,
    alpha_gradient: np.ndarray,
    behind: np.ndarray,
    centres_gradient: np.ndarray,
    conics_gradient: np.ndarray,
    opacities_gradient: np.ndarray,
    features_gradient: np.ndarray,
    depths_gradient: np.ndarray,
    shapes: bool,
    first_row: int,
    end_row: int,
) -> None:
    """From those rows of the image; ``shapes`` tells whether gradients of centres and conics are asked for."""
    channels, real = features.shape[1], features.dtype.type
    one, half, most = real(1), real(0.5), real(MAX_ALPHA)
    alphas = np.empty(passing.shape[1], features.dtype)
    through = passing[first_row:end_row].copy()  # what passes all of them, for the gradient of the whole image's alpha
    last_in_row = np.full(end_row, -1)
    for row in range(first_row, end_row):
        last_in_row[row] = last[row].max()
    for place in range(last_in_row.max(), -1, -1):
        g = order[place]
        u, v, uu, uv, vv = centres[g, 0], centres[g, 1], conics[g, 0], conics[g, 1], conics[g, 2]
        faintest, (first, end) = np.log(opacities[g] * real(255)), _span(u, reach[g, 0], 0, passing.shape[1])
        top, bottom = _span(v, reach[g, 1], first_row, end_row)
        depth = depths[g]
        to_depth, to_opacity = real(0), real(0)
        for row in range(top, bottom):
            if place > last_in_row[row]:
                continue
            _row_alphas(u, real(row) - v, uu, uv, vv, opacities[g], faintest, first, end, alphas)
            for column in range(first, end):
                unclamped = alphas[column - first]
                if unclamped == 0 or place > last[row, column]:
                    continue
                alpha = min(most, unclamped)
                per_passing = one / (one - alpha)
                passes = passing[row, column] * per_passing
                weight = alpha * passes
                own = depth * depth_gradient[row, column]  # the gradient times what is shown: this one's, those' behind it
                for channel in range(channels):
                    features_gradient[g, channel] += weight * image_gradient[row, column, channel]
                    own += features[g, channel] * image_gradient[row, column, channel]
                to_depth += weight * depth_gradient[row, column]
                gradient = own * passes - behind[row, column] * per_passing
                gradient += alpha_gradient[row, column] * through[row - first_row, column] * per_passing
                behind[row, column] += weight * own
                passing[row, column] = passes
                if unclamped > most:
                    continue
                to_opacity += alpha * gradient
                if not shapes:
                    continue
                du, dv = real(column) - u, real(row) - v
                down = -alpha * gradient  # to the exponent
                conics_gradient[g, 0] += down * half * du * du
                conics_gradient[g, 1] += down * du * dv
                conics_gradient[g, 2] += down * half * dv * dv
                centres_gradient[g, 0] -= down * (conics[g, 0] * du + conics[g, 1] * dv)
                centres_gradient[g, 1] -= down * (conics[g, 2] * dv + conics[g, 1] * du)
        depths_gradient[g], opacities_gradient[g] = to_depth, to_opacity / opacities[g]
