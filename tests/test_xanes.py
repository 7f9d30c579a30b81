import itertools
from functools import partial

import h5py
import hdf5plugin  # noqa: F401, registers the compression of a measured file
import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.optimize import nnls

from tvjax import xanes
from tvjax.xanes import choose_energies, expected_errors

EDGE = 8333.0
# As a scan: coarse before, fine over the edge, coarse behind.
ENERGIES = np.r_[
    np.arange(8200, 8320, 8), np.arange(8320, 8370, 1.0), np.arange(8372, 8600, 12)
]
PRE, POST = (-133.0, -13.0), (39.0, 260.0)
PIXELS = (3, 4)


def on_host(function):
    """The results as NumPy arrays, so that only what is tested is compiled."""
    return lambda *args, **options: jax.device_get(function(*args, **options))


chemical_map, edge_energy, fit_references, normalize, optical_density, white_line = map(
    on_host,
    (
        xanes.chemical_map,
        xanes.edge_energy,
        xanes.fit_references,
        xanes.normalize,
        xanes.optical_density,
        xanes.white_line,
    ),
)


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def exact(dtype, scale=1.0):
    """A tolerance of some hundred roundings of numbers of the size `scale`."""
    return {"rtol": 0, "atol": 300 * np.finfo(dtype).eps * scale}


def ramp(energies, start=8325.0, end=8345.0):
    return np.clip((energies - start) / (end - start), 0, 1)


def references(num=3):
    """Edges with a white line each, shifted by 2 eV from one to the next."""
    center = EDGE + 2 * np.arange(num)[:, None]
    rise = np.arctan(ENERGIES - center) / np.pi + 0.5
    return rise + 0.7 * np.exp(-(((ENERGIES - center - 5) / 3) ** 2))


def noisy(seed, shape, sigma):
    return sigma * np.random.default_rng(seed).normal(size=shape)


def slope(function, x, index, step=1e-6):
    """The derivative in one sample by a central difference."""
    change = np.zeros(x.shape)
    change[index] = step
    return (function(x + change) - function(x - change)) / (2 * step)


def test_density_is_what_the_beam_lost(dtype):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 3, (5, *PIXELS))
    light = rng.uniform(500, 900, 5)
    dark = rng.uniform(90, 110, PIXELS)
    whole = np.broadcast_to(light[:, None, None], truth.shape)
    sample = (whole * np.exp(-truth) + dark).astype(dtype)
    found = optical_density(sample, (whole + dark).astype(dtype), dark=dark)
    assert found.density.dtype == dtype and found.mask.all()
    # subtraction of the dark loses a factor of counts over the light that is left
    np.testing.assert_allclose(found.density, truth, **exact(dtype, 10))
    found = optical_density(sample, light.astype(dtype))
    np.testing.assert_allclose(found.density, -np.log(sample / whole), **exact(dtype))


def test_variance_of_the_density_is_that_of_repeated_counts():
    rng = np.random.default_rng(1)
    sample = rng.poisson(np.full((2, 20_000), [[400.0], [2000.0]]))
    flat = rng.poisson(np.full((2, 20_000), 3000.0)) + 100
    found = optical_density(sample, flat, dark=0)
    expected = np.var(np.asarray(found.density), axis=1)
    # 1 % of a variance of 20000 draws, and a bias of two over the counts
    np.testing.assert_allclose(found.variance.mean(1), expected, rtol=0.035)
    given = optical_density(
        sample, flat, dark=100, sample_variance=4 * sample, flat_variance=9.0
    )
    np.testing.assert_allclose(
        given.variance, 4 * sample / (sample - 100) ** 2 + 9 / (flat - 100) ** 2, 1e-5
    )


def test_pixels_without_light_are_invalid_and_have_no_nan():
    sample = np.asarray([[10, 100, 90, 300, 400]], np.uint16)
    flat = np.asarray([[500, 500, 90, 90, 500]], np.uint16)
    mask = np.asarray([True, True, True, True, False])
    found = optical_density(sample, flat, dark=np.uint16(99), mask=mask)
    np.testing.assert_array_equal(found.mask, [[False, True, False, False, False]])
    np.testing.assert_allclose(found.density, [[0, np.log(401), 0, 0, 0]], rtol=1e-6)
    assert np.all(np.asarray(found.variance)[~found.mask] == 0)
    spoiled = np.asarray([[0.0, -1, np.nan, np.inf, 5]], np.float32)
    found = optical_density(spoiled, 10.0)
    np.testing.assert_array_equal(found.mask, [[False] * 4 + [True]])
    assert np.isfinite(found.density).all() and np.isfinite(found.variance).all()
    gradient = jax.grad(lambda s: xanes.optical_density(s, 10.0).density.sum())(spoiled)
    np.testing.assert_allclose(gradient, [[0, 0, 0, 0, -0.2]], rtol=1e-6)


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`flat` must be a scalar .* got shape \\(7,"):
        optical_density(np.ones((5, 3)), np.ones(7))
    with pytest.raises(ValueError, match="`sample` must have an axis of energies"):
        optical_density(1.0, 1.0)


@pytest.mark.parametrize(
    ("dtype", "degree"),
    [("float32", 2), ("float64", 0), ("float64", 1), ("float64", 2)],
    indirect=["dtype"],
)
def test_any_background_comes_off_exactly(dtype, degree):
    rng = np.random.default_rng(degree)
    offset = ((ENERGIES - EDGE) / 100)[:, None, None]
    level, tilt, curl = rng.uniform(-0.2, 0.2, (3, *PIXELS))
    step = rng.uniform(0.5, 2, PIXELS)
    shape = ramp(ENERGIES)[:, None, None]
    behind = (offset > 0) * (tilt * (degree > 0) + curl * (degree > 1) * offset)
    before = level + tilt * offset if degree else level + 0 * offset
    stack = (before + step * shape + behind * offset).astype(dtype)
    found = normalize(
        stack, ENERGIES, edge=EDGE, pre=PRE, post=POST, degree=degree, significance=0
    )
    assert found.spectra.dtype == dtype and found.mask.all()
    # a parabola carries the roundings on from its window to the edge
    tolerance = exact(dtype, 10 if degree == 2 else 1)
    np.testing.assert_allclose(found.step, step, **tolerance)
    np.testing.assert_allclose(
        found.spectra, np.broadcast_to(shape, stack.shape), **tolerance
    )


def test_fits_are_those_of_numpy():
    stack = ramp(ENERGIES)[:, None] * np.asarray([1.0, 3.0]) + noisy(
        0, (len(ENERGIES), 2), 0.05
    )
    with jax.enable_x64(True):
        found = normalize(stack, ENERGIES, edge=EDGE, pre=PRE, post=POST, degree=2)
    offset = ENERGIES - EDGE
    windows = [(offset >= a) & (offset <= b) for a, b in (PRE, POST)]
    for pixel, y in enumerate(stack.T):
        line, rise = (
            np.polyfit(offset[inside], y[inside], degree)
            for inside, degree in zip(windows, (1, 2), strict=True)
        )
        step = rise[-1] - line[-1]
        below, above = np.polyval(line, offset), np.polyval(rise, offset)
        expected = np.where(offset < 0, (y - below) / step, 1 + (y - above) / step)
        # polyfit in eV is conditioned to 1e10
        np.testing.assert_allclose(found.step[pixel], step, rtol=1e-9)
        np.testing.assert_allclose(found.spectra[:, pixel], expected, atol=1e-9)


def test_step_error_is_the_scatter_of_the_step():
    stack = ramp(ENERGIES)[:, None] + noisy(1, (len(ENERGIES), 4000), 0.1)
    found = normalize(stack, ENERGIES, edge=EDGE, pre=PRE, post=POST)
    known = normalize(stack, ENERGIES, edge=EDGE, pre=PRE, post=POST, sigma=0.1)
    # the deviation of 4000 draws has an error of 1.1 %, twice that is allowed
    np.testing.assert_allclose(known.step_error, np.std(found.step), rtol=0.025)
    mean_variance = np.mean(np.asarray(found.step_error) ** 2)
    np.testing.assert_allclose(mean_variance, np.var(found.step), rtol=0.05)


def test_noise_alone_has_no_edge():
    stack = noisy(2, (len(ENERGIES), 4000), 0.1)
    found = normalize(stack, ENERGIES, edge=EDGE, pre=PRE, post=POST)
    # beyond three of t with 31 degrees of freedom lie 0.26 %; four deviations
    assert found.mask.mean() < 0.0026 + 4 * np.sqrt(0.0026 / 4000)
    assert np.all(np.asarray(found.spectra)[:, ~found.mask] == 0)


def test_default_windows_are_two_thirds_of_what_was_measured():
    stack = references(2).T + noisy(3, (len(ENERGIES), 2), 0.01)
    expected = normalize(
        stack, ENERGIES, edge=EDGE, pre=(-133, -133 / 3), post=(255 / 3, 255)
    )
    found = normalize(stack, ENERGIES, edge=EDGE)
    assert ENERGIES[0] - EDGE == -133 and ENERGIES[-1] - EDGE == 255
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_invalid_pixels_are_zero_and_send_back_no_nan():
    stack = np.stack([references(1)[0]] * 4, 1).astype(np.float32)
    stack[5, 1] = np.nan
    stack[:, 2] = 0
    mask = np.asarray([True, True, True, False])

    def outcome(stack):
        normalized = xanes.normalize(stack, ENERGIES, edge=EDGE, mask=mask)
        spectra, valid = normalized.spectra, normalized.mask
        fit = xanes.fit_references(spectra, references(), mask=valid)
        return (
            normalized,
            xanes.edge_energy(spectra, ENERGIES, mask=valid),
            xanes.white_line(spectra, ENERGIES, mask=valid),
            fit,
            xanes.chemical_map(fit, [2.0, 2.5, 3.0]),
        )

    def total(stack):
        results = outcome(stack)
        numbers = [
            leaf for leaf in jax.tree.leaves(results) if leaf.dtype == stack.dtype
        ]
        return sum(map(jnp.sum, numbers)), results

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(stack)
    for result in found:
        np.testing.assert_array_equal(result.mask, [True, False, False, False])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    gradient = np.asarray(gradient)
    assert np.isfinite(gradient).all() and np.all(gradient[:, [1, 3]] == 0)
    assert np.any(gradient[:, 0] != 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energies": ENERGIES[::-1]}, "`energies` must ascend without repeats"),
        ({"energies": ENERGIES[:-1]}, "`energies` must be one per spectrum's sample"),
        (
            {"edge": 8.333},
            "`edge` must lie within the energies, 8200 to 8588 eV, got 8",
        ),
        ({"pre": (-12, -11.5)}, "`pre` of -12 to -11.5 eV .* 1 energies .* needs 2"),
        ({"post": (0, 1)}, "`post` of 0 to 1 eV from the edge holds 2 .* needs 3"),
        ({"post": (-50, -20)}, "`post` of -50 to -20 .* holds 0 .*: widen it"),
        ({"degree": 3}, "`degree` must be 0, 1 or 2, got 3"),
        ({"sigma": np.ones(7)}, "`sigma` must be a scalar or one per pixel"),
        ({"mask": np.ones((len(ENERGIES), 1), bool)}, "give `mask.all\\(0\\)`"),
        ({"pre": (-10, -9), "post": (30, 32)}, "widen them or give `sigma`"),
    ],
)
def test_what_cannot_be_normalized_is_refused(changes, message):
    options = {"energies": ENERGIES, "edge": EDGE, "degree": 2} | changes
    with pytest.raises(ValueError, match=message):
        normalize(ramp(ENERGIES)[:, None], **options)


def test_windows_without_freedom_do_with_a_given_noise():
    stack = ramp(ENERGIES)
    found = normalize(
        stack, ENERGIES, edge=EDGE, pre=(-10, -9), post=(30, 31), sigma=1e-4
    )
    np.testing.assert_allclose(found.spectra, stack, atol=1e-4)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.93])
def test_a_straight_rise_is_crossed_where_the_line_says(dtype, level):
    grid = np.asarray([8300, 8310, 8324, 8327, 8341, 8346, 8350, 8380.0])
    # the crossing lies between samples on the ramp: 8327 at 0.1, 8341 at 0.8
    spectrum = np.interp(grid, [8325, 8345], [0, 1]).astype(dtype)
    low, high = np.searchsorted(spectrum, level) - np.asarray([1, 0])
    share = (level - spectrum[low]) / (spectrum[high] - spectrum[low])
    expected = grid[low] + share * (grid[high] - grid[low])
    found = edge_energy(spectrum, grid, level)
    assert found.mask and found.energy.dtype == dtype
    np.testing.assert_allclose(found.energy, expected, **exact(dtype, 30))


def test_an_arctangent_on_any_line_is_found_at_its_center(dtype):
    grid = EDGE + np.r_[-np.arange(150, 20, -10), np.arange(-19.5, 20), 30:160:10]
    grid = np.unique(np.r_[grid, 2 * EDGE - grid])
    rise = np.arctan((grid - EDGE) / 3) / np.pi
    tilt = np.linspace(-0.003, 0.003, 5)
    stack = 0.7 * rise[:, None] + (grid - EDGE)[:, None] * tilt[None] + 0.4
    found = normalize(
        stack.astype(dtype), grid, edge=EDGE, pre=(-150, -50), post=(50, 150)
    )
    # what is odd about the edge stays so, whatever the windows take for the background
    np.testing.assert_allclose(
        found.spectra + found.spectra[::-1], np.ones(stack.shape), **exact(dtype, 3)
    )
    edge = edge_energy(found.spectra, grid)
    assert edge.mask.all()
    np.testing.assert_allclose(edge.energy, np.full(5, EDGE), **exact(dtype, 30))


def test_neither_a_spike_before_nor_a_dip_behind_moves_the_edge():
    spectrum = references(1)[0]
    expected = edge_energy(spectrum, ENERGIES).energy
    spoiled = spectrum.copy()
    spoiled[10:12] += (
        1.9  # before: higher than the white line and steeper than the rise
    )
    spoiled[-9:-6] = 0.1
    found = edge_energy(spoiled, ENERGIES)
    assert found.mask and found.energy == expected


def test_the_crossing_is_that_of_the_best_step():
    spectra = ramp(ENERGIES)[:, None] + noisy(4, (len(ENERGIES), 4000), 0.3)
    found = edge_energy(spectra, ENERGIES)
    steps = np.arange(len(ENERGIES)) > np.arange(len(ENERGIES) - 1)[:, None]
    # Σ (y − step)² without Σ y², which is the same for all
    best = np.argmin(steps.sum(1)[:, None] - 2 * steps @ spectra, axis=0)
    assert found.mask.all()
    assert np.all(found.energy >= ENERGIES[best] - 1e-3)
    assert np.all(found.energy <= ENERGIES[best + 1] + 1e-3)
    assert np.sum((spectra[:-1] < 0.5) & (spectra[1:] >= 0.5)) > 5 * 4000


def test_the_error_of_the_edge_is_noise_over_slope():
    spectra = ramp(ENERGIES)[:, None] + noisy(5, (len(ENERGIES), 4000), 0.001)
    found = edge_energy(spectra, ENERGIES)
    # The crossing, 8335, is a sample: its noise alone counts, over a slope of 0.05.
    np.testing.assert_allclose(np.mean(found.energy), 8335, atol=0.002)
    np.testing.assert_allclose(np.std(found.energy), 0.001 / 0.05, rtol=0.05)


def test_a_spectrum_without_a_rise_has_no_edge():
    num = len(ENERGIES)
    dip = np.ones(num)
    dip[20] = 0.4
    spectra = np.stack(
        [
            *(np.zeros(num), np.ones(num), np.full(num, 0.5)),
            *(1 - ramp(ENERGIES), dip, 1.4 - dip),
        ],
        axis=1,
    )

    def total(y):
        found = xanes.edge_energy(y, ENERGIES)
        return found.energy.sum(), found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(spectra)
    assert not np.any(found.mask) and np.all(np.asarray(found.energy) == 0)
    assert np.all(np.asarray(gradient) == 0)


def test_edge_and_white_line_have_the_derivatives_of_differences(double):
    spectrum = references(1)[0]

    def features(y):
        line = xanes.white_line(y, ENERGIES)
        edge = xanes.edge_energy(y, ENERGIES, 0.4).energy
        return jnp.stack([edge, line.energy, line.height])

    both = jax.jit(lambda y: (features(y), jax.jacrev(features)(y)))
    jacobian = np.asarray(both(spectrum)[1])
    used = np.flatnonzero(np.any(jacobian != 0, axis=0))
    assert len(used) == 5
    for index in (0, *used):
        # 8000 eV are rounded to 1e-12, over a step of 1e-6
        np.testing.assert_allclose(
            jacobian[:, index], slope(lambda y: both(y)[0], spectrum, index), atol=1e-5
        )


def test_the_top_of_a_parabola_is_exact_between_uneven_samples(dtype):
    grid = np.asarray([8340, 8343, 8344, 8346.5, 8347, 8350])
    top = np.asarray([8343.3, 8344.9, 8346.8])
    height = np.asarray([1.2, 1.6, 2.0])
    spectra = height - 0.03 * (grid[:, None] - top) ** 2
    found = white_line(spectra.astype(dtype), grid)
    assert found.mask.all() and found.energy.dtype == dtype
    np.testing.assert_allclose(found.energy, top, **exact(dtype, 30))
    np.testing.assert_allclose(found.height, height, **exact(dtype))


def test_a_white_line_at_the_end_is_the_last_sample_and_invalid():
    grid = np.asarray([1.0, 2, 4, 5])
    spectra = np.asarray([[3.0, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1], [0, 1, 1, 0]])
    found = white_line(spectra.T, grid)
    np.testing.assert_array_equal(found.mask, [False, False, False, True])
    np.testing.assert_allclose(found.energy, [1, 5, 1, 3])
    np.testing.assert_allclose(found.height[:3], [3, 3, 1])
    assert found.height[3] > 1


def test_what_has_no_edge_or_white_line_is_refused():
    with pytest.raises(ValueError, match="`level` must lie between 0 and 1, got 1.5"):
        edge_energy(ramp(ENERGIES), ENERGIES, 1.5)
    with pytest.raises(ValueError, match="at least 3, got shape \\(2,\\)"):
        white_line(np.ones(2), [1.0, 2.0])
    with pytest.raises(ValueError, match="must ascend"):
        edge_energy(np.ones(3), [1.0, 2.0, 2.0])


def test_mixtures_are_taken_apart_exactly(dtype):
    weights = np.random.default_rng(6).dirichlet([0.5] * 3, PIXELS).transpose(2, 0, 1)
    weights[:, 0, 0] = [0, 1, 0]
    spectra = np.einsum("rhw,re->ehw", weights, references()).astype(dtype)
    fit = fit_references(spectra, references(), sum_to_one=True)
    assert fit.weights.dtype == dtype and fit.mask.all()
    np.testing.assert_allclose(fit.weights, weights, **exact(dtype, 3))
    np.testing.assert_allclose(fit.weights.sum(0), np.ones(PIXELS), **exact(dtype))
    np.testing.assert_allclose(fit.residual, np.zeros(PIXELS), **exact(dtype))


@pytest.mark.parametrize("num", [3, 6])
def test_active_sets_are_those_of_nnls(double, num):
    # far from any mixture, so that every subset occurs
    spectra = noisy(7, (len(ENERGIES), 100), 1.0) + 0.1
    fit = fit_references(spectra, references(num))
    expected = np.stack([nnls(references(num).T, y)[0] for y in spectra.T], 1)
    np.testing.assert_allclose(fit.weights, expected, atol=1e-10)
    np.testing.assert_array_equal(fit.weights > 0, expected > 0)
    patterns = {tuple(column) for column in (expected > 0).T}
    assert len(patterns) >= min(2**num - 1, 10)


@pytest.fixture(scope="module")
def noisy_fit():
    """4000 times a mixture in which the second leads; at first with its own weights."""
    mixture = np.asarray([0.5, 0.75, 0.7]) @ references()
    spectra = mixture[:, None] + noisy(12, (len(ENERGIES), 4000), 0.02)
    spectra[:, 0] = mixture
    spectra[:, 1] = references()[0] + references()[2]
    # what no reference follows moves no weight, and is taken for noise of 0.02
    strange = np.linalg.qr(np.c_[references().T, np.cos(ENERGIES)])[0][:, -1]
    spectra[:, :2] += 0.02 * np.sqrt(len(ENERGIES) - 3) * strange[:, None]
    return fit_references(spectra, references())


def check_errors(fit, sum_to_one):
    # the deviation of 4000 draws has an error of 1.1 %
    np.testing.assert_allclose(
        np.mean(fit.errors, axis=1), np.std(fit.weights[:, 2:], axis=1), rtol=0.04
    )
    np.testing.assert_allclose(np.mean(fit.sigma**2) ** 0.5, 0.02, rtol=0.01)
    planned = expected_errors(
        references(), np.arange(len(ENERGIES)), 0.02, sum_to_one=sum_to_one
    )
    at_one = fit.errors[:, 7] * 0.02 / fit.sigma[7]
    np.testing.assert_allclose(at_one, planned, rtol=1e-4)


def test_errors_are_the_scatter_of_the_weights(noisy_fit):
    check_errors(noisy_fit, sum_to_one=False)


def test_errors_are_the_scatter_of_weights_that_sum_to_one():
    mixture = np.asarray([0.3, 0.3, 0.4]) @ references()
    spectra = mixture[:, None] + noisy(9, (len(ENERGIES), 4000), 0.02)
    fit = fit_references(spectra, references(), sum_to_one=True)
    check_errors(fit, sum_to_one=True)


def test_fit_has_the_derivatives_of_differences(double):
    # the third weight is held at zero
    spectrum = np.asarray([0.6, 0.5, -0.2]) @ references() + 0.01 * np.cos(ENERGIES)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def outcome(y, columns):
        fit = xanes.fit_references(y, columns)
        return jnp.sum(fit.weights * jnp.asarray([1.0, 2, 3])) + fit.residual

    gradients = outcome(spectrum, references())[1]
    for index in (3, 30, 40):
        expected = slope(lambda y: outcome(y, references())[0], spectrum, index)
        np.testing.assert_allclose(gradients[0][index], expected, atol=1e-7)
        expected = slope(lambda r: outcome(spectrum, r)[0], references(), (1, index))
        np.testing.assert_allclose(gradients[1][1, index], expected, atol=1e-7)
    # with the third weight at zero, its reference does not matter
    assert np.all(gradients[1][2] == 0)


def test_each_pixel_is_fitted_by_itself():
    spectra = references()[0][:, None] + noisy(10, (len(ENERGIES), 6), 0.1)
    fit_one = jax.vmap(lambda y: xanes.fit_references(y, references()), in_axes=1)
    one = jax.device_get(fit_one(spectra))
    expected = [nnls(references().T, y)[0] for y in spectra.T]
    # single precision, times the condition of the references of 40
    np.testing.assert_allclose(one.weights, expected, atol=1e-4)


def test_what_cannot_be_fitted_is_refused():
    good, spectra = references(), np.ones((len(ENERGIES), 2))
    twice = np.stack([good[0], good[1], good[0] + good[1]])
    for columns, message in (
        (good.T, "`references` must be one spectrum a row, of 84 energies, got shape"),
        (twice, "3 `references` are mixtures of each other at these 84 energies"),
        (good * np.nan, "`references` must be finite"),
        (references(9), "at most 8 for a fit without negative weights, got 9"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_references(spectra, columns)
    with pytest.raises(ValueError, match="3 energies leave nothing .* give `sigma`"):
        fit_references(spectra[:3], good[:, 36:39])


@pytest.fixture(scope="module")
def fit():
    """A pure pixel, one that is mixed, one that is thick, and one that is empty."""
    weights = np.asarray([[1, 0.2, 0, 0], [0, 0.6, 0.5, 0], [0, 0.2, 1.5, 0]])
    return fit_references(references().T @ weights, references(), sigma=0.01)


def test_the_leading_phase_and_the_mean_valence_are_those_of_the_mixture(fit):
    found = chemical_map(fit, [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(found.phase, [0, 1, 2, -1])
    np.testing.assert_array_equal(found.mask, [True, True, True, False])
    np.testing.assert_allclose(found.valence, [2, 3, 3.75, 0], atol=1e-5)
    assert np.all(found.confidence[:3] > 0.99) and found.confidence[3] == 0.5
    assert chemical_map(fit).valence is None


def test_confidence_is_how_often_the_leading_phase_leads(noisy_fit):
    found = chemical_map(noisy_fit)
    share = np.mean(found.phase[2:] == 1)
    # a share of 4000 draws has an error of 0.7 %
    np.testing.assert_allclose(found.confidence[0], share, atol=0.025)
    assert 0.7 < share < 0.95
    np.testing.assert_allclose(found.confidence[1], 0.5, atol=1e-3)


def test_the_error_of_the_valence_is_its_scatter(noisy_fit):
    found = chemical_map(noisy_fit, [2.0, 3.0, 4.0])
    # 1.1 % of 4000 draws, and second order in an error of the weights of some percent
    np.testing.assert_allclose(
        np.mean(found.valence_error[2:]), np.std(found.valence[2:]), rtol=0.05
    )


def test_a_map_of_one_reference_or_of_other_valences_is_refused(fit):
    with pytest.raises(ValueError, match="`valences` must be one per reference, 3"):
        chemical_map(fit, [2.0])
    with pytest.raises(ValueError, match="at least two references, got 1"):
        chemical_map(fit._replace(weights=fit.weights[:1]))


def volume(columns):
    return -np.linalg.slogdet(columns @ columns.T)[1]


def total_variance(columns):
    return np.trace(np.linalg.inv(columns @ columns.T))


@pytest.mark.parametrize(
    ("criterion", "loss"), [("A", total_variance), ("D", volume)], ids=["A", "D"]
)
def test_chosen_energies_are_the_best_of_all_choices(criterion, loss):
    for seed in range(5):
        columns = np.abs(np.random.default_rng(seed).normal(size=(3, 14)))
        found = choose_energies(columns, np.arange(14.0), 5, criterion=criterion)
        subsets = map(list, itertools.combinations(range(14), 5))
        best = min(loss(columns[:, subset]) for subset in subsets)
        assert np.all(np.diff(found.indices) > 0)
        # exchanges end in a local optimum: within two percent of the best
        assert loss(columns[:, found.indices]) <= best + 0.02 * abs(best)


def test_errors_of_a_design_are_those_of_a_fit_at_its_energies(double):
    for sum_to_one in (False, True):
        design = choose_energies(references(), ENERGIES, 3, sum_to_one=sum_to_one)
        np.testing.assert_array_equal(design.energies, ENERGIES[design.indices])
        columns = references()[:, design.indices]
        inverse = np.linalg.inv(columns @ columns.T)
        if sum_to_one:
            gain = inverse.sum(1)
            inverse = inverse - np.outer(gain, gain) / gain.sum()
        np.testing.assert_allclose(design.errors**2, np.diag(inverse), rtol=1e-10)
    fit = fit_references(columns[0], columns, sum_to_one=True, sigma=1.0)
    np.testing.assert_allclose(fit.errors, design.errors, rtol=1e-10)
    np.testing.assert_allclose(
        expected_errors(references(), np.repeat(design.indices, 4), 2.0),
        expected_errors(references(), design.indices),
        rtol=1e-10,
    )


def test_chosen_energies_keep_their_distance():
    design = choose_energies(references(), ENERGIES, 5, spacing=3.0)
    assert np.diff(design.energies).min() >= 3
    crowded = choose_energies(references(), ENERGIES, 5)
    assert np.diff(crowded.energies).min() < 3
    assert np.sum(crowded.errors**2) < np.sum(design.errors**2)


def test_what_cannot_be_designed_is_refused():
    for options, message in (
        ({"num_energies": 2}, "`num_energies` must lie between 3 and 84, got 2"),
        ({"num_energies": 85}, "between 3 and 84, got 85"),
        ({"num_energies": 5, "spacing": 200}, "`spacing` of 200 eV leaves room for"),
        ({"num_energies": 5, "criterion": "E"}, "must be 'A' or 'D', got 'E'"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_energies(references(), ENERGIES, **options)
    with pytest.raises(ValueError, match="mixtures of each other at these 2 energies"):
        expected_errors(references(), [0, 1])


@pytest.mark.real
def test_measured_nickel_edges_are_in_the_order_of_their_valence(data):
    folder = data / "xanes_spectra/fxi_ni_reference"
    oxides = [np.loadtxt(folder / f"ref_{name}.txt").T for name in ("NiO", "LiNiO2")]
    kilo = oxides[0][0]
    spectra = np.stack([np.interp(kilo, *oxide) for oxide in oxides], 1)
    two, three = edge_energy(spectra, 1000 * kilo).energy
    assert 8338 < two < three - 1 < 8343
    lines = white_line(spectra, 1000 * kilo).energy
    assert two + 5 < lines[0] < lines[1] - 1

    folder = data / "xanes_spectra/xasdatalibrary/Ni"
    edges = {}
    for name in ("Ni_metal", "NiOH2"):
        energies, light, behind = np.loadtxt(folder / f"{name}_rt_01.xdi").T[:3, :400]
        density = optical_density(behind, light).density
        normalized = normalize(density, energies, edge=EDGE)
        assert normalized.mask
        far = normalized.spectra[energies > EDGE + 300]
        np.testing.assert_allclose(far.mean(), 1, atol=0.02)
        edges[name] = edge_energy(normalized.spectra, energies).energy
    assert edges["Ni_metal"] < edges["NiOH2"] - 2


@pytest.mark.real
def test_measured_iron_is_a_mixture_of_its_end_members(data):
    folder = data / "stxm_fe_als"
    with h5py.File(folder / "71214078_aligned.h5") as file:
        stack, light = file["stack"][:, ::2, ::2], file["i0"][:, 1]
        energies = file["energy_eV"][:]
    ends = [
        np.loadtxt(folder / f"71214078_{name}.t")[:, 1]
        for name in ("oxidized", "reduced")
    ]
    density = optical_density(stack, light)
    assert density.mask.all()
    # the window that holds the sample absorbs as well: a constant is a reference
    fit = fit_references(density.density, np.stack([*ends, np.ones(len(energies))]))
    weights = np.asarray(fit.weights[:2])
    assert np.mean((weights >= 0) & (weights <= 1)) > 0.97
    thick = weights.sum(0) > 0.3
    signal = np.std(density.density, axis=0)
    assert np.median(fit.residual[thick] / signal[thick]) < 0.4
    design = choose_energies(np.stack(ends), energies, 2)
    assert np.all((design.energies > 706) & (design.energies < 711))
