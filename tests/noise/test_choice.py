import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests import reference
from tvjax.noise.choice import choose_law, is_whole, unevenness
from tvjax.noise.sample import take_sample
from tvjax.noise.survey import survey_noise

SHAPE = (256, 256)
SCENE = 40 + 160 * gaussian_filter(reference.scene(*SHAPE), 3)


def normal(seed):
    return np.random.default_rng(seed).normal(size=SHAPE)


def poisson(mean, seed):
    return np.random.default_rng(seed).poisson(mean)


def test_whole_numbers_are_counts_whatever_their_type():
    for kind in (np.uint8, np.int64, np.float32, np.float64):
        assert is_whole(take_sample(poisson(SCENE / 4, 0).astype(kind)))
    assert not is_whole(take_sample(poisson(SCENE, 0) - 60))
    assert not is_whole(take_sample(poisson(SCENE, 0) + 0.5))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("make", "name", "law"),
    [
        (lambda s: SCENE + 7 * normal(s), "constant", (49, 0, 0)),
        (lambda s: np.round(SCENE + 7 * normal(s)), "constant", (49, 0, 0)),
        (lambda s: SCENE * (1 + 0.1 * normal(s)), "square", (0, 0, 0.01)),
        (lambda s: poisson(SCENE, s), "counts", (0, 1, 0)),
        (lambda s: 6 * poisson(SCENE, s), "counts", (0, 6, 0)),
        (lambda s: 0.3 * poisson(SCENE, s), "counts", (0, 0.3, 0)),
        (lambda s: poisson(SCENE - 39, s) + 39, "line", (-39, 1, 0)),
    ],
)
def test_the_law_is_found(make, name, law, seed):
    survey = survey_noise(make(seed))
    found, fit = choose_law(survey)
    assert found == name
    mean = survey.floors.mean
    a, b, c = law
    # the level of some 1,000 blocks below a scene
    expected = a + b * mean + c * mean**2
    np.testing.assert_allclose(fit.variance(mean), expected, rtol=0.2)
    assert unevenness(survey, fit) is None


def test_a_counting_detector_has_exactly_its_step():
    for step in (1, 6):
        assert choose_law(survey_noise(step * poisson(SCENE, 1)))[1].b == step


def test_structure_is_not_gain():
    rows, columns = np.indices(SHAPE)
    radius = np.hypot(rows - 120, columns - 130)
    rings = 3000 * (1.1 + np.sin(radius / 3.0))
    name, law = choose_law(survey_noise(poisson(rings, 2)))
    assert name == "counts" and law.b == 1


@pytest.mark.parametrize("mean", [0.003, 0.01, 0.1])
def test_sparse_counts_have_gain_one(mean):
    for seed in range(5):
        counts = np.random.default_rng(seed).poisson(mean, SHAPE)
        name, law = choose_law(survey_noise(counts))
        assert name == "counts" and law.b == 1


def test_hardly_a_photon_is_a_count_all_the_same():
    for seed in range(6):
        survey = survey_noise(poisson(np.full(SHAPE, 0.001), seed).astype(np.uint32))
        name, law = choose_law(survey)
        assert name == "counts" and law.b == 1


def test_flat_counts_of_less_variance_than_mean_stand_on_a_pedestal():
    name, law = choose_law(survey_noise(poisson(np.full(SHAPE, 30.0), 3) + 70))
    assert name == "pedestal" and law.b == 1
    assert -law.a == pytest.approx(70, abs=6)  # the variance is known to some 5 %


def test_uneven_noise_is_found_and_noise_that_follows_a_bright_side_is_not_it():
    ramp = np.linspace(0.5, 2, 256)[None] * np.ones((256, 1))
    survey = survey_noise(SCENE + 7 * ramp * normal(4))
    name, law = choose_law(survey)
    assert name == "constant" and unevenness(survey, law) is not None
    light = 200 * ramp
    survey = survey_noise(light + np.sqrt(0.3 * light) * normal(5))
    name, law = choose_law(survey)
    assert name in ("counts", "line") and unevenness(survey, law) is None
