"""The beam centre of a symmetric pattern, with its error.

It is found first to a pixel, by the largest normalized correlation of the pattern with
its own image after an operation of the group, or by the curvature of rings; then by
least squares of the orbit differences.
"""

from functools import partial
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from tvjax.filters import bin_pixels, blur
from tvjax.noise import Noise
from tvjax.symmetry.centre_score import CentreScore, score_centre
from tvjax.symmetry.groups import as_group, Group, Operation, TWO_FOLD
from tvjax.symmetry.measurement import as_measurement, check_centre, Measurement
from tvjax.symmetry.ring_search import search_rings
from tvjax.symmetry.transforms import transform, Transformed

Vector: TypeAlias = Float[np.ndarray, "2"]

# Greatest number of Gauss-Newton steps; three or four are usual.
MAX_STEPS = 12
# A Gauss-Newton step shorter than this is not worth taking, in pixels or in standard
# errors, whichever is shorter.
SMALL = 0.02
# The least and the greatest share of a step that is taken.
SHARES = (0.3, 1.5)
# Frames longer than this are binned for the search, which is to within a pixel.
LONGEST = 640
# Offsets whose overlap is less than this share of the largest are not compared: few
# pixels correlate by chance.
LEAST_OVERLAP = 0.2


class Centre(NamedTuple):
    """A beam centre in pixels; the first pixel's centre is 0.

    Attributes:
        y: Row.
        x: Column.
        error: Standard deviations of both, infinite where undetermined.
    """

    y: float
    x: float
    error: tuple[float, float]

    @property
    def place(self) -> tuple[float, float]:
        """Row and column, without their errors."""
        return self.y, self.x


def find_centre(
    y: Num[ArrayLike, "height width"],
    *,
    noise: Noise | None = None,
    group: Group | str = "friedel",
    start: tuple[float, float] | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
) -> Centre:
    """Find the centre of symmetry to a fraction of a pixel.

        A δ = −Σ G e / v

    gives the shift δ of each step (Gauss–Newton), with e the differences from the orbit
    mean, G what a shift adds to them and v their variance. The error is that of the
    curvature, times √(chi-squared over its degrees of freedom) where that is above one.

    Args:
        y: Image (height, width). Integers are counts.
        noise: Noise model; by default estimated.
        group: A group from `find_group`, or its name. A mirror fixes the centre along
            one axis only; along the other it stays where it began, with an infinite
            error.
        start: Centre (y, x) within about two pixels; by default the offset of the
            largest mask-normalized correlation (Padfield 2012,
            10.1109/TIP.2011.2181402), or for "azimuthal" where the rings are even, if
            those agree better there.
        mask: True where a pixel is valid: from the detector, never from the counts.

    Raises:
        ValueError: The start is outside the image, or a valid pixel is not finite.
    """
    group = as_group(group)
    measured = as_measurement(y, noise=noise, mask=mask)
    if start is not None:
        check_centre(start, measured.image.shape, outside=group.continuous)
    return locate_centre(measured, group, start)


def locate_centre(
    measured: Measurement, group: Group, start: tuple[float, float] | None = None
) -> Centre:
    """`find_centre` of checked arguments."""
    if start is None:
        start = _search(measured, group)
        if group.continuous:
            starts = start, search_rings(measured.image, measured.mask)
            start = min(starts, key=partial(_disagreement, measured, group))
    place, errors = _refine(measured, group, start)
    return Centre(
        float(place[0]), float(place[1]), (float(errors[0]), float(errors[1]))
    )


def _disagreement(
    measured: Measurement, group: Group, centre: tuple[float, float]
) -> float:
    """Chi-squared of the orbit differences over its degrees of freedom."""
    traced = jnp.asarray(centre, measured.image.dtype)
    return float(score_centre(measured, group, traced).scale)


def _refine(
    measured: Measurement, group: Group, start: tuple[float, float]
) -> tuple[Vector, Vector]:
    """Gauss–Newton steps of at most a pixel, and the errors of the last.

    The slope of a smoothed pattern is too small, so that steps are too long, always by
    the same share, which two of them tell.
    """
    size = np.asarray(measured.image.shape, float)
    margin = float(group.continuous) * size
    fixed = np.asarray(group.fixed_axes)
    place, last, share = np.asarray(start, float), np.ones(2), 1.0
    errors = np.full(2, np.inf)
    for _ in range(MAX_STEPS):
        traced = jnp.asarray(place, measured.image.dtype)
        step, errors = _newton_step(score_centre(measured, group, traced), fixed)
        if np.all(np.abs(last) < 1):  # it was not cut short
            ratio = step @ last / max(last @ last, np.finfo(float).tiny)
            share = np.clip(share / (1 - min(ratio, 0.5)), *SHARES)
        place = np.clip(place + share * step, -margin, size - 1 + margin)
        last = step
        if not np.any(np.abs(step) > SMALL * np.minimum(errors, 1)):
            break
    return place, errors


def _newton_step(
    score: CentreScore, fixed: Bool[np.ndarray, "2"]
) -> tuple[Vector, Vector]:
    """The shift and its errors, along the axes that the group fixes."""
    both = fixed[:, None] & fixed[None, :]
    information = np.where(both, np.asarray(score.information, float), np.eye(2))
    if not (np.all(np.diag(information) > 0) and np.linalg.det(information) > 0):
        return np.zeros(2), np.full(2, np.inf)
    inverse = np.linalg.inv(information)
    spread = inverse @ np.asarray(score.covariance, float) @ inverse
    variance = np.diag(spread) * max(float(score.scale), 1)
    step = inverse @ np.where(fixed, score.score, 0)
    return np.clip(step, -1, 1), np.where(fixed, np.sqrt(variance), np.inf)


def _search(measured: Measurement, group: Group) -> tuple[float, float]:
    """The centre to about a pixel, by correlation with the moved image."""
    y, mask = measured.image, measured.mask
    step = -(-max(y.shape) // LONGEST)
    image, valid = (bin_pixels(z, step) for z in (y, mask.astype(y.dtype)))
    operation = _telling_operation(group)
    root, known = _even_out(image, valid)
    middle = ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2)
    moved = _transform(root, operation, middle, known)
    # a mirror tells nothing along its line
    free = jnp.asarray(group.fixed_axes)
    lag = np.asarray(_largest_correlation(root, known, moved, free), float)
    # y(r) = y(c + R (r − c)) and moved(r) = y(m + R (r − m)): R lag = (I − R)(c − m)
    matrix = operation.matrix
    place = np.asarray(middle) + np.linalg.pinv(np.eye(2) - matrix) @ matrix @ lag
    place = np.clip(step * place + (step - 1) / 2, 0, np.asarray(y.shape) - 1.0)
    return float(place[0]), float(place[1])


def _telling_operation(group: Group) -> Operation:
    """The operation that tells most of the centre: two-fold where there is one."""
    return (TWO_FOLD if group.contains(TWO_FOLD) else group).operations[1]


_transform = eqx.filter_jit(transform)


@jax.jit
def _even_out(
    y: Float[Array, "height width"], weight: Float[Array, "height width"]
) -> tuple[Float[Array, "height width"], Bool[Array, "height width"]]:
    """The image that is correlated, and where it is known.

    Its root evens out the counts' noise and lets no bright pixel decide alone.
    """
    valid = weight > 0.5 * jnp.max(weight)
    smooth = blur(y / jnp.where(valid, weight, 1), valid, 1.5)
    root = jnp.sign(smooth) * jnp.sqrt(jnp.abs(smooth))
    return jnp.where(valid, root - jnp.mean(root, where=valid), 0), valid


@jax.jit
def _largest_correlation(
    image: Float[Array, "height width"],
    valid: Bool[Array, "height width"],
    moved: Transformed,
    free: Bool[Array, "2"],
) -> Int[Array, "2"]:
    """The lag at which the moved image is most like the image.

    The lag is zero along an axis that is not free.
    """
    there = (moved.weight > 0.5).astype(image.dtype)
    lengths = tuple(2 * size for size in image.shape)

    def spectrum(z: Array) -> Array:
        return jnp.fft.rfft2(z, lengths)

    here, other = valid.astype(image.dtype), there * moved.image
    fixed = [jnp.conj(spectrum(z)) for z in (here, image, image**2)]
    moving = [spectrum(z) for z in (there, other, other**2)]

    def overlap(a: int, b: int) -> Array:
        return jnp.fft.irfft2(fixed[a] * moving[b], lengths)

    pixels = jnp.maximum(overlap(0, 0), 1)
    first, second = overlap(1, 0), overlap(0, 1)
    joint = overlap(1, 1) - first * second / pixels
    spread = [
        jnp.maximum(square - mean**2 / pixels, 0)
        for square, mean in ((overlap(2, 0), first), (overlap(0, 2), second))
    ]
    norm = jnp.sqrt(spread[0] * spread[1])
    correlation = jnp.where(norm > 1e-4 * jnp.max(norm), joint / (norm + 1e-30), 0)
    score = correlation * jnp.sqrt(pixels)  # of unit size where chance alone is
    score = jnp.where(pixels > LEAST_OVERLAP * jnp.max(pixels), score, -jnp.inf)
    for axis, length in enumerate(lengths):
        allowed = free[axis] | (jnp.arange(length) == 0)
        score = jnp.where(jnp.expand_dims(allowed, 1 - axis), score, -jnp.inf)
    best = jnp.stack(jnp.unravel_index(jnp.argmax(score), lengths))
    size = jnp.asarray(lengths)
    return jnp.where(best >= size // 2, best - size, best)
