"""Displacements that are known are found, and undone without inventing anything."""

from functools import cache

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from jax.test_util import check_grads

from tvjax.registration import (
    align,
    estimate_shift,
    register,
    register_to,
    Registration,
    remaining_shifts,
    shift_bound,
    shift_image,
)

SHAPE = (128, 128)
# One shape and one search for most tests, so that little is compiled.
SHIFTS = np.asarray([(0.0, 0.0), (3.37, -7.81), (-11.5, 0.5), (0.21, 9.66)])


def band_limited(shift, seed=0, shape=SHAPE, cutoff=0.25):
    """White noise below `cutoff` cycles a pixel, of deviation 1, moved exactly.

    It is periodic over twice the frame: what enters at one side did not leave at the
    other.
    """
    size = [2 * n for n in shape]
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=size))
    ky, kx = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None]
    spectrum *= np.exp(-((np.hypot(ky, kx) / cutoff) ** 8))
    scene = np.fft.ifft2(spectrum).real
    spectrum *= np.exp(-2j * np.pi * (ky * shift[0] + kx * shift[1]))
    moved = np.fft.ifft2(spectrum).real / scene.std()
    return moved[: shape[0], : shape[1]].astype(np.float32)


def discs(shift, brightness, seed=1, shape=SHAPE):
    """Grains with edges 2 pixels wide, moved exactly; some beyond the frame."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-30, np.asarray(shape) + 30, (len(brightness), 2))
    radii = rng.uniform(3, 8, len(brightness))
    y, x = np.indices(shape)
    image = np.zeros(shape)
    for (row, column), radius, value in zip(centres, radii, brightness, strict=True):
        distance = np.hypot(y - row - shift[0], x - column - shift[1])
        image += value / (1 + np.exp(np.minimum((distance - radius) / 0.7, 40)))
    return image.astype(np.float32)


def edge_stack(jitter):
    """Grains of which half darken, some below zero, across an edge; and the jitter.

    Noise of 0.1 for grains of about 0.5.
    """
    stack, shifts = simulated_edge(jitter)
    return stack.copy(), shifts


@cache
def simulated_edge(jitter, sigma=0.1, seed=2, count=40, shape=(96, 96)):
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.2, 0.6, 60)
    change = np.where(np.arange(60) % 2, 1, -1) * rng.uniform(0.3, 0.9, 60)
    share = 1 / (1 + np.exp(-np.linspace(-1, 1, count) / 0.15))
    shifts = jitter * rng.normal(size=(count, 2)) / np.sqrt(2)
    stack = [
        discs(shift, before + change * part, seed, shape)
        for shift, part in zip(shifts, share, strict=True)
    ]
    noise = sigma * rng.normal(size=(count, *shape))
    return (np.stack(stack) + noise).astype(np.float32), shifts


@pytest.fixture(scope="module")
def jittered():
    """Frames, where they are, and where they were found."""
    stack, shifts = edge_stack(4)
    return stack, shifts, register(stack)


def rms(found, shifts):
    """Root mean square distance, whatever the origin."""
    off = np.asarray(found) - shifts
    return np.sqrt(np.mean(np.sum((off - off.mean(0)) ** 2, 1)))


def masked(image):
    """A gap and dead pixels that stay where they are, filled with junk."""
    mask = np.random.default_rng(3).random(SHAPE) > 0.01
    mask[60:72] = mask[:, 30:34] = False
    return np.where(mask, image, 50).astype(np.float32), mask


# The matrix transform leaves 0.001 of the image; the length of a gradient is not band
# limited, where it is zero it has a kink.
@pytest.mark.parametrize(("by", "atol"), [("intensity", 0.003), ("gradient", 0.02)])
@pytest.mark.parametrize("gaps", [False, True])
def test_shifts_between_pixels_are_found_beside_gaps_that_stay(by, atol, gaps):
    fixed, mask = masked(band_limited((0, 0)))
    for shift in SHIFTS:
        moving = band_limited(shift)
        if gaps:
            found = estimate_shift(masked(moving)[0], fixed, mask=mask, by=by)
        else:
            found = estimate_shift(moving, band_limited((0, 0)), by=by)
        np.testing.assert_allclose(found.shift, shift, atol=atol)
        assert found.peak > 0.95 and found.confidence > 0.8


@pytest.mark.parametrize("by", ["intensity", "gradient"])
def test_moderate_noise_costs_less_than_a_tenth_of_a_pixel(by):
    # sigma is half the deviation of the scene: medians over many draws are 0.01 to 0.02
    rng = np.random.default_rng(4)
    fixed = band_limited((0, 0)) + 0.5 * rng.normal(size=SHAPE).astype(np.float32)
    for shift in SHIFTS:
        moving = band_limited(shift) + 0.5 * rng.normal(size=SHAPE).astype(np.float32)
        found = estimate_shift(moving, fixed, by=by)
        np.testing.assert_allclose(found.shift, shift, atol=0.1)


def test_gradients_survive_a_reversal_of_contrast_and_intensities_do_not():
    brightness = np.random.default_rng(5).uniform(0.5, 1.5, 60)
    half = brightness * np.where(np.arange(60) % 2, 1, -1)
    shift = SHIFTS[1]
    fixed = discs((0, 0), brightness)
    # Where grains of unlike contrast overlap, the edge between them does change.
    for changed, atol in ((-brightness, 0.02), (half, 0.2)):
        moving = discs(shift, changed)
        found = estimate_shift(moving, fixed)
        np.testing.assert_allclose(found.shift, shift, atol=atol)
        assert found.confidence > 0.5
        lost = estimate_shift(moving, fixed, by="intensity")
        assert lost.confidence < found.confidence / 2


def test_frames_without_contrast_have_no_shift_and_no_confidence():
    scene = band_limited((0, 0))
    flat = np.full(SHAPE, 1234.5, np.float32)
    nothing = np.zeros(SHAPE, bool)
    for by in ("intensity", "gradient"):
        for found in (
            estimate_shift(flat, scene, by=by),
            estimate_shift(scene, flat, by=by),
            estimate_shift(flat, flat, by=by),
            estimate_shift(scene, scene, mask=nothing, by=by),
        ):
            np.testing.assert_array_equal(found.shift, 0)
            assert found.confidence == 0 and found.peak == 0


def test_a_scene_that_repeats_itself_is_not_trusted():
    y, x = np.indices(SHAPE)
    lattice = (np.sin(2 * np.pi * y / 16) * np.sin(2 * np.pi * x / 16)).astype("f")
    assert estimate_shift(lattice, lattice, by="intensity").confidence < 1e-3


def test_the_edge_of_the_search_is_not_trusted():
    # a quarter of the frame is searched
    found = estimate_shift(band_limited((32, 0)), band_limited((0, 0)))
    np.testing.assert_allclose(found.shift, (32, 0), atol=1)
    assert found.confidence == 0 and found.peak > 0.5


def test_a_pedestal_and_a_gain_do_not_matter():
    moving, fixed = band_limited(SHIFTS[1]), band_limited((0, 0))
    expected = estimate_shift(moving, fixed, by="intensity")
    found = estimate_shift(1e4 + 100 * moving, 3 * fixed - 50, by="intensity")
    # float32 keeps 1e-5 of a deviation on this pedestal
    np.testing.assert_allclose(found.shift, expected.shift, atol=1e-4)


def test_frames_are_compared_side_by_side_under_vmap():
    fixed = band_limited((0, 0))
    moving = np.stack([band_limited(shift) for shift in SHIFTS])
    found = jax.vmap(estimate_shift, (0, None))(moving, fixed)
    one = estimate_shift(moving[1], fixed)
    np.testing.assert_allclose(found.shift[1], one.shift, atol=1e-4)  # float32


def test_estimates_in_both_precisions(dtype):
    moving, fixed = (band_limited(s).astype(dtype) for s in (SHIFTS[1], (0, 0)))
    found = estimate_shift(moving, fixed, by="intensity")
    assert found.shift.dtype == dtype
    np.testing.assert_allclose(found.shift, SHIFTS[1], atol=0.003)


def test_interpolation_keeps_a_smooth_scene():
    # below 0.15 cycles a pixel Lanczos' kernel of 5 errs by 0.003 of the deviation
    truth = band_limited((0, 0), cutoff=0.15)
    for shift in SHIFTS:
        image, mask = shift_image(band_limited(shift, cutoff=0.15), shift)
        inner = (slice(20, -20), slice(20, -20))
        assert mask[inner].all()
        assert np.std(np.asarray(image - truth)[inner]) < 0.01


def test_a_constant_stays_one_up_to_gap_and_border():
    image, mask = masked(np.full(SHAPE, 7.0))
    moved = shift_image(image, (1.3, -2.6), mask=mask)
    # the sums of up to 121 terms in float32
    np.testing.assert_allclose(moved.image[moved.mask], 7, rtol=1e-5)
    np.testing.assert_array_equal(moved.image[~moved.mask], 0)


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_whole_pixels_are_copied_exactly(whole_pixels):
    image = np.random.default_rng(7).poisson(1e4, SHAPE).astype(np.int32)
    moved = shift_image(image, (3.0, -5.0), whole_pixels=whole_pixels)
    np.testing.assert_array_equal(moved.image[:-3, 5:], image[3:, :-5])
    expected = np.zeros(SHAPE, bool)
    expected[:-3, 5:] = True
    np.testing.assert_array_equal(moved.mask, expected)
    assert moved.image.dtype == (image.dtype if whole_pixels else np.float32)


def test_rounding_is_to_the_nearest_pixel():
    image = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    moved = shift_image(image, (2.6, -5.4), whole_pixels=True)
    np.testing.assert_array_equal(moved.image[:-3, 5:], image[3:, :-5])


def test_a_pixel_is_valid_between_four_valid_ones():
    mask = np.ones(SHAPE, bool)
    mask[50, 60] = False
    moved = shift_image(np.zeros(SHAPE), (0.3, -1.6), mask=mask).mask
    rows, columns = np.nonzero(~np.asarray(moved[2:-2, 3:-3]))
    # r + s is between rows 49 and 50, 50 and 51; columns 59 and 60, 60 and 61
    assert {*(rows + 2)} == {49, 50} and {*(columns + 3)} == {61, 62}
    assert not moved[-1].any() and moved[0, 2:].all() and not moved[:, :2].any()


@pytest.mark.parametrize("junk", [np.nan, 1e30])
def test_what_is_masked_never_leaks(junk):
    image, mask = masked(band_limited((0, 0)))
    spoiled = np.where(mask, image, junk).astype(np.float32)
    for shift, whole_pixels in (((1.3, -2.6), False), ((2.0, 3.0), True)):
        expected = shift_image(image, shift, mask=mask, whole_pixels=whole_pixels)
        found = shift_image(spoiled, shift, mask=mask, whole_pixels=whole_pixels)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    expected = estimate_shift(image, image, mask=mask)
    found = estimate_shift(spoiled, spoiled, mask=mask)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    if not np.isfinite(junk):
        moved = shift_image(spoiled, (1.3, -2.6))
        assert np.isfinite(moved.image).all() and not moved.mask.all()


def test_derivatives_in_image_and_shift_are_those_of_differences():
    with jax.enable_x64():
        image = jnp.asarray(band_limited((0, 0), shape=(24, 24)), float)
        weights = jnp.asarray(band_limited((0, 0), 1, (24, 24)), float)

        def loss(image, shift):
            return jnp.sum(weights * shift_image(image, shift).image ** 2)

        # differences of float64 with steps of 1e-6 keep six digits
        for shift in ((0.3, -1.2), (2.45, 0.01)):
            check_grads(loss, (image, jnp.asarray(shift)), 1, ["rev"], 1e-5, 1e-5)


@pytest.mark.parametrize("jitter", [2, 6])
def test_jitter_is_found_while_the_contrast_changes(jitter):
    stack, shifts = edge_stack(jitter)
    found = register(stack)
    # measured: 0.08, of which 0.06 stays without noise, since where grains overlap
    # and change, the edges between them do move
    assert rms(found.shifts, shifts) < 0.1
    np.testing.assert_allclose(found.shifts.mean(0), 0, atol=1e-4)  # float32
    assert found.confidence.min() > 0.3


@pytest.mark.parametrize("reference", ["mean", -3])
def test_any_reference_leads_to_the_same_shifts(reference):
    stack, shifts = edge_stack(4)
    found = register(stack, reference=reference)
    assert rms(found.shifts, shifts) < 0.1
    origin = found.shifts[-3] if reference == -3 else found.shifts.mean(0)
    np.testing.assert_allclose(origin, 0, atol=1e-4)  # float32


def test_pairs_alone_do_not_drift():
    stack, shifts = edge_stack(4)
    assert rms(register(stack, num_rounds=0).shifts, shifts) < 0.1


def test_a_frame_without_contrast_stays_and_spoils_no_other():
    stack, shifts = edge_stack(4)
    stack[17] = 3.0
    found = register(stack)
    np.testing.assert_array_equal(found.shifts[17], 0)
    assert found.confidence[17] == 0
    others = np.arange(len(stack)) != 17
    assert rms(found.shifts[others], shifts[others]) < 0.1


def test_two_frames_come_to_rest():
    # the other frames have no contrast
    stack = np.ones((40, 96, 96), np.float32)
    stack[3] = band_limited((0, 0), shape=(96, 96))
    stack[4] = band_limited((3.2, -4.4), shape=(96, 96))
    for num_rounds in (1, 2):
        found = register(stack, num_rounds=num_rounds)
        # as for a pair: the kink in the length of a gradient
        np.testing.assert_allclose(found.shifts[4], (1.6, -2.2), atol=0.02)
        np.testing.assert_allclose(found.shifts[3], (-1.6, 2.2), atol=0.02)


def truncated(stack, mask, rank):
    """Images and spectra of the best stack of this rank."""
    spectra, values, pixels = np.linalg.svd(stack[:, mask], full_matrices=False)
    images = np.zeros((rank, *mask.shape))
    images[:, mask] = values[:rank, None] * pixels[:rank]
    return images, spectra[:, :rank].T


def test_low_rank_finds_what_changing_contrast_hid():
    stack, shifts = simulated_edge(4, sigma=1e-3)
    found = register(stack)
    aligned = align(stack, found)
    mask = np.asarray(aligned.common)
    images, spectra = truncated(np.asarray(aligned.stack), mask, 2)
    step = remaining_shifts(aligned.stack, images, spectra, mask=mask)
    np.testing.assert_allclose(step.mean(0), 0, atol=1e-12)
    # measured: 0.06 before, 0.007 after, of which interpolation is 0.005
    assert rms(found.shifts, shifts) > 0.04
    assert rms(np.asarray(found.shifts) + step, shifts) < 0.015


def test_a_frame_without_contrast_is_left_and_spoils_no_other():
    stack, shifts = simulated_edge(4, sigma=1e-3)
    aligned = align(stack, Registration(shifts, np.ones(40), None))
    mask = np.asarray(aligned.common)
    blank = np.asarray(aligned.stack).copy()
    blank[17] = 0
    step = remaining_shifts(blank, *truncated(blank, mask, 2), mask=mask)
    assert np.abs(step).max() < 0.02  # the interpolation, as above


def test_the_bound_of_a_gaussian_is_its_closed_form():
    y, x = np.indices((48, 48)) - 23.5
    blob = np.exp(-(y**2 + x**2) / (2 * 4**2))
    gains, sigma = np.asarray([1.0, 2.0, 0.0]), np.asarray([0.1, 0.1, 1.0])
    found = shift_bound(blob[None], gains[None], sigma=sigma)
    # the integral of (∂ᵧ e^(−r²/2w²))² is π/2 whatever w
    expected = np.asarray([0.1, 0.05, np.inf]) / np.sqrt(np.pi / 2)
    # float32; differences of eighth order are exact here
    np.testing.assert_allclose(found, expected[:, None].repeat(2, 1), rtol=1e-5)


def test_models_of_their_own_find_frames_that_are_mostly_noise():
    stack, shifts = simulated_edge(4, sigma=0.5)
    models = simulated_edge(0, sigma=1e-6)[0]
    assert rms(register(stack).shifts, shifts) > 0.3
    found = register_to(stack, models)
    # white noise that a correlation with the truth is robust to; measured: 0.15
    assert rms(found.shifts, shifts) < 0.3
    np.testing.assert_allclose(found.shifts.mean(0), 0, atol=1e-4)  # float32


def test_aligned_frames_are_valid_where_the_registration_says():
    stack, _ = edge_stack(4)
    mask = np.ones(stack.shape[1:], bool)
    mask[40:44] = False
    stack[:, ~mask] = np.nan
    for whole_pixels, num_rounds in ((False, 3), (True, 1)):
        found = register(
            stack, mask=mask, whole_pixels=whole_pixels, num_rounds=num_rounds
        )
        aligned = align(stack, found, mask=mask, whole_pixels=whole_pixels)
        assert np.isfinite(aligned.stack).all()
        np.testing.assert_array_equal(aligned.mask.all(0), aligned.common)
        np.testing.assert_array_equal(found.mask, aligned.common)
        assert 0 < found.mask.mean() < 1
    np.testing.assert_array_equal(found.shifts, np.round(found.shifts))
    dy, dx = np.asarray(found.shifts[5], int)
    inside = stack[5, 30 + dy, 50 + dx]  # the scene's (30, 50) is where it was moved to
    np.testing.assert_array_equal(aligned.stack[5, 30, 50], inside)


def test_shifts_of_smoothed_frames_serve_the_raw_ones(jittered):
    raw, _, found = jittered
    counts = np.round(100 * (raw + 3)).astype(np.int32)
    aligned = align(counts, found, whole_pixels=True)
    assert aligned.stack.dtype == counts.dtype
    assert {*np.unique(aligned.stack[aligned.mask])} <= {*np.unique(counts)}


SCENE, STACK = np.zeros((16, 16)), np.zeros((3, 16, 16))
AT_REST = Registration(np.zeros((3, 2)), np.ones(3), np.ones((16, 16), bool))


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: estimate_shift(SCENE, SCENE[1:]), "`moving` and `fixed` must be two"),
        (lambda: estimate_shift(STACK, STACK), "use `jax.vmap` for more"),
        (lambda: estimate_shift(SCENE, SCENE, mask=SCENE[0]), "`mask` must have the"),
        (lambda: estimate_shift(SCENE, SCENE, fixed_mask=STACK), "`fixed_mask` must"),
        (lambda: estimate_shift(SCENE, SCENE, max_shift=16), "less than the sides"),
        (lambda: estimate_shift(SCENE, SCENE, by="phase"), "`by` must be .* 'phase'"),
        (lambda: shift_image(STACK, (0, 0)), "`image` must have two axes"),
        (lambda: shift_image(SCENE, 1.0), r"`shift` must be a pair \(y, x\)"),
        (lambda: register(SCENE), "`stack` must have the axes"),
        (lambda: register(STACK[:1]), "at least two frames"),
        (lambda: register(STACK, mask=STACK[:2]), "`mask` must have the shape"),
        (lambda: register(STACK, reference=3), "index of one of 3 frames, got 3"),
        (lambda: register(STACK, reference="first"), "`reference` must be"),
        (lambda: register(STACK, num_rounds=-1), "`num_rounds` must not be negative"),
        (lambda: register_to(STACK, SCENE), r"`models` must have the shape \(3, 16"),
        (lambda: remaining_shifts(STACK, STACK, SCENE), "`spectra` and `sigma` must"),
        (lambda: align(STACK[:2], AT_REST), "a shift for each of 2 frames"),
    ],
)
def test_misuse_gets_a_sentence(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse()
