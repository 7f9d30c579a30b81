"""Undecimated Haar wavelets, thresholded and summed with the least risk.

    x = f(y) = F₀(y) + Σ_k a_k F_k(y),   a = argmin SURE

F₀ is what the wavelets leave over, F_k one subband after one thresholding function,
transformed back to an image: a linear expansion of thresholds (Luisier, Blu, Unser
2007, 10.1109/TIP.2006.891064; Blu, Luisier 2007, 10.1109/TIP.2007.906002).

Along each axis, and at a step s that doubles from level to level, all pairs of values
that are s apart become their mean and half of their difference; a value comes back as
the mean over its two pairs. A pair with one member that is invalid, or beyond the
border, has the other for a mean and no difference: nothing is filled in, and the
reconstruction is exact. A coefficient of level j sees a window of 2ʲ pixels along each
axis, and the two members of a pair see windows apart, so that variances and the trace
of a thresholding follow by the same recursion, exactly, at borders and invalid pixels
as well.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num, PRNGKeyArray, Shaped

from tvjax.arguments import as_floating, as_positive
from tvjax.denoisers.protocol import AbstractMaskedDenoiser, HeldMask, hold_mask
from tvjax.risk.mixture_coefficients import least_risk_coefficients

# Mean energy of a coefficient's neighbors, over that of the noise, at which the factor
# for quiet neighborhoods has faded to 1/e: pure noise has 1, features have many times
# as much.
QUIET = 2.0


class LinearExpansion(NamedTuple):
    """Images to be summed with coefficients, and their divergences for Stein's risk.

    A divergence is Σ_i v_i ∂F_i/∂y_i with the variance v of the noise.
    """

    low: Float[Array, "*shape"]  # with a coefficient of one
    parts: Float[Array, " part *shape"]
    low_divergence: Float[Array, ""]
    divergences: Float[Array, " part"]


class Wavelet(AbstractMaskedDenoiser):
    """The sum F₀(y) + Σ_k a_k F_k(y) of thresholded subbands with the least risk.

    Nothing is to be tuned but the standard deviation of the noise, if it is not known;
    it is held as its logarithm. Derivatives in the data include those of the
    coefficients a, so that `tvjax.sure` is unbiased. It takes the memory of some 50
    images.

    Luisier, Blu, Unser 2007 (10.1109/TIP.2006.891064); Blu, Luisier 2007
    (10.1109/TIP.2007.906002).
    """

    log_sigma: Float[Array, "..."]
    held_mask: HeldMask
    num_levels: int = eqx.field(static=True)

    def __init__(
        self,
        sigma: Num[ArrayLike, "..."] | Sequence[float],
        *,
        mask: Bool[ArrayLike, "..."] | None = None,
        num_levels: int = 4,
    ) -> None:
        """Take the standard deviation of independent noise.

        Args:
            sigma: Standard deviation > 0 in the unit of the image, one for all pixels
                or one per pixel.
            mask: True where a pixel is valid; the others count nowhere and come back
                as they are.
            num_levels: Number of levels of the transform; the coarsest sees 2 to this
                power pixels along each axis.

        Raises:
            ValueError: `sigma` is not positive, or there is no level.
        """
        log_sigma = jnp.log(as_positive("sigma", jnp.asarray(sigma)))
        if num_levels < 1:
            raise ValueError(f"`num_levels` must be at least 1, got {num_levels}.")
        self.log_sigma = log_sigma
        self.held_mask = hold_mask(mask)
        self.num_levels = num_levels

    @property
    def sigma(self) -> Float[Array, "..."]:
        """Standard deviation of the noise, in the unit of the image."""
        return jnp.exp(self.log_sigma)

    def __call__(
        self, y: Num[ArrayLike, "*shape"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "*shape"]:
        """The image x; differentiable in `y` and in `log_sigma`.

        Args:
            y: Noisy data, an image of any number of axes.
            key: Ignored.
        """
        del key
        y = as_floating(y)
        x, _ = _denoise(y, self.sigma, self.mask, self.num_levels)
        return x if self.mask is None else jnp.where(self.mask, x, y)


def wavelet_risk(
    y: Num[ArrayLike, "*shape"],
    sigma: Num[ArrayLike, ""] | Num[ArrayLike, "*shape"],
    *,
    mask: Bool[ArrayLike, "*shape"] | None = None,
    num_levels: int = 4,
) -> Float[Array, ""]:
    """Stein's risk of `Wavelet` in closed form, in the unit of the data squared.

        Σ_i [(f_i − y_i)² − v_i] + 2 Σ_i v_i ∂f_i/∂y_i          over valid pixels, mean

    The coefficients are taken as fixed although they are found from the same data,
    which makes the risk too small, by the order of 2 σ²/N for each of some 50.

    Args:
        y: Noisy data, an image of any number of axes.
        sigma: Standard deviation of the noise, one for all pixels or one per pixel.
        mask: True where a pixel is valid.
        num_levels: Number of levels of the transform.
    """
    valid = None if mask is None else jnp.asarray(mask)
    return _denoise(as_floating(y), jnp.asarray(sigma, float), valid, num_levels)[1]


@partial(jax.jit, static_argnums=3)
def _denoise(
    y: Float[Array, "*shape"],
    sigma: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    num_levels: int,
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
    """The image, zero where invalid, and its risk."""
    variance = jnp.square(sigma.astype(y.dtype))
    expansion = linear_expansion(y, variance, mask, num_levels)
    valid = jnp.ones(y.shape, bool) if mask is None else mask
    rest = jnp.where(valid, y - expansion.low, 0)
    mean = jnp.mean(jnp.broadcast_to(variance, y.shape), where=valid)
    coefficients = least_risk_coefficients(
        expansion.parts, rest, expansion.divergences, mean
    )
    x = expansion.low + jnp.tensordot(coefficients, expansion.parts, 1)
    divergence = expansion.low_divergence + coefficients @ expansion.divergences
    terms = jnp.where(valid, jnp.square(x - y) - variance, 0)
    return x, (jnp.sum(terms) + 2 * divergence) / jnp.sum(valid)


def linear_expansion(
    y: Float[Array, "*shape"],
    variance: Float[Array, ""] | Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    num_levels: int = 4,
) -> LinearExpansion:
    """The image as its coarsest means and all thresholded subbands.

    Four parts to a subband: the coefficients c themselves, c exp(−(c/3σ)⁸), and both
    times a factor that fades where the neighbors are more than noise. Without any
    threshold the image is the sum of the coarsest means and the first part of every
    subband.

    Args:
        y: Image of any number of axes.
        variance: Variance of its noise.
        mask: True where a pixel is valid; all parts are zero elsewhere.
        num_levels: Number of levels of the transform.
    """
    valid = jnp.ones(y.shape, bool) if mask is None else mask
    variance = jnp.where(valid, variance, 0).astype(y.dtype)
    margin = 2**num_levels - 1  # of windows that begin before the image

    def pad(u: Array) -> Array:
        return jnp.pad(u, [(margin, 0)] * u.ndim)

    def descend(
        low: _Bands, step: Array
    ) -> tuple[_Bands, tuple[Array, Array, list[Array]]]:
        bands, valid = low, []
        for axis in range(y.ndim):
            valid.append(bands.valid)
            bands = _halve(bands, axis, step, margin)
        details = jax.tree.map(lambda u: u[1:], bands)
        means = jax.tree.map(lambda u: u[:1], bands)
        return means, (*_threshold(details, 2 * step, margin), valid)

    pixels = _Bands(pad(jnp.where(valid, y, 0)), pad(valid), *[pad(variance)] * 2)
    pixels = jax.tree.map(lambda u: u[None], pixels)
    low, levels = lax.scan(descend, pixels, 2 ** jnp.arange(num_levels))
    parts, divergences, valid = levels
    images = low.values
    for level in reversed(range(num_levels)):
        bands = np.repeat(np.arange(1, 2**y.ndim), len(parts[level]) // (2**y.ndim - 1))
        bands = np.concatenate([np.zeros(len(images), int), bands])
        images = jnp.concatenate([images, parts[level]])
        images = _synthesize(images, bands, [v[level] for v in valid], 2**level, margin)
    images = images[:, *[slice(margin, None)] * y.ndim]
    return LinearExpansion(
        images[0], images[1:], jnp.sum(low.share), divergences[::-1].reshape(-1)
    )


class _Bands(NamedTuple):
    """Coefficients c = A y of the transform, whose inverse is R; zero where invalid.

    The leading axis counts the subbands, whose number in binary has a digit for each
    axis of the image, the first axis first: 0 for means, 1 for differences.
    """

    values: Float[Array, " band *shape"]
    # whether any pixel of a mean is valid, or both sides of a difference
    valid: Bool[Array, " band *shape"]
    variance: Float[Array, " band *shape"]  # Σ_i A_ki² v_i
    share: Float[Array, " band *shape"]  # Σ_i A_ki v_i R_ik


def _halve(first: _Bands, axis: int, step: Int[Array, ""], margin: int) -> _Bands:
    """Means and half differences of all pairs along an axis."""
    # each value is in two pairs
    first = first._replace(share=first.share / 2)
    second = jax.tree.map(lambda u: _shift(u, axis + 1, step, margin), first)
    both = first.valid & second.valid
    half = jnp.where(both, 0.5, 1).astype(first.values.dtype)
    mean = _Bands(
        half * (first.values + second.values),
        first.valid | second.valid,
        half**2 * (first.variance + second.variance),
        half * (first.share + second.share),
    )
    difference = _Bands(
        jnp.where(both, (first.values - second.values) / 2, 0),
        both,
        jnp.where(both, mean.variance, 0),
        jnp.where(both, mean.share, 0),
    )

    def interleave(mean: Array, difference: Array) -> Array:
        return jnp.stack([mean, difference], 1).reshape(-1, *mean.shape[1:])

    return jax.tree.map(interleave, mean, difference)


def _synthesize(
    images: Float[Array, " image *shape"],
    bands: Int[np.ndarray, " image"],
    valid: list[Bool[Array, "..."]],
    step: int,
    margin: int,
) -> Float[Array, " image *shape"]:
    """Images one level finer, each from one subband of its own.

    Args:
        images: Coefficients of one subband in each image.
        bands: Number of the subband of each.
        valid: Where the subbands before the split along each axis are valid.
        step: Distance between the members of a pair.
        margin: Greatest step.
    """
    for axis in reversed(range(images.ndim - 1)):
        sign = jnp.asarray(1 - 2 * (bands % 2), images.dtype)
        sign = sign.reshape(-1, *[1] * (images.ndim - 1))
        bands = bands // 2
        images = (images + sign * _shift(images, axis + 1, -step, margin)) / 2
        images = jnp.where(valid[axis][bands], images, 0)
    return images


def _threshold(
    bands: _Bands, width: Int[Array, ""], margin: int
) -> tuple[Float[Array, " part *shape"], Float[Array, " part"]]:
    """The four parts of each subband, each coefficient by itself; their divergences.

    The neighbors are a window's width away: they share no pixel with the coefficient,
    so that a factor which depends on them adds no term to the divergence.
    """
    energy = jnp.square(bands.values) / jnp.where(bands.valid, bands.variance, 1)
    total, count = (
        _sum_of_neighbors(u, width, margin)
        for u in (energy, bands.valid.astype(energy.dtype))
    )
    quiet = jnp.exp(-total / (QUIET * jnp.maximum(count, 1)))
    # beyond three times 3σ, where nothing is left, its powers overflow
    power = jnp.minimum(energy / 9, 9) ** 4
    small = jnp.exp(-power)
    slope = small * (1 - 8 * power)
    one = jnp.ones_like(small)
    parts = jnp.stack([one, small, quiet, quiet * small], 1) * bands.values[:, None]
    slopes = jnp.stack([one, slope, quiet, quiet * slope], 1) * bands.share[:, None]
    parts, slopes = (u.reshape(-1, *u.shape[2:]) for u in (parts, slopes))
    return parts, jnp.sum(slopes, axis=range(1, slopes.ndim))


def _sum_of_neighbors(
    u: Float[Array, " band *shape"], width: Int[Array, ""], margin: int
) -> Float[Array, " band *shape"]:
    """The sum over what lies a width before or after along one or more of the axes."""
    total = u
    for axis in range(1, u.ndim):
        ahead, behind = (_shift(total, axis, by, margin + 1) for by in (width, -width))
        total = total + ahead + behind
    return total - u


def _shift(
    u: Shaped[Array, "*shape"], axis: int, by: Int[Array, ""] | int, most: int
) -> Shaped[Array, "*shape"]:
    """The values u[i + by] along an axis, zero beyond the ends; |by| ≤ `most`."""
    if isinstance(by, int):
        zero = jnp.zeros((), u.dtype)
        return lax.pad(
            u, zero, [(-by, by, 0) if k == axis else (0, 0, 0) for k in range(u.ndim)]
        )
    padded = jnp.pad(u, [(most, most) if k == axis else (0, 0) for k in range(u.ndim)])
    return lax.dynamic_slice_in_dim(padded, most + by, u.shape[axis], axis)
