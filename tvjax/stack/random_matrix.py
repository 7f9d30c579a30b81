"""Singular values of noise alone, by the theory of random matrices."""

import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Float


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
