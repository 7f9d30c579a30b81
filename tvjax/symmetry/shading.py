"""Which smooth factor lies on a symmetric pattern?

Flat field, polarization, absorption and a slight tilt multiply a symmetric pattern by
what varies slowly. Over a window g of some pixels its likeliest value for counts is

    s = Σ g y / Σ g mean,    image = (s / mean(s)) mean

with means over the orbits. Where s is constant over an orbit, the mean is as it was.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int

from tvjax.filters import box_sum, gather, peak, window_of
from tvjax.noise import Gaussian, Noise, Poisson, PoissonGaussian
from tvjax.symmetry.groups import Group
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.spots import Broken, find_broken
from tvjax.symmetry.transforms import Point

# Of the windows that are tried, in pixels, the widest first.
WIDTHS = (64.0, 32.0, 16.0, 8.0)
# A factor further from one than this is no shading.
LIMIT = 2.0
# Side of the squares whose sums tell how much more than their noise orbits differ.
SIDE = 5
# The median of chi-squared of one degree of freedom.
MEDIAN = 0.4549
# Spots are found, left out, and the rest looked at anew, as often.
ROUNDS = 3


class Shading(NamedTuple):
    """A smooth factor on the orbit mean, and what is left besides it."""

    factor: Float[Array, "height width"]  # of the orbit mean
    orbit: Orbit  # with that factor, and the noise that it adds
    broken: Broken  # spots that stand out from what else the orbits differ by
    width: Float[Array, ""]  # of the window, pixels


def find_shading(
    y: Float[Array, "height width"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    noise: Noise,
    ring: Int[Array, "height width"],
    num_rings: int,
) -> Shading:
    """Find the factor in the window of least risk.

        risk = Σ [(y − image)² / v − 1 + 2 ∂image/∂y]

    over the pixels that are in no spot (Stein 1981). A spot is told from how much the
    orbits of its ring typically differ, which is more than noise.

    Args:
        y: Image.
        group: What is averaged over.
        centre: (y, x) in pixels.
        mask: True where a pixel is valid.
        noise: Its variance is at one for how much orbits differ by chance.
        ring: Of each pixel.
        num_rings: How many there are.
    """
    broken = Broken(jnp.zeros(y.shape, bool), jnp.zeros(y.shape, bool))
    for turn in range(ROUNDS):
        steady = mask & ~broken.differs
        orbit = steady_mean(y, group, centre, mask, broken.differs)
        # a narrow window would take a spot for a factor, until the spots are known
        widths = WIDTHS if turn == ROUNDS - 1 else WIDTHS[:1]
        each = [
            _shade(y, orbit, group, centre, steady, noise, width) for width in widths
        ]
        best = int(np.argmin([shaded.risk for shaded in each]))
        factor, shaded, _ = each[best]
        loud = _louder(y, shaded, mask, noise, ring, num_rings)
        broken = find_broken(y, shaded, group, centre, mask, loud)
    return Shading(factor, shaded, broken, jnp.asarray(widths[best]))


def steady_mean(
    y: Float[Array, "height width"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "height width"],
    broken: Bool[Array, "height width"],
) -> Orbit:
    """The orbit mean; a ring's is that of the rest where pixels of it stand out."""
    return orbit_mean(y, group, centre, mask & ~(broken & group.continuous))


class _Shaded(NamedTuple):
    """An orbit mean with a factor."""

    factor: Array
    orbit: Orbit
    risk: Array


def _shade(
    y: Array,
    orbit: Orbit,
    group: Group,
    centre: Point,
    steady: Array,
    noise: Noise,
    width: float,
) -> _Shaded:
    """The factor in a window, relative to its mean over the orbit, and its risk."""
    window = jnp.asarray(window_of(y.shape, width, WIDTHS[0]), y.dtype)
    factor, own = _factor(y, orbit, steady, window, peak(width))
    shared = orbit_mean(factor, group, centre, steady)
    return _relative(y, orbit, steady, noise, factor, own, shared)


@jax.jit
def _factor(
    y: Array, orbit: Orbit, steady: Array, window: Array, top: float
) -> tuple[Array, Array]:
    """The factor in a window, and by how much the pixel's own value moves it."""
    there = steady & orbit.mask
    level = jnp.where(there, jnp.maximum(orbit.mean, 0), 0)
    above, below = gather(jnp.stack([jnp.where(there, y, 0), level]), window)
    known = below > 1e-5 * jnp.max(below)
    safe = jnp.where(known, below, 1)
    factor = jnp.where(known, jnp.clip(above / safe, 1 / LIMIT, LIMIT), 1)
    return factor, jnp.where(known, top * level / safe, 0)


@jax.jit
def _relative(
    y: Array,
    orbit: Orbit,
    steady: Array,
    noise: Noise,
    factor: Array,
    own: Array,
    shared: Orbit,
) -> _Shaded:
    """The orbit mean with the factor over the factor's mean."""
    factor = jnp.where(shared.mask, factor / jnp.where(shared.mask, shared.mean, 1), 1)
    # what the pixel adds to the factor, of which its orbit's mean knows its share
    own = (1 - orbit.own) * own
    shaded = orbit._replace(
        mean=factor * orbit.mean,
        own=orbit.own + own,
        variance=orbit.variance + own / 2,  # a Gaussian's squares sum to half its peak
    )
    variance = noise.variance(shaded.mean)
    judged = steady & orbit.mask & (variance > 0)
    squares = (y - shaded.mean) ** 2 / jnp.where(judged, variance, 1)
    risk = jnp.sum(jnp.where(judged, squares - 1 + 2 * shaded.own, 0))
    return _Shaded(factor, shaded, risk)


@partial(jax.jit, static_argnames="num_rings")
def _louder(
    y: Array, orbit: Orbit, mask: Array, noise: Noise, ring: Array, num_rings: int
) -> Noise:
    """Noise of as much as the orbits of a ring typically differ by."""
    return _times(noise, _excess(y, orbit, mask, noise, ring, num_rings))


def _excess(
    y: Array, orbit: Orbit, mask: Array, noise: Noise, ring: Array, num_rings: int
) -> Array:
    """By what the orbits of a ring typically differ over noise; one at least."""
    seen = mask & orbit.mask
    level = jnp.where(seen, jnp.maximum(noise.variance(orbit.mean), 0), 0)
    variance = box_sum(level * orbit.freedom, SIDE)
    known = seen & (variance > 0)
    difference = box_sum(jnp.where(seen, y - orbit.mean, 0), SIDE)
    squares = difference**2 / jnp.where(known, variance, 1)
    ring = jnp.where(known, ring, num_rings).ravel()
    order = jnp.lexsort((squares.ravel(), ring))
    ends = jnp.searchsorted(ring[order], jnp.arange(num_rings + 1))
    middle = jnp.minimum((ends[:-1] + ends[1:]) // 2, y.size - 1)
    median = jnp.where(ends[1:] > ends[:-1], squares.ravel()[order][middle], 0)
    excess = jnp.maximum(median / MEDIAN, 1)
    return jnp.concatenate([excess, jnp.ones(1, y.dtype)])[ring].reshape(y.shape)


def _times(noise: Noise, factor: Array) -> Noise:
    """A noise of so many times the variance, in each pixel."""
    match noise:
        case Poisson():
            return Poisson(noise.gain * factor)
        case Gaussian():
            return Gaussian(noise.sigma * jnp.sqrt(factor))
        case PoissonGaussian():
            return PoissonGaussian(
                noise.gain * factor, noise.sigma * jnp.sqrt(factor), noise.offset
            )
