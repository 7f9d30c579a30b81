import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.registration.scenes import band_limited, discs, masked, SHAPE, SHIFTS
from tvjax.registration import estimate_shift
from tvjax.registration.pair import search_range

SCENE, STACK = np.zeros((16, 16)), np.zeros((3, 16, 16))


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


def test_a_search_is_a_quarter_of_the_frame_but_32_pixels_at_most():
    assert search_range(None, (40, 100)) == 10
    assert search_range(None, (500, 400)) == 32
    assert search_range(None, (3, 3)) == 1
    assert search_range(7, (16, 16)) == 7


def test_a_shift_in_the_other_direction_has_the_other_sign():
    moving, fixed = band_limited(SHIFTS[1]), band_limited((0, 0))
    there, back = estimate_shift(moving, fixed), estimate_shift(fixed, moving)
    # the interpolation between the pixels, as above
    np.testing.assert_allclose(there.shift, -jnp.asarray(back.shift), atol=0.02)


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: estimate_shift(SCENE, SCENE[1:]), "`moving` and `fixed` must be two"),
        (lambda: estimate_shift(STACK, STACK), "use `jax.vmap` for more"),
        (lambda: estimate_shift(SCENE, SCENE, mask=SCENE[0]), "`mask` must have the"),
        (lambda: estimate_shift(SCENE, SCENE, fixed_mask=STACK), "`fixed_mask` must"),
        (lambda: estimate_shift(SCENE, SCENE, max_shift=16), "less than the sides"),
        (lambda: estimate_shift(SCENE, SCENE, by="phase"), "`by` must be .* 'phase'"),
    ],
)
def test_misuse_gets_a_sentence(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse()
