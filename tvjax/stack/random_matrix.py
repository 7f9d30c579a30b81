"""Singular values of noise alone, by the theory of random matrices."""

import numpy as np
from jaxtyping import Float


def largest_noise_value(shape: tuple[float, float], deviations: float = 0.0) -> float:
    """The largest singular value of noise of standard deviation one.

        √[(√m + √n)² + x (√m + √n)(1/√m + 1/√n)^⅓]

    The first term is where the distribution of Marchenko and Pastur ends. The largest
    value scatters about it by the law of Tracy and Widom, in units of the second term:
    x is above 2 once in a hundred times. What lies above is signal; signal that lies
    below has singular vectors that are not its own. Johnstone 2001
    (10.1214/aos/1009210544).

    Args:
        shape: Rows and columns m and n of the matrix; fractions where correlated rows
            count as fewer.
        deviations: x, in units of the scatter.
    """
    rows, columns = (size**0.5 for size in shape)
    scale = (rows + columns) * (1 / rows + 1 / columns) ** (1 / 3)
    return ((rows + columns) ** 2 + deviations * scale) ** 0.5


def largest_uneven_square(
    variances: Float[np.ndarray, " row"], columns: float
) -> float:
    """The square of the largest singular value of noise that differs between rows.

        λ = n/u + Σ_i p_i/(1 − p_i u),   u < 1/max p with  Σ_i (p_i u/(1 − p_i u))² = n

    where row i has the variance p_i; (√m + √n)² where all p_i are 1. Scatter is left
    out. Silverstein, Choi 1995 (10.1006/jmva.1995.1058).

    Args:
        variances: Variance p of each row; rows of zero take no part.
        columns: Number n of columns.
    """
    variances = variances[variances > 0]
    low, high = 0.0, 1 / float(np.max(variances))
    for _ in range(60):
        u = (low + high) / 2
        part = variances * u / (1 - variances * u)
        low, high = (u, high) if np.sum(part**2) < columns else (low, u)
    return float(columns / low + np.sum(variances / (1 - variances * low)))


def singular_values_of_noise(
    shape: tuple[float, float], count: int
) -> Float[np.ndarray, " {count}"]:
    """The singular values of noise of standard deviation one, as expected; descending.

    They are evenly spaced quantiles of the distribution of Marchenko and Pastur 1967
    (10.1070/SM1967v001n04ABEH001994).

    Args:
        shape: Rows and columns of the matrix.
        count: Number of values.
    """
    beta = min(shape) / max(shape)
    # t = 1 + β + 2√β cos φ removes the roots at both ends of the range
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    t = 1 + beta + 2 * beta**0.5 * np.cos(angle)
    mass = np.sin(angle) ** 2 / t
    share = np.cumsum(mass) / np.sum(mass)  # from the greatest eigenvalue down
    wanted = (np.arange(count) + 0.5) / max(count, 1)
    return np.sqrt(max(shape) * np.interp(wanted, share, t))


def independent_rows(
    values: Float[np.ndarray, " value"], shape: tuple[int, int]
) -> float:
    """How many independent rows tell as much as rows that are correlated or uneven.

    Correlation widens the distribution of the squared singular values as fewer rows
    would: rows of covariance C count as (tr C)²/tr C². The number follows from the
    lower half of the values, of which few hold signal, by the ratio of two quantiles,
    which does not depend on the level of the noise.

    Args:
        values: Singular values, descending, more of noise than of signal.
        shape: Rows and columns of the matrix, of fewer columns than rows.

    Returns:
        At most all rows.
    """
    rows, columns = shape
    middle, low = np.quantile(values**2, (0.5, 0.1))
    if not low > 0:  # no noise, of which nothing can be told
        return float(rows)

    def spread(num: float) -> float:
        squares = singular_values_of_noise((num, columns), 1000) ** 2
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


def noise_level(
    values: Float[np.ndarray, " value"], shape: tuple[float, float]
) -> float:
    """σ from the median singular value, where fewer than half of them hold signal.

    Gavish and Donoho 2014 (10.1109/TIT.2014.2323359).
    """
    return float(np.median(values) / singular_values_of_noise(shape, 1)[0])
