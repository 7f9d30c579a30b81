import jax
import numpy as np
import pytest

from tvjax.noise import Gaussian, Poisson, PoissonGaussian

MEAN = np.linspace(5, 50, 256 * 256).reshape(256, 256).astype(np.float32)


@pytest.mark.parametrize(
    "noise",
    [Gaussian(3.0), Gaussian(MEAN / 10), Poisson(2.0), PoissonGaussian(2, 3, 1)],
)
def test_a_draw_has_the_variance_of_the_model(noise):
    drawn = noise.draw(MEAN, jax.random.key(0))
    assert drawn.shape == MEAN.shape and drawn.dtype == MEAN.dtype
    squares = np.asarray(drawn, float) ** 2 / np.asarray(noise.variance(MEAN))
    # 65,536 squares: 0.55 % standard error, at 4 of them
    assert squares.mean() == pytest.approx(1, abs=0.022)
    assert squares[:, :128].mean() == pytest.approx(1, abs=0.032)


def test_where_there_is_no_variance_nothing_is_drawn():
    below = np.full((8, 8), -5.0)
    assert not np.any(Poisson().draw(below, jax.random.key(0)))
