"""What is averaged where a symmetry holds, and kept as measured where it does not?

    image = λ s mean + (1 − λ) own

with λ from the test of the symmetry, and zero in orbits that differ in a spot;
s is the smooth factor on the pattern, one where the symmetry holds without. Linear in
the data once both are chosen: halves of the data are blended alike.
"""

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import widen
from tvjax.symmetry.agreement import Agreement
from tvjax.symmetry.groups import find_group, Group, TRIVIAL
from tvjax.symmetry.orbits import Orbit
from tvjax.symmetry.shading import steady_mean
from tvjax.symmetry.transforms import Point, settle


class Blend(eqx.Module):
    """A linear map from data to the blended mean.

    Attributes:
        share: λ in each pixel.
        shading: s in each pixel.
        mask: True where a pixel of the data is valid.
        broken: True where the mean over a ring leaves a pixel out.
        spot: True where a spot without a partner is to be kept as measured.
        group: What is averaged over.
        centre: (y, x) in pixels.
    """

    share: Float[Array, "height width"]
    shading: Float[Array, "height width"]
    mask: Bool[Array, "height width"]
    broken: Bool[Array, "height width"]
    spot: Bool[Array, "height width"]
    centre: Point
    group: Group = eqx.field(static=True)

    def __call__(
        self, y: Float[Array, "height width"]
    ) -> tuple[
        Float[Array, "height width"],
        Float[Array, "height width"],
        Bool[Array, "height width"],
    ]:
        """The blended mean, its variance over that of a pixel, and where it is valid.

        A pixel that is not valid itself has the mean of its valid partners.
        """
        orbit = steady_mean(y, self.group, self.centre, self.mask, self.broken)
        return _weigh(y, orbit, self.share, self.shading, self.mask)


@jax.jit
def _weigh(
    y: Array, orbit: Orbit, share: Array, shading: Array, mask: Array
) -> tuple[Array, Array, Array]:
    share = jnp.where(mask, share, 1)
    own = jnp.where(mask, y, 0)
    mean = share * shading * orbit.mean + (1 - share) * own
    factor = (
        share**2 * orbit.variance
        + (1 - share) ** 2
        + 2 * share * (1 - share) * orbit.own
    )
    seen = orbit.mask | mask
    return mean, jnp.where(seen, factor, 0), seen


def blend(agreement: Agreement, mask: Bool[Array, "height width"]) -> Blend:
    """λ of each pixel, as a test of the symmetry has it."""
    group = find_group(agreement.group)
    centre = settle(agreement.centre, group)
    share = jnp.asarray(agreement.share, jnp.zeros(()).dtype)
    # what chance makes differ now and then belongs to its ring
    shading, broken = jnp.ones_like(share), jnp.zeros(mask.shape, bool)
    if agreement.shading is not None:
        shading = jnp.asarray(agreement.shading, share.dtype)
        broken = jnp.asarray(agreement.broken)
    spot = widen(jnp.asarray(agreement.spot), 3)
    return Blend(share, shading, mask, broken, spot, centre, group)


def no_blend(mask: Bool[Array, "height width"]) -> Blend:
    """The data as they are."""
    none = jnp.zeros(mask.shape, bool)
    share = none.astype(float)
    return Blend(share, share + 1, mask, none, none, (0.0, 0.0), TRIVIAL)
