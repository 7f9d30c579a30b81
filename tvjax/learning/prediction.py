"""The rate of a pattern, from all counts that its symmetry allows to add up."""

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.arguments import as_image, as_mask
from tvjax.learning.count_network import CountNetwork
from tvjax.learning.pairs import sum_orbits, Summed
from tvjax.symmetry import Group, orbit_mean
from tvjax.symmetry.groups import as_group


def predict(
    network: CountNetwork,
    y: Num[ArrayLike, "height width"],
    *,
    group: Group | str,
    centre: tuple[float, float],
    mask: Bool[ArrayLike, "height width"] | None = None,
    average: bool = False,
) -> Float[Array, "height width"]:
    """Denoise one frame of counts with a network.

        x = λ Σ y / Σ λ,   λ = network(counts and members of each pixel's orbit)

    The network sees the sum over each pixel's orbit, the own counts among them, which
    for Poisson counts is all that the frame tells about a symmetric pattern. The answer
    is scaled to keep the total of the valid counts.

    Args:
        network: A network that was trained on this series or on others.
        y: Counts (height, width).
        group: A group from `tvjax.symmetry.find_group`, or its name.
        centre: Beam centre (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        average: Whether to average over four rotations and their mirror images of what
            the network sees, and over each orbit: eight times the work.

    Returns:
        Expected counts in each pixel, masked ones too.

    Raises:
        ValueError: `y` is not one image, the mask has another shape or no valid pixel,
            or the group is unknown.
    """
    counts = as_image(y, remedy="take one frame after the other")
    valid = as_mask(mask, counts.shape)
    if valid is None:
        valid = jnp.ones(counts.shape, bool)
    group, (row, column) = as_group(group), map(float, centre)
    summed = sum_orbits(jnp.where(valid, counts, 0), group, (row, column), valid)
    if average:
        rate = orbit_mean(
            _average(network, summed), group=group, centre=(row, column)
        ).mean
    else:
        rate = network(*summed)
    return _keep_total(rate, counts, valid)


def _average(network: CountNetwork, summed: Summed) -> Float[Array, "height width"]:
    """The mean answer over four rotations and their mirror images."""
    total = jnp.zeros_like(summed.counts)
    for flips in range(2):
        for turns in range(4):
            rate = network(*(_turn(image, flips, turns) for image in summed))
            total += _turn(jnp.rot90(rate, -turns), flips, 0)
    return total / 8


def _turn(
    y: Float[Array, "height width"], flips: int, turns: int
) -> Float[Array, "rows columns"]:
    """The image mirrored, then turned by right angles."""
    return jnp.rot90(y[::-1] if flips else y, turns)


@eqx.filter_jit
def _keep_total(
    rate: Float[Array, "height width"],
    counts: Float[Array, "height width"],
    valid: Bool[Array, "height width"],
) -> Float[Array, "height width"]:
    """The rate times its most likely factor."""
    total, expected = (jnp.sum(jnp.where(valid, y, 0)) for y in (counts, rate))
    return rate * total / jnp.where(expected > 0, expected, 1)
