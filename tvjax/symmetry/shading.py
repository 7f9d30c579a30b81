"""Which smooth factor lies on a symmetric pattern?

Flat field, polarization, absorption and a slight tilt multiply a symmetric pattern by
what varies slowly. Over a window g of some pixels its likeliest value for counts is

    s = Σ g y / Σ g mean,    image = (s / mean(s)) mean

with means over the orbits. Where s is constant over an orbit, the mean is as it was.
"""

from typing import NamedTuple

from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, Int

from tvjax.noise import Gaussian, Noise, Poisson, PoissonGaussian
from tvjax.symmetry.groups import Group
from tvjax.symmetry.moves import Point
from tvjax.symmetry.orbits import Orbit, orbit_mean
from tvjax.symmetry.scan import Broken, find_broken
from tvjax.symmetry.smoothing import box_sum, gather, peak

# Of the windows that are tried, in pixels, the widest first.
WIDTHS = (64.0, 32.0, 16.0, 8.0)
# A factor further from one than this is no shading.
LIMIT = 2.0
# Side of the squares whose sums tell how much more than their noise orbits differ.
SIDE = 5
# The median of chi-squared of one degree of freedom.
MEDIAN = 0.4549
# Spots are found, left out, and the rest looked at anew.
ROUNDS = 2


class Shading(NamedTuple):
    """A smooth factor on the orbit mean, and what is left besides it."""

    factor: Float[Array, "y x"]  # of the orbit mean
    orbit: Orbit  # with that factor, and the noise that it adds
    broken: Broken  # spots that stand out from what else the orbits differ by
    width: Float[Array, ""]  # of the window, pixels


def find_shading(
    y: Float[Array, "y x"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "y x"],
    noise: Noise,
    ring: Int[Array, "y x"],
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
    steady, orbit = mask, orbit_mean(y, group, centre, mask)
    for _ in range(ROUNDS):
        _, shaded = _shade(y, orbit, group, centre, steady, WIDTHS[0])
        excess = _excess(y, shaded, mask, noise, ring, num_rings)
        broken = find_broken(y, shaded, group, centre, mask, _times(noise, excess))
        steady = mask & ~broken.differs
        orbit = steady_mean(y, group, centre, mask, broken.differs)
    factors, orbits, risks = [], [], []
    for width in WIDTHS:
        factor, shaded = _shade(y, orbit, group, centre, steady, width)
        level = noise.variance(shaded.mean)
        judged = steady & orbit.mask & (level > 0)
        squares = (y - shaded.mean) ** 2 / jnp.where(judged, level, 1)
        risks.append(jnp.sum(jnp.where(judged, squares - 1 + 2 * shaded.own, 0)))
        factors.append(factor)
        orbits.append(shaded)
    best = jnp.argmin(jnp.stack(risks))
    factor = jnp.stack(factors)[best]
    shaded = Orbit(
        *(jnp.stack(parts)[best] for parts in zip(*orbits, strict=True)),
    )
    excess = _excess(y, shaded, mask, noise, ring, num_rings)
    broken = find_broken(y, shaded, group, centre, mask, _times(noise, excess))
    return Shading(factor, shaded, broken, jnp.asarray(WIDTHS)[best])


def steady_mean(
    y: Float[Array, "y x"],
    group: Group,
    centre: Point,
    mask: Bool[Array, "y x"],
    broken: Bool[Array, "y x"],
) -> Orbit:
    """The orbit mean; a ring's is that of the rest where pixels of it stand out."""
    return orbit_mean(y, group, centre, mask & ~(broken & group.continuous))


def _shade(
    y: Array, orbit: Orbit, group: Group, centre: Point, steady: Array, width: float
) -> tuple[Array, Orbit]:
    """The factor, relative to its mean over the orbit, and the orbit with it."""
    there = steady & orbit.mask
    level = jnp.where(there, jnp.maximum(orbit.mean, 0), 0)
    above, below = gather(jnp.stack([jnp.where(there, y, 0), level]), width)
    known = below > 1e-6 * jnp.max(below)
    safe = jnp.where(known, below, 1)
    factor = jnp.where(known, jnp.clip(above / safe, 1 / LIMIT, LIMIT), 1)
    shared = orbit_mean(factor, group, centre, steady)
    factor = jnp.where(shared.mask, factor / jnp.where(shared.mask, shared.mean, 1), 1)
    # what the pixel adds to the factor, of which its orbit's mean knows its share
    own = (1 - orbit.own) * jnp.where(known, peak(width) * level / safe, 0)
    return factor, orbit._replace(
        mean=factor * orbit.mean,
        own=orbit.own + own,
        variance=orbit.variance + own / 2,  # a Gaussian's squares sum to half its peak
    )


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
