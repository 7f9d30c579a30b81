"""What does a pattern say about a sample: profiles, fits, and what no fit can beat.

Azimuthal sums are taken by pyFAI, each pixel in the one bin that its centre lies in:
sums of counts stay counts, and their errors independent. There is no correction for
solid angle or polarization, neither in the simulation nor here.

A fit of mean counts M(θ) to counts S takes the greatest likelihood of Poisson counts,

    min_θ Σ_b M_b(θ) − S_b log M_b(θ),

or, as is usual, the least squares of (S − M)/σ with σ² = max(S, 1). No unbiased
estimate of θ has a smaller covariance than the Cramér-Rao bound, the inverse of

    F_jk = Σ_i (∂μ_i/∂θ_j) (∂μ_i/∂θ_k) / μ_i

over the valid pixels i of mean counts μ_i, parameters of no interest among the θ.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import least_squares

try:
    from pyFAI.detectors import Detector
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator
except ImportError:
    raise SystemExit(
        "pyFAI, which takes the azimuthal profiles, is not installed: "
        "pip install tvjax[experiments]"
    ) from None

Fit = Literal["likelihood", "least squares"]
Image = Float[np.ndarray, "height width"]
Mean = Callable[[Float[np.ndarray, " parameter"]], Float[np.ndarray, " bin"]]

# Each pixel as a whole, by the position of its centre; sums as of a sparse matrix.
_METHOD = ("no", "csr", "cython")
# A likelihood has no maximum where a mean vanishes that counts speak for.
_LEAST = 1e-9


class Instrument(NamedTuple):
    """A flat detector whose pixels are 1 mm wide: pyFAI's millimetres are pixels."""

    integrator: AzimuthalIntegrator
    mask: Bool[np.ndarray, "height width"]
    radius: Image  # from the beam to each pixel's centre, pixels
    azimuth: Image  # of each pixel's centre, rad

    @property
    def reach(self) -> float:
        """From the beam to the middle of an edge, pixels."""
        return len(self.mask) / 2

    def rings(self, image: Image) -> Float[np.ndarray, " bin"]:
        """Sum of the valid pixels in rings half a pixel wide, out to the corners."""
        num_bins = int(np.ceil(np.sqrt(8) * self.reach))
        found = self.integrator.integrate1d(
            np.where(self.mask, image, 0),
            num_bins,
            unit="r_mm",
            mask=~self.mask,
            radial_range=(0, num_bins / 2),
            correctSolidAngle=False,
            method=_METHOD,
        )
        return found.sum_signal.astype(float)

    def sectors(
        self, image: Image, num: int, inner: int, outer: int
    ) -> Float[np.ndarray, "sector bin"]:
        """Sum of the valid pixels between two radii, by azimuth and by radius."""
        found = self.integrator.integrate2d(
            np.where(self.mask, image, 0),
            outer - inner,
            num,
            unit="r_mm",
            mask=~self.mask,
            radial_range=(inner, outer),
            azimuth_range=(-180, 180),
            correctSolidAngle=False,
            method=_METHOD,
        )
        return found.sum_signal.astype(float)


def build_instrument(mask: Bool[np.ndarray, "height width"]) -> Instrument:
    """The beam hits the middle of a square detector."""
    side, millimetre = len(mask), 1e-3
    integrator = AzimuthalIntegrator(
        dist=1.0,
        poni1=side / 2 * millimetre,
        poni2=side / 2 * millimetre,
        detector=Detector(millimetre, millimetre, max_shape=mask.shape),
        wavelength=1e-10,
    )
    y, x = np.indices(mask.shape) - (side - 1) / 2
    return Instrument(integrator, mask, np.hypot(y, x), np.arctan2(y, x))


def fit_mean(
    mean: Mean,
    counts: Float[np.ndarray, " bin"],
    starts: Sequence[Float[np.ndarray, " parameter"]],
    low: Float[np.ndarray, " parameter"],
    high: Float[np.ndarray, " parameter"],
    fit: Fit,
) -> Float[np.ndarray, " parameter"]:
    """Parameters that explain the counts best, between bounds.

    Args:
        mean: Expected counts, as a function of the parameters.
        counts: Negative ones, which a denoiser may leave, count as none.
        starts: The best of these is where the descent begins.
        low: Least values.
        high: Greatest values.
        fit: What "best" means.
    """
    counts = np.maximum(counts, 0)
    compare = _deviances if fit == "likelihood" else _scaled

    def cost(start: np.ndarray) -> float:
        return np.sum(compare(mean(start), counts)[0] ** 2)

    best = min(starts, key=cost)
    unit = np.maximum(np.abs(best), 1e-12)

    def residuals(scaled: np.ndarray) -> np.ndarray:
        return compare(mean(scaled * unit), counts)[0]

    def slopes(scaled: np.ndarray) -> np.ndarray:
        rate = compare(mean(scaled * unit), counts)[1]
        return (rate * unit[:, None] * derivatives(mean, scaled * unit)).T

    found = least_squares(
        residuals, best / unit, slopes, bounds=(low / unit, high / unit)
    )
    return found.x * unit


def derivatives(
    mean: Mean, parameters: Float[np.ndarray, " parameter"]
) -> Float[np.ndarray, "parameter bin"]:
    """∂M_b/∂θ_j by central differences."""
    rows = []
    for j, step in enumerate(1e-5 * np.maximum(np.abs(parameters), 1e-6)):
        change = step * (np.arange(len(parameters)) == j)
        ahead, behind = mean(parameters + change), mean(parameters - change)
        rows.append((ahead - behind) / (2 * step))
    return np.stack(rows)


def cramer_rao(
    mean: Mean, parameters: Float[np.ndarray, " parameter"]
) -> Float[np.ndarray, " parameter"]:
    """The least standard deviation of unbiased estimates."""
    slopes = derivatives(mean, parameters)
    information = slopes / np.maximum(mean(parameters), _LEAST) @ slopes.T
    # parameters have units of their own
    unit = np.diag(information) ** -0.5
    covariance = np.linalg.inv(unit[:, None] * information * unit)
    return unit * np.sqrt(np.diag(covariance))


def fit_amplitudes(
    counts: Float[np.ndarray, "region cell"],
    shape: Float[np.ndarray, "region cell"],
    pixels: Float[np.ndarray, "region cell"],
    fit: Fit,
) -> Float[np.ndarray, " region"]:
    """A of the mean counts a P + b n in each region, where a may be negative.

    Least squares whose weights are renewed from the fit: where they settle, the slope
    of the likelihood is zero.

    Args:
        counts: Summed over the pixels of each cell.
        shape: P, the sum over these pixels of a peak of amplitude one.
        pixels: n, how many there are.
        fit: Weights from the fit, or, for least squares, from the counts.
    """
    level = np.maximum(counts.sum(1), 0.5) / pixels.sum(1)
    amplitude, background = np.zeros(len(counts)), level
    for _ in range(30 if fit == "likelihood" else 1):
        if fit == "likelihood":
            floor = np.maximum(background, 0.01 * level)
            variance = np.maximum(amplitude, 0)[:, None] * shape
            variance = variance + floor[:, None] * pixels
        else:
            variance = np.maximum(counts, 1)
        weight = np.where(pixels > 0, 1 / np.maximum(variance, _LEAST), 0)
        matrix = _products(shape, pixels, weight)
        right = np.stack([(weight * counts * part).sum(1) for part in (shape, pixels)])
        found = np.linalg.solve(matrix, right.T[..., None])[..., 0]
        amplitude, background = found.T
    return amplitude


def amplitude_bounds(
    regions: Callable[[Image], Float[np.ndarray, "region cell"]],
    shape: Image,
    mean: Image,
) -> Float[np.ndarray, " region"]:
    """The Cramér-Rao bound of each amplitude a, if the background b is unknown.

    Args:
        regions: Sums an image over the cells of each region.
        shape: A peak of amplitude one.
        mean: True counts.
    """
    inverse = 1 / np.maximum(mean, _LEAST)
    peaks, both, flat = (
        regions(image * inverse).sum(1)
        for image in (shape**2, shape, np.ones_like(shape))
    )
    return np.sqrt(flat / (peaks * flat - both**2))


def _deviances(mean: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed roots of the deviances, whose squares add up to −2 log likelihood + const.

    With them comes their derivative with respect to the mean.
    """
    mean = np.maximum(mean, _LEAST)
    logarithm = np.log(np.where(counts > 0, counts, mean) / mean)
    deviance = 2 * (mean - counts + counts * logarithm)
    root = np.sign(mean - counts) * np.sqrt(np.maximum(deviance, 0))
    # where both are nearly equal, the root is lost in rounding
    near = np.abs(mean - counts) < 1e-4 * mean
    root = np.where(near, (mean - counts) / np.sqrt(mean), root)
    slope = (1 - counts / mean) / np.where(near, 1, root)
    return root, np.where(near, mean**-0.5, slope)


def _scaled(mean: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals in units of the root of the counts, and their derivative."""
    scale = np.maximum(counts, 1) ** -0.5
    return (mean - counts) * scale, scale


def _products(
    shape: np.ndarray, pixels: np.ndarray, weight: np.ndarray
) -> Float[np.ndarray, "region 2 2"]:
    """Of a linear fit's two columns."""
    columns = np.stack([shape, pixels], axis=1)
    return np.einsum("rjc,rkc,rc->rjk", columns, columns, weight)
