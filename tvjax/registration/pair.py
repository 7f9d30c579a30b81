"""Displacement of one frame against another."""

from functools import partial
from typing import get_args, NamedTuple

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Complex, Float, Int, Real

from tvjax.arguments import as_array, as_full_mask, check_choice
from tvjax.registration.features import By, features_of_both, WeightedImage
from tvjax.registration.shifting import Mask

# Share of the frame that must overlap for a correlation to count: that of a few pixels
# is high by chance.
OVERLAP = 0.25
# By default a shift is searched for up to this many pixels.
MAX_SHIFT = 32


class ShiftEstimate(NamedTuple):
    """The displacement of one frame, and how far to trust it."""

    shift: Float[Array, "2"]  # (row, column) in pixels
    confidence: Float[Array, ""]  # by how much the peak is above the second peak
    peak: Float[Array, ""]  # correlation at the shift, at most 1


def estimate_shift(
    moving: Real[ArrayLike, "height width"],
    fixed: Real[ArrayLike, "height width"],
    *,
    mask: Mask | None = None,
    fixed_mask: Mask | None = None,
    max_shift: int | None = None,
    by: By = "gradient",
) -> ShiftEstimate:
    """Find the displacement of `moving` at which it correlates best with `fixed`.

        ρ(s) = Σ w (a − ā)(b − b̄) / √(Σ w (a − ā)² · Σ w (b − b̄)²)

    over the overlap of the frames: a is what is compared of `fixed` at r, b of `moving`
    at r + s, w the product of their softened masks there, and ā, b̄ the means under w,
    computed anew for each s. Hence neither a gap of the detector nor the border of the
    frame is taken for a feature that did not move (Padfield 2012,
    10.1109/TIP.2011.2181402). The highest ρ at whole pixels is refined by Fourier sums
    at just the points needed (Guizar-Sicairos, Thurman and Fienup 2008,
    10.1364/OL.33.000156), and a parabola through these.

    Args:
        moving: The frame that moved.
        fixed: The frame that it is compared with.
        mask: True where a pixel of `moving` is valid.
        fixed_mask: True where a pixel of `fixed` is valid; by default `mask`.
        max_shift: Search up to this many pixels along each axis. By default 32, or a
            quarter of the frame where that is less.
        by: "intensity" compares the images, "gradient" compares |∇y| of the image
            smoothed over one pixel: where a feature turns from bright to dark, ∇y
            changes its sign, but not its length.

    Returns:
        The shift, its confidence and the correlation. A frame without contrast has zero
        shift and zero confidence. A peak at the border of the search has zero
        confidence, since the true one may lie beyond.

    Raises:
        ValueError: For shapes that do not match, or a search beyond the frame.
    """
    moving, fixed = as_array(moving), as_array(fixed)
    if moving.ndim != 2 or moving.shape != fixed.shape:
        raise ValueError(
            "`moving` and `fixed` must be two images of one shape, got "
            f"{moving.shape} and {fixed.shape}; use `jax.vmap` for more."
        )
    valid = as_full_mask(mask, moving.shape)
    fixed_valid = valid
    if fixed_mask is not None:
        fixed_valid = as_full_mask(fixed_mask, fixed.shape, name="fixed_mask")
    check_choice("by", by, get_args(By))
    reach = search_range(max_shift, moving.shape)
    return _estimate(moving, fixed, valid, fixed_valid, reach, by)


def search_range(max_shift: int | None, shape: tuple[int, ...]) -> int:
    """The greatest shift to search for in frames of some shape, in pixels.

    Raises:
        ValueError: It is not at least 1, or reaches beyond the frame.
    """
    if max_shift is None:
        return max(1, min(MAX_SHIFT, min(shape) // 4))
    if not 1 <= max_shift < min(shape):
        raise ValueError(
            "`max_shift` must be at least 1 and less than the sides of the frame "
            f"{shape}, got {max_shift}."
        )
    return int(max_shift)


def compare(a: WeightedImage, b: WeightedImage, max_shift: int) -> ShiftEstimate:
    """The displacement of b against a."""
    # room for the search: what wraps around is beyond it; 32 keeps the FFT fast
    height, width = (-(-(n + max_shift) // 32) * 32 for n in a.weight.shape)
    shape = height, width
    cross = _cross_spectra(a, b, shape)
    floor = OVERLAP * jnp.sqrt(jnp.sum(a.weight) * jnp.sum(b.weight))
    lags = jnp.arange(-max_shift, max_shift + 1)
    sums = jnp.fft.irfft2(cross, shape)[:, lags[:, None], lags[None]]
    rho = _correlation(sums, floor)
    best = jnp.stack(jnp.unravel_index(jnp.argmax(rho), rho.shape))
    inner = jnp.clip(best, 1, 2 * max_shift - 1)
    around = lax.dynamic_slice(rho, inner - 1, (3, 3))

    def closer(shift: Array, step: Array) -> tuple[Array, Array]:
        around = _correlation(_sums_at(cross, shape, shift, step), floor)
        return shift + step * _vertex(around), around[1, 1]

    shift = inner - max_shift + _vertex(around)
    shift, peaks = lax.scan(closer, shift, jnp.asarray([0.5, 0.25], shift.dtype))
    peak = peaks[-1]
    found = (peak > 0) & jnp.all(best == inner)
    margin = jnp.maximum(peak - _second_peak(rho, best), 0)
    return ShiftEstimate(
        jnp.where(peak > 0, shift, 0), jnp.where(found, margin, 0), peak
    )


@partial(jax.jit, static_argnums=(4, 5))
def _estimate(
    moving: Real[Array, "height width"],
    fixed: Real[Array, "height width"],
    mask: Bool[Array, "height width"],
    fixed_mask: Bool[Array, "height width"],
    max_shift: int,
    by: By,
) -> ShiftEstimate:
    """The displacement of one frame against another, by their features."""
    frames, masks = jnp.stack([fixed, moving]), jnp.stack([fixed_mask, mask])
    return compare(*features_of_both(frames, masks, by), max_shift)


def _cross_spectra(
    a: WeightedImage, b: WeightedImage, shape: tuple[int, int]
) -> Complex[Array, "6 row frequency"]:
    """Spectra of the sums over the overlap that a weighted correlation is made of."""

    def spectra(features: WeightedImage) -> Array:
        weight, values = features
        parts = jnp.stack([weight, weight * values, weight * values**2])
        return jnp.fft.rfft2(parts, shape)

    of_a, of_b = jnp.conj(spectra(a)), spectra(b)
    pairs = ((0, 0), (1, 1), (1, 0), (0, 1), (2, 0), (0, 2))
    return jnp.stack([of_a[i] * of_b[j] for i, j in pairs])


def _correlation(
    sums: Float[Array, "6 row column"], floor: Float[Array, ""]
) -> Float[Array, "row column"]:
    """ρ from Σ w, Σ w a·b, Σ w a, Σ w b, Σ w a², Σ w b²; 0 where undefined."""
    total, product, sum_a, sum_b, square_a, square_b = sums
    enough = (total > floor) & (floor > 0)
    total = jnp.where(enough, total, 1)
    product = product - sum_a * sum_b / total
    square_a = jnp.maximum(square_a - sum_a**2 / total, 0)
    square_b = jnp.maximum(square_b - sum_b**2 / total, 0)
    # the mean squares are one: far less is rounding, not contrast
    power = square_a * square_b
    enough = enough & (power > (1e-3 * total) ** 2)
    return jnp.where(enough, product / jnp.sqrt(jnp.where(enough, power, 1)), 0)


def _sums_at(
    cross: Complex[Array, "6 row frequency"],
    shape: tuple[int, int],
    shift: Float[Array, "2"],
    step: Float[Array, ""],
) -> Float[Array, "6 3 3"]:
    """The sums at 3 x 3 points about a shift, between the pixels too."""
    height, width = shape
    offsets = step * jnp.arange(-1, 2, dtype=shift.dtype)

    def waves(frequency: Array, at: Array) -> Array:
        return jnp.exp(2j * jnp.pi * (at + offsets)[:, None] * frequency[None])

    # half of the spectrum stands for both, but for what has no counterpart
    both = np.full(width // 2 + 1, 2.0)
    both[[0, -1]] = 1
    rows = waves(jnp.fft.fftfreq(height, dtype=shift.dtype), shift[0])
    columns = waves(jnp.fft.rfftfreq(width, dtype=shift.dtype), shift[1])
    columns = columns * jnp.asarray(both, shift.dtype)[None]
    sums = jnp.einsum(
        "ay,kyx,bx->kab", rows, cross, columns, precision=lax.Precision.HIGHEST
    )
    return jnp.real(sums) / (height * width)


def _vertex(around: Float[Array, "3 3"]) -> Float[Array, "2"]:
    """Top of the paraboloid through 3 x 3 points, in steps, at most one away."""
    dy = (around[2] - around[0]).sum() / 6
    dx = (around[:, 2] - around[:, 0]).sum() / 6
    yy = (around[0] - 2 * around[1] + around[2]).sum() / 3
    xx = (around[:, 0] - 2 * around[:, 1] + around[:, 2]).sum() / 3
    xy = (around[0, 0] - around[0, 2] - around[2, 0] + around[2, 2]) / 4
    determinant = yy * xx - xy**2
    is_top = (determinant > 0) & (yy < 0)
    top = jnp.stack([xy * dx - xx * dy, xy * dy - yy * dx])
    top = top / jnp.where(is_top, determinant, 1)
    return jnp.where(is_top, jnp.clip(top, -1, 1), 0)


def _second_peak(
    rho: Float[Array, "row column"], best: Int[Array, "2"]
) -> Float[Array, ""]:
    """The highest of the other local maxima, each the highest of 5 x 5; at least 0."""
    highest = lax.reduce_window(rho, -jnp.inf, lax.max, (5, 5), (1, 1), "SAME")
    others = jnp.where(rho == highest, rho, 0).at[best[0], best[1]].set(0)
    return jnp.maximum(jnp.max(others), 0)
