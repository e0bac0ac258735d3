"""Projected Gaussians -> pixels, compiled: front to back, with gradients.

Gaussian by Gaussian in the order of depth, each over the pixels within its reach, while every pixel
keeps its transmittance. Views run on several threads, and where there are too few views for all
threads, so do bands of their rows. The backward pass walks from back to front and recovers the
transmittance before each Gaussian by division. Memory does not grow with overlap: pixels x
(channels + 5) numbers a view, Gaussians x (channels + 10), and Gaussians x (channels + 7) more for
the gradients of every band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import gcd
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from occ_core.ops.cpu.arrays import named_arrays
from occ_core.ops.cpu.kernel import kernel
from occ_core.rendering.cpu.threads import run_parallel

T = TypeVar("T")
Arrays = Any
"""A named tuple of this module with numpy arrays in place of its tensors, as kernels take it."""

MAX_ALPHA = 0.99
MIN_TRANSMITTANCE = 1e-4
"""A pixel is finished before a Gaussian that would leave it less transmittance than this."""
MIN_ROWS = 16
"""Smallest number of image rows that is worth a thread."""


class Splats(NamedTuple):
    """Projected Gaussians of one view."""

    centres: Float[Tensor, "gaussian 2"]
    conics: Float[Tensor, "gaussian 3"]
    opacities: Float[Tensor, " gaussian"]
    features: Float[Tensor, "gaussian channel"]
    depths: Float[Tensor, " gaussian"]
    reach: Float[Tensor, "gaussian 2"]
    """Half the width and height in pixels of the box outside which a Gaussian is not drawn."""
    order: Int[Tensor, " drawn"]
    """Rows of the Gaussians to draw, front to back."""


class Pixels(NamedTuple):
    """The image of one view, or its gradient."""

    image: Float[Tensor, "h w channel"]
    depth: Float[Tensor, "h w"]
    alpha: Float[Tensor, "h w"]


class _Progress(NamedTuple):
    """How far the blending of every pixel has come."""

    transmittance: Float[Tensor, "h w"]
    last: Int[Tensor, "h w"]
    """Position in ``Splats.order`` of the last Gaussian that contributed; -1 without one."""


class _Gradients(NamedTuple):
    """Gradients of the first five fields of ``Splats``."""

    centres: Tensor
    conics: Tensor
    opacities: Tensor
    features: Tensor
    depths: Tensor


class _Band(NamedTuple):
    """Rows of a view that one thread works on."""

    view: int
    first: int
    end: int


def blend(views: Sequence[Splats], sizes: Sequence[tuple[int, int]]) -> list[Pixels]:
    """Blends all views, several in parallel; their ``sizes`` are (height, width)."""
    flat = _Blend.apply(sizes, *chain(*views))
    return [Pixels(*parts) for parts in _chunks(flat, len(Pixels._fields))]


class _Blend(torch.autograd.Function):
    """``blend``, with the tensors of all views in one flat list, as autograd wants them."""

    @staticmethod
    def forward(ctx: Any, sizes: Sequence[tuple[int, int]], *tensors: Tensor) -> tuple[Tensor, ...]:
        views, progress, pixels = [], [], []
        for parts, size in zip(_chunks(tensors, len(Splats._fields)), sizes, strict=True):
            splats = Splats(*(tensor.detach().contiguous() for tensor in parts))
            image = splats.features.new_zeros(*size, splats.features.shape[1])
            depth, alpha = image.new_zeros(size), image.new_empty(size)
            views.append(splats)
            pixels.append(Pixels(image, depth, alpha))
            last = torch.full(size, -1, dtype=torch.int32)
            progress.append(_Progress(image.new_ones(size), last))
        inputs = [
            tuple(named_arrays(part) for part in parts)
            for parts in zip(views, progress, pixels, strict=True)
        ]

        def work(view: int, first: int, end: int) -> None:
            splats, state, output = inputs[view]
            _forward(splats, state, output, first, end)

        run_parallel(work, _bands({view: height for view, (height, _) in enumerate(sizes)}))
        ctx.save_for_backward(*chain(*views), *chain(*progress))
        ctx.set_materialize_grads(False)
        return tuple(chain(*pixels))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        count, saved = len(upstream) // len(Pixels._fields), ctx.saved_tensors
        split = count * len(Splats._fields)
        views = [Splats(*each) for each in _chunks(saved[:split], len(Splats._fields))]
        progress = [_Progress(*each) for each in _chunks(saved[split:], len(_Progress._fields))]
        needed = _chunks(ctx.needs_input_grad[1:], len(Splats._fields))
        inputs: dict[int, tuple[Any, ...]] = {}  # of the views that receive a gradient
        for view, parts in enumerate(_chunks(upstream, len(Pixels._fields))):
            if any(part is not None for part in parts):
                inputs[view] = _backward_inputs(views[view], progress[view], parts)
        bands = _bands({view: len(progress[view].last) for view in inputs})
        # a Gaussian may lie in several bands: each band has gradients of its own
        found = [_Gradients(*map(torch.empty_like, views[band.view][:5])) for band in bands]
        outputs = [named_arrays(gradients) for gradients in found]

        def work(number: int) -> None:
            view, first, end = bands[number]
            splats, state, arriving, behind = inputs[view]
            for gradient in outputs[number]:
                gradient.fill(0)
            needs_shape = any(needed[view][:2])
            _backward(splats, state, arriving, behind, outputs[number], needs_shape, first, end)

        run_parallel(work, [(number,) for number in range(len(bands))])
        sums: dict[int, _Gradients] = {}
        for band, gradients in zip(bands, found, strict=True):
            if band.view in sums:
                for total, more in zip(sums[band.view], gradients, strict=True):
                    total.add_(more)
            else:
                sums[band.view] = gradients
        none = (None,) * len(_Gradients._fields)
        return None, *chain(*((*sums.get(view, none), None, None) for view in range(count)))


def _backward_inputs(
    splats: Splats, progress: _Progress, upstream: Sequence[Tensor | None]
) -> tuple[Any, ...]:
    """What ``_backward`` reads of one view, as arrays."""
    transmittance, last = progress
    size = transmittance.shape
    shapes = ((*size, splats.features.shape[1]), size, size)
    gradients = (
        transmittance.new_zeros(shape) if part is None else part
        for part, shape in zip(upstream, shapes, strict=True)
    )
    return (
        named_arrays(splats),
        named_arrays(_Progress(transmittance.clone(), last)),  # it is rolled back
        named_arrays(Pixels(*gradients)),
        np.zeros_like(transmittance.numpy()),
    )


def _chunks(flat: Sequence[T], length: int) -> list[Sequence[T]]:
    """A flat list cut into parts of equal length."""
    return [flat[first : first + length] for first in range(0, len(flat), length)]


def _bands(heights: Mapping[int, int]) -> list[_Band]:
    """Views of these heights, each in as many bands that all of torch's threads get the same
    number of them.
    """
    threads, bands = torch.get_num_threads(), []
    for view, height in heights.items():
        count = max(1, min(threads // gcd(threads, len(heights)), height // MIN_ROWS))
        cuts = [height * band // count for band in range(count + 1)]
        bands += [_Band(view, *rows) for rows in zip(cuts[:-1], cuts[1:], strict=True)]
    return bands


class _Ellipse(NamedTuple):
    """One projected Gaussian."""

    u: float
    v: float
    uu: float
    uv: float
    vv: float
    opacity: float
    max_exponent: float
    """Beyond it alpha is below 1 / 255."""


@kernel(inline="always")
def _ellipse(splats: Arrays, gaussian: int) -> _Ellipse:
    centre, conic = splats.centres[gaussian], splats.conics[gaussian]
    opacity = splats.opacities[gaussian]
    max_exponent = np.log(opacity * splats.opacities.dtype.type(255))
    return _Ellipse(centre[0], centre[1], conic[0], conic[1], conic[2], opacity, max_exponent)


@kernel
def _span(centre: float, reach: float, first: int, end: int) -> tuple[int, int]:
    """The part of the pixels from ``first`` to ``end`` (excluded) within reach of a centre."""
    return int(max(np.ceil(centre - reach), first)), int(min(np.floor(centre + reach) + 1, end))


@kernel(fastmath={"contract"})
def _row_alphas(ellipse: _Ellipse, row: int, first: int, end: int, alphas: np.ndarray) -> None:
    """Alphas of one Gaussian along a row, from column ``first`` to ``end`` (excluded), before the
    cut at ``MAX_ALPHA``.

    Accurate to a relative error of 1e-6, in double precision too, for opacities up to 1; 0 where
    alpha is below 1 / 255.
    """
    real = alphas.dtype.type
    one = real(1)
    dv = real(row) - ellipse.v
    for column in range(end - first):
        du = real(first + column) - ellipse.u
        quadratic = ellipse.uu * du * du + ellipse.vv * dv * dv
        exponent = real(0.5) * quadratic + ellipse.uv * du * dv
        # exp(-exponent) is the eighth power of exp(x), with x above -0.7, where a short series
        # suffices; exp() itself would not be vectorised
        x = exponent * real(-1 / 8)
        series = one + x * (
            one + x * (real(1 / 2) + x * (real(1 / 6) + x * (real(1 / 24) + x * real(1 / 120))))
        )
        series += x**6 * (
            real(1 / 720) + x * (real(1 / 5040) + x * (real(1 / 40320) + x * real(1 / 362880)))
        )
        squared = series * series
        fourth = squared * squared
        is_seen = (exponent >= 0) & (exponent <= ellipse.max_exponent)
        alphas[column] = ellipse.opacity * fourth * fourth if is_seen else real(0)


@kernel
def _forward(
    splats: Arrays, progress: Arrays, pixels: Arrays, first_row: int, end_row: int
) -> None:
    """Blends the rows from ``first_row`` to ``end_row`` (excluded) of one view."""
    transmittance, last = progress
    width, channels = transmittance.shape[1], splats.features.shape[1]
    real = splats.features.dtype.type  # a bare number would make every product one of doubles
    one, max_alpha, min_transmittance = real(1), real(MAX_ALPHA), real(MIN_TRANSMITTANCE)
    alphas = np.empty(width, splats.features.dtype)
    open_in_row = np.full(end_row, width)  # number of pixels that are not finished
    open_rows = end_row - first_row
    for position in range(len(splats.order)):
        if open_rows == 0:
            break
        g = splats.order[position]
        ellipse = _ellipse(splats, g)
        first, end = _span(ellipse.u, splats.reach[g, 0], 0, width)
        top, bottom = _span(ellipse.v, splats.reach[g, 1], first_row, end_row)
        for row in range(top, bottom):
            if open_in_row[row] == 0:
                continue
            _row_alphas(ellipse, row, first, end, alphas)
            for column in range(first, end):
                alpha, before = alphas[column - first], transmittance[row, column]
                if alpha == 0 or before < 0:
                    continue
                alpha = min(max_alpha, alpha)
                if before * (one - alpha) <= min_transmittance:
                    transmittance[row, column] = -before  # the sign marks it as finished
                    open_in_row[row] -= 1
                    open_rows -= open_in_row[row] == 0
                    continue
                weight = alpha * before
                for channel in range(channels):
                    pixels.image[row, column, channel] += weight * splats.features[g, channel]
                pixels.depth[row, column] += weight * splats.depths[g]
                transmittance[row, column] = before * (one - alpha)
                last[row, column] = position
    for row in range(first_row, end_row):
        for column in range(width):
            transmittance[row, column] = abs(transmittance[row, column])
            pixels.alpha[row, column] = one - transmittance[row, column]


# Sums over channels may run in any order, several at once.
@kernel(fastmath={"reassoc", "nsz", "contract"})
def _backward(
    splats: Arrays,
    progress: Arrays,
    upstream: Arrays,
    behind: np.ndarray,
    gradients: Arrays,
    needs_shape: bool,
    first_row: int,
    end_row: int,
) -> None:
    """Adds to ``gradients`` what the rows from ``first_row`` to ``end_row`` (excluded) give.

    Rolls ``progress`` back and collects in ``behind`` the upstream gradient times what lies behind;
    ``needs_shape`` is whether centres and conics need a gradient.
    """
    transmittance, last = progress
    width, channels = transmittance.shape[1], splats.features.shape[1]
    features, grad_image, grad_features = splats.features, upstream.image, gradients.features
    real, alphas = features.dtype.type, np.empty(width, features.dtype)
    one, max_alpha = real(1), real(MAX_ALPHA)
    final = transmittance[first_row:end_row].copy()  # alpha of the whole pixel is 1 - final
    last_in_row = np.full(end_row, -1)
    for row in range(first_row, end_row):
        last_in_row[row] = last[row].max()
    for position in range(last_in_row.max(), -1, -1):
        g = splats.order[position]
        ellipse = _ellipse(splats, g)
        first, end = _span(ellipse.u, splats.reach[g, 0], 0, width)
        top, bottom = _span(ellipse.v, splats.reach[g, 1], first_row, end_row)
        grad_depth, grad_opacity = real(0), real(0)
        for row in range(top, bottom):
            if position > last_in_row[row]:
                continue
            _row_alphas(ellipse, row, first, end, alphas)
            for column in range(first, end):
                uncut = alphas[column - first]
                if uncut == 0 or position > last[row, column]:
                    continue
                alpha = min(max_alpha, uncut)
                per_passing = one / (one - alpha)
                before = transmittance[row, column] * per_passing
                weight = alpha * before
                own = splats.depths[g] * upstream.depth[row, column]  # upstream times what is drawn
                for channel in range(channels):
                    grad_features[g, channel] += weight * grad_image[row, column, channel]
                    own += features[g, channel] * grad_image[row, column, channel]
                grad_depth += weight * upstream.depth[row, column]
                gradient = own * before - behind[row, column] * per_passing
                grad_alpha = upstream.alpha[row, column]
                gradient += grad_alpha * final[row - first_row, column] * per_passing
                behind[row, column] += weight * own
                transmittance[row, column] = before
                if uncut > max_alpha:
                    continue
                grad_opacity += alpha * gradient
                if needs_shape:
                    du, dv = real(column) - ellipse.u, real(row) - ellipse.v
                    _add_shape_gradient(splats, gradients, g, du, dv, -alpha * gradient)
        gradients.depths[g], gradients.opacities[g] = grad_depth, grad_opacity / splats.opacities[g]


@kernel(inline="always")
def _add_shape_gradient(
    splats: Arrays, gradients: Arrays, g: int, du: float, dv: float, gradient: float
) -> None:
    """Adds what the ``gradient`` of the exponent at one pixel gives conic and centre."""
    conics, grad_conics, grad_centres = splats.conics, gradients.conics, gradients.centres
    half = conics.dtype.type(0.5)
    grad_conics[g, 0] += gradient * half * du * du
    grad_conics[g, 1] += gradient * du * dv
    grad_conics[g, 2] += gradient * half * dv * dv
    grad_centres[g, 0] -= gradient * (conics[g, 0] * du + conics[g, 1] * dv)
    grad_centres[g, 1] -= gradient * (conics[g, 2] * dv + conics[g, 1] * du)
