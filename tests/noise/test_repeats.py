import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.noise import Correlated, diagnose_repeats, Gaussian, Poisson

SHAPE = (3, 128, 128)
TRUTH = 10 * reference.scene(*SHAPE[1:])


def drawn(noise):
    """Repeats with Gaussian noise."""
    keys = jax.random.split(jax.random.key(0), SHAPE[0])
    return TRUTH + np.stack([noise.draw(jnp.zeros(SHAPE[1:]), key) for key in keys])


def test_the_level_of_correlated_noise_is_that_of_the_differences():
    report = diagnose_repeats(drawn(Correlated(2.0, np.ones((3, 3)))))
    assert isinstance(report.noise, Gaussian) and report.warnings == ()
    # of some 5,000 independent pixels, at two degrees of freedom each
    assert report.noise.sigma == pytest.approx(2, rel=0.05)


def test_counts_stay_counts():
    counts = np.random.default_rng(0).poisson(TRUTH + 1, SHAPE)
    report = diagnose_repeats(counts)
    assert isinstance(report.noise, Poisson) and report.noise.gain == 1
    assert report.warnings == ()


@pytest.mark.parametrize("change", ["motion", "brightness"])
@pytest.mark.parametrize("kind", ["counts", "white"])
def test_frames_of_several_scenes_are_no_repeats(kind, change):
    rng = np.random.default_rng(0)
    scenes = np.stack(
        [
            np.roll(20 * TRUTH, 4 * i, 0)
            if change == "motion"
            else (20 + 6 * i) * TRUTH
            for i in range(3)
        ]
    )
    y = rng.poisson(scenes) if kind == "counts" else scenes + rng.normal(size=SHAPE)
    (text,) = diagnose_repeats(y).warnings
    assert "the repeats differ by" in text and "must show one scene" in text


def test_invalid_pixels_do_not_count():
    y = drawn(Gaussian(1.0))
    mask = np.ones(SHAPE, bool)
    mask[1, 30:60] = False
    y[1, 30:60] = np.nan
    report = diagnose_repeats(y, mask)
    assert report.noise.sigma == pytest.approx(1, rel=0.05) and report.warnings == ()
