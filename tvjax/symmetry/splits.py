"""Two independent measurements of one scene, made of a symmetric pattern.

One is denoised, the other judges (`tvjax.tuning.strength.choose_alpha_between`). Either
the data are split before they are averaged, which needs their noise; or the members of
the orbits are, half of them against the other, which needs nothing but that the noise
of the two be independent: it may be correlated between neighbors, and unknown.
"""

import equinox as eqx
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float

from tvjax.noise import Noise
from tvjax.risk.splitting import Split
from tvjax.symmetry.average import Average
from tvjax.symmetry.groups import Group
from tvjax.symmetry.orbits import mean_over_orbits
from tvjax.symmetry.transforms import offsets_from

# Number of sectors that rings are cut into, whose every other one is one half: many
# enough that a texture of the rings is in both, each wide enough for its pixels.
SECTORS = 16


def average_split(split: Split, average: Average, noise: Noise) -> Split:
    """Average both parts of the data, as `tvjax.risk.splitting.deal` makes them."""
    seen, held_out = average(split.seen), average(split.held_out)
    # unbiased at each pixel, and never that of the part that is seen
    variance = held_out.factor * noise.variance(held_out.image) / (1 - split.fraction)
    return Split(seen.image, held_out.image, variance, seen.mask, split.fraction)


def split_orbits(y: Float[Array, "height width"], average: Average) -> Split:
    """Split the members of each orbit in two halves, and average each.

    Broken orbits judge nothing.
    """
    group = average.group
    seen, held_out, valid = _half_means(y / average.shading, average, group)
    seen, held_out = (average.shading * mean for mean in (seen, held_out))
    valid &= average.share > 0
    # the squared difference of the halves is the sum of their variances, if they differ
    # by noise alone
    count = jnp.maximum(jnp.sum(valid), 1)
    both = jnp.sum(jnp.where(valid, (seen - held_out) ** 2, 0)) / count
    first = 0.5 if group.continuous else (len(group.operations) // 2) / group.order
    variance = jnp.broadcast_to(first * both, y.shape)
    return Split(seen, held_out, variance, valid, first)


@eqx.filter_jit
def _half_means(
    y: Float[Array, "height width"], average: Average, group: Group
) -> tuple[
    Float[Array, "height width"],
    Float[Array, "height width"],
    Bool[Array, "height width"],
]:
    """The mean over each half of the members, and where both have one."""
    centre = average.centre
    if group.continuous:
        rows, columns = offsets_from(centre, y.shape, y.dtype)
        turn = jnp.arctan2(rows, columns) / (2 * np.pi) + 0.5
        even = jnp.floor(turn * SECTORS) % 2 == 0
        steady = average.mask & ~average.broken
        masks = (steady & even, steady & ~even)
        halves = [mean_over_orbits(y, group, centre, mask) for mask in masks]
    else:
        half = len(group.operations) // 2
        parts = (group.operations[:half], group.operations[half:])
        halves = [
            mean_over_orbits(y, Group(group.name, part), centre, average.mask)
            for part in parts
        ]
    valid = halves[0].mask & halves[1].mask
    return halves[0].mean, halves[1].mean, valid
