"""An energy stack denoised in its own subspace.

    Y ≈ W Vᵀ,   W = Y V,   X = D(W) Vᵀ

Y has a row a pixel and a column an energy; the orthonormal columns of the temporal
basis V (energies × rank) are the leading right singular vectors of Y, the columns of W
the coefficient images, each denoised by itself. The noise of W is that of Y: white, of
the same standard deviation, where it is so in Y. This is the method of Li et al. 2021,
who call the factors by each other's names.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PyTree

from tvjax.denoisers.protocol import AbstractDenoiser
from tvjax.risk.singular import optimal_shrinkage, soft_threshold

# Pixels that the factorization takes at a time, in multiples of the energies.
BLOCK = 4


class Basis(NamedTuple):
    """What the singular value decomposition says about the energies."""

    vectors: Float[Array, "energy value"]  # orthonormal columns, leading first
    values: Float[Array, " value"]  # singular values of the stack, descending


def temporal_basis(
    y: Float[Array, " energy *pixels"], mask: Bool[Array, "*pixels"] | None = None
) -> Basis:
    """The right singular vectors of a stack and its singular values.

    Those of its triangular factor, which are the same. The sign is such that the entry
    of greatest magnitude is positive. Constant to derivatives: a singular vector has
    none where two values meet.

    Args:
        y: A stack, white noise in it of one level.
        mask: True where a pixel is valid at all energies; the others count nowhere.
    """
    _, values, transposed = jnp.linalg.svd(triangular_factor(y, mask))
    greatest = jnp.argmax(jnp.abs(transposed), axis=1)
    sign = jnp.sign(jnp.take_along_axis(transposed, greatest[:, None], axis=1))
    return Basis((transposed * sign).T, values)


def triangular_factor(
    y: Float[Array, " energy *pixels"], mask: Bool[Array, "*pixels"] | None = None
) -> Float[Array, "energy energy"]:
    """R with RᵀR = YᵀY, upper triangular; constant to derivatives.

    One block of pixels after another is taken in by an orthogonal transformation:
    memory for the energies squared, and components down to the rounding of the largest,
    where the Gram matrix would lose all below its root.

    Args:
        y: A stack.
        mask: True where a pixel is valid at all energies; the others count nowhere.
    """
    y = lax.stop_gradient(y if mask is None else jnp.where(mask, y, 0))
    num_energies = y.shape[0]
    pixels = y.reshape(num_energies, -1).T
    size = BLOCK * num_energies
    missing = -pixels.shape[0] % size
    blocks = jnp.pad(pixels, ((0, missing), (0, 0))).reshape(-1, size, num_energies)

    def absorb(triangle: Array, block: Array) -> tuple[Array, None]:
        rows = jnp.concatenate([triangle, block])
        return jnp.linalg.qr(rows, mode="r"), None

    empty = jnp.zeros((num_energies, num_energies), y.dtype)
    return lax.scan(absorb, empty, blocks)[0]


def project(
    y: Float[Array, " energy *pixels"], vectors: Float[Array, "energy value"]
) -> Float[Array, " value *pixels"]:
    """The coefficient images W = Y V."""
    return jnp.tensordot(vectors, y, (0, 0))


def expand(
    images: Float[Array, " value *pixels"], vectors: Float[Array, "energy value"]
) -> Float[Array, " energy *pixels"]:
    """The stack W Vᵀ."""
    return jnp.tensordot(vectors, images, (1, 0))


def soft_rank(rank: float | Array, num: int) -> Float[Array, " num"]:
    """The weight of each component: one below the rank, zero above, in between linear.

    At a whole rank the weights are those of the truncation; between, the last
    component is shrunk, so that a risk can be descended on, in steps of less than one:
    near a whole rank the risk may have a least value of its own, so begin half a
    component above the rank that `tvjax.risk.singular.truncation_risks` tells.
    """
    return jnp.clip(rank - jnp.arange(num), 0, 1)


class SUM(AbstractDenoiser):
    """X = D(Y V) diag(w(rank)) Vᵀ, with the basis V of Y itself.

    The noise is to be white and of one level over energies and pixels: whiten first.
    """

    rank: Float[Array, ""]
    denoiser: PyTree | None
    mask: Bool[Array, "*pixels"] | None
    max_rank: int = eqx.field(static=True)

    def __init__(
        self,
        rank: ArrayLike,
        *,
        denoiser: PyTree | None = None,
        max_rank: int | None = None,
        mask: Bool[ArrayLike, "*pixels"] | None = None,
    ):
        """Start from a rank > 0.

        Args:
            rank: Dimension of the subspace; a fraction shrinks the last component.
            denoiser: Of the coefficient images. Its arrays have a leading axis of
                length `max_rank`, one denoiser a component, as from
                `jax.vmap(tvjax.TV)(alphas)`; a callable without arrays serves all. By
                default the images are kept: the plain truncated decomposition.
            max_rank: Components that are computed; by default 4 more than `rank`.
            mask: True where a pixel is valid at all energies.
        """
        known = not isinstance(rank, jax.core.Tracer)
        if known and not rank > 0:
            raise ValueError(f"`rank` must be positive, got {rank}.")
        if max_rank is None and not known:
            raise ValueError("`max_rank` must be given for a traced `rank`.")
        self.rank = jnp.asarray(rank, dtype=float)
        self.max_rank = math.ceil(rank) + 4 if max_rank is None else max_rank
        self.denoiser = denoiser
        self.mask = None if mask is None else jnp.asarray(mask, dtype=bool)

    def __call__(self, y: Float[Array, " energy *pixels"]) -> Array:
        """The stack; differentiable in the rank and in the denoiser's parameters.

        Derivatives in `y` take the basis as fixed, which a risk must not: take
        `tvjax.sugar`, whose finite step estimates the basis anew.
        """
        num = min(self.max_rank, y.shape[0])
        vectors = temporal_basis(y, self.mask).vectors[:, :num]
        valid = y if self.mask is None else jnp.where(self.mask, y, 0)
        images = denoise_each(self.denoiser, project(valid, vectors))
        weights = soft_rank(self.rank.astype(y.dtype), num)
        x = expand(images, vectors * weights)
        return x if self.mask is None else jnp.where(self.mask, x, y)


def denoise_each(
    denoiser: PyTree | None, images: Float[Array, " value *pixels"]
) -> Float[Array, " value *pixels"]:
    """Each image by its own denoiser, one after the other."""
    if denoiser is None:
        return images
    arrays, static = eqx.partition(denoiser, eqx.is_array)
    arrays = jax.tree.map(lambda a: a[: len(images)], arrays)

    def one(item: tuple[PyTree, Array]) -> Array:
        parameters, image = item
        return eqx.combine(parameters, static)(image)

    return lax.map(one, (arrays, images))


class Shrinkage(AbstractDenoiser):
    """The singular values of a stack, soft-thresholded; its vectors kept.

    min_X ½‖X − Y‖² + threshold ‖X‖_* ; the threshold has the unit of the data times the
    root of the number of pixels, and is held as its logarithm. Its risk in closed form
    is `tvjax.risk.singular.shrinkage_risk`.
    """

    log_threshold: Float[Array, ""]
    mask: Bool[Array, "*pixels"] | None

    def __init__(
        self,
        threshold: ArrayLike,
        *,
        mask: Bool[ArrayLike, "*pixels"] | None = None,
    ):
        """Start from a threshold > 0."""
        if not isinstance(threshold, jax.core.Tracer) and not threshold > 0:
            raise ValueError(f"`threshold` must be positive, got {threshold}.")
        self.log_threshold = jnp.log(jnp.asarray(threshold, dtype=float))
        self.mask = None if mask is None else jnp.asarray(mask, dtype=bool)

    def __call__(self, y: Float[Array, " energy *pixels"]) -> Array:
        """The stack; differentiable in the threshold."""
        threshold = jnp.exp(self.log_threshold).astype(y.dtype)
        return rescale(y, lambda d: soft_threshold(d, threshold), self.mask)


def shrink_optimally(
    y: Float[Array, " energy *pixels"],
    sigma: float | Array,
    mask: Bool[Array, "*pixels"] | None = None,
) -> Float[Array, " energy *pixels"]:
    """The stack with the singular values of least squared error.

    See `tvjax.risk.singular.optimal_shrinkage`; nothing is to be tuned.
    """
    num_pixels = y[0].size if mask is None else jnp.sum(mask)
    shape = (num_pixels, y.shape[0])
    return rescale(y, lambda d: optimal_shrinkage(d, shape, sigma), mask)


def rescale(
    y: Float[Array, " energy *pixels"],
    shrink: Callable[[Array], Array],
    mask: Bool[Array, "*pixels"] | None = None,
) -> Float[Array, " energy *pixels"]:
    """The stack with its singular values d replaced by `shrink(d)`."""
    vectors, d = temporal_basis(y, mask)
    factor = jnp.where(d > 0, shrink(d) / jnp.where(d > 0, d, 1), 0)
    valid = y if mask is None else jnp.where(mask, y, 0)
    x = expand(project(valid, vectors), vectors * factor)
    return x if mask is None else jnp.where(mask, x, y)
