"""Denoisers of an energy stack in its own subspace.

    Y ≈ W Vᵀ,   W = Y V,   X = D(W) Vᵀ

Y has a row for each pixel and a column for each energy; the orthonormal columns of the
temporal basis V (energies × rank) are the leading right singular vectors of Y, the
columns of W the coefficient images, each denoised by itself. Where the noise of Y is
white, that of W is white and of the same standard deviation. This is the
method of Li et al. 2021, who call the factors by each other's names.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray, PyTree

from tvjax.arguments import as_floating, as_positive, is_traced
from tvjax.denoisers.protocol import (
    AbstractMaskedDenoiser,
    as_pytree,
    HeldMask,
    hold_mask,
)
from tvjax.risk.singular import optimal_shrinkage, soft_threshold

# The factorization takes this many times as many pixels at a time as there are
# energies: few enough to be small, and enough that the triangle before them is not most
# of the work.
BLOCK = 4


class Basis(NamedTuple):
    """What the singular value decomposition says about the energies."""

    vectors: Float[Array, "energy value"]  # orthonormal columns, leading first
    values: Float[Array, " value"]  # singular values of the stack, descending


def temporal_basis(
    y: Float[Array, " energy *pixels"], mask: Bool[Array, "*pixels"] | None = None
) -> Basis:
    """The right singular vectors of a stack and its singular values.

    They are those of its triangular factor. The sign is such that the entry of greatest
    magnitude is positive. The basis is constant to derivatives: a singular vector has
    none where two values meet.

    Args:
        y: A stack with white noise of one level.
        mask: True where a pixel is valid at all energies; the others count nowhere.
    """
    _, values, transposed = jnp.linalg.svd(triangular_factor(y, mask))
    greatest = jnp.argmax(jnp.abs(transposed), axis=1)
    sign = jnp.sign(jnp.take_along_axis(transposed, greatest[:, None], axis=1))
    return Basis((transposed * sign).T, values)


def triangular_factor(
    y: Float[Array, " energy *pixels"], mask: Bool[Array, "*pixels"] | None = None
) -> Float[Array, "energy energy"]:
    """The matrix R with RᵀR = YᵀY, upper triangular; constant to derivatives.

    One block of pixels after another is taken in by an orthogonal transformation. This
    needs memory for the energies squared, and keeps components down to the rounding of
    the largest, where the Gram matrix would lose all below the root of the rounding.

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


def coefficient_images(
    y: Float[Array, " energy *pixels"], vectors: Float[Array, "energy value"]
) -> Float[Array, " value *pixels"]:
    """The coefficient images W = Y V."""
    return jnp.tensordot(vectors, y, (0, 0))


def expand_images(
    images: Float[Array, " value *pixels"], vectors: Float[Array, "energy value"]
) -> Float[Array, " energy *pixels"]:
    """The stack W Vᵀ."""
    return jnp.tensordot(vectors, images, (1, 0))


def soft_rank(rank: float | Array, num: int) -> Float[Array, " num"]:
    """The factor of each component: one below the rank, zero above, linear in between.

    At a whole rank the factors are those of the truncation; between whole ranks, the
    last component is shrunk, so that a risk can be descended on. Near a whole rank the
    risk may have a least value of its own: begin half a component above the rank that
    `tvjax.risk.singular.truncation_risks` finds, in steps of less than one.

    Args:
        rank: Dimension of the subspace.
        num: Number of components.
    """
    return jnp.clip(rank - jnp.arange(num), 0, 1)


class SUM(AbstractMaskedDenoiser):
    """X = D(Y V) diag(s) Vᵀ, with the basis V of the stack Y itself.

    The factors s are one below the rank and zero above; a fraction shrinks the last
    component. The noise must be white and of one level over energies and pixels: divide
    the stack by it first. Li, Chen, Zan, Qian, Pianetta, Liu 2021, who call the method
    SUM; `tvjax.denoise_stack` chooses rank and denoisers from the data.

    Example:
        >>> import numpy as np, tvjax
        >>> rng = np.random.default_rng(0)
        >>> truth = np.outer(np.linspace(1, 2, 20), rng.uniform(size=256))
        >>> truth = truth.reshape(20, 16, 16)
        >>> y = truth + 0.1 * rng.normal(size=truth.shape)
        >>> x = tvjax.SUM(1)(y)
        >>> bool(np.mean((x - truth) ** 2) < 0.1 * np.mean((y - truth) ** 2))
        True
    """

    rank: Float[Array, ""]
    denoiser: PyTree | None
    held_mask: HeldMask
    max_rank: int = eqx.field(static=True)

    def __init__(
        self,
        rank: Num[ArrayLike, ""],
        *,
        denoiser: PyTree | None = None,
        max_rank: int | None = None,
        mask: Bool[ArrayLike, "*pixels"] | None = None,
    ) -> None:
        """Start from a rank > 0.

        Args:
            rank: Dimension of the subspace; a fraction shrinks the last component.
            denoiser: Denoiser of the coefficient images. Its arrays have a leading axis
                of length `max_rank`, one denoiser for each component, as from
                `jax.vmap(tvjax.TV)(alphas)`; a callable without arrays serves all. By
                default the images are kept: the plain truncated decomposition.
            max_rank: Number of components that are computed; by default 4 more than
                `rank`.
            mask: True where a pixel is valid at all energies.

        Raises:
            ValueError: The rank is not positive, or is traced by JAX without a
                `max_rank`.
        """
        self.rank = as_positive("rank", rank)
        if max_rank is None and is_traced(rank):
            raise ValueError("`max_rank` must be given for a traced `rank`.")
        if max_rank is None:
            self.max_rank = math.ceil(float(np.asarray(rank))) + 4
        else:
            self.max_rank = max_rank
        self.denoiser = None if denoiser is None else as_pytree(denoiser)
        self.held_mask = hold_mask(mask)

    def __call__(
        self, y: Num[ArrayLike, " energy *pixels"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, " energy *pixels"]:
        """The stack; differentiable in the rank and in the denoiser's parameters.

        Derivatives in `y` take the basis as fixed, which a risk must not: take
        `tvjax.sugar`, whose finite step estimates the basis anew.

        Args:
            y: Noisy stack.
            key: Ignored.
        """
        del key
        y = as_floating(y)
        num = min(self.max_rank, y.shape[0])
        vectors = temporal_basis(y, self.mask).vectors[:, :num]
        valid = y if self.mask is None else jnp.where(self.mask, y, 0)
        images = denoise_each(self.denoiser, coefficient_images(valid, vectors))
        factors = soft_rank(self.rank.astype(y.dtype), num)
        x = expand_images(images, vectors * factors)
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


class Shrinkage(AbstractMaskedDenoiser):
    """min_X ½‖X − Y‖² + threshold ‖X‖_*, a soft threshold of the singular values.

    The threshold has the unit of the data times the root of the number of pixels, and
    is held as its logarithm. The risk in closed form is
    `tvjax.risk.singular.shrinkage_risk`.
    """

    log_threshold: Float[Array, ""]
    held_mask: HeldMask

    def __init__(
        self,
        threshold: Num[ArrayLike, ""],
        *,
        mask: Bool[ArrayLike, "*pixels"] | None = None,
    ) -> None:
        """Start from a threshold > 0.

        Args:
            threshold: What each singular value loses.
            mask: True where a pixel is valid at all energies.

        Raises:
            ValueError: The threshold is not positive.
        """
        self.log_threshold = jnp.log(as_positive("threshold", threshold))
        self.held_mask = hold_mask(mask)

    def __call__(
        self, y: Num[ArrayLike, " energy *pixels"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, " energy *pixels"]:
        """The stack; differentiable in the threshold.

        Args:
            y: Noisy stack.
            key: Ignored.
        """
        del key
        y = as_floating(y)
        threshold = jnp.exp(self.log_threshold).astype(y.dtype)
        return rescale(y, lambda d: soft_threshold(d, threshold), self.mask)


def shrink_optimally(
    y: Float[Array, " energy *pixels"],
    sigma: float | Array,
    mask: Bool[Array, "*pixels"] | None = None,
) -> Float[Array, " energy *pixels"]:
    """The stack with the singular values of least squared error.

    Nothing is to be tuned: `tvjax.risk.singular.optimal_shrinkage` has the formula.

    Args:
        y: Noisy stack.
        sigma: Standard deviation of its noise, which is white.
        mask: True where a pixel is valid at all energies; JAX must not trace it.
    """
    num_pixels = y[0].size if mask is None else int(np.count_nonzero(mask))
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
    x = expand_images(coefficient_images(valid, vectors), vectors * factor)
    return x if mask is None else jnp.where(mask, x, y)
