"""A denoiser that sees the mean over orbits instead of the image."""

from collections.abc import Callable

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.denoisers import AbstractDenoiser
from tvjax.symmetry.groups import find_group, Group
from tvjax.symmetry.orbits import Orbit, orbit_mean


class Symmetrized(AbstractDenoiser):
    """F(mean over the orbits of y), for any denoiser F.

    First averaged, then denoised: the mean over an orbit is sufficient for what is
    common to its members, so that F has but the rest of the noise to remove. Any risk
    and `tvjax.tune` choose the parameters of F through it. Where the mask leaves gaps
    that a partner fills, F sees the partner; where it does not, the data come back.
    """

    denoiser: Callable[[Array], Array]
    mask: Bool[Array, "height width"] | None
    group: Group = eqx.field(static=True)
    centre: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        denoiser: Callable[[Array], Array],
        group: Group | str,
        centre: tuple[float, float],
        mask: Bool[ArrayLike, "height width"] | None = None,
    ):
        """Take any denoiser, a group or its name, and the centre (y, x) in pixels.

        Args:
            denoiser: Of the orbit mean; its own mask, if any, is that of the orbits.
            group: From `tvjax.symmetry.find_group`, or its name.
            centre: In pixels; the first pixel's centre is 0.
            mask: True where a pixel is valid: from the detector, never from the counts.

        Raises:
            ValueError: For an unknown group.
        """
        self.denoiser = denoiser
        self.mask = None if mask is None else jnp.asarray(mask, dtype=bool)
        self.group = find_group(group) if isinstance(group, str) else group
        self.centre = (float(centre[0]), float(centre[1]))

    def __call__(self, y: Float[Array, "height width"]) -> Float[Array, "height width"]:
        """The image; differentiable in `y` and in the denoiser."""
        orbit = self.orbit(y)
        return jnp.where(orbit.mask, self.denoiser(orbit.mean), y)

    def orbit(self, y: Float[Array, "height width"]) -> Orbit:
        """What the denoiser sees, with the variance that is left in it."""
        return orbit_mean(y, self.group, self.centre, self.mask)
