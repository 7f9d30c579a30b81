"""A convolutional network that was trained to denoise, and knows no noise level.

    D(y) = y − N(y),   D(c y + b) = c D(y) + b   for every c of either sign and every b

holds exactly, whatever the weights: nothing is added anywhere (Mohan et al. 2020, arXiv
1906.05478), the first kernels sum to zero, and features come in two branches, s that
keep and d that change their sign with the image's. Weights mix within a branch, the
nonlinearity mixes the branches:

    d ← sign(d) (|d| + t),   s ← |d|,   t = s limited to −|d| … |d|.

For s < 0 this is the soft threshold of d at |s|, as in a wavelet's shrinkage; for s > 0
it amplifies, twofold at most. The network is a U-net on blocks of 2 × 2 pixels, trained
by `experiments/train_network.py`.
"""

import os
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple, Self

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Key

from tvjax.denoisers.protocol import AbstractDenoiser
from tvjax.networks.layers import convolve, draw_kernels, fold, sum_quads, unfold
from tvjax.networks.weights_file import read_weights, write_weights

FORMAT = "tvjax network 1"
"""What a file of weights says it is."""

WIDTHS = (24, 48, 72)
BLOCKS = (1, 1, 2)

# Pixels of the mirrored image around it, that the first kernels see.
MARGIN = 2


class Branches(NamedTuple):
    """Features, or the weights for them."""

    even: Float[Array, "..."]  # unchanged by a change of the image's sign
    odd: Float[Array, "..."]  # changes its sign with the image

    def convolved(self, kernels: Self) -> "Branches":
        """Each branch with its own kernels."""
        return Branches(*map(convolve, self, kernels))

    def plus(self, other: Self) -> "Branches":
        """The sum, branch by branch."""
        return Branches(self.even + other.even, self.odd + other.odd)

    def gated(self) -> "Branches":
        """The nonlinearity, which keeps the parity of both and has no cancellation."""
        size = jnp.abs(self.odd)
        gated = size + jnp.clip(self.even, -size, size)
        return Branches(gated, jnp.sign(self.odd) * gated)


class Block(NamedTuple):
    """f + outer * gated(inner * f)."""

    inner: Branches
    outer: Branches

    def __call__(self, features: Branches) -> Branches:
        """The features, and what two layers have to add."""
        hidden = features.convolved(self.inner).gated()
        return features.plus(hidden.convolved(self.outer))


class Network(AbstractDenoiser):
    """y − N(y), the residual N of a bias-free U-net; see the module.

    Every weight is a parameter, to be tuned further if there is a risk to tune by.
    """

    head: Float[Array, "3 3 4 width"]
    encoder: tuple[tuple[Block, ...], ...]  # from fine to coarse
    down: tuple[Branches, ...]
    up: tuple[Branches, ...]
    decoder: tuple[tuple[Block, ...], ...]  # from fine to coarse
    tail: Float[Array, "3 3 width 4"]
    mask: Bool[Array, "height width"] | None

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        *,
        key: Key[Array, ""],
        mask: Bool[ArrayLike, "height width"] | None = None,
    ):
        """Draw random weights, for a training; `load_network` has trained ones.

        Args:
            widths: Features of each branch, at each level from fine to coarse.
            blocks: Blocks at each level, on the way down and again on the way up.
            key: Of the weights.
            mask: True where a pixel is valid.
        """
        if not (len(widths) == len(blocks) > 0 and min(*widths, *blocks, 1) > 0):
            raise ValueError(
                "`widths` and `blocks` must be positive and one a level, got "
                f"{tuple(widths)} and {tuple(blocks)}."
            )
        keys = iter(jax.random.split(key, 4 * (sum(blocks) * 2 + len(widths))))
        steps = list(zip(widths[:-1], widths[1:], strict=True))

        def pair(size: int, inputs: int, outputs: int, gain: float) -> Branches:
            shape = (size, size, inputs, outputs)
            return Branches(*(draw_kernels(next(keys), shape, gain) for _ in range(2)))

        def stage(width: int, num: int) -> tuple[Block, ...]:
            # Small outer kernels: a block begins as next to nothing.
            return tuple(
                Block(pair(3, width, width, 1.0), pair(3, width, width, 0.2))
                for _ in range(num)
            )

        self.head = draw_kernels(next(keys), (3, 3, 4, widths[0]), 1.0)
        self.encoder = tuple(map(stage, widths, blocks))
        self.down = tuple(pair(1, 4 * fine, coarse, 0.7) for fine, coarse in steps)
        self.up = tuple(pair(1, coarse, 4 * fine, 0.7) for fine, coarse in steps)
        self.decoder = tuple(map(stage, widths[:-1], blocks[:-1]))
        self.tail = draw_kernels(next(keys), (3, 3, widths[0], 4), 0.1)
        self.mask = None if mask is None else jnp.asarray(mask, dtype=bool)

    def __call__(self, y: Float[Array, "height width"]) -> Array:
        """The image; differentiable in `y` and in the weights.

        Invalid pixels come back as they are; the network sees their surroundings'
        mean in their place.

        Raises:
            ValueError: `y` is not a picture, or not of the mask's shape.
        """
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
        return _denoise(self, y)


def load_network(
    path: str | os.PathLike[str] | None = None,
    *,
    mask: Bool[ArrayLike, "height width"] | None = None,
) -> Network:
    """Return a trained network from its file of weights, which is data and no code.

    Args:
        path: As written by `save_network`; by default the weights that come with the
            package, trained for white noise, of whatever level, on photographs and
            drawings.
        mask: True where a pixel is valid.

    Raises:
        ValueError: The file is no such file, is of another version or damaged.
    """
    if path is None:
        shipped = resources.files("tvjax.denoisers") / "network.safetensors"
        with resources.as_file(shipped) as file:
            return load_network(file, mask=mask)
    contents = read_weights(path, version=FORMAT)
    network = contents.fill(lambda: Network(**contents.sizes, key=jax.random.key(0)))
    valid = None if mask is None else jnp.asarray(mask, dtype=bool)
    return eqx.tree_at(
        lambda n: n.mask, network, valid, is_leaf=lambda leaf: leaf is None
    )


def save_network(network: Network, path: str | os.PathLike[str], **facts: str) -> None:
    """Write weights in half precision, all but the mask, for `load_network`.

    Args:
        network: Trained.
        path: A safetensors file.
        facts: Where the weights come from, for the header.
    """
    sizes = {
        "widths": [blocks[0].inner.odd.shape[-1] for blocks in network.encoder],
        "blocks": [len(blocks) for blocks in network.encoder],
    }
    weights = eqx.tree_at(lambda n: n.mask, network, None)
    write_weights(path, weights, version=FORMAT, sizes=sizes, **facts)


def fill(
    y: Float[Array, "height width"], mask: Bool[Array, "height width"]
) -> Float[Array, "height width"]:
    """The image with a local mean in place of each invalid pixel.

    That of the smallest square around it, of sides 2, 4, 8, ... from the corner of the
    image, that has a valid pixel; zero if there is none at all.
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
    network: Network, y: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """y − N(y), with holes that are filled first and opened again."""
    if network.mask is None:
        return y - _residual(network, y)
    filled = fill(y, network.mask)
    return jnp.where(network.mask, filled - _residual(network, filled), y)


def _residual(
    network: Network, y: Float[Array, "height width"]
) -> Float[Array, "height width"]:
    """N(y), computed in the precision of `y`."""
    weights = eqx.filter(network, eqx.is_inexact_array)
    network = jax.tree.map(lambda leaf: leaf.astype(y.dtype), weights)
    height, width = y.shape
    multiple = 2 ** len(network.encoder)
    margins = [(MARGIN, MARGIN + -n % multiple) for n in y.shape]
    padded = jnp.pad(y, margins, mode="symmetric")[None, :, :, None]
    head = network.head - jnp.mean(network.head, axis=(0, 1, 2))
    first = convolve(fold(padded), head, "VALID")
    features, skipped = Branches(jnp.abs(first), first), []
    for level, blocks in enumerate(network.encoder):
        if level > 0:
            skipped.append(features)
            folded = Branches(*map(fold, features))
            features = folded.convolved(network.down[level - 1])
        for block in blocks:
            features = block(features)
    for level in reversed(range(len(network.decoder))):
        coarse = features.convolved(network.up[level])
        features = Branches(*map(unfold, coarse)).plus(skipped[level])
        for block in network.decoder[level]:
            features = block(features)
    noise = unfold(convolve(features.gated().odd, network.tail))
    return noise[0, :height, :width, 0]
