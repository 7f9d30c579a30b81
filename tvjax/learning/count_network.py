"""A network for counts, from counts and their exposure to a rate.

    rate = m exp(w t + (1 − w) b),   t = log((c + ½) / (n m + ½)),
    w = 1 / (1 + exp(−a) / (n m + ½))

c are counts, n their exposure, m the local mean rate; a U-net computes a and b. Where
there are many counts, w is near one and the rate near c/n, unless the network has
learned better. The U-net sees of each pixel

- the counts beyond the local mean in units of their noise, (c − n m)/√(n m + 1), in
  which even single counts add up, compressed for the brightest spots;
- t, for these;
- the exposure, relative to the greatest one;
- the mean counts, log(m max n), so that it can tell much noise from little.

All of these stay the same if the exposure is given in another unit, so that the rate is
in counts per that unit, whatever it is: rate(c, k n) = rate(c, n) / k.
"""

import os
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Float, Key

from tvjax.networks.layers import sum_quads
from tvjax.networks.unet import BLOCKS, UNet, WIDTHS
from tvjax.networks.weights_file import read_weights, write_weights

FORMAT = "tvjax counts 1"
"""What the header of a file of weights names as its format."""

# The rate of the four times larger block counts like this many counts of a block.
PRIOR = 8.0

# The greatest |b|: e⁸ is more than any contrast within the reach of a block of 4 × 4.
RANGE = 8.0


class CountNetwork(eqx.Module):
    """Counts and exposure to a positive rate; see the module.

    A pixel without exposure is unknown, and nothing of what it holds is used; its rate
    follows from those around it. Works for images of any size.
    """

    unet: UNet

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        *,
        key: Key[Array, ""],
    ) -> None:
        """Draw random weights, for a training; `load_counts` has trained ones.

        Args:
            widths: Features at each resolution, from fine to coarse.
            blocks: Blocks at each resolution, on the way down and again on the way up.
            key: Key of the random weights.

        Raises:
            ValueError: The sizes fit no network.
        """
        self.unet = UNet(len(Features._fields), 2, widths, blocks, key=key)

    def __call__(
        self,
        counts: Float[Array, "height width"],
        exposure: Float[Array, "height width"],
    ) -> Float[Array, "height width"]:
        """The rate, in counts per unit of exposure; differentiable in the weights.

        Args:
            counts: Counts, summed over exposures; negative ones are taken for zero.
            exposure: Number of exposures that were summed in each pixel, 0 where it is
                invalid: the rate times the exposure is the expected counts.

        Raises:
            ValueError: `counts` and `exposure` are not two images of one shape.
        """
        if counts.ndim != 2 or 0 in counts.shape or counts.shape != exposure.shape:
            raise ValueError(
                "`counts` and `exposure` must be one image (height, width) each, got "
                f"shapes {counts.shape} and {exposure.shape}; use jax.vmap for several."
            )
        return _predict(self, counts, exposure)


class Features(NamedTuple):
    """What the network sees of each pixel; see the module."""

    excess: Float[Array, "height width"]
    ratio: Float[Array, "height width"]
    exposure: Float[Array, "height width"]
    level: Float[Array, "height width"]


def local_rate(
    counts: Float[Array, "height width"], exposure: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """Mean rate around each pixel, over more pixels where there are fewer counts.

    From the whole image down to blocks of 4 × 4 pixels, the rate of a block is
    (C + 8) / (N + 8/m): the mean of the posterior, if the four times larger block, of
    rate m, says as much as 8 counts.
    """
    blocks = [sum_quads(sum_quads(image)) for image in (counts, exposure)]
    return _enlarge(_enlarge(_block_rate(*blocks)))[
        : counts.shape[0], : counts.shape[1]
    ]


def load_counts(path: str | os.PathLike[str] | None = None) -> CountNetwork:
    """Return a trained network from its file of weights, which is data and no code.

    Args:
        path: File that `save_counts` wrote; by default the weights that come with the
            package, trained on patterns drawn at random.

    Raises:
        ValueError: The file has another format or version, or it is damaged.
    """
    if path is None:
        shipped = resources.files("tvjax.learning") / "counts.safetensors"
        with resources.as_file(shipped) as file:
            return load_counts(file)
    contents = read_weights(path, version=FORMAT)
    sizes = contents.sizes
    return contents.fill(
        lambda: CountNetwork(sizes["widths"], sizes["blocks"], key=jax.random.key(0))
    )


def save_counts(
    network: CountNetwork, path: str | os.PathLike[str], **facts: str
) -> None:
    """Write weights in half precision, for `load_counts`.

    Args:
        network: A network to keep.
        path: Name of a safetensors file.
        facts: Where the weights come from, for the header of the file.
    """
    sizes = network.unet.sizes
    write_weights(path, network, version=FORMAT, sizes=sizes, facts=facts)


@eqx.filter_jit
def _predict(
    network: CountNetwork,
    counts: Float[Array, "height width"],
    exposure: Float[Array, "height width"],
) -> Float[Array, "height width"]:
    """The rate, computed in the precision of the counts."""
    network = jax.tree.map(lambda leaf: leaf.astype(counts.dtype), network)
    height, width = counts.shape
    # The value of an invalid pixel, which may be NaN, must not enter.
    counts = jnp.where(exposure > 0, jnp.maximum(counts, 0), 0)
    # Pixels outside the image have no exposure, as if masked.
    outside = [(0, -n % network.unet.multiple) for n in counts.shape]
    counts, exposure = jnp.pad(counts, outside), jnp.pad(exposure, outside)
    mean = local_rate(counts, exposure)
    features = _make_features(counts, exposure, mean)
    gate, change = jnp.moveaxis(network.unet(jnp.stack(features, axis=-1)), -1, 0)
    own = jax.nn.sigmoid(gate + jnp.log(exposure * mean + 0.5))
    blend = own * features.ratio + (1 - own) * RANGE * jnp.tanh(change / RANGE)
    rate = mean * jnp.exp(blend)
    return rate[:height, :width]


def _make_features(
    counts: Float[Array, "height width"],
    exposure: Float[Array, "height width"],
    mean: Float[Array, "height width"],
) -> Features:
    """What the network sees of each pixel."""
    expected = exposure * mean
    excess = (counts - expected) / jnp.sqrt(expected + 1)
    greatest = jnp.max(exposure)
    full = jnp.where(greatest > 0, greatest, 1)
    return Features(
        excess=3 * jnp.arcsinh(excess / 3),
        ratio=jnp.log((counts + 0.5) / (expected + 0.5)),
        exposure=exposure / full,
        level=jnp.log(mean * full + 0.01) / 2,
    )


def _block_rate(
    counts: Float[Array, "height width"], exposure: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """The rate of each block, drawn towards that of the larger blocks around it."""
    if counts.size == 1:
        return (counts + 0.5) / jnp.where(exposure > 0, exposure, 1)
    around = _enlarge(_block_rate(sum_quads(counts), sum_quads(exposure)))
    around = around[: counts.shape[0], : counts.shape[1]]
    return (counts + PRIOR) / (exposure + PRIOR / around)


def _enlarge(y: Float[Array, "height width"]) -> Float[Array, "2*height 2*width"]:
    """Twice the pixels along each axis, interpolated linearly."""
    for axis in range(2):
        padded = jnp.pad(y, [(1, 1) if a == axis else (0, 0) for a in range(2)], "edge")
        before, after = (
            jax.lax.slice_in_dim(padded, start, start + y.shape[axis], axis=axis)
            for start in (0, 2)
        )
        pairs = jnp.stack([0.75 * y + 0.25 * before, 0.75 * y + 0.25 * after], axis + 1)
        shape = list(y.shape)
        shape[axis] *= 2
        y = pairs.reshape(shape)
    return y
