"""Risks from singular values alone, without looking at the data again.

A matrix Y of m pixels and n energies, truth plus white noise of standard deviation σ,
has the singular values d. An estimate that keeps the singular vectors and replaces each
d by f(d) has, in closed form, the unbiased risk

    mn · risk = Σ (f_i − d_i)² − mn σ² + 2σ² div
    div = Σ [f'_i + |m − n| f_i/d_i] + 2 Σ_{i<j} (d_i f_i − d_j f_j)/(d_i² − d_j²)

with the vectors' own dependence on the noise in it (Candès, Sing-Long, Trzasko 2013,
10.1109/TSP.2013.2270464). Missing singular values of a wide or a tall matrix are taken
care of by m and n: d has min(m, n) of them, descending.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array, numpy as jnp
from jaxtyping import Float

Shrink = Callable[[Array], Array]


def truncation_risks(
    d: Float[Array, " values"], shape: tuple[int, int], sigma: float | Array
) -> Float[Array, " values+1"]:
    """The risk of keeping the first K singular values, for K = 0 to all of them.

        div_K = K (m + n − K) + 2 Σ_{i ≤ K < j} d_j²/(d_i² − d_j²)

    Unbiased for each K by itself, above the true rank as well; the least of them is
    optimistic.

    Args:
        d: Singular values, descending.
        shape: Rows and columns of the matrix; valid pixels and energies.
        sigma: Standard deviation of the noise.

    Returns:
        Mean squared error per element, in the unit of the data squared.
    """
    (m, n), square = shape, d * d
    gap = square[:, None] - square[None, :]
    above = jnp.triu(jnp.ones(gap.shape, bool), 1) & (gap > 0)
    ratio = jnp.where(above, square[None, :] / jnp.where(above, gap, 1), 0)
    # the sum over the first K rows, right of column K
    rows = jnp.cumsum(ratio, axis=0)
    pairs = jnp.sum(jnp.triu(rows, 1), axis=1)
    kept = jnp.arange(d.size + 1)
    crossing = jnp.pad(pairs, (1, 0))
    div = kept * (m + n - kept) + 2 * crossing
    tail = jnp.pad(jnp.cumsum(square[::-1])[::-1], (0, 1))
    return (tail + 2 * sigma**2 * div) / (m * n) - sigma**2


def shrinkage_risk(
    d: Float[Array, " values"],
    shrink: Shrink,
    shape: tuple[int, int],
    sigma: float | Array,
) -> Float[Array, ""]:
    """The risk of replacing each singular value d by `shrink(d)`.

    Args:
        d: Singular values, descending.
        shrink: Continuous function of each value by itself; a jump would be missed.
        shape: Rows and columns of the matrix.
        sigma: Standard deviation of the noise.

    Returns:
        Mean squared error per element; differentiable in what `shrink` depends on.
    """
    m, n = shape
    f, slope = jax.jvp(shrink, (d,), (jnp.ones_like(d),))
    positive = d > 0
    quotient = jnp.where(positive, f / jnp.where(positive, d, 1), slope)
    square, weighted = d * d, d * f
    gap = square[:, None] - square[None, :]
    # where two values meet, the difference quotient is a derivative
    apart = jnp.abs(gap) > 1e-6 * square[0]
    limit = (quotient + slope) / 2
    rise = weighted[:, None] - weighted[None, :]
    pairs = jnp.where(apart, rise / jnp.where(apart, gap, 1), limit[:, None])
    crossing = (jnp.sum(pairs) - jnp.trace(pairs)) / 2
    div = jnp.sum(slope) + abs(m - n) * jnp.sum(quotient) + 2 * crossing
    distance = jnp.sum((f - d) ** 2)
    return (distance + 2 * sigma**2 * div) / (m * n) - sigma**2


class Response(NamedTuple):
    """How a basis vector answers to the noise, see `basis_response`.

    Attributes:
        pull: Σ_{j≠k} 1/(d_k² − d_j²) of each value k.
        push: Σ_{j≠k} (d_j²/m)/(d_k² − d_j²) of each value k.
        doubt: 1/|d_k² − d_j²| for the nearest value j.
    """

    pull: Float[Array, "*value"]
    push: Float[Array, "*value"]
    doubt: Float[Array, "*value"]


def basis_response(d: Float[Array, " values"], num_pixels: float | Array) -> Response:
    """How the divergence of a denoiser in a subspace grows as the basis moves.

    Let X = Σ_k f_k v_kᵀ, with the right singular vectors v of Y, the coefficient
    images w_k = Y v_k, and f_k = D_k(w_k) for any denoisers D_k of Jacobian J_k. The
    vectors depend on Y as well, so that

        div = Σ_k [tr J_k + Σ_{j≠k} (⟨f_k, w_k⟩ + ⟨w_j, J_k w_j⟩)/(d_k² − d_j²)]

    over the components used, k, and all others, j. The images w_j are noise for most j
    and few for the rest, hence ⟨w_j, J_k w_j⟩ ≈ d_j² tr J_k/m for m pixels, and

        div = Σ_k [(1 + push_k) tr J_k + pull_k ⟨f_k, w_k⟩]
        pull_k = Σ_{j≠k} 1/(d_k² − d_j²),   push_k = Σ_{j≠k} (d_j²/m)/(d_k² − d_j²)

    With f_k = w_k this is the divergence of the truncation, exactly. To first order in
    the noise, as all of Stein's formulas; the variance of the noise is 1.

    Args:
        d: Singular values, descending, all of them.
        num_pixels: Number of valid pixels m.

    Returns:
        One of each for every value. Where two values nearly meet, the terms of one are
        large and opposite to the other's; `doubt` tells how large.
    """
    gap = (d[:, None] - d[None, :]) * (d[:, None] + d[None, :])
    apart = jnp.abs(gap) > 1e-6 * d[:, None] ** 2
    inverse = jnp.where(apart, 1 / jnp.where(apart, gap, 1), 0)
    return Response(
        pull=jnp.sum(inverse, axis=1),
        push=jnp.sum(inverse * d**2, axis=1) / num_pixels,
        doubt=jnp.max(jnp.abs(inverse), axis=1),
    )


def soft_threshold(
    d: Float[Array, "*values"], threshold: float | Array
) -> Float[Array, "*values"]:
    """(d − threshold)₊, the singular values of the nuclear norm's proximal map."""
    return jnp.maximum(d - threshold, 0)


def optimal_shrinkage(
    d: Float[Array, "*values"], shape: tuple[int, int], sigma: float | Array
) -> Float[Array, "*values"]:
    """The shrinkage of least squared error for a low rank and many pixels.

        y = d/(σ√m),   f = σ√m √((y² − β − 1)² − 4β)/y  for  y > 1 + √β,  else 0

    with m the greater of the two sizes and β ≤ 1 their ratio. Gavish and Donoho 2017
    (10.1109/TIT.2017.2653801).
    """
    large, beta = max(shape), min(shape) / max(shape)
    scale = sigma * large**0.5
    y = d / scale
    inside = (y * y - beta - 1) ** 2 - 4 * beta
    kept = y > 1 + beta**0.5
    safe = jnp.where(kept, inside, 1)
    return jnp.where(kept, scale * jnp.sqrt(safe) / jnp.where(kept, y, 1), 0)
