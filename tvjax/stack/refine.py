"""Basis vectors of faint components, refined from images that are at hand.

The leading component shows where the sample is. With each pixel weighted by that, and
pixels summed in square bins, a faint component stands clear of noise that would hide it
among the singular vectors of the stack, and the vector of a component that is clear has
less noise. For each component in turn, the binning is taken that should leave the least
noise in its vector, by the law of spiked covariances: a signal that is ℓ times the
noise, of n energies and m pixels, has the eigenvalue

    λ = (1 + ℓ)(1 + β/ℓ),   β = n/m,   and a vector with  cos² = (1 − β/ℓ²)/(1 + β/ℓ)

to the true one (Benaych-Georges, Nadakuditi 2012, 10.1016/j.jmva.2012.04.019).
"""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import local_mean
from tvjax.risk.singular import basis_response, Response
from tvjax.stack.binning import Binning
from tvjax.stack.noise_levels import CLEAR
from tvjax.stack.random_matrix import (
    largest_noise_value,
    largest_uneven_square,
    singular_values_of_noise,
)

# Sides of the square bins that are tried, in pixels.
SIDES = (1, 2, 4, 8, 16)
# A binning is preferred to the plain stack if cos² of its vector is greater by this.
WORTH = 0.01
# Noise is taken as correlated if its independent pixels are fewer than this share of
# those that white noise would have; a greater share is chance.
CORRELATED = 0.8


class Refined(NamedTuple):
    """Basis vector of a component, and how it responds to the noise."""

    rotation: Float[np.ndarray, " candidate"]  # the vector, in the given directions
    binning: Binning  # of which it is an eigenvector
    response: Response
    clear: bool  # whether it is more than noise can have


class _Binned(NamedTuple):
    """The Gram matrix of binned images, and what noise alone would make of it."""

    binning: Binning
    gram: Float[np.ndarray, "candidate candidate"]
    level: float  # tr QC, with the covariance C of the noise
    num_independent: float  # (tr QC)²/tr (QC)²
    largest_noise: float  # greatest eigenvalue that noise has

    def overlap(self, value: float, num_energies: int) -> float:
        """cos² of the vector of an eigenvalue; not above zero within the noise."""
        beta = num_energies / self.num_independent
        excess = value / self.level - 1 - beta
        root = excess**2 - 4 * beta
        if not self.is_clear(value, num_energies) or excess <= 0 or root <= 0:
            return value / self.largest_noise - 2
        spike = (excess + root**0.5) / 2
        return (1 - beta / spike**2) / (1 + beta / spike)

    def response(
        self, squares: Float[np.ndarray, " candidate"], num_energies: int
    ) -> Response:
        """How the first vector responds to the noise, along all others."""
        noise = (
            singular_values_of_noise((self.num_independent, num_energies), num_energies)
            ** 2
        )
        beyond = noise[len(squares) :] * self.level / self.num_independent
        values = np.sqrt(np.maximum(np.concatenate([squares, beyond]), 0))
        responses = basis_response(jnp.asarray(values), self.level)
        return Response(*(part[0] for part in responses))

    def is_clear(self, value: float, num_energies: int) -> bool:
        """Whether the eigenvalue is more than noise can have."""
        shape = (self.num_independent, num_energies)
        scatter = largest_noise_value(shape, CLEAR) / largest_noise_value(shape)
        return bool(value > self.largest_noise * scatter**2)


def refine(
    images: Float[np.ndarray, "candidate height width"],
    draws: Float[np.ndarray, "draw height width"],
    first: Response,
    *,
    variance: Float[np.ndarray, "height width"] | None,
    num_energies: int,
    least: int,
    surplus: int,
    mask: Bool[np.ndarray, "height width"] | None,
) -> list[Refined]:
    """The components; the first is taken as it is.

    Args:
        images: The stack along orthonormal directions, of which the first is that of
            the leading component.
        draws: Samples of the noise in them.
        first: How the leading vector responds to the noise.
        variance: Variance of the noise in each pixel; by default one.
        num_energies: Number of energies of the stack.
        least: Number of components that are wanted in any case.
        surplus: Number of components that are wanted beyond the clear ones.
        mask: True where a pixel is valid.
    """
    num = len(images)
    if variance is None:
        variance = np.ones(images.shape[1:])
    if mask is not None:
        variance = np.where(mask, variance, 0)
    plain = Binning(1)
    found = [Refined(np.eye(num)[0], plain, first, True)]
    binnings = [
        _binned(Binning(side, weight), images, draws, variance, num_energies)
        for weight in (None, _thickness(images[0], mask))
        for side in SIDES
    ]
    # the plain stack is the first; others must have bins enough to judge by
    own, *others = binnings
    binnings = [own, *(b for b in others if b.num_independent > num_energies / 4)]
    beyond = 0
    while len(found) < num and (beyond < surplus or len(found) < least):
        picked = np.stack([f.rotation for f in found])
        leading = [(binned, *_leading(binned, picked)) for binned in binnings]
        overlaps = [b.overlap(values[0], num_energies) for b, values, _ in leading]
        best = int(np.argmax(overlaps))
        # the same binning for all clear components, unless there is much to gain:
        # what one leaves of a strong component, another would take for one more
        if overlaps[best] - overlaps[0] < WORTH:
            best = 0
        binned, values, rotation = leading[best]
        clear = binned.is_clear(values[0], num_energies)
        beyond += not clear
        before = np.einsum("kc,cd,kd->k", picked, binned.gram, picked)
        response = binned.response(np.concatenate([values, before]), num_energies)
        found.append(Refined(rotation, binned.binning, response, clear))
    return found


def _thickness(
    leading: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"] | None,
) -> Float[np.ndarray, "height width"]:
    """How much of the sample there is, its mean square 1; zero where invalid."""
    valid = None if mask is None else jnp.asarray(mask)[None]
    smooth = np.abs(np.asarray(local_mean(jnp.asarray(leading)[None], valid)[0]))
    if mask is not None:
        smooth = np.where(mask, smooth, 0)
    square = np.mean(smooth**2, where=True if mask is None else mask)
    return (smooth / np.sqrt(square)).astype(leading.dtype)


def _binned(
    binning: Binning,
    images: Float[np.ndarray, "candidate height width"],
    draws: Float[np.ndarray, "draw height width"],
    variance: Float[np.ndarray, "height width"],
    num_energies: int,
) -> _Binned:
    """The Gram matrix of the images so binned, and that of their noise."""
    binned, noise = binning.bin(images), binning.bin(draws)
    products = noise @ noise.T
    level = float(np.mean(np.diagonal(products)))
    apart = ~np.eye(len(products), dtype=bool)
    independent = level**2 / float(np.mean(products[apart] ** 2))
    variances = binning.variances(variance).astype(float)
    white = float(np.sum(variances) ** 2 / np.sum(variances**2))
    share = independent / white
    share = share if share < CORRELATED else 1.0
    # noise that is correlated is that of fewer bins with more power each
    largest = largest_uneven_square(variances, num_energies / share)
    largest *= level / float(np.sum(variances))
    gram = (binned @ binned.T).astype(float)
    return _Binned(binning, gram, level, share * white, largest)


def _leading(
    binned: _Binned, picked: Float[np.ndarray, "component candidate"]
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " candidate"]]:
    """The eigenvalues outside those picked, descending, and the vector of the first."""
    outside = np.linalg.svd(picked)[2][len(picked) :].T
    values, vectors = np.linalg.eigh(outside.T @ binned.gram @ outside)
    return values[::-1], outside @ vectors[:, -1]
