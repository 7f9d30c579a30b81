import numpy as np
import pytest

from tvjax.simulate import (
    add_gaussian,
    count,
    draw_shifts,
    jitter,
    nickel_energies,
    scale_to_bytes,
    xanes_stack,
)
from tvjax.simulate.nickel import EDGE
from tvjax.simulate.particle import part_into_grains

ENERGIES = nickel_energies(40)
# Every pixel of a frame is alike.
PLAIN = xanes_stack(thickness=np.ones((64, 64)), energies=ENERGIES, num_states=1)


@pytest.fixture(scope="module", params=["regions", "random", "gradient"])
def stack(request):
    return xanes_stack((64, 72), energies=ENERGIES, arrangement=request.param, seed=3)


@pytest.fixture(scope="module")
def blob():
    """A particle that is a Gaussian, hence band-limited to rounding."""
    y, x = np.indices((48, 56))
    thickness = np.exp(-((y - 22) ** 2 + (x - 27) ** 2) / 18)
    return xanes_stack(thickness=thickness, energies=ENERGIES[::8], num_states=1)


def test_the_truth_is_made_of_its_parts(stack):
    amounts = stack.fractions.astype(float) * stack.thickness
    whole = np.einsum("shw,se->ehw", amounts, stack.absorption)
    # Rounding of float32.
    np.testing.assert_allclose(stack.truth, whole, rtol=1e-6, atol=1e-6)
    assert stack.truth.dtype == np.float32
    assert np.all(stack.truth[:, ~stack.mask] == 0)
    assert 1 < stack.truth.max() < 3, "optical density must be of order 1"
    # Sums of two shares, each rounded to float32.
    np.testing.assert_allclose(stack.fractions.sum(axis=0), 1, atol=1e-6)


def test_the_truth_has_as_many_components_as_states(stack):
    values = np.linalg.svd(
        stack.truth.reshape(len(ENERGIES), -1).astype(float), compute_uv=False
    )
    assert np.sum(values > 1e-5 * values[0]) == len(stack.spectra) == 5


def test_the_background_falls_as_the_tangent_of_the_cube():
    stack = xanes_stack((16, 16), energies=ENERGIES, density=2.0, background=0.7)
    line = stack.absorption / 2 - stack.spectra
    # The next term of the series, 6 (ΔE/E₀)², and a tenth for those that follow.
    bound = 1.1 * 0.7 * 6 * ((ENERGIES - EDGE) / EDGE) ** 2 + 1e-12
    assert np.all(np.abs(line - 0.7 * (EDGE / ENERGIES) ** 3) <= bound)


def test_regions_give_each_grain_one_state():
    stack = xanes_stack((64, 72), energies=ENERGIES, seed=3)
    grains, _, _ = part_into_grains((64, 72), 3)
    for grain in np.unique(grains):
        assert len(np.unique(stack.states[grains == grain])) == 1
    assert set(stack.states[stack.mask]) == set(range(5))
    np.testing.assert_array_equal(stack.fractions.max(axis=0), 1)


def test_random_states_are_uniform_and_independent():
    stack = xanes_stack((64, 72), energies=ENERGIES, arrangement="random")
    share = np.bincount(stack.states.ravel()) / stack.states.size
    error = 4 * np.sqrt(0.2 * 0.8 / stack.states.size)  # four standard errors
    np.testing.assert_allclose(share, 0.2, atol=error)
    for axis in (0, 1):
        alike = np.diff(stack.states, axis=axis) == 0
        assert abs(alike.mean() - 0.2) < 4 * np.sqrt(0.16 / alike.size)


def test_a_gradient_falls_from_the_core_to_the_surface():
    y, x = np.indices((65, 65))
    distance = np.hypot(y - 32, x - 32)
    disc = distance <= 30
    stack = xanes_stack(thickness=disc, energies=ENERGIES, arrangement="gradient")
    expected = 4 - 2 * (distance / 30) ** 2  # the area that a circle encloses
    # A pixel's half is 1/60 of the radius, and the valence falls by 4 at most a radius.
    np.testing.assert_allclose(stack.valence[disc], expected[disc], atol=4 / 60)
    outward = np.argsort(distance[disc], kind="stable")
    assert np.diff(stack.valence[disc][outward]).max() < 1e-6  # float32
    assert np.sum(stack.fractions > 0, axis=0).max() <= 2


def test_every_state_of_a_gradient_has_its_part_of_the_material():
    stack = xanes_stack((64, 72), energies=ENERGIES, arrangement="gradient", seed=3)
    amounts = np.sum(stack.fractions * stack.thickness, axis=(1, 2), dtype=float)
    # Valences spread evenly over four intervals, each shared by its two ends, but for
    # shells of one pixel or a few of 2,000.
    np.testing.assert_allclose(
        amounts / amounts.sum(), [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8], atol=1e-3
    )


def test_an_image_may_stand_for_the_thickness_and_spectra_may_be_given():
    image = np.random.default_rng(0).uniform(size=(20, 30))
    own = np.asarray([[0.0, 1.0, 1.0], [0.0, 0.5, 1.0]])
    stack = xanes_stack(
        thickness=image,
        energies=[8300, 8350, 8400],
        spectra=own,
        arrangement="random",
        background=0,
    )
    expected = own[stack.states].transpose(2, 0, 1) * image
    np.testing.assert_allclose(stack.truth, expected, rtol=1e-6)  # float32
    np.testing.assert_array_equal(stack.valences, [2, 4])


def test_scaling_to_bytes_changes_the_unit_alone():
    scaled = scale_to_bytes(PLAIN)
    np.testing.assert_allclose(scaled.truth.max(), 255, rtol=1e-6)  # float32
    scale = 255 / PLAIN.truth.max()
    np.testing.assert_allclose(scaled.truth, PLAIN.truth * scale, rtol=1e-6)
    np.testing.assert_allclose(
        scaled.truth[:, 0, 0], scaled.absorption[0], rtol=1e-6, atol=1e-4
    )


@pytest.mark.parametrize("sigma", [10, 150])
def test_gaussian_noise_gives_the_peak_ratio_of_its_level(sigma):
    scaled = scale_to_bytes(PLAIN)
    noise = add_gaussian(scaled, sigma).astype(float) - scaled.truth
    ratio = 10 * np.log10(255**2 / np.mean(noise**2))
    # Four standard errors √(2/n) of a mean square, in dB.
    error = 4 * 10 / np.log(10) * np.sqrt(2 / noise.size)
    assert abs(ratio - 20 * np.log10(255 / sigma)) < error
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(noise.size)


@pytest.mark.parametrize("kind", ["white", "walk"])
def test_shifts_have_exactly_the_mean_and_deviation_asked_for(kind):
    shifts = draw_shifts(40, 4.0, 2, kind=kind)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.mean(shifts**2, axis=0)), 4)


def test_the_steps_of_a_walk_are_white_shifts():
    steps = np.diff(draw_shifts(40, 1.0, kind="walk"), axis=0)
    for step, white in zip(steps.T, draw_shifts(40, 1.0)[1:].T, strict=True):
        np.testing.assert_allclose(np.corrcoef(step, white)[0, 1], 1)


def test_jitter_by_whole_pixels_is_an_exact_move(stack):
    shifts = np.zeros((len(ENERGIES), 2))
    shifts[1], shifts[2] = (3, -5), (-2, 7)
    moved = jitter(stack, shifts).truth
    np.testing.assert_array_equal(moved[0], stack.truth[0])
    np.testing.assert_array_equal(moved[1, 3:, :-5], stack.truth[1, :-3, 5:])
    np.testing.assert_array_equal(moved[2, :-2, 7:], stack.truth[2, 2:, :-7])


def test_jitter_by_fractions_moves_a_smooth_scene_to_its_closed_form(blob):
    shifts = np.asarray([[0.3, -0.5], [1.25, 2.8], [-3.6, 0.0], [0.5, 0.5], [2, -1.1]])
    moved = jitter(blob, shifts).truth
    y, x = np.indices((48, 56))
    for n, (down, right) in enumerate(shifts):
        expected = np.exp(-((y - 22 - down) ** 2 + (x - 27 - right) ** 2) / 18)
        # Rounding of float32.
        np.testing.assert_allclose(
            moved[n], expected * blob.absorption[0, n], atol=1e-6
        )


def test_what_leaves_the_frame_does_not_come_back():
    image = np.zeros((32, 32))
    image[28] = 1
    line = xanes_stack(thickness=image, energies=ENERGIES[:2], num_states=1)
    np.testing.assert_array_equal(jitter(line, [[10, 0], [6, 3]]).truth, 0)


def test_jitter_keeps_the_rest_of_the_stack(blob):
    moved = jitter(blob, draw_shifts(5, 2.0))
    assert moved.thickness is blob.thickness and moved.fractions is blob.fractions


def test_seeds_reproduce_and_differ():
    def draws(seed):
        stack = xanes_stack(
            (32, 32), energies=ENERGIES[::4], arrangement="random", seed=seed
        )
        yield stack.thickness
        yield stack.states
        yield part_into_grains((32, 32), seed)[0]
        yield add_gaussian(PLAIN, 1.0, seed)
        yield from count(PLAIN, photons=100, seed=seed)
        yield draw_shifts(10, 1.0, seed)

    for first, again, other in zip(draws(0), draws(0), draws(1), strict=True):
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)


@pytest.mark.parametrize(
    ("misuse", "sentence"),
    [
        (lambda: xanes_stack((32, 32), arrangement="rings"), "got 'rings'"),
        (lambda: xanes_stack((32, 32), density=0), "`density` must be positive"),
        (lambda: xanes_stack(energies=[2, 1]), "`energies` must be one ascending"),
        (lambda: xanes_stack(spectra=np.ones((2, 3))), "needs the `energies`"),
        (
            lambda: xanes_stack(energies=[1, 2], spectra=np.ones((2, 3))),
            r"\(state, 2\) to fit `energies`, got \(2, 3\)",
        ),
        (
            lambda: xanes_stack(energies=[1, 2], spectra=np.ones((3, 2)), num_states=2),
            "be the 3 of `spectra`, got 2",
        ),
        (
            lambda: xanes_stack((16, 16), thickness=np.ones((20, 20))),
            r"`thickness`, \(20, 20\), got \(16, 16\)",
        ),
        (lambda: xanes_stack(thickness=-np.ones((20, 20))), "from -1.0 to -1.0"),
        (lambda: xanes_stack(thickness=np.zeros((20, 20))), "positive somewhere"),
        (lambda: add_gaussian(PLAIN, -1), "`sigma` must not be negative, got -1"),
        (lambda: draw_shifts(1, 2.0), "at least 2 and `rms` not negative, got 1"),
        (lambda: draw_shifts(5, 1.0, kind="pink"), "got 'pink'"),
        (lambda: jitter(PLAIN, np.zeros((3, 2))), r"energies, got shape \(3, 2\)"),
        (lambda: jitter(PLAIN, np.full((40, 2), 64)), "got up to 64"),
    ],
)
def test_misuse_is_told_in_a_sentence(misuse, sentence):
    with pytest.raises(ValueError, match=sentence):
        misuse()
