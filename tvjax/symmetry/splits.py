"""Which two measurements of one scene does a symmetric pattern hold?

One to denoise, one to judge by: `tvjax.tuning.strength.choose_alpha_between`. Either
the data are split before they are averaged, which needs their noise; or the members of
the orbits are, half of them against the other, which needs nothing but that the noise
of the two be independent: it may be correlated between neighbors, and unknown.
"""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.filters import local_mean
from tvjax.noise import Noise
from tvjax.risk.splitting import couple, draw_noise, thin
from tvjax.symmetry.average import Blend
from tvjax.symmetry.groups import Group
from tvjax.symmetry.orbits import orbit_mean
from tvjax.symmetry.transforms import positions
from tvjax.tuning.strength import are_whole_counts

FRACTION = 0.9  # of the exposure that is denoised, where the data are split
SECTORS = 16  # that halve a ring, every other one


class Pair(NamedTuple):
    """Two independent measurements of the orbit mean."""

    seen: Float[Array, "height width"]
    held_out: Float[Array, "height width"]
    variance: Float[Array, "height width"]  # of `held_out`
    mask: Bool[Array, "height width"]  # where both are valid
    fraction: float  # of all the exposure that is in `seen`


def deal(
    y: Float[Array, "height width"],
    mask: Bool[Array, "height width"],
    noise: Noise,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "height width"], Float[Array, "height width"]]:
    """Split the data in two, photon by photon where they are whole counts.

    `FRACTION` of the exposure goes to the first.
    """
    own = jnp.where(mask, y, 0)
    if are_whole_counts(own, noise, mask):
        return thin(own, noise, key=key, fraction=FRACTION)
    smooth = local_mean(own[None], mask[None])[0]
    variance = jnp.maximum(noise.variance(smooth), 0)
    return couple(own, draw_noise(variance, key), fraction=FRACTION)


def pair_data(
    parts: tuple[Float[Array, "height width"], Float[Array, "height width"]],
    blend: Blend,
    noise: Noise,
) -> Pair:
    """The two parts that `deal` makes, each blended."""
    seen, _, mask = blend(parts[0])
    held_out, factor, _ = blend(parts[1])
    # unbiased at each pixel, and never the seen half's
    variance = factor * noise.variance(held_out) / (1 - FRACTION)
    return Pair(seen, held_out, variance, mask, FRACTION)


def pair_orbits(y: Float[Array, "height width"], blend: Blend) -> Pair:
    """Half of the members of each orbit against the other half.

    Orbits that differ in a spot judge nothing.
    """
    group = blend.group
    seen, held_out, valid = _half_means(y / blend.shading, blend, group)
    seen, held_out = (blend.shading * mean for mean in (seen, held_out))
    valid &= blend.share > 0
    # if they differ by noise alone, by that of both
    count = jnp.maximum(jnp.sum(valid), 1)
    both = jnp.sum(jnp.where(valid, (seen - held_out) ** 2, 0)) / count
    first = 0.5 if group.continuous else (len(group.operations) // 2) / group.order
    variance = jnp.broadcast_to(first * both, y.shape)
    return Pair(seen, held_out, variance, valid, first)


@eqx.filter_jit
def _half_means(y: Array, blend: Blend, group: Group) -> tuple[Array, Array, Array]:
    if group.continuous:
        rows, columns = positions(y.shape, blend.centre, y.dtype)
        turn = jnp.arctan2(rows, columns) / (2 * np.pi) + 0.5
        even = jnp.floor(turn * SECTORS) % 2 == 0
        steady = blend.mask & ~blend.broken
        masks = (steady & even, steady & ~even)
        halves = [orbit_mean(y, group, blend.centre, mask) for mask in masks]
    else:
        half = len(group.operations) // 2
        parts = (group.operations[:half], group.operations[half:])
        halves = [
            orbit_mean(y, Group(group.name, part), blend.centre, blend.mask)
            for part in parts
        ]
    valid = halves[0].mask & halves[1].mask
    return halves[0].mean, halves[1].mean, valid
