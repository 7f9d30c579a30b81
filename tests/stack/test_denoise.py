import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy.ndimage import convolve1d, gaussian_filter

from tvjax.metrics import mse
from tvjax.noise import Gaussian, Poisson, PoissonGaussian
from tvjax.simulate import nickel_energies, scale_to_bytes, xanes_stack
from tvjax.stack import denoise_stack, fit_components

SIGMA, SHAPE, ENERGIES = 40.0, (48, 56), 24


@pytest.fixture(scope="module")
def truth():
    scene = xanes_stack(SHAPE, energies=nickel_energies(ENERGIES))
    return np.asarray(scale_to_bytes(scene).truth, np.float32)


def draw(truth, seed, sigma=SIGMA):
    rng = np.random.default_rng(seed)
    return (truth + sigma * rng.normal(size=truth.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def noisy(truth):
    return draw(truth, 0)


@pytest.fixture(scope="module")
def denoised(noisy):
    return denoise_stack(noisy)


def truncation_errors(y, truth):
    u, d, vt = np.linalg.svd(y.reshape(len(y), -1).T, full_matrices=False)
    images = ((u[:, :k] * d[:k]) @ vt[:k] for k in range(1, 9))
    return [mse(x.T.reshape(y.shape), truth) for x in images]


def errors_by_rank(found, truth):
    parts = found.spectra[:, :, None, None] * found.denoised[:, None]
    return np.mean((np.cumsum(parts, axis=0) - truth) ** 2, axis=(1, 2, 3))


def test_error_is_half_that_of_the_best_truncation(noisy, truth, denoised):
    assert mse(denoised.image, truth) < 0.5 * min(truncation_errors(noisy, truth))


def test_mean_of_the_risk_is_the_error_at_every_rank(truth):
    off, errors = [], []
    for seed in range(12):
        y = draw(truth, seed)
        # probes of its own: an error common to all draws would not average out
        key = jax.random.key(seed)
        found = denoise_stack(y, noise=Gaussian(SIGMA), rank=6, key=key)
        errors.append(errors_by_rank(found, truth) / SIGMA**2)
        # the energy of the noise itself is common to risk and error
        off.append(found.relative_risks - mse(y, truth) / SIGMA**2 + 1 - errors[-1])
    mean, scatter = np.mean(off, axis=0), np.std(off, axis=0) / len(off) ** 0.5
    # all is chosen from the same 2,700 pixels: a tenth too little
    assert (np.abs(mean) < 0.15 * np.mean(errors, axis=0) + 2 * scatter).all()
    assert (scatter < 0.1 * np.mean(errors, axis=0)).all()


def noise_energy(found, y, truth):
    """What the noise itself adds to the risk in a draw: zero on average."""
    noise = (y - truth) / found.sigma[:, None, None]
    vectors = (found.spectra / found.sigma)[: found.rank]
    kept = np.sum(np.tensordot(vectors, noise, 1) ** 2, axis=(1, 2)) - y[0].size
    size = y[0].size * (len(y) - found.rank)
    rest = np.sum(noise**2) - np.sum(kept + y[0].size) - size
    variance = found.sigma**2
    return (kept @ (vectors**2 @ variance) + rest * np.mean(variance)) / y.size


def test_risk_in_the_unit_of_the_data_is_the_error_at_every_level(truth):
    # noise that grows eightfold over the energies
    sigma = np.geomspace(10, 80, ENERGIES)[:, None, None]
    risks, errors = [], []
    for seed in range(12):
        y = draw(truth, seed, sigma)
        found = denoise_stack(y, noise=Gaussian(sigma), key=jax.random.key(seed))
        risks.append(found.risk - noise_energy(found, y, truth))
        errors.append(mse(found.image, truth))
    # all is chosen from the same pixels, which promises a twentieth too little; and
    # what is left out is taken as even over the energies. Measured: 0.96
    np.testing.assert_allclose(np.mean(risks), np.mean(errors), rtol=0.1)


def test_risk_of_even_noise_is_the_relative_risk_times_its_variance(noisy):
    found = denoise_stack(noisy, noise=Gaussian(SIGMA))
    assert found.risk == pytest.approx(SIGMA**2 * found.relative_risk, rel=1e-5)


def test_rank_is_that_of_least_error(truth):
    for seed, sigma in enumerate((4.0, 40.0, 120.0)):
        y = draw(truth, seed, sigma)
        chosen = mse(denoise_stack(y, noise=Gaussian(sigma)).image, truth)
        all_ranks = (
            mse(denoise_stack(y, noise=Gaussian(sigma), rank=k).image, truth)
            for k in (1, 2, 3, 6)
        )
        assert chosen < 1.023 * min(all_ranks)  # 0.1 dB


@pytest.mark.slow
@pytest.mark.parametrize("counts", [0.5, 20.0])
def test_photons_are_denoised_with_their_own_variance(truth, counts):
    expected = counts * np.exp(-2 * truth / truth.max())
    risks, whitened = [], []
    for seed in range(5):
        y = np.random.default_rng(seed).poisson(expected).astype(np.int32)
        by_model = denoise_stack(y, noise=Poisson(), key=jax.random.key(seed))
        error = mse(by_model.image, expected)
        assert error < 0.5 * min(truncation_errors(y, expected))
        # of the whitened stack, the mean over energies of error over variance
        scale = by_model.sigma[:, None, None]
        whitened.append(np.mean(((by_model.image - expected) / scale) ** 2))
        noise = np.mean((y - expected) ** 2 / scale**2) - 1
        risks.append(by_model.relative_risk - noise)
    assert np.mean(risks) == pytest.approx(np.mean(whitened), rel=0.25)
    # told nothing, the variance over the frame is found in the data
    assert mse(denoise_stack(y).image, expected) < 1.2 * error


def test_a_low_rank_leaves_the_noise_as_it_is(truth):
    expected = 100 * np.exp(-2 * truth / truth.max())
    y = np.random.default_rng(7).poisson(expected).astype(np.int32)
    for noise in (Poisson(), None):
        # of three components that are clear
        one, three = (denoise_stack(y, noise=noise, rank=k) for k in (1, 3))
        assert one.images.shape == (1, *SHAPE) and three.coefficients[2].any()
        # the same variance, so the same strength, coefficients and image
        np.testing.assert_array_equal(one.denoised[0], three.denoised[0])


def test_read_noise_adds_to_the_photons(truth):
    expected = 2 * np.exp(-2 * truth / truth.max())
    rng = np.random.default_rng(6)
    y = rng.poisson(expected) + rng.normal(0, 1.5, truth.shape)
    found = denoise_stack(y.astype(np.float32), noise=PoissonGaussian(1.0, 1.5))
    variance = expected.mean(axis=(1, 2)) + 1.5**2
    np.testing.assert_allclose(found.sigma**2, variance, rtol=0.05)
    assert mse(found.image, expected) < 0.5 * min(truncation_errors(y, expected))


def test_the_noise_of_single_frames_is_told_and_where_it_contradicts(noisy, denoised):
    assert denoised.warnings == () and not denoised.diagnosis.warnings
    sigma = float(denoised.diagnosis.noise.sigma)
    np.testing.assert_allclose(sigma, SIGMA, rtol=0.1)
    assert denoise_stack(noisy, noise=Gaussian(SIGMA), rank=1).diagnosis is None
    shared = noisy + 4 * SIGMA * np.random.default_rng(5).normal(size=SHAPE)
    found = denoise_stack(shared.astype(np.float32), rank=1)
    (sentence,) = found.warnings
    assert "all of them share" in sentence
    assert found.asdict()["warnings"] == [sentence]


def test_noise_that_is_correlated_is_recognized(truth):
    # as it is in frames that were moved by fractions of a pixel
    rng = np.random.default_rng(8)
    white = rng.normal(size=truth.shape)
    kernel = np.array([1, 2, 1]) / 4
    smooth = convolve1d(convolve1d(white, kernel, axis=1), kernel, axis=2)
    y = (truth + 40 * smooth / smooth.std()).astype(np.float32)
    found = denoise_stack(y)
    np.testing.assert_allclose(np.mean(found.sigma), 40, rtol=0.1)
    error = mse(found.image, truth)
    assert error < 0.6 * min(truncation_errors(y, truth))
    # taken for white, it is left in
    as_white = denoise_stack(y, noise=Gaussian(found.sigma[:, None, None]))
    assert error < 0.8 * mse(as_white.image, truth)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["counts", "correlated"])
def test_of_few_energies_the_noise_is_that_which_each_frame_shows(kind):
    expected = 8 * np.exp(-xanes_stack((96, 112), energies=nickel_energies(5)).truth)
    rng = np.random.default_rng(10)
    if kind == "counts":
        y = rng.poisson(expected)
    else:
        noise = gaussian_filter(rng.normal(size=expected.shape), (0, 0.8, 0.8))
        y = expected + 2 * noise / noise.std()
    found = denoise_stack(y.astype(np.float32))
    level = np.sqrt(np.mean((y - expected) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(found.sigma, level, rtol=0.1)
    # the level of the dimmest parts, or of the finest scale, leaves most of it in
    assert mse(found.image, expected) < 0.15 * mse(y, expected)
    assert len(found.warnings) == (kind == "correlated")


def test_invalid_pixels_come_back_and_take_no_part(noisy):
    mask = np.random.default_rng(3).random(SHAPE) < 0.9
    clean = denoise_stack(np.where(mask, noisy, 0), rank=1, mask=mask)
    spoiled = denoise_stack(np.where(mask, noisy, np.nan), rank=1, mask=mask)
    np.testing.assert_array_equal(spoiled.image[:, mask], clean.image[:, mask])
    assert np.isnan(spoiled.image[:, ~mask]).all()


def test_result_tells_what_became_of_each_component(denoised, noisy):
    num = len(denoised.verdict())
    assert num == len(denoised.relative_risks) == len(denoised.alphas)
    assert denoised.verdict()[0] == "kept"
    assert denoised.relative_risk == denoised.relative_risks[denoised.rank - 1]
    assert set(denoised.verdict()[denoised.rank :]) <= {"dropped"}
    assert not denoised.denoised[denoised.rank :].any()
    given = denoise_stack(jnp.asarray(noisy), rank=1)
    assert isinstance(given.image, jax.Array) and given.rank == 1


def test_components_make_the_frames(noisy, denoised):
    found = fit_components(noisy)
    np.testing.assert_array_equal(found.frames(0, ENERGIES), denoised.image)
    np.testing.assert_allclose(found.frames(5, 7), denoised.image[5:7], rtol=1e-5)


def test_a_better_denoiser_takes_over(truth, noisy, denoised):
    # one that knows the leading image, in plain Python
    seen = []

    def cheat(w):
        seen.append(np.asarray(w))
        clean = np.tensordot(denoised.spectra[0] / denoised.sigma**2, truth, 1)
        return clean

    helped = denoise_stack(noisy, rank=1, extra=[cheat])
    assert helped.coefficients.shape == (1, 5) and len(seen) == 2
    assert helped.coefficients[0, 4] == pytest.approx(1, abs=0.1)
    assert helped.relative_risk < denoised.relative_risks[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "noise"),
    [((3, 4), None), ((1, 1), Gaussian(SIGMA))],
)
def test_a_stack_of_fewer_pixels_than_energies_is_denoised(noisy, pixels, noise):
    few = denoise_stack(noisy[:, : pixels[0], : pixels[1]], noise=noise)
    assert np.isfinite(few.image).all()


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("reading", [1, 2])
def test_either_pass_can_be_interrupted(noisy, reading):
    done = []

    def progress(rows, total):
        done.append(rows)
        if rows > (reading - 0.5) * total / 2:
            raise Interrupt

    row = noisy[:, 0].size * 12
    with pytest.raises(Interrupt):
        fit_components(noisy, memory=4 * row, progress=progress)
    # block by block, and nothing after it
    assert done == list(range(4, done[-1] + 4, 4))
    assert done[-1] == 28 if reading == 1 else 76


def test_edges_are_shared_on_request(noisy, truth, denoised):
    shared = denoise_stack(noisy, shared_edges=True)
    assert shared.coefficients.shape[1] == denoised.coefficients.shape[1] + 1
    assert mse(shared.image, truth) < 1.1 * mse(denoised.image, truth)


def test_traced_data_get_a_sentence(noisy):
    with pytest.raises(TypeError, match="cannot trace: inside jit, vmap or grad use"):
        jax.jit(lambda y: denoise_stack(y).image)(noisy)
    with pytest.raises(ValueError, match="`noise` must be a noise model, got float"):
        denoise_stack(noisy, noise=40.0)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda y: y[0], {}, r"`y` must be a stack \(energy, height, width\)"),
        (lambda y: y[:1], {}, "two energies or more"),
        (lambda y: y * 1j, {}, "real numbers"),
        (lambda y: np.where(y > y.mean(), np.nan, y), {}, "NaN or infinite values"),
        (
            lambda y: y * (np.arange(ENERGIES) != 3)[:, None, None],
            {},
            "frames 3 .* hold zero in every valid pixel",
        ),
        (lambda y: y[:, :1, :1], {}, r"at least 2 x 2, got shape \(1, 1\); give the"),
        (lambda y: y, {"rank": 0}, "`rank` must be from 1 to 24, got 0"),
        (lambda y: y, {"rank": 25}, "`rank` must be from 1 to 24, got 25"),
        (lambda y: y, {"mask": np.zeros(SHAPE, bool)}, "a valid pixel"),
        (
            lambda y: y,
            {"mask": np.ones((3, 3), bool)},
            r"must have the shape \(48, 56\)",
        ),
    ],
)
def test_misuse_gets_a_sentence(noisy, change, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        denoise_stack(change(noisy), **options)
