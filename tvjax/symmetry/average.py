"""The average of a pattern: of its orbit mean and of its own image.

    average = λ s mean + (1 − λ) own

with λ from the test of the symmetry, and zero in orbits that a spot breaks; s is the
smooth factor on the pattern, one where the symmetry holds without. The average is
linear in the data once both are chosen: parts of the data are averaged alike.
"""

from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import dilate
from tvjax.symmetry.agreement import Agreement
from tvjax.symmetry.groups import Group, TRIVIAL
from tvjax.symmetry.orbits import Orbit
from tvjax.symmetry.shading import mean_without_spots
from tvjax.symmetry.transforms import Point, specialize_centre


class Averaged(NamedTuple):
    """An averaged pattern.

    Attributes:
        image: The average.
        factor: Variance of the average over that of a pixel.
        mask: True where the average is valid.
    """

    image: Float[Array, "height width"]
    factor: Float[Array, "height width"]
    mask: Bool[Array, "height width"]


class Average(eqx.Module):
    """A linear map from a pattern to the average of its orbit mean and itself.

    Attributes:
        share: λ of each pixel.
        shading: s in each pixel.
        mask: True where a pixel of the data is valid.
        broken: True where the mean over a ring leaves a pixel out.
        spot: True where a spot without a partner is to be kept as measured.
        centre: Beam centre (y, x) in pixels, from `specialize_centre`.
        group: Group of the symmetry.
    """

    share: Float[Array, "height width"]
    shading: Float[Array, "height width"]
    mask: Bool[Array, "height width"]
    broken: Bool[Array, "height width"]
    spot: Bool[Array, "height width"]
    centre: Point
    group: Group = eqx.field(static=True)

    def __call__(self, y: Float[Array, "height width"]) -> Averaged:
        """Average a pattern; a pixel that is invalid gets the mean of its partners."""
        orbit = mean_without_spots(y, self.group, self.centre, self.mask, self.broken)
        return _weigh(y, orbit, self.share, self.shading, self.mask)


@jax.jit
def _weigh(
    y: Float[Array, "height width"],
    orbit: Orbit,
    share: Float[Array, "height width"],
    shading: Float[Array, "height width"],
    mask: Bool[Array, "height width"],
) -> Averaged:
    """λ s mean + (1 − λ) own, and its variance."""
    share = jnp.where(mask, share, 1)
    own = jnp.where(mask, y, 0)
    image = share * shading * orbit.mean + (1 - share) * own
    factor = (
        share**2 * orbit.variance
        + (1 - share) ** 2
        + 2 * share * (1 - share) * orbit.own
    )
    seen = orbit.mask | mask
    return Averaged(image, jnp.where(seen, factor, 0), seen)


def average_by(agreement: Agreement, mask: Bool[Array, "height width"]) -> Average:
    """The average that a test of the symmetry asks for."""
    share = jnp.asarray(agreement.share, jnp.zeros(()).dtype)
    # without a factor on the pattern, pixels that differ by chance stay in their ring
    shading, broken = jnp.ones_like(share), jnp.zeros(mask.shape, bool)
    if agreement.shading is not None:
        shading = jnp.asarray(agreement.shading, share.dtype)
        broken = jnp.asarray(agreement.broken)
    spot = dilate(jnp.asarray(agreement.spot), 3)
    centre = specialize_centre(agreement.centre, agreement.group)
    return Average(share, shading, mask, broken, spot, centre, agreement.group)


def no_average(mask: Bool[Array, "height width"]) -> Average:
    """The data as they are: λ is zero everywhere."""
    none = jnp.zeros(mask.shape, bool)
    share = none.astype(float)
    return Average(share, share + 1, mask, none, none, (0.0, 0.0), TRIVIAL)
