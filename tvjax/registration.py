"""By how much did each frame move, and what does the stack look like at rest?

A shift is the displacement of a frame in pixels, (y, x): where frame i shows the scene
moved by sᵢ,

    yᵢ(r) = scene(r − sᵢ),

`shift_image(yᵢ, sᵢ)` moves it back. A pixel whose value is not finite counts as
invalid, whatever the mask says.
"""

from functools import partial
from typing import get_args, Literal, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

By: TypeAlias = Literal["intensity", "gradient"]
Mask: TypeAlias = Bool[ArrayLike, "height width"]
StackMask: TypeAlias = Mask | Bool[ArrayLike, "energy height width"]

# Taps on either side of an interpolated point.
REACH = 5
# Standard deviation in pixels of the smoothing before differences are taken.
SMOOTHING = 1.0
# The mask, smoothed over 2 pixels, weighs nothing below 0.85: that is 2 pixels from an
# edge, where the smoothed gradient still sees what is missing. A hard edge would also
# ring between the pixels.
SOFTENING, FULL_ENOUGH = 2.0, 0.85
# The share of the frame that must overlap for a correlation to count.
OVERLAP = 0.25
# The neighbors in energy that a frame is compared with.
STRIDES = (1, 2, 4)
# Pairs of frames that agree do so within this many pixels.
AGREEMENT = 0.5


class ShiftEstimate(NamedTuple):
    """The displacement of one frame, and how far to trust it."""

    shift: Float[Array, "2"]  # (y, x) in pixels
    confidence: Float[Array, ""]  # by how much the peak is above the second peak
    peak: Float[Array, ""]  # correlation at the shift, at most 1


class Shifted(NamedTuple):
    """An image that was moved back, and what of it is known."""

    image: Real[Array, "height width"]  # 0 where invalid
    mask: Bool[Array, "height width"]


class Registration(NamedTuple):
    """The displacements of the frames of a stack."""

    shifts: Float[Array, "energy 2"]  # (y, x) in pixels
    confidence: Float[Array, " energy"]  # as in `ShiftEstimate`; 0 where not found
    mask: Bool[Array, "height width"]  # True where every frame is valid once aligned


class Aligned(NamedTuple):
    """A stack at rest."""

    stack: Real[Array, "energy height width"]  # 0 where invalid
    mask: Bool[Array, "energy height width"]  # of each frame
    common: Bool[Array, "height width"]  # True where every frame is valid


class Features(NamedTuple):
    """What is compared of a frame, and how much each pixel counts, from 0 to 1."""

    weight: Float[Array, "height width"]
    values: Float[Array, "height width"]


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
    anew for each s. Hence neither a gap of the detector nor the border of the frame
    passes for a feature that did not move (Padfield 2012, 10.1109/TIP.2011.2181402).
    The highest ρ at whole pixels is refined by Fourier sums at just the points needed
    (Guizar-Sicairos, Thurman and Fienup 2008, 10.1364/OL.33.000156), and a parabola
    through these.

    Args:
        moving: The frame that moved.
        fixed: The frame that it is compared with.
        mask: True where a pixel of `moving` is valid.
        fixed_mask: The same of `fixed`; by default `mask`.
        max_shift: Search up to this many pixels in y and in x. By default 32, or a
            quarter of the frame where that is less.
        by: `"intensity"` compares the images. `"gradient"` compares |∇y| of the image
            smoothed over one pixel: where a feature turns from bright to dark, ∇y
            changes its sign, but not its length.

    Returns:
        The shift, its confidence and the correlation. A frame without contrast has zero
        shift and zero confidence; so has a peak at the edge of the search, which is
        none, a confidence of zero.

    Raises:
        ValueError: For shapes that do not match, or a search beyond the frame.
    """
    moving, fixed = jnp.asarray(moving), jnp.asarray(fixed)
    if moving.ndim != 2 or moving.shape != fixed.shape:
        raise ValueError(
            "`moving` and `fixed` must be two images of one shape, got "
            f"{moving.shape} and {fixed.shape}; use `jax.vmap` for more."
        )
    mask = _valid("mask", mask, moving.shape)
    if fixed_mask is None:
        fixed_mask = mask
    fixed_mask = _valid("fixed_mask", fixed_mask, fixed.shape)
    max_shift = _search(max_shift, moving.shape)
    return _estimate(moving, fixed, mask, fixed_mask, max_shift, _checked(by))


def shift_image(
    image: Real[ArrayLike, "height width"],
    shift: Float[ArrayLike, "2"],
    *,
    mask: Mask | None = None,
    whole_pixels: bool = False,
) -> Shifted:
    """Undo a shift: x(r) = Σ_q L(r + s − q) y(q) / Σ_q L(r + s − q), q valid.

    L is Lanczos' kernel of 5 pixels. What is invalid or beyond the border is left out
    of both sums and never leaks. A pixel of the result is valid where
    the (up to four) pixels around r + s are. Differentiable in image and shift. Where
    the shift is a whole number, the valid pixels are copied exactly.

    Args:
        image: The frame that moved, in any unit.
        shift: Its displacement (y, x) in pixels, as from `estimate_shift`.
        mask: True where a pixel is valid.
        whole_pixels: Round the shift, and keep noise and type of the data as they are.

    Returns:
        The image, floating point unless `whole_pixels`, and its mask.

    Raises:
        ValueError: For shapes that do not match.
    """
    image, shift = jnp.asarray(image), jnp.asarray(shift, float)
    if image.ndim != 2:
        raise ValueError(
            f"`image` must have two axes, got shape {image.shape}; "
            "use `align` or `jax.vmap` for a stack."
        )
    if shift.shape != (2,):
        raise ValueError(f"`shift` must be a pair (y, x), got shape {shift.shape}.")
    mask = _valid("mask", mask, image.shape)
    return _shift_image(image, shift, mask, whole_pixels)


def register(
    stack: Real[ArrayLike, "energy height width"],
    *,
    mask: StackMask | None = None,
    reference: Literal["neighbors", "mean"] | int = "neighbors",
    by: By = "gradient",
    num_rounds: int = 3,
    whole_pixels: bool = False,
    max_shift: int | None = None,
) -> Registration:
    """Find the displacements of all frames of a stack.

    Each frame is compared with those 1, 2 and 4 further on, where the contrast is still
    much the same, and the displacements dᵢⱼ between them are combined to

        min_s Σ wᵢⱼ ‖sⱼ − sᵢ − dᵢⱼ‖²,

    wᵢⱼ the confidence of the pair, which fades where it contradicts the others. Sums of
    differences drift, thus every round compares each frame with the mean of what is
    compared of all the *others*, aligned: with itself in the mean, it would stay where
    it is. Memory: the stack and a few frames.

    Args:
        stack: Frames, in any unit; denoised ones will do, their shifts can be applied
            to the raw ones.
        mask: True where a pixel is valid, for all frames or for each.
        reference: What a frame is first compared with: its neighbors in energy, the
            mean of the frames as they are, or the one frame of this index.
        by: What is compared, as in `estimate_shift`.
        num_rounds: Rounds against the mean.
        whole_pixels: Round the shifts.
        max_shift: Greatest displacement between two frames, as in `estimate_shift`.

    Returns:
        Displacements, confidence and common mask. The displacements have mean zero over
        the frames that were found, or are zero for the frame given as `reference`. A
        frame that was not found, since it has no contrast, has shift and confidence 0.

    Raises:
        ValueError: For fewer than two frames, shapes that do not match, a reference
            that does not exist, or a search beyond the frame.
    """
    stack = _frames(stack)
    mask = _stack_mask(mask, stack.shape)
    index = _reference(reference, len(stack))
    if num_rounds < 0:
        raise ValueError(f"`num_rounds` must not be negative, got {num_rounds}.")
    max_shift = _search(max_shift, stack.shape[1:])
    by = _checked(by)
    if index == "neighbors":
        start = _from_neighbors(stack, mask, by, max_shift)
    elif index == "mean":
        dtype = jnp.promote_types(stack.dtype, jnp.float32)
        start = jnp.zeros((len(stack), 2), dtype), jnp.ones(len(stack), dtype)
    else:
        start = _from_frame(stack, mask, index, by, max_shift)
    shifts, confidence = start
    if num_rounds:
        shifts, confidence = _refine(stack, mask, *start, num_rounds, by, max_shift)
    shifts = _gauge(shifts, confidence, index)
    shifts = jnp.round(shifts) if whole_pixels else shifts
    return Registration(shifts, confidence, _meet(stack, mask, shifts))


def align(
    stack: Real[ArrayLike, "energy height width"],
    registration: Registration,
    *,
    mask: StackMask | None = None,
    whole_pixels: bool = False,
) -> Aligned:
    """Undo the displacements of all frames, as `shift_image` does that of one.

    Args:
        stack: The frames, which need not be those that were compared.
        registration: Their displacements, from `register`.
        mask: True where a pixel is valid, for all frames or for each.
        whole_pixels: Round the shifts, and keep noise and type of the data.

    Raises:
        ValueError: For shapes that do not match.
    """
    stack = _frames(stack)
    mask = _stack_mask(mask, stack.shape)
    shifts = jnp.asarray(registration.shifts)
    if shifts.shape != (len(stack), 2):
        raise ValueError(
            f"`registration` must have a shift for each of {len(stack)} frames, "
            f"got shape {shifts.shape}."
        )
    return _align(stack, shifts, mask, whole_pixels)


@partial(jax.jit, static_argnums=(4, 5))
def _estimate(moving, fixed, mask, fixed_mask, max_shift, by):
    frames, masks = jnp.stack([fixed, moving]), jnp.stack([fixed_mask, mask])
    return _compare(*_pair(frames, masks, by), max_shift)


@partial(jax.jit, static_argnums=3)
def _shift_image(image, shift, mask, whole_pixels):
    mask = mask & jnp.isfinite(image)
    image = jnp.where(mask, image, 0)
    base = jnp.round(shift)
    if whole_pixels:
        mask = _shift_mask(mask, base)
        return Shifted(jnp.where(mask, _copy(image, base), 0), mask)
    image = image.astype(jnp.promote_types(image.dtype, jnp.float32))
    valid = _shift_mask(mask, shift)
    total = _resample(mask.astype(image.dtype), shift)
    image = _resample(image, shift) / jnp.where(valid, total, 1)
    return Shifted(jnp.where(valid, image, 0), valid)


@partial(jax.jit, static_argnums=(3, 4))
def _from_frame(stack, mask, index, by, max_shift):
    """Shifts and confidence of all frames against one."""
    fixed = _features(stack[index], mask[index], by)

    def one(frame):
        return _compare(fixed, _features(*frame, by), max_shift)

    shifts, confidence, _ = lax.map(one, (stack, mask))
    return shifts, confidence


@partial(jax.jit, static_argnums=3)
def _align(stack, shifts, mask, whole_pixels):
    def one(item):
        return _shift_image(*item, whole_pixels)

    aligned, valid = lax.map(one, (stack, shifts, mask))
    return Aligned(aligned, valid, valid.all(0))


@partial(jax.jit, static_argnums=(2, 3))
def _from_neighbors(stack, mask, by, max_shift):
    """Shifts and confidence from pairs of frames that are near in energy."""
    count = len(stack)
    pairs = np.asarray([(i, i + d) for d in STRIDES for i in range(count - d)])

    def one(pair):
        return _compare(*_pair(stack[pair], mask[pair], by), max_shift)

    found, trust, _ = lax.map(one, jnp.asarray(pairs))
    incidence = np.zeros((len(pairs), count))
    incidence[np.arange(len(pairs)), pairs[:, 0]] = -1
    incidence[np.arange(len(pairs)), pairs[:, 1]] = 1
    incidence = jnp.asarray(incidence, found.dtype)
    shifts, weight = _least_squares(incidence, found, trust, max_shift)
    touched = jnp.abs(incidence)
    return shifts, weight @ touched / touched.sum(0)


def _least_squares(incidence, found, trust, max_shift):
    """Absolute shifts from differences, of which some are far off.

    The tolerance of contradictions falls in steps from the search to `AGREEMENT`, so
    that the start, where wrong pairs still count, is not what the end depends on.
    """
    exact = lax.Precision.HIGHEST

    def solve(last, scale):
        shifts, _ = last
        residual = found - jnp.matmul(incidence, shifts, precision=exact)
        weight = trust / (1 + jnp.sum(residual**2, 1) / scale**2) ** 2
        weighted = incidence.T * weight
        normal = jnp.matmul(weighted, incidence, precision=exact)
        # A step from where we are: the damping, for frames that are tied to no other,
        # then biases no shift, and the rounding of one solve is mended by the next.
        damping = 1e-5 * jnp.max(jnp.diag(normal)) + jnp.finfo(found.dtype).tiny
        normal = normal + damping * jnp.eye(len(shifts), dtype=found.dtype)
        right = jnp.matmul(weighted, residual, precision=exact)
        return (shifts + jnp.linalg.solve(normal, right), weight), None

    scales = np.geomspace(max(max_shift, AGREEMENT), AGREEMENT, 8)
    start = jnp.zeros((incidence.shape[1], 2), found.dtype), trust
    return lax.scan(solve, start, jnp.asarray(scales, found.dtype))[0]


@partial(jax.jit, static_argnums=(5, 6))
def _refine(stack, mask, shifts, confidence, num_rounds, by, max_shift):
    """Rounds against the mean, from the shifts and confidence so far."""

    def one_round(_, found):
        return _against_mean(stack, mask, *found, by, max_shift)

    return lax.fori_loop(0, num_rounds, one_round, (shifts, confidence))


def _against_mean(stack, mask, shifts, confidence, by, max_shift):
    """Compare every frame with the mean of all others, at the shifts so far."""

    def features(i):
        return _features(stack[i], mask[i], by)

    def at_rest(i):
        weight, values = features(i)
        both = jnp.stack([weight, weight * values])
        resample = jax.vmap(_resample, (0, None))
        return confidence[i] * resample(both, shifts[i])

    def add(total, i):
        return total + at_rest(i), None

    indices = jnp.arange(len(shifts))
    empty = jax.tree.map(jnp.zeros_like, jax.eval_shape(at_rest, 0))
    total, _ = lax.scan(add, empty, indices)
    trust = jnp.sum(confidence)

    def one(i):
        others = total - at_rest(i)
        rest = jnp.maximum(trust - confidence[i], jnp.finfo(others.dtype).tiny)
        weight = jnp.maximum(others[0] / rest, 0)
        seen = weight > 1e-3
        values = jnp.where(seen, others[1] / rest / jnp.where(seen, weight, 1), 0)
        fixed = _normalized(jnp.where(seen, weight, 0), values)
        return _compare(fixed, features(i), max_shift)

    found, margin, _ = lax.map(one, indices)
    # All frames move at once: moved the whole way, two would change places forever.
    share = 1 - confidence / jnp.maximum(trust, jnp.finfo(trust.dtype).tiny)
    step = jnp.where(margin > 0, share, 0)[:, None]
    return shifts + step * (found - shifts), margin


@jax.jit
def _meet(stack, mask, shifts):
    """Where all frames are valid once aligned."""

    def add(common, frame):
        image, valid, shift = frame
        return common & _shift_mask(valid & jnp.isfinite(image), shift), None

    everywhere = jnp.ones(stack.shape[1:], bool)
    return lax.scan(add, everywhere, (stack, mask, shifts))[0]


def _gauge(shifts, confidence, index):
    """Zero at the reference frame, or on average; zero where nothing was found."""
    known = confidence > 0
    if isinstance(index, int):
        origin = jnp.where(known[index], shifts[index], 0)
    else:
        total = jnp.sum(jnp.where(known[:, None], shifts, 0), 0)
        origin = total / jnp.maximum(jnp.sum(known), 1)
    return jnp.where(known[:, None], shifts - origin, 0)


def _features(image, mask, by):
    """The image or the lengths of its gradients, and the softened mask."""
    mask = mask & jnp.isfinite(image)
    z = _standardized(image, mask)
    valid = mask.astype(z.dtype)
    fullness = (_smooth(valid, SOFTENING) - FULL_ENOUGH) / (1 - FULL_ENOUGH)
    weight = jnp.where(mask, jnp.clip(fullness, 0, 1), 0)
    if by == "intensity":
        return _normalized(weight, z)
    known = _smooth(valid, SMOOTHING)
    z = _smooth(z, SMOOTHING) / jnp.where(known > 0, known, 1)
    return _normalized(weight, jnp.hypot(*jnp.gradient(z)))


def _pair(frames, masks, by):
    """Features of two frames."""
    weight, values = jax.vmap(lambda *frame: _features(*frame, by))(frames, masks)
    return Features(weight[0], values[0]), Features(weight[1], values[1])


def _standardized(image, mask):
    """Mean zero and deviation one over the valid pixels, zero elsewhere."""
    dtype = jnp.promote_types(image.dtype, jnp.float32)
    z = jnp.where(mask, image, 0).astype(dtype)
    rounding = 8 * jnp.finfo(dtype).eps * jnp.max(jnp.abs(z))
    count = jnp.maximum(jnp.sum(mask), 1)
    for _ in range(2):  # the mean of large numbers is only as good as their sum
        z = jnp.where(mask, z - jnp.sum(z) / count, 0)
    deviation = jnp.sqrt(jnp.sum(z**2) / count)
    flat = deviation <= rounding
    return jnp.where(flat, 0, z / jnp.where(flat, 1, deviation))


def _normalized(weight, values):
    """Features of weighted mean square one, unless there are none."""
    square = jnp.sum(weight * values**2) / jnp.maximum(jnp.sum(weight), 1)
    return Features(weight, values / jnp.sqrt(jnp.where(square > 0, square, 1)))


def _smooth(image, sigma):
    """Gaussian smoothing, with zeros beyond the border."""
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = jnp.asarray(kernel / kernel.sum(), image.dtype)
    for axis in (0, 1):
        pad = [(reach, reach) if k == axis else (0, 0) for k in (0, 1)]
        image = _correlate(jnp.pad(image, pad), kernel, axis)
    return image


def _compare(a, b, max_shift):
    """The displacement of features b against a."""
    # room for the search: what wraps around is beyond it; 32 keeps the FFT fast
    shape = tuple(-(-(n + max_shift) // 32) * 32 for n in a.weight.shape)
    cross = _cross_spectra(a, b, shape)
    floor = OVERLAP * jnp.sqrt(jnp.sum(a.weight) * jnp.sum(b.weight))
    lags = jnp.arange(-max_shift, max_shift + 1)
    sums = jnp.fft.irfft2(cross, shape)[:, lags[:, None], lags[None]]
    rho = _correlation(sums, floor)
    best = jnp.stack(jnp.unravel_index(jnp.argmax(rho), rho.shape))
    inner = jnp.clip(best, 1, 2 * max_shift - 1)
    around = lax.dynamic_slice(rho, inner - 1, (3, 3))

    def closer(shift, step):
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


def _cross_spectra(a, b, shape):
    """Spectra of the sums over the overlap that a weighted correlation is made of."""

    def spectra(features):
        weight, values = features
        parts = jnp.stack([weight, weight * values, weight * values**2])
        return jnp.fft.rfft2(parts, shape)

    a, b = jnp.conj(spectra(a)), spectra(b)
    pairs = ((0, 0), (1, 1), (1, 0), (0, 1), (2, 0), (0, 2))
    return jnp.stack([a[i] * b[j] for i, j in pairs])


def _correlation(sums, floor):
    """ρ from Σ w, Σ w a·b, Σ w a, Σ w b, Σ w a², Σ w b²; 0 where undefined."""
    total, product, sum_a, sum_b, square_a, square_b = sums
    enough = (total > floor) & (floor > 0)
    total = jnp.where(enough, total, 1)
    product = product - sum_a * sum_b / total
    square_a = jnp.maximum(square_a - sum_a**2 / total, 0)
    square_b = jnp.maximum(square_b - sum_b**2 / total, 0)
    # The mean squares are one: far less is rounding, not contrast.
    power = square_a * square_b
    enough = enough & (power > (1e-3 * total) ** 2)
    return jnp.where(enough, product / jnp.sqrt(jnp.where(enough, power, 1)), 0)


def _sums_at(cross, shape, shift, step):
    """The sums at 3 x 3 points about a shift, between the pixels too."""
    height, width = shape
    offsets = step * jnp.arange(-1, 2, dtype=shift.dtype)

    def waves(frequency, at):
        return jnp.exp(2j * jnp.pi * (at + offsets)[:, None] * frequency[None])

    # Half of the spectrum stands for both, but for what has no counterpart.
    both = np.full(width // 2 + 1, 2.0)
    both[[0, -1]] = 1
    rows = waves(jnp.fft.fftfreq(height, dtype=shift.dtype), shift[0])
    columns = waves(jnp.fft.rfftfreq(width, dtype=shift.dtype), shift[1])
    columns = columns * jnp.asarray(both, shift.dtype)[None]
    sums = jnp.einsum(
        "ay,kyx,bx->kab", rows, cross, columns, precision=lax.Precision.HIGHEST
    )
    return jnp.real(sums) / (height * width)


def _vertex(around):
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


def _second_peak(rho, best):
    """The highest of the other local maxima, each the highest of 5 x 5; at least 0."""
    highest = lax.reduce_window(rho, -jnp.inf, lax.max, (5, 5), (1, 1), "SAME")
    others = jnp.where(rho == highest, rho, 0).at[best[0], best[1]].set(0)
    return jnp.maximum(jnp.max(others), 0)


def _shift_mask(mask, shift):
    """Where the pixels on both sides of r + shift are valid, in y and in x."""
    base = jnp.round(shift)
    beside = base + jnp.sign(shift - base)
    mixed = jnp.stack([base[0], beside[1]]), jnp.stack([beside[0], base[1]])
    corners = [_copy(mask, corner) for corner in (base, beside, *mixed)]
    return jnp.stack(corners).all(0)


def _copy(image, shift):
    """The image moved back by whole pixels, with zeros (False) beyond the border."""
    shift = shift.astype(int)
    for axis, size in enumerate(image.shape):
        image = _take(image, jnp.arange(size) + shift[axis], axis)
    return image


def _resample(image, shift):
    """Lanczos' interpolation of the image at r + shift, zero beyond the border."""
    base = jnp.round(shift)
    rest = (shift - base).astype(image.dtype)
    base = base.astype(int)
    taps = np.arange(-REACH, REACH + 1)
    for axis, size in enumerate(image.shape):
        index = jnp.arange(-REACH, size + REACH) + base[axis]
        weights = _lanczos(rest[axis], taps)
        image = _correlate(_take(image, index, axis), weights, axis)
    return image


def _take(image, index, axis):
    index = jnp.where(index < 0, image.shape[axis], index)  # -1 is not the last one
    return jnp.take(image, index, axis, mode="fill", fill_value=0)


def _correlate(image, weights, axis):
    """Σ_k weights_k image(r + k), shorter than the image by all weights but one."""
    size = image.shape[axis] - len(weights) + 1

    def add(total, item):
        k, weight = item
        return total + weight * lax.dynamic_slice_in_dim(image, k, size, axis), None

    shape = (size, image.shape[1]) if axis == 0 else (image.shape[0], size)
    items = jnp.arange(len(weights)), weights.astype(image.dtype)
    return lax.scan(add, jnp.zeros(shape, image.dtype), items)[0]


def _lanczos(rest, taps):
    """Weights of the taps for a point `rest` from tap 0, at most half a pixel.

    sin π(rest − k) = (−1)ᵏ sin π rest, so that they are exactly 0 and 1 at a pixel.
    """
    distance = rest - taps.astype(rest.dtype)
    away = jnp.where(taps == 0, 1, distance)
    sine = (-1.0) ** taps * jnp.sin(jnp.pi * rest) / (jnp.pi * away)
    window = jnp.where(jnp.abs(distance) < REACH, jnp.sinc(distance / REACH), 0)
    weights = jnp.where(taps == 0, jnp.sinc(rest), sine) * window
    return (weights / jnp.sum(weights)).astype(rest.dtype)


def _frames(stack):
    stack = jnp.asarray(stack)
    if stack.ndim != 3 or len(stack) < 2:
        raise ValueError(
            "`stack` must have the axes (energy, height, width) and at least two "
            f"frames, got shape {stack.shape}."
        )
    return stack


def _valid(name, mask, shape):
    mask = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape != shape:
        raise ValueError(f"`{name}` must have the shape {shape}, got {mask.shape}.")
    return mask


def _stack_mask(mask, shape):
    mask = jnp.ones(shape[1:], bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape not in (shape, shape[1:]):
        raise ValueError(
            f"`mask` must have the shape {shape} or {shape[1:]}, got {mask.shape}."
        )
    return jnp.broadcast_to(mask, shape)


def _reference(reference, count):
    """The reference; a frame's index counted from the front."""
    if reference in ("neighbors", "mean"):
        return reference
    if isinstance(reference, str) or not -count <= reference < count:
        raise ValueError(
            '`reference` must be "neighbors", "mean" or the index of one of '
            f"{count} frames, got {reference!r}."
        )
    return int(reference) % count


def _search(max_shift, shape):
    if max_shift is None:
        return max(1, min(32, min(shape) // 4))
    if not 1 <= max_shift < min(shape):
        raise ValueError(
            "`max_shift` must be at least 1 and less than the sides of the frame "
            f"{shape}, got {max_shift}."
        )
    return int(max_shift)


def _checked(by):
    if by not in get_args(By):
        raise ValueError(f'`by` must be "intensity" or "gradient", got {by!r}.')
    return by
