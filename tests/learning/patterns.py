"""Small patterns with a two-fold symmetry, and networks to learn from them."""

import jax
import numpy as np

from tvjax.learning import CountNetwork

SIDE = 32
CENTRE = (15.5, 15.5)

KEY = jax.random.key(5)
# all in these few options, so that the steps are compiled once
OPTIONS = {"num_steps": 12, "batch": 2, "side": 16, "rate": 2e-3, "check_every": 4}


def tiny(seed=0):
    """A network that is trained in a second."""
    return jax.jit(lambda key: CountNetwork((4, 6), (1, 1), key=key))(
        jax.random.key(seed)
    )


def truths(num, level):
    """Ellipses of mean `level`, each turned differently."""
    y, x = np.indices((SIDE, SIDE)) - 15.5
    images = []
    for turn in np.linspace(0, np.pi, num, endpoint=False):
        u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
        radius = np.hypot(u, 1.4 * v)
        image = 0.3 + np.exp(-(((radius - 9) / 3) ** 2))
        images.append(image / image.mean())
    return level * np.stack(images)


def counts(num, level, seed=0):
    """The same with noise, and a gap between modules."""
    frames = np.random.default_rng(seed).poisson(truths(num, level))
    mask = np.ones((SIDE, SIDE), bool)
    mask[:, 6:8] = False
    return np.where(mask, frames, 0), mask


def assert_same(one, other):
    """Two trainings with the same log and the same bits of the weights."""
    assert one.log == other.log
    for a, b in zip(*(jax.tree.leaves(t.network) for t in (one, other)), strict=True):
        np.testing.assert_array_equal(a, b)
