"""Projected Gaussians -> pixels, on the CPU: front to back, with gradients, compiled.

Gaussian by Gaussian in the order of depth, each over the pixels of its own box, while every pixel keeps how much light still
passes; a thread for each band of rows. Backward, the same walk from the back; what passed is recovered by division. Memory is
that of the image and of the Gaussians, whatever overlaps: pixels x (channels + 5) numbers, Gaussians x (channels + 14), and
Gaussians x (channels + 7) more for the gradients of every thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import exp
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4
"""A pixel through which less would pass is finished."""
LEAST_ROWS = 16
"""Of the image, that are worth a thread."""


class Blend(torch.autograd.Function):
    """``(centres, conics, opacities, features, depths, order, boxes, size) -> image [h, w, C], depth and alpha [h, w]``.

    ``order`` has the rows of the Gaussians that are drawn, front to back, ``boxes`` the pixels of each of these.
    """

    @staticmethod
    def forward(
        ctx: Any,
        centres: Float[Tensor, "gaussian 2"],
        conics: Float[Tensor, "gaussian 3"],
        opacities: Float[Tensor, " gaussian"],
        features: Float[Tensor, "gaussian channel"],
        depths: Float[Tensor, " gaussian"],
        order: Int[Tensor, " drawn"],
        boxes: Int[Tensor, "drawn 4"],
        size: tuple[int, int],
    ) -> tuple[Float[Tensor, "h w channel"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        image, depth = features.new_zeros(*size, features.shape[1]), features.new_zeros(size)
        passing = features.new_ones(size)
        last = torch.full(size, -1, dtype=torch.int32)
        inputs = [tensor.detach().contiguous() for tensor in (centres, conics, opacities, features, depths, order, boxes)]
        arrays = [tensor.numpy() for tensor in (*inputs, image, depth, passing, last)]
        _in_bands(size[0], lambda first, end: _forward(*arrays, first, end))
        ctx.save_for_backward(*inputs, passing, last)
        return image, depth, 1 - passing

    @staticmethod
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
def _forward(
    centres: np.ndarray,
    conics: np.ndarray,
    opacities: np.ndarray,
    features: np.ndarray,
    depths: np.ndarray,
    order: np.ndarray,
    boxes: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
    passing: np.ndarray,
    last: np.ndarray,
    first_row: int,
    end_row: int,
) -> None:
    """Those rows of the image."""
    channels, real = features.shape[1], features.dtype.type  # a bare number would make every product one of doubles
    one, half, most, least = real(1), real(0.5), real(MAX_ALPHA), real(MIN_TRANSMITTANCE)
    open_in_row = np.full(end_row, passing.shape[1])  # pixels that are not finished
    rows_open = end_row - first_row
    for place in range(len(order)):
        if rows_open == 0:
            break
        g = order[place]
        faintest = np.log(opacities[g] * real(255))  # beyond this exponent alpha is below 1 / 255
        for row in range(max(boxes[place, 1], first_row), min(boxes[place, 3], end_row)):
            if open_in_row[row] == 0:
                continue
            dv = real(row) - centres[g, 1]
            for column in range(boxes[place, 0], boxes[place, 2]):
                if passing[row, column] < 0:
                    continue
                du = real(column) - centres[g, 0]
                exponent = half * (conics[g, 0] * du * du + conics[g, 2] * dv * dv) + conics[g, 1] * du * dv
                if exponent > faintest or exponent < 0:
                    continue
                alpha = min(most, opacities[g] * exp(-exponent))
                passes = passing[row, column]
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
    order: np.ndarray,
    boxes: np.ndarray,
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
    through = passing[first_row:end_row].copy()  # what passes all of them, for the gradient of the whole image's alpha
    shown, taught = np.empty(channels, features.dtype), np.empty(channels, features.dtype)  # one Gaussian's, close at hand
    last_in_row = np.full(end_row, -1)
    for row in range(first_row, end_row):
        last_in_row[row] = last[row].max()
    for place in range(last_in_row.max(), -1, -1):
        g = order[place]
        depth, opacity, u, v = depths[g], opacities[g], centres[g, 0], centres[g, 1]
        uu, uv, vv = half * conics[g, 0], conics[g, 1], half * conics[g, 2]
        faintest = np.log(opacity * real(255))
        shown[:], taught[:] = features[g], 0
        to_depth, to_opacity = real(0), real(0)
        for row in range(max(boxes[place, 1], first_row), min(boxes[place, 3], end_row)):
            if place > last_in_row[row]:
                continue
            dv = real(row) - v
            for column in range(boxes[place, 0], boxes[place, 2]):
                if place > last[row, column]:
                    continue
                du = real(column) - u
                exponent = uu * du * du + vv * dv * dv + uv * du * dv
                if exponent > faintest or exponent < 0:
                    continue
                shape = exp(-exponent)
                alpha = min(most, opacity * shape)
                per_passing = one / (one - alpha)
                passes = passing[row, column] * per_passing
                weight = alpha * passes
                arriving = image_gradient[row, column]
                own = depth * depth_gradient[row, column]  # the gradient times what is shown: this one's, those' behind it
                for channel in range(channels):
                    taught[channel] += weight * arriving[channel]
                    own += shown[channel] * arriving[channel]
                to_depth += weight * depth_gradient[row, column]
                gradient = own * passes - behind[row, column] * per_passing
                gradient += alpha_gradient[row, column] * through[row - first_row, column] * per_passing
                behind[row, column] += weight * own
                passing[row, column] = passes
                if opacity * shape > most:
                    continue
                to_opacity += shape * gradient
                if not shapes:
                    continue
                down = -alpha * gradient  # to the exponent
                conics_gradient[g, 0] += down * half * du * du
                conics_gradient[g, 1] += down * du * dv
                conics_gradient[g, 2] += down * half * dv * dv
                centres_gradient[g, 0] -= down * (conics[g, 0] * du + conics[g, 1] * dv)
                centres_gradient[g, 1] -= down * (conics[g, 2] * dv + conics[g, 1] * du)
        features_gradient[g], depths_gradient[g], opacities_gradient[g] = taught, to_depth, to_opacity
