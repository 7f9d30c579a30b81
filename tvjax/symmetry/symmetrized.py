"""A denoiser that sees the mean over orbits instead of the image."""

from collections.abc import Callable

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers.protocol import (
    AbstractMaskedDenoiser,
    as_pytree,
    HeldMask,
    hold_mask,
)
from tvjax.symmetry.groups import as_group, Group
from tvjax.symmetry.orbits import mean_over_orbits, Orbit
from tvjax.symmetry.transforms import specialize_centre


class Symmetrized(AbstractMaskedDenoiser):
    """F(mean over the orbits of y), for any denoiser F.

    First averaged, then denoised: the mean over an orbit is sufficient for what its
    members have in common, so that F has only the rest of the noise to remove. Any risk
    and `tvjax.tune` choose the parameters of F through it. Where the mask leaves gaps
    that a partner fills, F sees the partner; where none does, the data come back.

    Averaged over a group before a network that learns from the same symmetry: Zhou et
    al. 2024 (10.1107/S1600576724002899).

    Example:
        >>> import jax, tvjax
        >>> y = jax.random.normal(jax.random.key(0), (16, 16))
        >>> centre = (7.5, 7.5)
        >>> denoiser = tvjax.Symmetrized(tvjax.TV(0.5), group="friedel", centre=centre)
        >>> denoiser(y).shape
        (16, 16)

        Half of the variance is left to the denoiser within.

        >>> float(denoiser.orbit(y).variance[0, 0])
        0.5
    """

    denoiser: Callable[[Array], Array]
    held_mask: HeldMask
    group: Group = eqx.field(static=True)
    centre: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        denoiser: Callable[[Array], Array],
        *,
        group: Group | str,
        centre: tuple[float, float],
        mask: Bool[ArrayLike, "height width"] | None = None,
    ) -> None:
        """Take any denoiser, a group or its name, and the centre of a pattern.

        Args:
            denoiser: Denoiser F of the orbit mean; its own mask, if any, is that of the
                orbits.
            group: A group from `tvjax.symmetry.find_group`, or its name.
            centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
            mask: True where a pixel is valid: from the detector, never from the counts.

        Raises:
            ValueError: The group is unknown.
        """
        self.denoiser = as_pytree(denoiser)
        self.held_mask = hold_mask(mask)
        self.group = as_group(group)
        self.centre = (float(centre[0]), float(centre[1]))

    def __call__(
        self, y: Float[Array, "height width"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "height width"]:
        """Denoise an image; differentiable in `y` and in the denoiser.

        Args:
            y: Image (height, width).
            key: Ignored.
        """
        orbit = self.orbit(y)
        return jnp.where(orbit.mask, self.denoiser(orbit.mean), y)

    def orbit(self, y: Float[Array, "height width"]) -> Orbit:
        """The mean that the denoiser sees, with the variance that is left in it."""
        mask = jnp.ones(y.shape, bool) if self.mask is None else self.mask
        centre = specialize_centre(self.centre, self.group)
        return mean_over_orbits(y, self.group, centre, mask)
