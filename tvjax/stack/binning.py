"""How are pixels gathered before it is asked what is common to them?

Singular vectors of a stack are those of Σ_i y_i y_iᵀ over its pixels, all alike. Where
there is little of the sample, a pixel has much noise and little to tell; and where a
state extends over many pixels, their sum tells what each alone does not. With weights
a_i and sums over squares of pixels it is

    YᵀQY = Σ_B z_B z_Bᵀ,   z_B = Σ_{i in B} a_i y_i / side
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Gathering(NamedTuple):
    """Weights and squares, Q = GᵀG with z = Gy."""

    side: int
    weight: Float[np.ndarray, "height width"] | None = None  # a; one by default

    def gather(
        self, images: Float[np.ndarray, "image height width"]
    ) -> Float[np.ndarray, "image block"]:
        """G of each image; squares that the border cuts are completed with zeros."""
        weighted = images if self.weight is None else images * self.weight
        return squares(weighted, self.side).reshape(len(images), -1)

    def powers(
        self, variance: Float[np.ndarray, "height width"]
    ) -> Float[np.ndarray, " block"]:
        """The variance that white noise has in each square."""
        weight = 1 if self.weight is None else self.weight**2
        return squares((weight * variance)[None], self.side).ravel() / self.side

    def mean_over(
        self, images: Float[np.ndarray, "image height width"]
    ) -> Float[np.ndarray, "image height width"]:
        """Q of each image."""
        if self.side == 1:
            return images if self.weight is None else images * self.weight**2
        height, width = images.shape[1:]
        sums = squares(
            images if self.weight is None else images * self.weight, self.side
        )
        spread = np.repeat(np.repeat(sums, self.side, axis=1), self.side, axis=2)
        spread = spread[:, :height, :width] / self.side
        return spread if self.weight is None else spread * self.weight


def squares(
    images: Float[np.ndarray, "image height width"], side: int
) -> Float[np.ndarray, "image y/side x/side"]:
    """Sums over squares of pixels, over their side: white noise stays as it is."""
    if side == 1:
        return images
    height, width = images.shape[1:]
    missing = -height % side, -width % side
    if any(missing):
        images = np.pad(images, [(0, 0), (0, missing[0]), (0, missing[1])])
    # rows first: they lie in memory as they are
    rows = images.reshape(len(images), -1, side, images.shape[2]).sum(axis=2)
    return sum(rows[:, :, j::side] for j in range(side)) / side
