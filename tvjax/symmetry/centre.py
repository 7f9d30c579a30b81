"""Where is the beam centre of a symmetric pattern, and how surely?

First to a pixel, by the largest normalized correlation of the pattern with its own
image after an operation of the group, or by the curvature of rings; then by least
squares of the orbit differences.
"""

from functools import partial
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.filters import bin_pixels, blur
from tvjax.noise import estimate_noise, Noise
from tvjax.symmetry.centre_score import determined, find_offset, Offset
from tvjax.symmetry.groups import find_group, Group, Operation
from tvjax.symmetry.ring_search import search_rings
from tvjax.symmetry.transforms import move, Moved

Vector: TypeAlias = Float[np.ndarray, "2"]

MAX_STEPS = 12
# Of its error, or of a pixel: a step not worth taking.
SMALL = 0.02
# Of a step that may be taken.
SHARES = (0.3, 1.5)
# Frames longer than this are binned for the search, which is to within a pixel.
LONGEST = 640
# Of the possible overlap, that an offset must have to be compared at all.
LEAST_OVERLAP = 0.2


class Centre(NamedTuple):
    """A beam centre in pixels; the first pixel's centre is 0."""

    y: float
    x: float
    error: tuple[float, float]  # standard deviations; infinite where undetermined


def find_centre(
    y: Float[ArrayLike, "height width"],
    mask: Bool[ArrayLike, "height width"] | None = None,
    *,
    group: Group | str = "friedel",
    start: tuple[float, float] | None = None,
    noise: Noise | None = None,
) -> Centre:
    """Find the centre of symmetry to a fraction of a pixel.

    Each step solves A δ = −Σ G e / v for the shift δ, with e the differences from the
    orbit mean, G what a shift adds to them and v their variance (Gauss–Newton). The
    error is the curvature's, times √(chi-squared over its freedom) where that is above
    one.

    Args:
        y: Image.
        mask: True where a pixel is valid.
        group: From `find_group`, or its name. A mirror fixes the centre along one axis
            only; along the other it stays where it began, with an infinite error.
        start: (y, x) within about two pixels; by default the offset of the largest
            mask-normalized correlation (Padfield 2012, 10.1109/TIP.2011.2181402), or
            for "azimuthal" where the rings are even, if those agree better there.
        noise: By default estimated.

    Raises:
        ValueError: For a start outside the image, or values that are not finite under
            the mask.
    """
    group = find_group(group) if isinstance(group, str) else group
    noise = estimate_noise(y, mask) if noise is None else noise
    y, valid = check_pattern(y, mask)
    if start is None:
        start = _search(y, valid, group)
        if group.continuous:
            starts = start, search_rings(y, valid)
            start = min(starts, key=partial(_disagreement, y, valid, group, noise))
    check_centre(start, y.shape, group)
    place, errors = _refine(y, valid, group, start, noise)
    return Centre(
        float(place[0]), float(place[1]), (float(errors[0]), float(errors[1]))
    )


def check_centre(
    centre: tuple[float, float], shape: tuple[int, int], group: Group
) -> None:
    """Raise a `ValueError` unless the centre lies in the image.

    Rings about a beam that passes beside the detector, by its size at most, are rings.
    """
    beside = float(group.continuous)
    if len(centre) != 2 or not all(
        -0.5 - beside * size <= c <= (1 + beside) * size - 0.5
        for c, size in zip(centre, shape, strict=True)
    ):
        raise ValueError(
            f"`centre` must lie in the image of shape {shape}, got "
            f"{tuple(map(float, centre))}; give (y, x) in pixels, the first one's "
            "centre being 0, or take 'azimuthal' if the beam passes beside."
        )


def check_pattern(
    y: Float[ArrayLike, "height width"], mask: Bool[ArrayLike, "height width"] | None
) -> tuple[Array, Array]:
    """The image in floating point and its mask, or a sentence on what is wrong."""
    y = jnp.asarray(y)
    if jnp.iscomplexobj(y) or y.ndim != 2 or y.size == 0:
        raise ValueError(
            f"expected an image (y, x) of real numbers, got shape {y.shape} of "
            f"{y.dtype}; take the frames of a series one by one."
        )
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    valid = jnp.ones(y.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if valid.shape != y.shape:
        raise ValueError(f"`mask` has shape {valid.shape}, but the image {y.shape}.")
    if not bool(jnp.any(valid)):
        raise ValueError("`mask` leaves no valid pixel; True means valid.")
    bad = int(jnp.sum(~jnp.isfinite(y) & valid))
    if bad:
        raise ValueError(
            f"{bad} pixels are NaN or infinite under a valid mask; mark them invalid "
            "with mask=numpy.isfinite(image)."
        )
    return jnp.where(valid, y, 0), valid


def _disagreement(
    y: Array, mask: Array, group: Group, noise: Noise, centre: tuple[float, float]
) -> float:
    """Chi-squared of the orbit differences over its freedom."""
    with_any_centre = jnp.asarray(centre, y.dtype)
    return float(find_offset(y, group, with_any_centre, mask, noise).scale)


def _refine(
    y: Array, mask: Array, group: Group, start: tuple[float, float], noise: Noise
) -> tuple[Vector, Vector]:
    """Gauss–Newton steps of at most a pixel, and the errors of the last.

    The slope of a smoothed pattern is too small, so that steps are too long, always by
    the same share: two of them tell it.
    """
    size = np.asarray(y.shape, float)
    beside = float(group.continuous) * size
    fixed = np.asarray(determined(group))
    place, last, share = np.asarray(start, float), np.ones(2), 1.0
    for _ in range(MAX_STEPS):
        offset = find_offset(y, group, jnp.asarray(place, y.dtype), mask, noise)
        step, errors = _newton_step(offset, fixed)
        if np.all(np.abs(last) < 1):  # it was not cut short
            ratio = step @ last / max(last @ last, np.finfo(float).tiny)
            share = np.clip(share / (1 - min(ratio, 0.5)), *SHARES)
        place = np.clip(place + share * step, -beside, size - 1 + beside)
        last = step
        if not np.any(np.abs(step) > SMALL * np.minimum(errors, 1)):
            break
    return place, errors


def _newton_step(offset: Offset, fixed: Bool[np.ndarray, "2"]) -> tuple[Vector, Vector]:
    """The shift and its errors, along the axes that the group fixes."""
    both = fixed[:, None] & fixed[None, :]
    information = np.where(both, np.asarray(offset.information, float), np.eye(2))
    if not (np.all(np.diag(information) > 0) and np.linalg.det(information) > 0):
        return np.zeros(2), np.full(2, np.inf)
    inverse = np.linalg.inv(information)
    spread = inverse @ np.asarray(offset.covariance, float) @ inverse
    variance = np.diag(spread) * max(float(offset.scale), 1)
    step = inverse @ np.where(fixed, offset.score, 0)
    return np.clip(step, -1, 1), np.where(fixed, np.sqrt(variance), np.inf)


def _search(y: Array, mask: Array, group: Group) -> tuple[float, float]:
    """The centre to about a pixel, by correlation with the moved image."""
    step = -(-max(y.shape) // LONGEST)
    image, valid = (
        bin_pixels(z, step) for z in (jnp.where(mask, y, 0), mask.astype(y.dtype))
    )
    operation = _telling_operation(group)
    root, known = _even_out(image, valid)
    moved = _move(root, operation, tuple((n - 1) / 2 for n in image.shape), known)
    # nothing is to be learned along a mirror
    free = np.asarray(determined(group))
    lag = np.asarray(_largest_correlation(root, known, moved, free), float)
    middle = (np.asarray(image.shape) - 1) / 2
    # y(r) = y(c + R (r − c)) and moved(r) = y(m + R (r − m)): R lag = (I − R)(c − m)
    matrix = operation.matrix
    place = middle + np.linalg.pinv(np.eye(2) - matrix) @ matrix @ lag
    place = np.clip(step * place + (step - 1) / 2, 0, np.asarray(y.shape) - 1.0)
    return float(place[0]), float(place[1])


def _telling_operation(group: Group) -> Operation:
    """The operation that says most of the centre: two-fold where there is one."""
    two_fold = find_group("friedel")
    if group.contains(two_fold):
        return two_fold.operations[1]
    return group.operations[1]


_move = eqx.filter_jit(move)


@jax.jit
def _even_out(y: Array, weight: Array) -> tuple[Array, Array]:
    """What is correlated, and where it is known.

    The root evens out the counts' noise and lets no bright pixel decide alone.
    """
    valid = weight > 0.5 * jnp.max(weight)
    smooth = blur(y / jnp.where(valid, weight, 1), valid, 1.5)
    root = jnp.sign(smooth) * jnp.sqrt(jnp.abs(smooth))
    return jnp.where(valid, root - jnp.mean(root, where=valid), 0), valid


@jax.jit
def _largest_correlation(
    image: Array, valid: Array, moved: Moved, free: Bool[np.ndarray, "2"]
) -> Array:
    """The lag at which the moved image is most like the image, in its own range.

    Zero along an axis that is not free.
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
    score = correlation * jnp.sqrt(pixels)  # what chance would give is of unit size
    score = jnp.where(pixels > LEAST_OVERLAP * jnp.max(pixels), score, -jnp.inf)
    for axis, length in enumerate(lengths):
        allowed = free[axis] | (jnp.arange(length) == 0)
        score = jnp.where(jnp.expand_dims(allowed, 1 - axis), score, -jnp.inf)
    best = jnp.stack(jnp.unravel_index(jnp.argmax(score), lengths))
    size = jnp.asarray(lengths)
    return jnp.where(best >= size // 2, best - size, best)
