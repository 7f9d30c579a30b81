"""A better basis for faint components, out of images that are at hand.

The leading component tells where the sample is. With each pixel weighted by that, and
pixels summed over squares, a faint component stands clear of noise that would hide it
among the singular vectors of the stack; and the vector of one that is clear has less
noise. For each component in turn, the way of gathering is taken that should leave the
least noise in its vector, by the law of spiked covariances: a signal that is ℓ times
the noise, of n energies and m pixels, is seen at

    λ = (1 + ℓ)(1 + β/ℓ),   β = n/m,   with a vector of  cos² = (1 − β/ℓ²)/(1 + β/ℓ)

(Benaych-Georges, Nadakuditi 2012, 10.1016/j.jmva.2012.04.019.)
"""

from typing import NamedTuple

import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float

from tvjax.filters import local_mean
from tvjax.risk.singular import basis_response, Response
from tvjax.stack.binning import Gathering
from tvjax.stack.noise_levels import CLEAR
from tvjax.stack.random_matrix import noise_edge, noise_values, uneven_noise_edge

SIDES = (1, 2, 4, 8, 16)
# More of a vector's square that is to be right, to leave the stack's own.
WORTH = 0.01
# Of the independent pixels that white noise would have: what is above is chance.
CORRELATED = 0.8


class Refined(NamedTuple):
    """What a component is made of, and how its vector answers to the noise."""

    rotation: Float[np.ndarray, " candidate"]
    gathering: Gathering
    response: Response
    clear: bool


class _Scale(NamedTuple):
    """A way of gathering, and what noise makes of it."""

    gathering: Gathering
    gram: Float[np.ndarray, "candidate candidate"]
    level: float  # tr QC, with the covariance C of the noise
    num_independent: float  # (tr QC)²/tr (QC)²
    edge: float  # the greatest eigenvalue that noise has

    def overlap(self, value: float, num_energies: int) -> float:
        """cos² of the vector of an eigenvalue; not above zero within the noise."""
        beta = num_energies / self.num_independent
        excess = value / self.level - 1 - beta
        root = excess**2 - 4 * beta
        if not self.is_clear(value, num_energies) or excess <= 0 or root <= 0:
            return value / self.edge - 2
        spike = (excess + root**0.5) / 2
        return (1 - beta / spike**2) / (1 + beta / spike)

    def response(
        self, squares: Float[np.ndarray, " candidate"], num_energies: int
    ) -> Response:
        """How the first vector answers to the noise, along all others."""
        noise = noise_values((self.num_independent, num_energies), num_energies) ** 2
        beyond = noise[len(squares) :] * self.level / self.num_independent
        values = np.sqrt(np.maximum(np.concatenate([squares, beyond]), 0))
        answers = basis_response(jnp.asarray(values), self.level)
        return Response(*(part[0] for part in answers))

    def is_clear(self, value: float, num_energies: int) -> bool:
        """Is the eigenvalue more than noise can have?"""
        shape = (self.num_independent, num_energies)
        scatter = (noise_edge(shape, CLEAR) / noise_edge(shape)) ** 2
        return value > self.edge * scatter


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
    """The components, the first as it is.

    Args:
        images: Of orthonormal directions, the first that of the leading component.
        draws: Of the noise in them.
        first: How the leading vector answers to the noise.
        variance: Of the noise in each pixel; by default one.
        num_energies: Of the stack.
        least: Components that are wanted.
        surplus: Components beyond the clear ones.
        mask: True where a pixel is valid.
    """
    num = len(images)
    if variance is None:
        variance = np.ones(images.shape[1:])
    if mask is not None:
        variance = np.where(mask, variance, 0)
    flat = Gathering(1)
    found = [Refined(np.eye(num)[0], flat, first, True)]
    scales = [
        _scale(Gathering(side, weight), images, draws, variance, num_energies)
        for weight in (None, _thickness(images[0], mask))
        for side in SIDES
    ]
    # the stack's own is the first; others must have pixels enough to tell by
    own, *others = scales
    scales = [own, *(s for s in others if s.num_independent > num_energies / 4)]
    beyond = 0
    while len(found) < num and (beyond < surplus or len(found) < least):
        picked = np.stack([f.rotation for f in found])
        leading = [(scale, *_leading(scale, picked)) for scale in scales]
        overlaps = [s.overlap(values[0], num_energies) for s, values, _ in leading]
        best = int(np.argmax(overlaps))
        # all clear components alike, unless there is much to gain: what one way of
        # gathering leaves of a strong one, another would take for one more
        if overlaps[best] - overlaps[0] < WORTH:
            best = 0
        scale, values, rotation = leading[best]
        clear = scale.is_clear(values[0], num_energies)
        beyond += not clear
        before = np.einsum("kc,cd,kd->k", picked, scale.gram, picked)
        response = scale.response(np.concatenate([values, before]), num_energies)
        found.append(Refined(rotation, scale.gathering, response, clear))
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


def _scale(
    gathering: Gathering,
    images: Float[np.ndarray, "candidate height width"],
    draws: Float[np.ndarray, "draw height width"],
    variance: Float[np.ndarray, "height width"],
    num_energies: int,
) -> _Scale:
    gathered, noise = gathering.gather(images), gathering.gather(draws)
    products = noise @ noise.T
    level = float(np.mean(np.diagonal(products)))
    apart = ~np.eye(len(products), dtype=bool)
    independent = level**2 / float(np.mean(products[apart] ** 2))
    powers = gathering.powers(variance).astype(float)
    white = np.sum(powers) ** 2 / np.sum(powers**2)
    share = independent / white
    share = share if share < CORRELATED else 1.0
    # fewer squares of more power each
    edge = uneven_noise_edge(powers, num_energies / share) * level / np.sum(powers)
    gram = (gathered @ gathered.T).astype(float)
    return _Scale(gathering, gram, level, share * white, edge)


def _leading(
    scale: _Scale, picked: Float[np.ndarray, "component candidate"]
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, " candidate"]]:
    """The eigenvalues beside those picked, descending, and the vector of the first."""
    outside = np.linalg.svd(picked)[2][len(picked) :].T
    values, vectors = np.linalg.eigh(outside.T @ scale.gram @ outside)
    return values[::-1], outside @ vectors[:, -1]
