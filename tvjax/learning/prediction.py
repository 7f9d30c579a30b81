"""The rate of a pattern, by all counts that its symmetry allows to add up."""

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.learning.count_network import CountNetwork
from tvjax.learning.pairs import sum_orbits, Summed
from tvjax.symmetry import orbit_mean


def predict(
    network: CountNetwork,
    y: Float[ArrayLike, "height width"],
    group: str,
    centre: tuple[float, float],
    mask: Bool[ArrayLike, "height width"] | None = None,
    *,
    average: bool = False,
) -> Float[Array, "height width"]:
    """Denoise one frame of counts: expected counts in each pixel, masked ones too.

    The network sees the sum over each pixel's orbit, the own counts among them, which
    for Poisson counts is all that the frame has to say about a symmetric pattern. The
    answer is scaled to keep the total of the valid counts.

    Args:
        network: Trained, on this series or on others.
        y: Counts.
        group: A name that `tvjax.symmetry.find_group` knows.
        centre: Of the beam, (y, x) in pixels; the first pixel's centre is 0.
        mask: True where a pixel is valid: from the detector, never from the counts.
        average: The mean over four rotations and their mirror images of what the
            network sees, and over each orbit: eight times the work.

    Raises:
        ValueError: Not one image, or a mask of another shape.
    """
    counts = jnp.asarray(y)
    if counts.ndim != 2 or 0 in counts.shape:
        raise ValueError(
            f"`y` must be one image (height, width), got shape {counts.shape}."
        )
    valid = jnp.ones(counts.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if valid.shape != counts.shape:
        raise ValueError(
            f"`mask` must have the shape of the image, {counts.shape}, "
            f"got {valid.shape}."
        )
    if not jnp.issubdtype(counts.dtype, jnp.floating):
        counts = counts.astype(jnp.float32)
    where = (float(centre[0]), float(centre[1]))
    summed = sum_orbits(jnp.where(valid, counts, 0), group, where, valid)
    rate = network(*summed)
    if average:
        rate = orbit_mean(_average(network, summed), group, where).mean
    return _keep_total(rate, counts, valid)


def _average(network: CountNetwork, summed: Summed) -> Float[Array, "height width"]:
    """The mean answer to the eight ways to lay down a square."""
    total = jnp.zeros_like(summed.counts)
    for flips in range(2):
        for turns in range(4):
            rate = network(*(_lay(image, flips, turns) for image in summed))
            total += _lay(jnp.rot90(rate, -turns), flips, 0)
    return total / 8


def _lay(y: Float[Array, "height width"], flips: int, turns: int) -> Array:
    """Mirrored, then turned."""
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
