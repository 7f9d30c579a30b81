import numpy as np
import pytest

from tvjax.noise.survey import relative_to, survey_noise
from tvjax.noise.unevenness import level_map, levels_of
from tvjax.noise.variance_fit import Law

ONE = Law(1, 0, 0, 0)


def levels(y):
    survey = survey_noise(y)
    return levels_of(relative_to(survey.blocks, ONE), survey.sample.shape)


def test_a_map_follows_the_level():
    sigma = np.linspace(1, 3, 512)[None] * np.ones((512, 1))
    y = sigma * np.random.default_rng(0).normal(size=sigma.shape)
    found = levels(y)
    assert found.grid == (1, 8, 8) and len(found.cells) == 64
    variance = level_map(found, (1, 512, 512))[0]
    ratio = np.sqrt(variance) / sigma
    # a patch of 64 blocks: 3 to 5 % of a deviation
    np.testing.assert_allclose(ratio, 1, atol=0.2)
    assert ratio.mean() == pytest.approx(1, abs=0.02)


def test_frames_have_levels_of_their_own():
    sigma = np.asarray([1.0, 2.0, 4.0])[:, None, None]
    y = sigma * np.random.default_rng(1).normal(size=(3, 64, 64))
    found = levels(y)
    assert found.grid == (3, 1, 1)
    variance = level_map(found, (3, 64, 64))
    np.testing.assert_allclose(
        np.sqrt(variance), sigma * np.ones((3, 64, 64)), rtol=0.1
    )


def test_patches_full_of_texture_are_not_trusted_and_take_what_is_around():
    rng = np.random.default_rng(2)
    y = rng.normal(size=(512, 512))
    coarse = np.kron(rng.normal(size=(64, 64)), np.ones((2, 2)))
    y[:128, :128] += 8 * coarse
    found = levels(y)
    wild = (found.cells[:, 1] < 2) & (found.cells[:, 2] < 2)
    # of the others one in twenty looks so by chance
    assert not found.trusted[wild].any() and found.trusted[~wild].mean() > 0.9
    variance = level_map(found, (1, 512, 512))[0]
    assert variance[:128, :128].max() < 1.3
