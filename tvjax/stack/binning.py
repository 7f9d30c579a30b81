"""Weighting and binning of pixels, before the spectra common to them are sought.

The singular vectors of a stack are the eigenvectors of Σ_i y_i y_iᵀ over its pixels, in
which all pixels count alike. Where there is little of the sample, a pixel has much
noise and little signal, and should count less; and where a chemical state extends over
many pixels, their sum shows what no single pixel does. With a weight a_i of each pixel
and sums over square bins B the matrix becomes

    YᵀQY = Σ_B z_B z_Bᵀ,   z_B = Σ_{i in B} a_i y_i / side
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Binning(NamedTuple):
    """Weights of the pixels and the side of the bins: Q = GᵀG with z = Gy."""

    side: int
    weight: Float[np.ndarray, "height width"] | None = None  # a; one by default

    def bin(
        self, images: Float[np.ndarray, "image height width"]
    ) -> Float[np.ndarray, "image bin"]:
        """G of each image; bins that the border cuts are completed with zeros."""
        weighted = images if self.weight is None else images * self.weight
        return square_sums(weighted, self.side).reshape(len(images), -1)

    def variances(
        self, variance: Float[np.ndarray, "height width"]
    ) -> Float[np.ndarray, " bin"]:
        """The variance in each bin of white noise of a variance in each pixel."""
        square = 1 if self.weight is None else self.weight**2
        return square_sums((square * variance)[None], self.side).ravel() / self.side

    def bin_and_spread(
        self, images: Float[np.ndarray, "image height width"]
    ) -> Float[np.ndarray, "image height width"]:
        """Q of each image: binned, and each bin spread over its pixels again."""
        if self.side == 1:
            return images if self.weight is None else images * self.weight**2
        height, width = images.shape[1:]
        sums = square_sums(
            images if self.weight is None else images * self.weight, self.side
        )
        spread = np.repeat(np.repeat(sums, self.side, axis=1), self.side, axis=2)
        spread = spread[:, :height, :width] / self.side
        return spread if self.weight is None else spread * self.weight


def square_sums(
    images: Float[np.ndarray, "image height width"], side: int
) -> Float[np.ndarray, "image row column"]:
    """Sums over square bins, divided by their side, so that white noise stays as it is.

    Bins that the border cuts are completed with zeros.
    """
    if side == 1:
        return images
    height, width = images.shape[1:]
    missing = -height % side, -width % side
    if any(missing):
        images = np.pad(images, [(0, 0), (0, missing[0]), (0, missing[1])])
    # rows first: they lie in memory as they are
    rows = images.reshape(len(images), -1, side, images.shape[2]).sum(axis=2)
    total = rows[:, :, ::side]
    for column in range(1, side):
        total = total + rows[:, :, column::side]
    return total / side
