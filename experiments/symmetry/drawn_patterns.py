"""Patterns to learn from: drawn at random, of any symmetry, and of no material.

Sums of a background that falls off, rings with texture, the oscillations of particles
of one size, and spots; each turned, stretched and weighted at random, within what the
group allows.
"""

import math

import numpy as np
from jaxtyping import Float

from tvjax.symmetry import find_group

# Standard deviation of a spot, in pixels.
SPOT = (0.8, 3.0)


def draw_pattern(
    group: str, side: int, rng: np.random.Generator
) -> Float[np.ndarray, "height width"]:
    """Mean counts of one, around the middle of a square frame.

    Args:
        group: A name of `tvjax.symmetry.find_group`, of finite order.
        side: Side of the frame, in pixels.
        rng: Decides everything.
    """
    y, x = np.indices((side, side)) - (side - 1) / 2
    radius, angle = _stretched(y, x, group, rng)
    reach = side / 2
    image = rng.uniform(0.02, 0.3) + _falling(radius, reach, rng)
    if rng.uniform() < 0.6:
        image += _rings(radius, angle, reach, _folds(group), rng)
    if rng.uniform() < 0.4:
        image += _oscillations(radius, reach, rng)
    if rng.uniform() < 0.5:
        image += _spots(y, x, reach, group, rng)
    return image / image.mean()


def _folds(group: str) -> int:
    """Of the rotations."""
    operations = find_group(group).operations
    return sum(np.linalg.det(o.matrix) > 0 for o in operations)


def _stretched(y, x, group, rng):
    """Radius and angle, elliptical where the group leaves an ellipse as it is."""
    turn = rng.uniform(0, np.pi) if group == "friedel" else 0.0
    u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    stretch = np.exp(rng.uniform(0, 0.6)) if _folds(group) == 2 else 1.0
    v = v * stretch if rng.uniform() < 0.5 else v
    return np.hypot(u, v), np.arctan2(u, v)


def _log_uniform(rng, low, high):
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _falling(radius, reach, rng):
    """A power law or an exponential."""
    scale = reach * _log_uniform(rng, 0.1, 1.5)
    height = _log_uniform(rng, 0.3, 10)
    if rng.uniform() < 0.5:
        return height * np.exp(-radius / scale)
    return height * (1 + (radius / scale) ** 2) ** (-rng.uniform(0.7, 2))


def _rings(radius, angle, reach, folds, rng):
    """Narrow and broad ones, whole or in arcs."""
    image = np.zeros_like(radius)
    for _ in range(rng.integers(1, 9)):
        middle, width = reach * rng.uniform(0.1, 1.3), _log_uniform(rng, 1, 8)
        ring = np.exp(-(((radius - middle) / width) ** 2) / 2)
        if rng.uniform() < 0.4:
            sharpness = _log_uniform(rng, 0.3, 30)
            ring *= np.exp(sharpness * (np.cos(folds * angle) - 1))
        image += _log_uniform(rng, 0.1, 5) * ring
    return image


def _oscillations(radius, reach, rng):
    """Particles of nearly one size."""
    image = np.zeros_like(radius)
    size = _log_uniform(rng, 4, 40) / reach
    for factor in np.linspace(0.85, 1.15, 7):
        u = np.maximum(radius * size * factor, 1e-2)
        image += (3 * (np.sin(u) - u * np.cos(u)) / u**3) ** 2 / 7
    return _log_uniform(rng, 3, 300) * image


def _spots(y, x, reach, group, rng):
    """Orbits of spots, of one width and many heights."""
    image = np.zeros_like(y, dtype=float)
    width = _log_uniform(rng, *SPOT)
    for _ in range(rng.integers(3, 40)):
        place = reach * rng.uniform(-1, 1, 2)
        height = _log_uniform(rng, 0.3, 30)
        for operation in find_group(group).operations:
            middle = operation.matrix @ place
            square = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
            image += height * np.exp(-square / (2 * width**2))
    return image
