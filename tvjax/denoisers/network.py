"""A convolutional network that was trained to denoise and needs no noise level.

    D(y) = y − N(y),   D(c y + b) = c D(y) + b   for every c of either sign and every b

holds exactly, whatever the weights: no layer adds a constant (Mohan et al. 2020, arXiv
1906.05478), the first kernels sum to zero, and features come in two branches: s stays
when the image changes its sign, d changes it too. Weights mix within a branch, the
nonlinearity mixes the branches:

    d ← sign(d) (|d| + t),   s ← |d|,   t = s limited to −|d| … |d|.

For s < 0 this is the soft threshold of d at |s|, as in a wavelet's shrinkage; for s > 0
it amplifies, twofold at most. The network is a U-net on blocks of 2 × 2 pixels, trained
by `experiments/networks/train_network.py`.
"""

import os
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Key, Num, PRNGKeyArray

from tvjax.arguments import as_floating
from tvjax.denoisers.protocol import AbstractMaskedDenoiser, HeldMask, hold_mask
from tvjax.networks.layers import convolve, draw_kernels, fold, sum_quads, unfold
from tvjax.networks.unet import (
    check_sizes,
    draw_levels,
    find_sizes,
    Levels,
    run_levels,
)
from tvjax.networks.weights_file import read_weights, write_weights

FORMAT = "tvjax network 1"
"""What the header of a file of weights names as its format."""

# Features of each branch at each resolution, from fine to coarse.
WIDTHS = (24, 48, 72)

# Residual blocks at each of these resolutions.
BLOCKS = (1, 1, 2)

# The image is continued by so many mirrored pixels, which the first kernels see.
MARGIN = 2


class Branches(NamedTuple):
    """Features in two branches."""

    # Even features stay when the image changes its sign; odd ones change theirs too.
    even: Float[Array, "image height width feature"]
    odd: Float[Array, "image height width feature"]

    def gated(self) -> "Branches":
        """The nonlinearity, which keeps the parity of both and has no cancellation."""
        size = jnp.abs(self.odd)
        gated = size + jnp.clip(self.even, -size, size)
        return Branches(gated, jnp.sign(self.odd) * gated)


class BranchKernels(NamedTuple):
    """A convolution of each branch, with kernels of its own."""

    even: Float[Array, "size size inputs outputs"]
    odd: Float[Array, "size size inputs outputs"]

    def __call__(self, features: Branches) -> Branches:
        """The convolved branches."""
        return Branches(
            convolve(features.even, self.even), convolve(features.odd, self.odd)
        )


class GatedBlock(NamedTuple):
    """f + outer(gated(inner(f)))."""

    inner: BranchKernels
    outer: BranchKernels

    def __call__(self, features: Branches) -> Branches:
        """The features plus a change that two layers compute."""
        change = self.outer(self.inner(features).gated())
        return jax.tree.map(jnp.add, features, change)


class Network(AbstractMaskedDenoiser):
    """y − N(y), the residual N of a bias-free U-net; see the module.

    Every weight is a parameter, to be tuned further if there is a risk to tune by.
    """

    head: Float[Array, "3 3 4 width"]
    encoder: tuple[tuple[GatedBlock, ...], ...]  # from fine to coarse
    down: tuple[BranchKernels, ...]
    up: tuple[BranchKernels, ...]
    decoder: tuple[tuple[GatedBlock, ...], ...]  # from fine to coarse
    tail: Float[Array, "3 3 width 4"]
    held_mask: HeldMask

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        *,
        key: Key[Array, ""],
        mask: Bool[ArrayLike, "height width"] | None = None,
    ) -> None:
        """Draw random weights, for a training; `load_network` has trained ones.

        Args:
            widths: Features of each branch, at each resolution from fine to coarse.
            blocks: Blocks at each resolution, on the way down and again on the way up.
            key: Key of the random weights.
            mask: True where a pixel is valid.

        Raises:
            ValueError: The sizes fit no network.
        """
        check_sizes(widths, blocks)
        keys = iter(jax.random.split(key, 4 * (sum(blocks) * 2 + len(widths))))

        def draw_layer(
            size: int, inputs: int, outputs: int, gain: float
        ) -> BranchKernels:
            shape = (size, size, inputs, outputs)
            even, odd = (draw_kernels(next(keys), shape, gain) for _ in range(2))
            return BranchKernels(even, odd)

        self.head = draw_kernels(next(keys), (3, 3, 4, widths[0]), 1.0)
        levels = draw_levels(widths, blocks, draw_layer, GatedBlock)
        self.encoder, self.down = levels.encoder, levels.down
        self.up, self.decoder = levels.up, levels.decoder
        self.tail = draw_kernels(next(keys), (3, 3, widths[0], 4), 0.1)
        self.held_mask = hold_mask(mask)

    def __call__(
        self, y: Num[ArrayLike, "height width"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "height width"]:
        """Denoise an image; differentiable in `y` and in the weights.

        Invalid pixels come back as they are; the network sees the mean of their
        surroundings in their place.

        Args:
            y: Noisy data. Integers are converted by value.
            key: Ignored.

        Raises:
            ValueError: `y` is not an image, or not of the mask's shape.
        """
        del key
        y = as_floating(y)
        if y.ndim != 2 or 0 in y.shape:
            raise ValueError(
                f"`y` must be one image (height, width), got shape {y.shape}; "
                "use jax.vmap for several."
            )
        if self.mask is not None and y.shape != self.mask.shape:
            raise ValueError(
                f"`y` must have the shape of the mask, {self.mask.shape}, "
                f"got {y.shape}."
            )
        # the mask as an argument: another one compiles nothing
        return _denoise(self.with_mask(None), y, self.mask)


def load_network(
    path: str | os.PathLike[str] | None = None,
    *,
    mask: Bool[ArrayLike, "height width"] | None = None,
) -> Network:
    """Return a trained network from its file of weights, which is data and no code.

    Args:
        path: File that `save_network` wrote; by default the weights that come with the
            package, trained for white noise of any level on photographs and drawings.
        mask: True where a pixel is valid.

    Raises:
        ValueError: The file has another format or version, or it is damaged.
    """
    if path is None:
        shipped = resources.files("tvjax.denoisers") / "network.safetensors"
        with resources.as_file(shipped) as file:
            return load_network(file, mask=mask)
    contents = read_weights(path, version=FORMAT)
    sizes = contents.sizes
    network = contents.fill(
        lambda: Network(sizes["widths"], sizes["blocks"], key=jax.random.key(0))
    )
    return network.with_mask(mask)


def save_network(network: Network, path: str | os.PathLike[str], **facts: str) -> None:
    """Write weights in half precision, all but the mask, for `load_network`.

    Args:
        network: A network to keep.
        path: Name of a safetensors file.
        facts: Where the weights come from, for the header of the file.
    """
    sizes = find_sizes(network.encoder)
    weights = network.with_mask(None)
    write_weights(path, weights, version=FORMAT, sizes=sizes, facts=facts)


def fill(
    y: Float[Array, "height width"], mask: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """Replace each invalid pixel by a local mean.

    The mean is taken over the smallest square around the pixel, with sides 2, 4, 8, ...
    counted from the corner of the image, that has a valid pixel. It is zero if there is
    none at all.
    """
    valid = jnp.where(mask, y, 0)
    if y.size == 1:
        return valid
    height, width = y.shape
    totals, counts = sum_quads(valid), sum_quads(mask.astype(y.dtype))
    coarse = fill(totals / jnp.maximum(counts, 1), counts > 0)
    large = jnp.repeat(jnp.repeat(coarse, 2, axis=0), 2, axis=1)
    return jnp.where(mask, y, large[:height, :width])


@eqx.filter_jit
def _denoise(
    network: Network,
    y: Float[Array, "height width"],
    mask: Bool[Array, "height width"] | None,
) -> Float[Array, "height width"]:
    """The image y − N(y), with holes that are filled first and opened again."""
    if mask is None:
        return y - _residual(network, y)
    filled = fill(y, mask)
    return jnp.where(mask, filled - _residual(network, filled), y)


def _residual(
    network: Network, y: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """The noise N(y), computed in the precision of `y`."""
    weights = eqx.filter(network, eqx.is_inexact_array)
    network = jax.tree.map(lambda leaf: leaf.astype(y.dtype), weights)
    height, width = y.shape
    multiple = 2 ** len(network.encoder)
    margins = [(MARGIN, MARGIN + -n % multiple) for n in y.shape]
    padded = jnp.pad(y, margins, mode="symmetric")[None, :, :, None]
    head = network.head - jnp.mean(network.head, axis=(0, 1, 2))
    first = convolve(fold(padded), head, "VALID")
    levels = Levels(network.encoder, network.down, network.up, network.decoder)
    features = run_levels(levels, Branches(jnp.abs(first), first))
    noise = unfold(convolve(features.gated().odd, network.tail))
    return noise[0, :height, :width, 0]
