"""The network in the middle: features of an image to features of the same image."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Float, Key

from tvjax.networks.layers import convolve, draw_kernels, fold, unfold

WIDTHS = (32, 48, 64, 96)
BLOCKS = (1, 1, 1, 2)


class Layer(NamedTuple):
    """A convolution and an offset."""

    kernels: Float[Array, "size size inputs outputs"]
    offset: Float[Array, " outputs"]

    def __call__(self, features: Float[Array, "image height width inputs"]) -> Array:
        """What the kernels make of the features, plus the offset."""
        return convolve(features, self.kernels) + self.offset


class Block(NamedTuple):
    """f + outer * max(inner * f, 0)."""

    inner: Layer
    outer: Layer

    def __call__(self, features: Float[Array, "image height width feature"]) -> Array:
        """The features, and what two layers have to add."""
        return features + self.outer(jax.nn.relu(self.inner(features)))


class UNet(eqx.Module):
    """Residual blocks at several resolutions, on blocks of 2 × 2 pixels.

    Two features for one at half the resolution would be the rule (Ronneberger et al.
    2015, 10.1007/978-3-319-24574-4_28); fewer at the finest are far cheaper, and more
    resolutions see farther.
    """

    head: Layer
    encoder: tuple[tuple[Block, ...], ...]  # from fine to coarse
    down: tuple[Layer, ...]
    up: tuple[Layer, ...]
    decoder: tuple[tuple[Block, ...], ...]  # from fine to coarse
    tail: Layer

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        *,
        key: Key[Array, ""],
    ):
        """Draw random weights.

        Args:
            inputs: Features of a pixel.
            outputs: Of a pixel.
            widths: Features at each resolution, from fine to coarse.
            blocks: At each resolution, on the way down and again on the way up.
            key: Of the weights.

        Raises:
            ValueError: Sizes that fit no network.
        """
        if not (len(widths) == len(blocks) > 0 and min(*widths, *blocks, 1) > 0):
            raise ValueError(
                "`widths` and `blocks` must be positive and one a level, got "
                f"{tuple(widths)} and {tuple(blocks)}."
            )
        keys = iter(jax.random.split(key, 4 * sum(blocks) + 2 * len(widths)))
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.head = _layer(keys, 3, 4 * inputs, widths[0], 1.0)
        self.encoder = tuple(
            _stage(keys, *level) for level in zip(widths, blocks, strict=True)
        )
        self.down = tuple(_layer(keys, 1, 4 * fine, deep, 0.7) for fine, deep in steps)
        self.up = tuple(_layer(keys, 1, deep, 4 * fine, 0.7) for fine, deep in steps)
        self.decoder = tuple(
            _stage(keys, *level) for level in zip(widths[:-1], blocks[:-1], strict=True)
        )
        self.tail = _layer(keys, 3, widths[0], 4 * outputs, 0.1)

    @property
    def sizes(self) -> dict[str, list[int]]:
        """From which a network of these shapes is built again."""
        return {
            "widths": [blocks[0].inner.kernels.shape[-1] for blocks in self.encoder],
            "blocks": [len(blocks) for blocks in self.encoder],
        }

    @property
    def multiple(self) -> int:
        """What height and width of the features must be a multiple of."""
        return 2 ** len(self.encoder)

    def __call__(self, features: Float[Array, "height width inputs"]) -> Array:
        """As many outputs a pixel as the network was built with.

        Args:
            features: Of one image, whose sides are multiples of `multiple`.
        """
        features, skipped = self.head(fold(features[None])), []
        for level, blocks in enumerate(self.encoder):
            if level > 0:
                skipped.append(features)
                features = self.down[level - 1](fold(features))
            for block in blocks:
                features = block(features)
        for level in reversed(range(len(self.decoder))):
            features = unfold(self.up[level](features)) + skipped[level]
            for block in self.decoder[level]:
                features = block(features)
        return unfold(self.tail(jax.nn.relu(features)))[0]


def _layer(
    keys: Iterator[Key[Array, ""]], size: int, inputs: int, outputs: int, gain: float
) -> Layer:
    kernels = draw_kernels(next(keys), (size, size, inputs, outputs), gain)
    return Layer(kernels, jnp.zeros(outputs, jnp.float32))


def _stage(keys: Iterator[Key[Array, ""]], width: int, num: int) -> tuple[Block, ...]:
    # Small outer kernels: a block begins as next to nothing.
    return tuple(
        Block(
            _layer(keys, 3, width, width, 1.0),
            _layer(keys, 3, width, width, 0.2),
        )
        for _ in range(num)
    )
