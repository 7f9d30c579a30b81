"""What do the singular values of noisy data say, without looking at the data again?

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
import numpy as np
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
    # of the first K rows, what lies right of column K
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
        shrink: Continuous, acts on each by itself; a jump would be missed.
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
    """How a basis vector answers to the noise, see `basis_response`."""

    pull: Float[Array, "*value"]
    push: Float[Array, "*value"]
    doubt: Float[Array, "*value"]  # 1/|d_k² − d_j²| of the nearest value j


def basis_response(d: Float[Array, " values"], num_pixels: int | Array) -> Response:
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
        One of each a value. Where two values nearly meet, the terms of one are large
        and opposite to the other's; `doubt` tells how large.
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
    d: Float[Array, " values"], threshold: float | Array
) -> Float[Array, " values"]:
    """(d − threshold)₊, the singular values of the nuclear norm's proximal map."""
    return jnp.maximum(d - threshold, 0)


def optimal_shrinkage(
    d: Float[Array, " values"], shape: tuple[int, int], sigma: float | Array
) -> Float[Array, " values"]:
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


def noise_edge(shape: tuple[int, int], deviations: float = 0.0) -> float:
    """The largest singular value of noise of standard deviation one.

    (√m + √n)² + x (√m + √n)(1/√m + 1/√n)^⅓, the root of it

    The edge of the distribution of Marchenko and Pastur, and x scales of the law of
    Tracy and Widom by which the largest value scatters about it: x is above 2 once in
    a hundred times. What lies above is signal; what signal lies below has singular
    vectors that are not its own. Johnstone 2001 (10.1214/aos/1009210544).

    Args:
        shape: Rows and columns m and n of the matrix.
        deviations: x.
    """
    rows, columns = (size**0.5 for size in shape)
    scale = (rows + columns) * (1 / rows + 1 / columns) ** (1 / 3)
    return ((rows + columns) ** 2 + deviations * scale) ** 0.5


def uneven_noise_edge(powers: Float[np.ndarray, " row"], columns: int) -> float:
    """The same where each row has noise of its own variance p_i, without scatter.

        λ = n/u + Σ_i p_i/(1 − p_i u),   u < 1/max p with  Σ_i (p_i u/(1 − p_i u))² = n

    The squared singular value at which the spectrum of noise ends, (√m + √n)² where all
    p_i are 1. Silverstein, Choi 1995 (10.1006/jmva.1995.1058).
    """
    powers = powers[powers > 0]
    low, high = 0.0, 1 / float(np.max(powers))
    for _ in range(60):
        u = (low + high) / 2
        part = powers * u / (1 - powers * u)
        low, high = (u, high) if np.sum(part**2) < columns else (low, u)
    return float(columns / low + np.sum(powers / (1 - powers * low)))


def noise_values(shape: tuple[int, int], count: int) -> Float[np.ndarray, " count"]:
    """The singular values of noise of standard deviation one, as expected; descending.

    Those of `count` evenly spaced quantiles of the distribution of Marchenko and
    Pastur 1967 (10.1070/SM1967v001n04ABEH001994).
    """
    beta = min(shape) / max(shape)
    # t = 1 + β + 2√β cos φ removes the roots at both ends of the range
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    t = 1 + beta + 2 * beta**0.5 * np.cos(angle)
    mass = np.sin(angle) ** 2 / t
    share = np.cumsum(mass) / np.sum(mass)  # from the greatest eigenvalue down
    wanted = (np.arange(count) + 0.5) / max(count, 1)
    return np.sqrt(max(shape) * np.interp(wanted, share, t))


def independent_rows(d: Float[Array, " values"], shape: tuple[int, int]) -> float:
    """How many independent rows noise has whose rows may be correlated, or uneven.

    Correlation widens the distribution of the squares of the singular values as fewer
    rows would: a covariance C of the rows as (tr C)²/tr C² of them. From the lower half
    of the values, where few hold signal: the ratio of two quantiles, whatever the level
    of the noise.

    Args:
        d: Singular values, descending, more of noise than of signal.
        shape: Rows and columns of the matrix, of fewer columns than rows.

    Returns:
        At most all rows.
    """
    rows, columns = shape
    middle, low = np.quantile(np.asarray(d) ** 2, (0.5, 0.1))

    def spread(num: float) -> float:
        squares = noise_values((num, columns), 1000) ** 2
        return float(np.diff(np.log(np.quantile(squares, (0.1, 0.5))))[0])

    fewest, most = np.log(2.0 * columns), np.log(rows)
    wanted = np.log(middle / low)
    if most <= fewest or wanted <= spread(rows):
        return float(rows)
    if wanted >= spread(2 * columns):
        return 2.0 * columns
    for _ in range(30):
        num = (fewest + most) / 2
        fewest, most = (num, most) if spread(np.exp(num)) > wanted else (fewest, num)
    return float(np.exp((fewest + most) / 2))


def noise_level(d: Float[Array, " values"], shape: tuple[int, int]) -> Float[Array, ""]:
    """σ from the median singular value, where fewer than half of them hold signal.

    Gavish and Donoho 2014 (10.1109/TIT.2014.2323359).
    """
    return jnp.median(d) / noise_values(shape, 1)[0]
