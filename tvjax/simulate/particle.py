"""Thickness of a battery particle, and its grains."""

import math

import numpy as np
from jaxtyping import Float, Float32, Int

# The radius of a particle is this share of the shorter side of the frame, so that some
# empty frame is left around it.
RADIUS = 0.36
# The microscope blurs the particle by a Gaussian of this deviation in pixels.
RESOLUTION = 1.0


def particle(
    shape: tuple[int, int], seed: int = 0
) -> Float32[np.ndarray, "height width"]:
    """Return the thickness of one secondary particle, 1 at most and zero around it.

    A sphere with a slightly uneven outline, of some forty Voronoi grains of unlike
    density, some of whose boundaries are cracked, and with pores, all seen at a
    resolution of one pixel (standard deviation).

    Args:
        shape: Height and width in pixels, at least 16 each.
        seed: Seed of outline, grains and pores.

    Raises:
        ValueError: For a smaller frame.
    """
    check_shape(shape)
    y, x = _coordinates(shape)
    solid = np.maximum(1 - (np.hypot(y, x) / _outline(y, x, seed)) ** 2, 0)
    thickness = np.sqrt(solid) * _texture(shape, seed) * _pores(y, x, seed)
    thickness = _blur(thickness, RESOLUTION)
    return (thickness / thickness.max()).astype(np.float32)


def part_into_grains(
    shape: tuple[int, ...], seed: int
) -> tuple[
    Int[np.ndarray, "height width"],
    Int[np.ndarray, "height width"],
    Float[np.ndarray, "height width"],
]:
    """Nearest and second nearest grain of each pixel, and the way to their boundary."""
    rng = np.random.default_rng((seed, 1))
    y, x = _coordinates(shape)
    sides = np.asarray([np.ptp(y), np.ptp(x)])
    number = round(40 / np.pi * sides.prod())
    centres = rng.uniform(-0.5, 0.5, (number, 2)) * sides
    near, far = np.full((2, *shape), np.inf)
    first, second = np.zeros((2, *shape), int)
    for grain, (down, right) in enumerate(centres):
        distance = np.hypot(y - down, x - right)
        nearest, nearer = distance < near, distance < far
        second = np.where(nearest, first, np.where(nearer, grain, second))
        far = np.where(nearest, near, np.where(nearer, distance, far))
        first, near = np.where(nearest, grain, first), np.minimum(distance, near)
    return first, second, (far - near) / 2


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is no frame of 16 pixels a side or more.

    Raises:
        ValueError: It is none.
    """
    if len(shape) != 2 or min(shape) < 16:
        raise ValueError(
            "`shape` must be a height and a width of at least 16 pixels, "
            f"got {tuple(shape)}."
        )


def _coordinates(
    shape: tuple[int, ...],
) -> tuple[Float[np.ndarray, "height 1"], Float[np.ndarray, "1 width"]]:
    """Distances from the frame's centre, in radii of its particle."""
    radius = RADIUS * min(shape)
    y, x = ((np.arange(n) - (n - 1) / 2) / radius for n in shape)
    return y[:, None], x[None, :]


def _outline(
    y: Float[np.ndarray, "height 1"], x: Float[np.ndarray, "1 width"], seed: int
) -> Float[np.ndarray, "height width"]:
    """Radius of the outline in each pixel's direction."""
    # the second number keeps apart what one seed draws for different purposes
    rng = np.random.default_rng((seed, 0))
    angle = np.arctan2(y, x)
    radius = np.ones(angle.shape)
    for order in range(2, 6):
        phase = rng.uniform(0, 2 * np.pi)
        radius += 0.06 / order * np.cos(order * angle + phase)
    return radius


def _texture(shape: tuple[int, int], seed: int) -> Float[np.ndarray, "height width"]:
    """The density of the grains, less at boundaries, least in those that cracked."""
    first, second, way = part_into_grains(shape, seed)
    number = max(first.max(), second.max()) + 1
    rng = np.random.default_rng((seed, 2))
    density = rng.uniform(0.8, 1.0, number)
    cracked = np.triu(rng.uniform(size=(number, number)) < 0.15)
    depth = np.where((cracked | cracked.T)[first, second], 0.7, 0.12)
    return density[first] * (1 - depth * np.exp(-((way / 0.025) ** 2)))


def _pores(
    y: Float[np.ndarray, "height 1"], x: Float[np.ndarray, "1 width"], seed: int
) -> Float[np.ndarray, "height width"]:
    """Share of the thickness that is left by holes of various sizes."""
    rng = np.random.default_rng((seed, 3))
    share = np.ones(np.broadcast_shapes(y.shape, x.shape))
    for _ in range(8):
        down, right = rng.uniform(-0.7, 0.7, 2)
        size, depth = rng.uniform(0.02, 0.07), rng.uniform(0.3, 0.8)
        distance = np.hypot(y - down, x - right)
        share *= 1 - depth * np.exp(-((distance / size) ** 4))
    return share


def _blur(
    image: Float[np.ndarray, "height width"], width: float
) -> Float[np.ndarray, "height width"]:
    """Convolution with a Gaussian, cut off where it has fallen below 1e-3."""
    reach = math.ceil(4 * width)
    kernel = np.exp(-((np.arange(-reach, reach + 1) / width) ** 2) / 2)
    kernel /= kernel.sum()
    for _ in range(2):
        wide = np.pad(image, ((reach, reach), (0, 0)))
        rows = len(image)
        total = np.zeros(image.shape)
        for n, k in enumerate(kernel):
            total += k * wide[n : n + rows]
        image = total.T
    return image
