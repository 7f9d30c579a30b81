"""The U-net: its way down and up, and a plain network of that shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jaxtyping import Float, Key

from tvjax.networks.layers import convolve, draw_kernels, fold, unfold

# Features at each resolution of the plain network, from fine to coarse.
WIDTHS = (32, 48, 64, 96)

# Residual blocks at each of these resolutions.
BLOCKS = (1, 1, 1, 2)

# Features are an array (image, height, width, feature), or a tuple of such arrays.
FeatureTree = TypeVar("FeatureTree")
LayerType = TypeVar("LayerType", bound=Callable[..., Any])
BlockType = TypeVar("BlockType", bound=Callable[..., Any])


@dataclass(frozen=True)
class Levels(Generic[LayerType, BlockType]):
    """The blocks of a U-net at each resolution, and the layers between these."""

    encoder: tuple[tuple[BlockType, ...], ...]  # from fine to coarse
    down: tuple[LayerType, ...]
    up: tuple[LayerType, ...]
    decoder: tuple[tuple[BlockType, ...], ...]  # from fine to coarse


def draw_levels(
    widths: Sequence[int],
    blocks: Sequence[int],
    draw_layer: Callable[[int, int, int, float], LayerType],
    make_block: Callable[[LayerType, LayerType], BlockType],
) -> Levels[LayerType, BlockType]:
    """Draw the random weights of a U-net between its first and its last layer.

    Args:
        widths: Features at each resolution, from fine to coarse.
        blocks: Blocks at each resolution, on the way down and again on the way up.
        draw_layer: Draws a layer of a kernel's size, its inputs, its outputs and the
            gain of its weights.
        make_block: Makes a residual block of its inner and its outer layer.
    """

    def draw_blocks(width: int, num: int) -> tuple[BlockType, ...]:
        # With small outer weights, a block changes next to nothing at the beginning.
        return tuple(
            make_block(
                draw_layer(3, width, width, 1.0), draw_layer(3, width, width, 0.2)
            )
            for _ in range(num)
        )

    steps = list(zip(widths[:-1], widths[1:], strict=True))
    # The random numbers are drawn in this order.
    return Levels(
        encoder=tuple(map(draw_blocks, widths, blocks)),
        down=tuple(draw_layer(1, 4 * fine, coarse, 0.7) for fine, coarse in steps),
        up=tuple(draw_layer(1, coarse, 4 * fine, 0.7) for fine, coarse in steps),
        decoder=tuple(map(draw_blocks, widths[:-1], blocks[:-1])),
    )


def run_levels(
    levels: Levels[LayerType, BlockType], features: FeatureTree
) -> FeatureTree:
    """Take features down to the coarsest resolution and up again.

    Between two resolutions the features are folded or unfolded, and mixed by a layer.
    What the way down had at a resolution is added on the way up.
    """
    skipped = []
    for level, blocks in enumerate(levels.encoder):
        if level > 0:
            skipped.append(features)
            features = levels.down[level - 1](jax.tree.map(fold, features))
        for block in blocks:
            features = block(features)
    for level in reversed(range(len(levels.decoder))):
        finer = jax.tree.map(unfold, levels.up[level](features))
        features = jax.tree.map(jnp.add, finer, skipped[level])
        for block in levels.decoder[level]:
            features = block(features)
    return features


def check_sizes(widths: Sequence[int], blocks: Sequence[int]) -> None:
    """Refuse sizes that fit no U-net.

    Raises:
        ValueError: There is no resolution, not one number of blocks for each, or a
            number that is not positive.
    """
    if not (len(widths) == len(blocks) > 0 and min(*widths, *blocks, 1) > 0):
        raise ValueError(
            "`widths` and `blocks` must be positive and one a level, got "
            f"{tuple(widths)} and {tuple(blocks)}."
        )


def find_sizes(encoder: Sequence[Sequence[BlockType]]) -> dict[str, list[int]]:
    """The `widths` and `blocks` that a U-net was built with.

    The last axis of every array of a block has as many items as there are features.
    """
    return {
        "widths": [jax.tree.leaves(blocks[0])[0].shape[-1] for blocks in encoder],
        "blocks": [len(blocks) for blocks in encoder],
    }


class Layer(NamedTuple):
    """A convolution and an offset."""

    kernels: Float[Array, "size size inputs outputs"]
    offset: Float[Array, " outputs"]

    def __call__(
        self, features: Float[Array, "image height width inputs"]
    ) -> Float[Array, "image height width outputs"]:
        """The convolved features plus the offset."""
        return convolve(features, self.kernels) + self.offset


class ResidualBlock(NamedTuple):
    """f + outer(max(inner(f), 0))."""

    inner: Layer
    outer: Layer

    def __call__(
        self, features: Float[Array, "image height width feature"]
    ) -> Float[Array, "image height width feature"]:
        """The features plus a change that two layers compute."""
        return features + self.outer(jax.nn.relu(self.inner(features)))


class UNet(eqx.Module):
    """Residual blocks at several resolutions, on blocks of 2 × 2 pixels.

    Twice the features at half the resolution would be usual (Ronneberger et al. 2015,
    10.1007/978-3-319-24574-4_28). Fewer at the finest resolution are far cheaper, and
    more resolutions see farther.
    """

    head: Layer
    encoder: tuple[tuple[ResidualBlock, ...], ...]  # from fine to coarse
    down: tuple[Layer, ...]
    up: tuple[Layer, ...]
    decoder: tuple[tuple[ResidualBlock, ...], ...]  # from fine to coarse
    tail: Layer

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        *,
        key: Key[Array, ""],
    ) -> None:
        """Draw random weights.

        Args:
            inputs: Number of features that each pixel comes with.
            outputs: Number of features that the network computes for each pixel.
            widths: Features at each resolution, from fine to coarse.
            blocks: Blocks at each resolution, on the way down and again on the way up.
            key: Key of the random weights.

        Raises:
            ValueError: The sizes fit no network.
        """
        check_sizes(widths, blocks)
        keys = iter(jax.random.split(key, 4 * sum(blocks) + 2 * len(widths)))

        def draw_layer(size: int, inputs: int, outputs: int, gain: float) -> Layer:
            kernels = draw_kernels(next(keys), (size, size, inputs, outputs), gain)
            return Layer(kernels, jnp.zeros(outputs, jnp.float32))

        self.head = draw_layer(3, 4 * inputs, widths[0], 1.0)
        levels = draw_levels(widths, blocks, draw_layer, ResidualBlock)
        self.encoder, self.down = levels.encoder, levels.down
        self.up, self.decoder = levels.up, levels.decoder
        self.tail = draw_layer(3, widths[0], 4 * outputs, 0.1)

    @property
    def sizes(self) -> dict[str, list[int]]:
        """The `widths` and `blocks` that build a network of these shapes again."""
        return find_sizes(self.encoder)

    @property
    def multiple(self) -> int:
        """Number of pixels that height and width must be a multiple of."""
        return 2 ** len(self.encoder)

    def __call__(
        self, features: Float[Array, "height width inputs"]
    ) -> Float[Array, "height width outputs"]:
        """Compute the outputs of each pixel of one image.

        Args:
            features: Inputs of each pixel, with sides that are multiples of `multiple`.
        """
        levels = Levels(self.encoder, self.down, self.up, self.decoder)
        hidden = run_levels(levels, self.head(fold(features[None])))
        return unfold(self.tail(jax.nn.relu(hidden)))[0]
