"""Projected Gaussians -> pixels, on the CPU: front to back, with gradients, compiled.

Gaussian by Gaussian in the order of depth, each over the pixels within its reach, while every pixel
keeps how much light still passes; views, and where there are too few the bands of their rows, on
several threads. Backward, the same walk from the back; what passed is recovered by division. Memory
of a view is that of the image and of the Gaussians, whatever overlaps: pixels x (channels + 5)
numbers, Gaussians x (channels + 10), and Gaussians x (channels + 7) more for the gradients of every
band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import gcd
from typing import Any, NamedTuple, TypeVar, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.rendering.cpu.threads import at_once

T = TypeVar("T")
MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4
"""A pixel through which less would pass is finished."""
LEAST_ROWS = 16
"""Of the image, that are worth a thread."""


class Seen(NamedTuple):
    """What one view has to draw."""

    centres: Float[Tensor, "gaussian 2"]
    conics: Float[Tensor, "gaussian 3"]
    opacities: Float[Tensor, " gaussian"]
    features: Float[Tensor, "gaussian channel"]
    depths: Float[Tensor, " gaussian"]
    reach: Float[Tensor, "gaussian 2"]
    """In pixels, to each side."""
    order: Int[Tensor, " drawn"]
    """Those that are drawn, front to back."""


class Blended(NamedTuple):
    """What one view shows."""

    image: Float[Tensor, "h w channel"]
    depth: Float[Tensor, "h w"]
    alpha: Float[Tensor, "h w"]


def blend(views: Sequence[Seen], sizes: Sequence[tuple[int, int]]) -> list[Blended]:
    """All views, several at once; their ``sizes`` are (height, width)."""
    return [
        Blended(*parts)
        for parts in _in_parts(Blend.apply(sizes, *chain(*views)), len(Blended._fields))
    ]


class Blend(torch.autograd.Function):
    """``blend``, with the tensors of all views in one row."""

    @staticmethod
    def forward(ctx: Any, sizes: Sequence[tuple[int, int]], *tensors: Tensor) -> tuple[Tensor, ...]:
        walks, images = [], []
        for parts, size in zip(_in_parts(tensors, len(Seen._fields)), sizes, strict=True):
            seen = Seen(*(tensor.detach().contiguous() for tensor in parts))
            passing, last = seen.features.new_ones(size), torch.full(size, -1, dtype=torch.int32)
            walks.append((*seen, passing, last))
            images.append(
                (
                    seen.features.new_zeros(*size, seen.features.shape[1]),
                    seen.features.new_zeros(size),
                )
            )
        arrays = [_arrays(*walk, *image) for walk, image in zip(walks, images, strict=True)]
        shares = _shares({view: height for view, (height, _) in enumerate(sizes)})
        at_once(lambda view, first, end: _forward(*arrays[view], first, end), shares)
        ctx.save_for_backward(*chain(*walks))
        ctx.set_materialize_grads(False)
        shown = (
            Blended(*image, 1 - passing)
            for (*_, passing, _), image in zip(walks, images, strict=True)
        )
        return tuple(chain(*shown))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        walks = _in_parts(ctx.saved_tensors, len(Seen._fields) + 2)
        asked = _in_parts(ctx.needs_input_grad[1:], len(Seen._fields))
        arrays = {}
        for view, arriving in enumerate(_in_parts(gradients, len(Blended._fields))):
            if all(one is None for one in arriving):  # nothing is asked of this view
                continue
            *seen, passing, last = walks[view]
            sizes = (*passing.shape, Seen(*seen).features.shape[1]), passing.shape, passing.shape
            given = (
                passing.new_zeros(size) if one is None else one
                for one, size in zip(arriving, sizes, strict=True)
            )
            arrays[view] = _arrays(
                *seen,
                passing.clone(),
                last,
                *(one.contiguous() for one in given),
                torch.zeros_like(passing),
            )
        shares = _shares({view: len(walks[view][-1]) for view in arrays})
        of_shares = [
            [torch.empty_like(one) for one in walks[view][:5]] for view, *_ in shares
        ]  # a Gaussian may lie in several
        results = [_arrays(*of_share) for of_share in of_shares]

        def work(share: int, view: int, first: int, end: int) -> None:
            for result in results[share]:
                result.fill(0)
            _backward(*arrays[view], *results[share], any(asked[view][:2]), first, end)

        at_once(work, [(place, *share) for place, share in enumerate(shares)])
        found: dict[int, list[Tensor]] = {}
        for (view, *_), of_share in zip(shares, of_shares, strict=True):
            if view not in found:
                found[view] = of_share
                continue
            for whole, more in zip(found[view], of_share, strict=True):
                whole.add_(more)
        nothing = [None] * len(Seen._fields)
        return (
            None,
            *chain(
                *(
                    [*found[view], None, None] if view in found else nothing
                    for view in range(len(walks))
                )
            ),
        )


def _in_parts(several: Sequence[T], length: int) -> list[Sequence[T]]:
    return [several[first : first + length] for first in range(0, len(several), length)]


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


def _shares(heights: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Views of those heights as rows (view, first, end): in so many bands each that all threads of
    torch's can take as many.
    """
    threads, shares = torch.get_num_threads(), []
    for view, rows in heights.items():
        bands = max(1, min(threads // gcd(threads, len(heights)), rows // LEAST_ROWS))
        shares += [
            (view, rows * band // bands, rows * (band + 1) // bands) for band in range(bands)
        ]
    return shares


@njit(cache=True, nogil=True)
@no_type_check  # numba takes the bare function, without the checks that the tests put around it
def _span(centre: float, reach: float, first: int, end: int) -> tuple[int, int]:
    """Of the pixels from ``first`` to ``end`` those within reach of a centre, the last one
    excluded.
    """
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
    """Of one Gaussian, in a row ``dv`` below its centre, over the columns from ``first`` on, not
    yet cut at ``MAX_ALPHA``.

    To 1e-6 of itself, in double precision too, for opacities up to 1; 0 where it is below 1 / 255.
    """
    real = alphas.dtype.type
    one = real(1)
    for place in range(end - first):
        du = real(first + place) - u
        exponent = real(0.5) * (uu * du * du + vv * dv * dv) + uv * du * dv
        x = (
            exponent * real(-1 / 8)
            # above -0.7, where a short series of exp(x) suffices; exp() itself would not be vectorised
        )
        series = one + x * (
            one + x * (real(1 / 2) + x * (real(1 / 6) + x * (real(1 / 24) + x * real(1 / 120))))
        )
        series += x**6 * (
            real(1 / 720) + x * (real(1 / 5040) + x * (real(1 / 40320) + x * real(1 / 362880)))
        )
        squared = series * series
        fourth = squared * squared
        alphas[place] = (
            opacity * fourth * fourth if (exponent >= 0) & (exponent <= faintest) else real(0)
        )


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
    passing: np.ndarray,
    last: np.ndarray,
    image: np.ndarray,
    depth: np.ndarray,
    first_row: int,
    end_row: int,
) -> None:
    """Those rows of the image."""
    channels, real = (
        features.shape[1],
        features.dtype.type,
    )  # a bare number would make every product one of doubles
    one, most, least = real(1), real(MAX_ALPHA), real(MIN_TRANSMITTANCE)
    alphas = np.empty(passing.shape[1], features.dtype)
    open_in_row = np.full(end_row, passing.shape[1])  # pixels that are not finished
    rows_open = end_row - first_row
    for place in range(len(order)):
        if rows_open == 0:
            break
        g = order[place]
        u, v, uu, uv, vv = centres[g, 0], centres[g, 1], conics[g, 0], conics[g, 1], conics[g, 2]
        faintest, (first, end) = (
            np.log(opacities[g] * real(255)),
            _span(u, reach[g, 0], 0, passing.shape[1]),
        )
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


@njit(
    cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"}
)  # sums over channels in any order: several at once
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
    """From those rows of the image; ``shapes`` tells whether gradients of centres and conics are
    asked for.
    """
    channels, real = features.shape[1], features.dtype.type
    one, half, most = real(1), real(0.5), real(MAX_ALPHA)
    alphas = np.empty(passing.shape[1], features.dtype)
    through = passing[
        first_row:end_row
    ].copy()  # what passes all of them, for the gradient of the whole image's alpha
    last_in_row = np.full(end_row, -1)
    for row in range(first_row, end_row):
        last_in_row[row] = last[row].max()
    for place in range(last_in_row.max(), -1, -1):
        g = order[place]
        u, v, uu, uv, vv = centres[g, 0], centres[g, 1], conics[g, 0], conics[g, 1], conics[g, 2]
        faintest, (first, end) = (
            np.log(opacities[g] * real(255)),
            _span(u, reach[g, 0], 0, passing.shape[1]),
        )
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
                own = (
                    depth * depth_gradient[row, column]
                )  # the gradient times what is shown: this one's, those' behind it
                for channel in range(channels):
                    features_gradient[g, channel] += weight * image_gradient[row, column, channel]
                    own += features[g, channel] * image_gradient[row, column, channel]
                to_depth += weight * depth_gradient[row, column]
                gradient = own * passes - behind[row, column] * per_passing
                gradient += (
                    alpha_gradient[row, column] * through[row - first_row, column] * per_passing
                )
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
