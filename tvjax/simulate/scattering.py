"""Scattering patterns that have a symmetry, with their truth in counts per pixel.

They are the rings of a powder, small-angle scattering of spheres, a fibre, and a still
of a single crystal whose spots come in Friedel pairs, on a detector with gaps and a
beam stop.
"""

from dataclasses import dataclass
from typing import get_args, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Kind = Literal["powder", "saxs", "fibre", "crystal"]

# Name of the largest group of symmetry of each kind, as in `tvjax.symmetry`.
SYMMETRY: dict[Kind, str] = {
    "powder": "azimuthal",
    "saxs": "azimuthal",
    "fibre": "2mm",
    "crystal": "friedel",
}

# The first rings of CeO₂, face-centred: h² + k² + l², and the relative intensity.
_RINGS = ((3, 100), (4, 28), (8, 50), (11, 40), (12, 8), (16, 7), (19, 14), (20, 9))


@dataclass(frozen=True)
class Pattern:
    """What a detector would see, on average.

    Attributes:
        truth: Mean counts of each pixel, as if all were sound.
        mask: True where a pixel is valid: no gap, no beam stop.
        centre: (y, x) of the beam in pixels; the first pixel's centre is 0.
        group: Name of the largest group of symmetry.
    """

    truth: Float[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    centre: tuple[float, float]
    group: str

    def counts(self, seed: int) -> Int[np.ndarray, "height width"]:
        """Draw Poisson counts; zero where the detector is blind."""
        counts = np.random.default_rng(seed).poisson(self.truth)
        return np.where(self.mask, counts, 0)


def scattering_pattern(
    kind: Kind,
    shape: tuple[int, int],
    *,
    mean: float = 1.0,
    centre: tuple[float, float] | None = None,
    gaps: bool = True,
    seed: int = 0,
) -> Pattern:
    """Return a pattern of a given mean count.

    Lengths scale with the frame: the last ring nearly reaches half its diagonal.

    Args:
        kind: "powder", "saxs", "fibre" or "crystal".
        shape: Rows and columns.
        mean: Counts per pixel, averaged over the valid ones.
        centre: (y, x) of the beam; by default near the middle of the frame.
        gaps: Whether there are gaps between modules and a beam stop.
        seed: Seed of the spots of a crystal.

    Raises:
        ValueError: For an unknown kind or a mean that is not positive.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"`kind` must be one of {get_args(Kind)}, got {kind!r}.")
    if not mean > 0:
        raise ValueError(f"`mean` must be positive, got {mean}.")
    if centre is None:
        height, width = shape
        centre = float(round(0.48 * height)), float(round(0.48 * width))
    y, x = (np.arange(size) - c for size, c in zip(shape, centre, strict=True))
    y, x = y[:, None], x[None, :]
    reach = 0.5 * float(np.hypot(*shape))
    make = {"powder": _powder, "saxs": _saxs, "fibre": _fibre, "crystal": _crystal}
    rng = np.random.default_rng(seed)
    truth = make[kind](y, x, reach, rng)
    mask = _detector(y, x, shape, reach) if gaps else np.ones(shape, bool)
    return Pattern(truth * mean / truth[mask].mean(), mask, centre, SYMMETRY[kind])


def add_spot(
    pattern: Pattern, place: tuple[int, int], counts: float, width: float
) -> Pattern:
    """Add one Gaussian spot to a pattern, without the mates that symmetry asks for.

    Args:
        pattern: Pattern that the spot is added to.
        place: (row, column) of its middle.
        counts: Counts of the whole spot.
        width: Standard deviation in pixels.
    """
    squares = [
        np.square(np.arange(size) - p)
        for size, p in zip(pattern.truth.shape, place, strict=True)
    ]
    spot = np.exp(-np.add.outer(*squares) / (2 * width**2))
    truth = pattern.truth + counts * spot / spot.sum()
    return Pattern(truth, pattern.mask, pattern.centre, pattern.group)


def _powder(
    y: Float[np.ndarray, "height 1"],
    x: Float[np.ndarray, "1 width"],
    reach: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Rings without texture on a background that falls off."""
    radius = np.hypot(y, x)
    truth = 12 * np.exp(-radius / (0.5 * reach)) + 2
    for squares, intensity in _RINGS:
        middle = 0.95 * reach * np.sqrt(squares / _RINGS[-1][0])
        width = 1.2 + 0.004 * middle
        # an intensity spreads over its ring's whole length
        height = intensity * reach / (4 * middle * width)
        truth += height * np.exp(-(((radius - middle) / width) ** 2) / 2)
    return truth


def _saxs(
    y: Float[np.ndarray, "height 1"],
    x: Float[np.ndarray, "1 width"],
    reach: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Spheres of one material with 8 % spread in size, about six maxima."""
    radius = np.hypot(y, x)
    grid = np.linspace(0, 2 * reach, 4096)
    sizes = 22 / reach * (1 + 0.08 * np.linspace(-2, 2, 21))
    shares = np.exp(-np.square(np.linspace(-2, 2, 21)) / 2) * sizes**6
    u = np.maximum(grid[:, None] * sizes, 1e-3)
    factor = np.square(3 * (np.sin(u) - u * np.cos(u)) / u**3) @ (shares / shares.sum())
    return np.interp(radius, grid, factor + 3e-3)


def _fibre(
    y: Float[np.ndarray, "height 1"],
    x: Float[np.ndarray, "1 width"],
    reach: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """Layer lines and an equator, mirrored in both axes."""
    radius, up, across = np.hypot(y, x), np.abs(y) / reach, np.abs(x) / reach
    equator = 1 + 0.5 * x**2 / (radius**2 + 1)
    truth = 1.5 + 5 * np.exp(-radius / (0.3 * reach)) * equator
    tall, wide = (share + 0.5 / reach for share in (0.012, 0.02))
    for layer in range(5):
        for order in range(1, 5):
            above, beside = 0.17 * layer, 0.2 * order - 0.05 * (layer % 2)
            height = 14.0 / (1 + 0.6 * layer + 0.8 * ((layer + order) % 3))
            squares = ((up - above) / tall) ** 2 + ((across - beside) / wide) ** 2
            truth = truth + height * np.exp(-squares / 2)
    return truth


def _crystal(
    y: Float[np.ndarray, "height 1"],
    x: Float[np.ndarray, "1 width"],
    reach: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "height width"]:
    """A still: spots of many strengths in pairs on a round background."""
    radius = np.hypot(y, x)
    ring = np.exp(-(((radius - 0.35 * reach) / (0.12 * reach)) ** 2))
    truth = 1 + 4 * np.exp(-radius / (0.35 * reach)) + 1.5 * ring
    for _ in range(60):
        angle, place = rng.uniform(0, np.pi), rng.uniform(0.12, 0.8) * reach
        height = np.exp(rng.uniform(np.log(3), np.log(100)))
        middle = place * np.sin(angle), place * np.cos(angle)
        for sign in (1, -1):
            squares = (y - sign * middle[0]) ** 2 + (x - sign * middle[1]) ** 2
            truth = truth + height * np.exp(-squares / (2 * 1.3**2))
    return truth


def _detector(
    y: Float[np.ndarray, "height 1"],
    x: Float[np.ndarray, "1 width"],
    shape: tuple[int, int],
    reach: float,
) -> Bool[np.ndarray, "height width"]:
    """Two gaps between modules, a beam stop and its arm."""
    rows, columns = np.indices(shape)
    width = max(2, round(0.012 * min(shape)))
    gap_rows = np.abs(rows - 0.7 * shape[0]) < width
    gap_columns = np.abs(columns - 0.33 * shape[1]) < width
    stop = np.hypot(y, x) < 0.05 * reach
    arm = (np.abs(x) < 0.012 * reach + 1) & (y > 0)
    return ~(gap_rows | gap_columns | stop | arm)
