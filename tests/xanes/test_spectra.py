import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.xanes.edges import (
    EDGE,
    edge_energy,
    ENERGIES,
    exact,
    noisy,
    normalize,
    optical_density,
    PIXELS,
    POST,
    PRE,
    ramp,
    references,
    slope,
    white_line,
)
from tvjax import xanes


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
    stack = references(1).T + noisy(3, (len(ENERGIES), 4000), 0.01)
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


def test_an_arctangent_on_any_line_is_found_at_its_centre(dtype):
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
