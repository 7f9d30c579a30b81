"""A smooth factor on a symmetric pattern.

Flat field, polarization, absorption and a slight tilt multiply a symmetric pattern by
a factor that varies slowly. Over a window g of some pixels its likeliest value for
counts is

    s = Σ g y / Σ g mean,    image = (s / mean(s)) mean

with means over the orbits. Where s is constant over an orbit, the mean is as it was.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from tvjax.filters import box_sum, fourier_convolve, gaussian_peak, gaussian_transform
from tvjax.noise import Correlated, Gaussian, Noise, Poisson, PoissonGaussian
from tvjax.symmetry.groups import Group
from tvjax.symmetry.measurement import Measurement
from tvjax.symmetry.orbits import mean_over_orbits, Orbit
from tvjax.symmetry.rings import NUM_RINGS
from tvjax.symmetry.spots import BrokenOrbits, find_broken_orbits
from tvjax.symmetry.transforms import Point

# Widths of the windows that are tried, in pixels, the widest first.
WIDTHS = (64.0, 32.0, 16.0, 8.0)
# The factor is kept between one over this and this: beyond, it is no shading.
LIMIT = 2.0
# Side of the squares whose sums tell how much more than their noise orbits differ, in
# pixels: that of the larger spots.
SIDE = 5
# The median of chi-squared of one degree of freedom.
MEDIAN = 0.4549
# Number of times that spots are found and left out of what the factor is found from.
ROUNDS = 3


class Shading(NamedTuple):
    """A smooth factor on the orbit mean, and the spots that it leaves.

    Attributes:
        factor: The factor on the orbit mean.
        orbit: The orbit mean with that factor, and the noise that the factor adds.
        orbits: Orbits with spots that stand out from how much others differ.
        width: Width of the window, in pixels.
    """

    factor: Float[Array, "height width"]
    orbit: Orbit
    orbits: BrokenOrbits
    width: float


def find_shading(
    measured: Measurement,
    group: Group,
    centre: Point,
    ring: Int[Array, "height width"],
) -> Shading:
    """Find the factor in the window of least risk.

        risk = Σ [(y − image)² / v − 1 + 2 ∂image/∂y]

    over the pixels that are in no spot (Stein 1981). A spot must stand out from how
    much the orbits of its ring typically differ, which is more than noise.

    Args:
        measured: The pattern.
        group: Group of the symmetry.
        centre: Beam centre (y, x) in pixels, from `specialize_centre`.
        ring: Ring of each pixel, of `NUM_RINGS`.
    """
    nowhere = jnp.zeros(measured.image.shape, bool)
    found = BrokenOrbits(nowhere, nowhere)
    # a narrow window would take a spot for a factor, until the spots are known
    for _ in range(ROUNDS - 1):
        found = _find_in(measured, group, centre, ring, found, WIDTHS[:1]).orbits
    return _find_in(measured, group, centre, ring, found, WIDTHS)


def _find_in(
    measured: Measurement,
    group: Group,
    centre: Point,
    ring: Int[Array, "height width"],
    known: BrokenOrbits,
    widths: Sequence[float],
) -> Shading:
    """The factor in the best of some windows, known spots left out, and new spots."""
    steady = measured._replace(mask=measured.mask & ~known.broken)
    y, mask = measured.image, measured.mask
    orbit = mean_without_spots(y, group, centre, mask, known.broken)
    each = [_shade(steady, orbit, group, centre, width) for width in widths]
    best = int(np.argmin([shaded.risk for shaded in each]))
    factor, shaded, _ = each[best]
    louder = measured._replace(noise=_inflate(measured, shaded, ring))
    found = find_broken_orbits(louder, shaded, group, centre)
    return Shading(factor, shaded, found, widths[best])


def mean_without_spots(
    y: Float[Array, "height width"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    broken: Bool[Array, "height width"],
) -> Orbit:
    """The orbit mean, which for rings leaves out the pixels that differ from it."""
    return mean_over_orbits(y, group, centre, mask & ~(broken & group.continuous))


class _Shaded(NamedTuple):
    """An orbit mean with a factor, and the risk of taking it."""

    factor: Float[Array, "height width"]
    orbit: Orbit
    risk: Float[Array, ""]


def _shade(
    steady: Measurement, orbit: Orbit, group: Group, centre: Point, width: float
) -> _Shaded:
    """The factor in a window, relative to its mean over the orbit, and its risk."""
    y = steady.image
    window = jnp.asarray(gaussian_transform(y.shape, width, WIDTHS[0]), y.dtype)
    factor, own = _factor(steady, orbit, window, gaussian_peak(width))
    shared = mean_over_orbits(factor, group, centre, steady.mask)
    return _relative(steady, orbit, factor, own, shared)


@jax.jit
def _factor(
    steady: Measurement,
    orbit: Orbit,
    window: Float[Array, "row column"],
    top: ArrayLike,
) -> tuple[Float[Array, "height width"], Float[Array, "height width"]]:
    """The factor in a window, and by how much the pixel's own value moves it."""
    there = steady.mask & orbit.mask
    level = jnp.where(there, jnp.maximum(orbit.mean, 0), 0)
    above, below = fourier_convolve(
        jnp.stack([jnp.where(there, steady.image, 0), level]), window
    )
    known = below > 1e-5 * jnp.max(below)
    safe = jnp.where(known, below, 1)
    factor = jnp.where(known, jnp.clip(above / safe, 1 / LIMIT, LIMIT), 1)
    return factor, jnp.where(known, top * level / safe, 0)


@jax.jit
def _relative(
    steady: Measurement,
    orbit: Orbit,
    factor: Float[Array, "height width"],
    own: Float[Array, "height width"],
    shared: Orbit,
) -> _Shaded:
    """The orbit mean with the factor over the factor's mean."""
    factor = jnp.where(shared.mask, factor / jnp.where(shared.mask, shared.mean, 1), 1)
    # the share of a pixel's own value in the factor, less that in the factor's mean
    own = (1 - orbit.own) * own
    shaded = orbit._replace(
        mean=factor * orbit.mean,
        own=orbit.own + own,
        variance=orbit.variance + own / 2,  # a Gaussian's squares sum to half its peak
    )
    variance = steady.noise.variance(shaded.mean)
    judged = steady.mask & orbit.mask & (variance > 0)
    squares = (steady.image - shaded.mean) ** 2 / jnp.where(judged, variance, 1)
    risk = jnp.sum(jnp.where(judged, squares - 1 + 2 * shaded.own, 0))
    return _Shaded(factor, shaded, risk)


@jax.jit
def _inflate(
    measured: Measurement, orbit: Orbit, ring: Int[Array, "height width"]
) -> Noise:
    """Noise that is as large as the orbits of a ring typically differ."""
    return _scaled(measured.noise, _excess(measured, orbit, ring))


def _excess(
    measured: Measurement, orbit: Orbit, ring: Int[Array, "height width"]
) -> Float[Array, "height width"]:
    """The typical squared difference in a ring over its noise's; one at least."""
    y, noise = measured.image, measured.noise
    seen = measured.mask & orbit.mask
    level = jnp.where(seen, jnp.maximum(noise.variance(orbit.mean), 0), 0)
    variance = box_sum(level * orbit.freedom, SIDE)
    known = seen & (variance > 0)
    difference = box_sum(jnp.where(seen, y - orbit.mean, 0), SIDE)
    squares = difference**2 / jnp.where(known, variance, 1)
    ring = jnp.where(known, ring, NUM_RINGS).ravel()
    order = jnp.lexsort((squares.ravel(), ring))
    ends = jnp.searchsorted(ring[order], jnp.arange(NUM_RINGS + 1))
    middle = jnp.minimum((ends[:-1] + ends[1:]) // 2, y.size - 1)
    median = jnp.where(ends[1:] > ends[:-1], squares.ravel()[order][middle], 0)
    excess = jnp.maximum(median / MEDIAN, 1)
    return jnp.concatenate([excess, jnp.ones(1, y.dtype)])[ring].reshape(y.shape)


def _scaled(noise: Noise, factor: Float[Array, "height width"]) -> Noise:
    """Noise of `factor` times the variance in each pixel."""
    match noise:
        case Poisson():
            return eqx.tree_at(lambda n: n.gain, noise, noise.gain * factor)
        case Gaussian() | Correlated():
            sigma = noise.sigma * jnp.sqrt(factor)
            return eqx.tree_at(lambda n: n.sigma, noise, sigma)
        case PoissonGaussian():
            scaled = (noise.gain * factor, noise.sigma * jnp.sqrt(factor))
            return eqx.tree_at(lambda n: (n.gain, n.sigma), noise, scaled)
