import json
import warnings

import fabio
import h5py
import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

import tvjax
from tests import reference
from tvjax.noise import (
    Correlated,
    diagnose_noise,
    estimate_noise,
    Gaussian,
    Poisson,
    PoissonGaussian,
)
from tvjax.simulate import diffraction_image, scattering_pattern

SHAPE = (192, 192)
SCENE = 60 + 140 * gaussian_filter(reference.scene(*SHAPE), 2)


def normal(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape)


def poisson(mean, seed=0):
    return np.random.default_rng(seed).poisson(mean)


def usual(seed):
    """Noise that is what it seems, on scenes and on none."""
    rng = np.random.default_rng(seed)
    level = 10 ** rng.uniform(-1.5, 3.5)
    kind = ("powder", "saxs", "fibre", "crystal")[seed % 4]
    pattern = scattering_pattern(kind, SHAPE, mean=level, seed=seed)
    background = (min(level, 30) / 2, 1.5 * min(level, 30))
    yield SCENE + rng.choice([5, 15, 25]) * normal(seed), None
    yield 10 + normal(seed, (96, 96)), None
    yield 2 * poisson(SCENE, seed) + 10 + 3 * normal(seed), None
    yield poisson(np.full((96, 96), level), seed), None
    yield poisson(pattern.truth, seed), pattern.mask
    yield diffraction_image(SHAPE, background=background, seed=seed)[0], None


def test_noise_that_is_what_it_seems_has_no_warning():
    found = [diagnose_noise(y, mask) for seed in range(12) for y, mask in usual(seed)]
    warned = [report for report in found if report.warnings]
    # 2 % of 72 draws
    assert len(warned) <= 1, [report.warnings for report in warned]
    assert all(report.confidence > 0.5 for report in found if report not in warned)


@pytest.mark.parametrize(
    ("y", "model", "word"),
    [
        (SCENE + 8 * gaussian_filter(normal(), 0.7), Correlated, "alike"),
        (
            shift(SCENE + 8 * normal(), 0.5, order=1, mode="nearest"),
            Correlated,
            "alike",
        ),
        (SCENE * (1 + 0.1 * normal()), Gaussian, "in proportion"),
        (SCENE + np.geomspace(2, 12, 192) * normal(), Gaussian, "uneven"),
        (poisson(np.full(SHAPE, 30.0)) + 70, PoissonGaussian, "pedestal"),
        (np.round(poisson(3 * SCENE - 150) / 3), Poisson, "only"),
        (np.round(1.7 * poisson(SCENE)), Poisson, "times the mean"),
    ],
)
def test_unusual_noise_is_named_in_a_warning(y, model, word):
    report = diagnose_noise(y)
    assert isinstance(report.noise, model)
    assert len(report.warnings) == 1 and word in report.warnings[0]
    assert report.confidence <= 0.5


def test_the_model_has_the_variance_of_uneven_and_of_multiplicative_noise():
    ramp = np.geomspace(2, 12, 192) * np.ones(SHAPE)
    report = diagnose_noise(SCENE + ramp * normal())
    ratio = np.asarray(report.noise.sigma) / ramp
    assert np.abs(np.log(ratio)).mean() < 0.1 and 3 < report.uneven < 8
    report = diagnose_noise(SCENE * (1 + 0.1 * normal()))
    ratio = np.asarray(report.noise.sigma) / (0.1 * SCENE)
    assert report.multiplicative and np.abs(np.log(ratio)).mean() < 0.1


def test_correlated_noise_has_its_deviation_and_its_kernel():
    noise = gaussian_filter(normal(1, (384, 384)), 0.7)
    report = diagnose_noise(100 + 5 * noise / noise.std())
    assert float(report.noise.sigma) == pytest.approx(5, rel=0.08)
    beside = np.mean(noise[:, 1:] * noise[:, :-1]) / np.mean(noise**2)
    assert report.autocorrelation == pytest.approx(beside, abs=0.05)
    assert report.scale_ratio > 6


def test_correlated_noise_is_nowhere_less_than_that_of_the_darkest_blocks():
    # photons, and columns without light, where a law of photons has no noise at all
    light = np.where(np.indices(SHAPE)[1] % 48 < 16, 0, 8 * SCENE)
    noise = gaussian_filter(np.sqrt(light + 9) * normal(3), 0.7)
    report = diagnose_noise(np.maximum(np.round(light + noise), 0))
    assert isinstance(report.noise, Correlated)
    assert np.min(report.noise.sigma) > 3 * gaussian_filter(normal(5), 0.7).std()


@pytest.mark.slow
def test_correlated_noise_is_denoised_nearly_as_well_as_can_be():
    noise = gaussian_filter(normal(2), 0.7)
    y = (SCENE + 10 * noise / noise.std()).astype(np.float32)
    report = diagnose_noise(y)
    strengths = np.geomspace(2, 60, 16)
    errors = [
        float(np.mean((tvjax.solve(y, alpha, tol=1e-3).image - SCENE) ** 2))
        for alpha in strengths
    ]
    chosen = tvjax.denoise(y, noise=report.noise)
    error = np.mean((chosen.image - SCENE) ** 2)
    assert error < 1.05 * min(errors)
    # taken for white noise of its own estimate it is hardly denoised
    white = tvjax.denoise(y, noise=Gaussian.estimate(y))
    assert np.mean((white.image - SCENE) ** 2) > 1.3 * error


def test_a_pedestal_is_found_where_the_mean_varies():
    report = diagnose_noise(poisson(SCENE) + 40)
    assert isinstance(report.noise, PoissonGaussian) and not report.warnings
    assert report.noise.gain == pytest.approx(1, rel=0.15)
    assert report.pedestal == pytest.approx(40, abs=12)
    mean = np.asarray([80.0, 150.0])
    np.testing.assert_allclose(report.noise.variance(40 + mean), mean, rtol=0.12)


def test_a_photograph_of_eight_bits_is_no_counts():
    y = np.clip(np.round(SCENE + 12 * normal()), 0, 255).astype(np.uint8)
    report = diagnose_noise(y)
    assert isinstance(report.noise, Gaussian)
    assert float(report.noise.sigma) == pytest.approx(12, rel=0.06)


def test_a_counting_detector_has_gain_one_whatever_the_structure():
    y = np.round(1.7 * poisson(SCENE))
    report = diagnose_noise(y, counting=True)
    assert isinstance(report.noise, Poisson) and report.noise.gain == 1
    assert not report.warnings and report.dispersion == pytest.approx(1.7, rel=0.1)


@pytest.mark.parametrize("mean", [0.5, 50, 7000])
@pytest.mark.parametrize("kind", ["powder", "saxs", "fibre", "crystal"])
def test_counts_with_structure_have_gain_one(kind, mean):
    pattern = scattering_pattern(kind, (256, 256), mean=mean)
    counts = poisson(pattern.truth, 3)
    for y in (counts, counts.astype(np.float32)):
        report = diagnose_noise(y, pattern.mask)
        assert isinstance(report.noise, Poisson) and report.noise.gain == 1


def behind_a_beam_stop(kind, mean):
    """A pattern with a shadow on it, which lets through some of the light."""
    pattern = scattering_pattern(kind, (384, 384), mean=mean, seed=1)
    rows, columns = np.indices((384, 384))
    shadow = np.hypot(rows - 150, columns - 230) < 40
    return np.where(shadow, 0.06, 1.0) * pattern.truth, pattern.mask


@pytest.mark.parametrize("mean", [50, 500])
@pytest.mark.parametrize("kind", ["powder", "crystal"])
def test_pixels_that_respond_differently_are_no_gain_where_a_shadow_tells(kind, mean):
    truth, mask = behind_a_beam_stop(kind, mean)
    response = 1 + 0.042 * normal(8, (384, 384))
    report = diagnose_noise(poisson(truth * response), mask)
    assert isinstance(report.noise, Poisson) and report.noise.gain == 1
    assert not report.warnings


@pytest.mark.parametrize("gain", [1.3, 1.7, 2.5, 10])
@pytest.mark.parametrize("read_noise", [0, 1])
def test_a_gain_is_found_with_a_shadow_and_without(gain, read_noise):
    truth, mask = behind_a_beam_stop("powder", 400)
    amplified = gain * poisson(truth) + read_noise * normal(9, truth.shape)
    y = np.maximum(np.round(amplified), 0)
    rows = slice(192, None)  # below the shadow
    for part in (slice(None), rows):
        noise = diagnose_noise(y[part], mask[part]).noise
        assert noise.gain == pytest.approx(gain, rel=0.06)


@pytest.mark.parametrize("value", [100, 65535, 4e9])
@pytest.mark.parametrize("mean", [0.01, 1.0])
def test_hot_pixels_do_not_change_the_noise(value, mean):
    rng = np.random.default_rng(4)
    counts = rng.poisson(mean, (256, 256))
    counts[rng.random(counts.shape) < 1 / 4000] = value
    for kind in (np.uint32, np.float32):
        report = diagnose_noise(counts.astype(kind))
        assert report.noise.gain == 1 and report.lone > 5


def test_nothing_depends_on_what_is_masked():
    mask = np.ones(SHAPE, bool)
    mask[60:70] = mask[:, 30] = False
    y = SCENE + 5 * normal()
    expected = diagnose_noise(np.where(mask, y, 0), mask)
    for junk in (np.nan, np.inf, 1e30, -5.0):
        report = diagnose_noise(np.where(mask, y, junk), mask)
        assert report.asdict() == expected.asdict()


@pytest.mark.parametrize("shape", [(2, 2), (3, 8), (8, 8), (5, 40), (16, 16)])
def test_tiny_images_are_said_to_tell_nothing(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = diagnose_noise(normal(5, shape))
        counts = diagnose_noise(poisson(np.full(shape, 9.0)))
    assert len(report.warnings) == 1 and report.confidence < 0.5
    assert isinstance(report.noise, Gaussian) and len(counts.warnings) <= 1


def test_no_noise_is_said_to_be_none():
    constant = diagnose_noise(np.full((32, 32), 7.5))
    assert constant.noise.sigma == 0 and "one value" in constant.warnings[0]
    empty = diagnose_noise(np.zeros((32, 32), np.uint32))
    assert isinstance(empty.noise, Poisson) and empty.noise.gain == 1
    holes = np.indices((32, 32)).sum(0) % 2 == 0
    lonely = diagnose_noise(SCENE[:32, :32] + normal(6, (32, 32)), holes)
    assert "no block" in lonely.warnings[0] and lonely.confidence == 0


def test_frames_of_different_noise_have_a_level_each():
    sigma = np.asarray([2.0, 4.0, 8.0, 2.0, 4.0, 8.0])[:, None, None]
    report = diagnose_noise(100 + sigma * normal(7, (6, 96, 96)))
    assert report.noise.sigma.shape == (6, 96, 96)
    each = np.asarray(report.noise.sigma).mean((1, 2))
    np.testing.assert_allclose(each, sigma.ravel(), rtol=0.1)


def test_a_report_can_be_read_and_stored():
    report = diagnose_noise(SCENE + np.geomspace(2, 12, 192) * normal())
    told = json.loads(json.dumps(report.asdict(), allow_nan=False))
    assert told["noise"]["model"] == "Gaussian" and told["dispersion"] is None
    assert told["noise"]["sigma"]["shape"] == list(SHAPE)
    text = report.report()
    assert "uneven" in text and text.splitlines()[-1].startswith("WARNING")
    assert repr(report).startswith("<NoiseReport Gaussian(") and "1 warn" in repr(
        report
    )


def test_the_estimate_is_that_of_the_diagnosis():
    counts = poisson(SCENE)
    jax.tree.map(
        np.testing.assert_array_equal,
        estimate_noise(counts),
        diagnose_noise(counts).noise,
    )


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        "lcysteine_i19_pilatus2m/l-cyst_01_00001.cbf.bz2",
        "thaumatin_i24_pilatus6m/thau_3_2_0003.cbf.bz2",
        "powder_calibration/CeO2_Pilatus1M.tif.bz2",
        "detector_formats/DLS_I03_smargon_0001.cbf.gz",
    ],
)
def test_counting_detectors_have_gain_one(data, name):
    with fabio.open(str(data / name)) as image:
        counts = image.data
    report = diagnose_noise(counts, counts >= 0)
    assert isinstance(report.noise, Poisson) and report.noise.gain == 1
    assert not report.warnings


@pytest.mark.real
def test_a_detector_whose_pixels_differ_has_gain_one(data):
    # 4 % at 400 counts, which the shadow of the beam stop tells from a gain of 1.7
    name = "powder_calibration/ceria_50x30_740mm_000005_Pilatus2M.hdf5"
    with h5py.File(data / name) as file:
        counts = file["imageseries/images"][0]
    report = diagnose_noise(counts, counts >= 0)
    assert isinstance(report.noise, Poisson) and report.noise.gain == 1
    assert not report.warnings and report.dispersion > 1.5


@pytest.mark.real
@pytest.mark.parametrize("name", ["AgBehenate_003", "Empty_5s_014", "Dark_5s_003"])
def test_the_noise_of_a_binned_camera_is_found_to_be_correlated(data, name):
    with fabio.open(str(data / f"saxs_symmetry/{name}.tif.bz2")) as image:
        report = diagnose_noise(image.data)
    assert isinstance(report.noise, Correlated) and "alike" in report.warnings[0]
    assert np.min(report.noise.sigma) > 1  # the camera's read-out noise, in its counts


@pytest.mark.real
def test_the_noise_of_a_microscope_is_that_of_its_repeats(data):
    with h5py.File(data / "txm_nca_ssrl_ni/nca_ssrl_08324.0_eV.h5") as file:
        sample, flats = (
            file[name][()].astype(float) for name in ("sample", "reference")
        )
    normalized = sample / flats.mean(0)
    report = diagnose_noise(normalized[0])
    assert report.uneven > 2 and "uneven" in report.warnings[0]
    # of two repeats, away from drifts of the lamp over 64 pixels
    change = (normalized[1] - normalized[2]).reshape(16, 64, 16, 64) / 2**0.5
    repeats = change.std((1, 3))
    found = np.asarray(report.noise.sigma).reshape(16, 64, 16, 64).mean((1, 3))
    # the last rows have shadows; the lamp's changes add to the repeats
    ratio = (found / repeats)[:15]
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
