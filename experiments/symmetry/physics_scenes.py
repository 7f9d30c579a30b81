"""Patterns whose physics is known, how it is measured, and how well it can be.

Each scene has frames of one detector, of mean counts one per pixel, quantities with a
way to measure them in an image, and the bound of their errors. "True" is what is
measured in the mean counts themselves, so that no error comes from a fit's model.

- A powder series: one ring over a background, whose position, width and intensity
  change during a transition.
- Small-angle scattering of Gaussian chains: their radius of gyration.
- Total scattering of a small cluster: its pair distribution function.
- A still of a single crystal: intensities of its Friedel pairs, spot by spot.
- A textured ring: its intensity in sectors of the azimuth.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from experiments.symmetry.physics_fits import (
    amplitude_bounds,
    cramer_rao,
    derivatives,
    Fit,
    fit_amplitudes,
    fit_mean,
    Image,
    Instrument,
)

# Half the side of the square that a spot is fitted in, pixels.
HALF = 4
# Peak over local background from which a spot is called strong.
STRONG = 3.0

Curve = Callable[
    [Float[np.ndarray, " n"], Float[np.ndarray, " parameter"]], Float[np.ndarray, " n"]
]


class Quantity(NamedTuple):
    """Numbers of one kind among those that are measured in a frame."""

    name: str
    unit: str  # "%": of the root mean square of the true numbers
    where: Int[np.ndarray, " number"]


class Scene(NamedTuple):
    """Known truth."""

    name: str
    rates: Float[
        np.ndarray, "frame height width"
    ]  # mean one over frames and valid pixels
    quantities: tuple[Quantity, ...]
    measure: Callable[[Image, Fit], Float[np.ndarray, " number"]]
    # of frame and counts per pixel: the least standard deviations without a bias
    bounds: Callable[[int, float], Float[np.ndarray, " number"]]
    local: bool = False
    has_fits: bool = True


def powder_series(instrument: Instrument, num_steps: int) -> Scene:
    """A ring that moves, broadens and grows: logistic curves of time."""
    reach, time = instrument.reach, np.linspace(-3, 3, num_steps)
    done = 1 / (1 + np.exp(-2 * time))
    parameters = np.stack(
        [
            (0.6 + 0.08 * done) * reach,  # position, pixels
            1.5 + 1.5 * np.exp(-(time**2)),  # width, pixels
            0.4 + 0.8 * done,  # intensity, counts over reach²
            np.full(num_steps, 2.0),  # background at the beam
            np.full(num_steps, 0.6 * reach),  # its decay, pixels
        ],
        axis=1,
    )

    def curve(radius: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        position, width, intensity, height, decay = parameters
        ring = np.exp(-(((radius - position) / width) ** 2) / 2)
        ring /= (2 * np.pi) ** 1.5 * position * width
        return height * np.exp(-radius / decay) + intensity * reach**2 * ring

    return _radial_scene(
        "powder series",
        instrument,
        curve,
        parameters,
        amplitudes=np.array([False, False, True, True, False]),
        starts=[
            np.array([position * reach, width, intensity, 2.0, 0.5 * reach])
            for position in np.linspace(0.5, 0.8, 7)
            for width in (1.0, 2.0, 4.0)
            for intensity in (0.2, 1.0)
        ],
        low=np.array([0.4 * reach, 0.5, 0, 0, 0.1 * reach]),
        high=np.array([0.9 * reach, 10, np.inf, np.inf, 10 * reach]),
        quantities=(
            Quantity("ring position", "px", np.array([0])),
            Quantity("ring width", "px", np.array([1])),
            Quantity("ring intensity", "%", np.array([2])),
        ),
    )


def small_angle(instrument: Instrument) -> Scene:
    """Gaussian chains (Debye 1947, 10.1021/j150451a002) on a flat background.

    I(q) = I₀ · 2 (exp(−x) − 1 + x)/x² + b,   x = (q Rg)²
    """
    step = 0.8 / instrument.reach  # of q, nm⁻¹ per pixel

    def curve(radius: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        size, forward, background = parameters
        x = np.maximum(radius * step * size, 1e-2) ** 2
        return forward * 2 * (np.expm1(-x) + x) / x**2 + background

    return _radial_scene(
        "small angles",
        instrument,
        curve,
        np.array([[5.0, 1.0, 0.02]]),  # nm, counts, counts
        amplitudes=np.array([False, True, True]),
        starts=[
            np.array([size, 4.0, background])
            for size in (2.0, 4.0, 8.0)
            for background in (0.05, 0.5)
        ],
        low=np.array([0.2, 0, 0]),
        high=np.array([50, np.inf, np.inf]),
        quantities=(Quantity("radius of gyration", "%", np.array([0])),),
    )


def _radial_scene(
    name: str,
    instrument: Instrument,
    curve: Curve,
    parameters: Float[np.ndarray, "frame parameter"],
    *,
    amplitudes: Bool[np.ndarray, " parameter"],
    starts: Sequence[Float[np.ndarray, " parameter"]],
    low: Float[np.ndarray, " parameter"],
    high: Float[np.ndarray, " parameter"],
    quantities: tuple[Quantity, ...],
) -> Scene:
    """Curves over the radius; amplitudes count in units of the mean counts."""
    radius, mask = instrument.radius, instrument.mask
    pixels, positions = _ring_bins(instrument)
    rates = np.stack([curve(radius, frame) for frame in parameters])
    factor = 1 / rates[:, mask].mean()

    def mean(parameters: np.ndarray) -> np.ndarray:
        return pixels * curve(positions, parameters)

    def measure(image: Image, fit: Fit) -> np.ndarray:
        counts = instrument.rings(image)[instrument.rings(mask) > 0]
        level = max(counts.sum(), 1) / pixels.sum()
        scale = np.where(amplitudes, level, 1)
        begin = [scale * start for start in starts]
        return fit_mean(mean, counts, begin, scale * low, scale * high, fit)

    def bounds(frame: int, level: float) -> np.ndarray:
        truth = np.where(amplitudes, level * factor, 1) * parameters[frame]
        return cramer_rao(lambda guess: curve(radius[mask], guess), truth)

    return Scene(name, factor * rates, quantities, measure, bounds)


def total_scattering(instrument: Instrument) -> Scene:
    """An atom of an fcc metal with its first two shells, by Debye's sum.

        I(Q) = c f² S(Q),   S = 1 + (1/N) Σ_{i≠j} exp(−u² Q²) sin(Q r_ij)/(Q r_ij)
        G(r) = 2/π ∫ Q (S − 1) sin(π Q/Q_max)/(π Q/Q_max) sin(Q r) dQ

    c is such that S is one on average in the outer part of the pattern. The bound is
    that of a profile of which nothing is known: each ring is free.
    """
    mask, reach = instrument.mask, instrument.reach
    greatest = 22.0  # of Q in the corners, Å⁻¹
    step = greatest / (np.sqrt(2) * reach)
    q = step * np.maximum(instrument.radius, 0.1)
    sites = np.indices((5, 5, 5)).reshape(3, -1).T - 2
    even, near = sites.sum(1) % 2 == 0, (sites**2).sum(1) <= 4
    atoms = 2.04 * sites[even & near]  # half of the lattice constant, Å
    between = np.linalg.norm(atoms[:, None] - atoms, axis=-1)
    distances, times = np.unique(np.round(between[between > 0], 6), return_counts=True)
    waves = np.sinc(q[..., None] * distances / np.pi) @ times / len(atoms)
    factor = (1 + (q / 10) ** 2) ** -2  # f², falling as of some atom
    rate = factor * (1 + np.exp(-0.005 * q**2) * waves)
    rate /= rate[mask].mean()

    kept = instrument.rings(mask) > 0
    pixels, radius = _ring_bins(instrument)
    centres, single = step * radius, instrument.rings(factor)[kept]
    distance = np.linspace(2, 9, 141)
    window = centres * np.sinc(centres / greatest)
    kernel = 2 / np.pi * window * np.sin(np.outer(distance, centres))
    outer = centres > 0.6 * greatest

    def transform(counts: np.ndarray) -> np.ndarray:
        scale = max(counts[outer].sum(), 1) / single[outer].sum()
        structure = counts / (scale * single)
        return np.trapezoid(kernel * (structure - 1), centres, axis=1)

    def measure(image: Image, fit: Fit) -> np.ndarray:
        return transform(instrument.rings(image)[kept])

    def bounds(frame: int, level: float) -> np.ndarray:
        counts = level * instrument.rings(rate)[kept]
        return np.sqrt(counts @ derivatives(transform, counts) ** 2)

    quantity = Quantity("pair distribution", "%", np.arange(len(distance)))
    return Scene(
        "total scattering", rate[None], (quantity,), measure, bounds, has_fits=False
    )


def _ring_bins(
    instrument: Instrument,
) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Pixels in the rings that have any, and their mean radius."""
    pixels = instrument.rings(instrument.mask)
    kept = pixels > 0
    return pixels[kept], instrument.rings(instrument.radius)[kept] / pixels[kept]


def still(instrument: Instrument, num_pairs: int, seed: int) -> Scene:
    """Spots in Friedel pairs at predicted places; both squares of a pair are added."""
    rng = np.random.default_rng(seed)
    places = _free_places(instrument, num_pairs, rng)
    y, x = np.indices(instrument.mask.shape)
    background = 0.5 + np.exp(-instrument.radius / (0.6 * instrument.reach))
    heights = rng.permutation(np.geomspace(STRONG / 10, STRONG * 10, num_pairs))
    peaks = np.zeros_like(background)
    rate = background.copy()
    middle = instrument.reach - 0.5
    for place, height in zip(places, heights, strict=True):
        for sign in (1, -1):
            v, u = middle + sign * (place - middle)
            peak = np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * 1.2**2))
            peaks += peak
            rate += height * background[tuple(np.round((v, u)).astype(int))] * peak
    squares = [
        tuple(slice(round(p) - HALF, round(p) + HALF + 1) for p in place)
        for place in places
    ]

    def regions(image: Image) -> np.ndarray:
        valid = np.where(instrument.mask, image, 0)
        both = valid + valid[::-1, ::-1]
        return np.stack([both[square].ravel() for square in squares])

    weak = heights < STRONG
    quantities = (
        Quantity("strong spots", "%", np.flatnonzero(~weak)),
        Quantity("weak spots", "%", np.flatnonzero(weak)),
    )
    return _local_scene("still", instrument, rate, peaks, regions, quantities)


def _free_places(
    instrument: Instrument, num: int, rng: np.random.Generator
) -> Float[np.ndarray, "spot 2"]:
    """Places whose squares, and those of their mates, are valid and do not overlap."""
    side, middle = len(instrument.mask), instrument.reach - 0.5
    taken = ~instrument.mask
    taken = taken | taken[::-1, ::-1]
    places = []
    while len(places) < num:
        place = rng.uniform(HALF, side - 1 - HALF, 2)
        top, left = (round(p) - HALF for p in place)
        square = np.s_[top : top + 2 * HALF + 1, left : left + 2 * HALF + 1]
        near = np.max(np.abs(place - middle)) < HALF + 1  # of its own mate
        if taken[square].any() or near:
            continue
        taken[square] = taken[::-1, ::-1][square] = True
        places.append(place)
    return np.stack(places)


def textured_ring(instrument: Instrument, num_sectors: int, seed: int) -> Scene:
    """Arcs of preferred orientations; opposite sectors, which are equal, are added."""
    rng = np.random.default_rng(seed)
    reach, radius = instrument.reach, instrument.radius
    arcs = 0.2 * np.ones_like(radius)
    for _ in range(4):
        angle, sharpness = rng.uniform(0, np.pi), np.exp(rng.uniform(2, 4))
        turned = np.cos(2 * (instrument.azimuth - angle))
        arcs += rng.uniform(0.5, 3) * np.exp(sharpness * (turned - 1))
    peaks = np.exp(-(((radius - 0.65 * reach) / 1.8) ** 2) / 2)
    rate = 0.5 + np.exp(-radius / (0.6 * reach)) + arcs * peaks
    inner, outer = round(0.5 * reach), round(0.8 * reach)

    def regions(image: Image) -> np.ndarray:
        sums = instrument.sectors(image, num_sectors, inner, outer)
        return sums[: num_sectors // 2] + sums[num_sectors // 2 :]

    quantity = Quantity(
        f"{num_sectors} sectors of a ring", "%", np.arange(num_sectors // 2)
    )
    return _local_scene("texture", instrument, rate, peaks, regions, (quantity,))


def _local_scene(
    name: str,
    instrument: Instrument,
    rate: Image,
    peaks: Image,
    regions: Callable[[Image], Float[np.ndarray, "region cell"]],
    quantities: tuple[Quantity, ...],
) -> Scene:
    """Amplitudes of peaks of known shape, each over a flat background of its own."""
    rate = rate / rate[instrument.mask].mean()
    shape, pixels = regions(peaks), regions(np.ones_like(peaks))

    def measure(image: Image, fit: Fit) -> np.ndarray:
        return fit_amplitudes(regions(image), shape, pixels, fit)

    def bounds(frame: int, level: float) -> np.ndarray:
        return amplitude_bounds(regions, peaks, level * rate)

    return Scene(name, rate[None], quantities, measure, bounds, local=True)
