"""Counts of a detector behind a rotating crystal, with their truth."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from tvjax.simulate.crystal import Crystal
from tvjax.simulate.detector import Detector

# The detector writes this count into pixels that its mask flags, as an EIGER does.
MASKED = np.uint32(2**32 - 1)


class Spots(NamedTuple):
    """The reflections of one frame."""

    hkl: Int[np.ndarray, "spot 3"]
    y: Float[np.ndarray, " spot"]  # pixels; the first pixel's centre is 0
    x: Float[np.ndarray, " spot"]
    counts: Float[np.ndarray, " spot"]  # expected, over the whole spot in this frame


@dataclass(frozen=True)
class Scan:
    """A scan in which the crystal turns about x by a small angle per frame.

    A reflection r, rotated by ω, diffracts where it crosses the Ewald sphere:
    r_z(ω) = −λ|r|²/2, which has two solutions in closed form. Its counts are
    brightness · |F|² · L · P, with Lorentz factor L = 1 / |ζ sin 2θ| and polarization
    factor P, spread over ω as a Gaussian of width `rocking_width` / |ζ| and over the
    pixels as a Gaussian of width `spot_width`. ζ is the cosine between the rotation
    axis and the normal of the plane of diffraction.

    Attributes:
        crystal: The crystal that diffracts.
        detector: The detector that counts.
        wavelength: λ in Å.
        omega_start: ω in degrees at which the first frame begins.
        omega_step: Degrees of ω per frame.
        num_frames: Number of frames.
        brightness: Counts of a reflection whose |F|², L and P are all one.
        background: Mean counts per pixel from air and from diffuse scattering.
        beam_stop: Scattering angle 2θ in degrees up to which the beam stop shades.
        polarization: Share of the beam whose electric field is normal to the axis.
        rocking_width: Standard deviation in degrees of the crystal's mosaic spread.
        spot_width: Standard deviation in pixels of a spot.
        num_zingers: Number of pixels per frame struck by a stray event, which are not
            in the mask.
        seed: Seed of the counts.
    """

    crystal: Crystal = field(default_factory=Crystal)
    detector: Detector = field(default_factory=Detector)
    wavelength: float = 0.8124
    omega_start: float = -90.0
    omega_step: float = 1.0
    num_frames: int = 180
    brightness: float = 2000.0
    background: float = 0.6
    beam_stop: float = 3.0
    polarization: float = 0.99
    rocking_width: float = 0.12
    spot_width: float = 0.95
    num_zingers: int = 4
    seed: int = 0

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """True where a pixel is valid."""
        return self.detector.pixel_mask() == 0

    def counts(self, frame: int) -> UInt32[np.ndarray, "height width"]:
        """Return a frame as the detector writes it, defects included."""
        expected = self.expected(frame)
        rng = np.random.default_rng((self.seed, frame))
        counts = rng.poisson(expected)
        struck = self.zingers(frame)
        events = _log_uniform(rng, 20, 300, self.num_zingers)
        counts[struck] += events.astype(int)
        counts = np.minimum(counts, self.detector.saturation).astype(np.uint32)
        return np.where(self.mask, counts, MASKED)

    def zingers(self, frame: int) -> Bool[np.ndarray, "height width"]:
        """True where a stray event strikes, which is in neither truth nor mask."""
        struck = np.zeros(self.detector.shape, bool)
        rng = np.random.default_rng((self.seed, frame, 1))
        struck.flat[rng.choice(struck.size, self.num_zingers, replace=False)] = True
        return struck

    def expected(self, frame: int) -> Float[np.ndarray, "height width"]:
        """Return the truth: the mean counts of each pixel, as if all were sound."""
        spots = self.spots(frame)
        return self._background() + _render(
            self.detector.shape, spots.y, spots.x, spots.counts, self.spot_width
        )

    def spots(self, frame: int) -> Spots:
        """Return the spots of a frame whose centres lie on the detector.

        Spots behind the beam stop, of fewer than 0.001 counts, or nearly in the plane
        of the axis (|ζ| < 0.05, where the two crossings merge) are left out.

        Raises:
            ValueError: If `frame` is not one of the scan's.
        """
        if not 0 <= frame < self.num_frames:
            raise ValueError(
                f"`frame` must be at least 0 and below {self.num_frames}, got {frame}."
            )
        hkl, omega, ray, intensity = self._crossings()
        cosine, sine = ray[:, 2], np.hypot(ray[:, 0], ray[:, 1])
        zeta = np.abs(ray[:, 1]) / sine
        lorentz = 1 / np.maximum(zeta * sine, 1e-9)
        middle = self.omega_start + (frame + 0.5) * self.omega_step
        ahead = (omega - middle + 180) % 360 - 180  # degrees, the short way round
        ends = np.asarray([[-0.5], [0.5]]) * self.omega_step - ahead
        before, after = _normal_cdf(ends * zeta / self.rocking_width)
        counts = self.brightness * intensity * lorentz * (after - before)
        counts = counts * self._polarization_factor(ray[:, 0], ray[:, 1])
        y, x = self.detector.project(ray)
        rows, columns = self.detector.shape
        seen = (
            (zeta > 0.05)
            & (counts > 1e-3)
            & (cosine < np.cos(np.deg2rad(self.beam_stop)))
            & (np.abs(y - (rows - 1) / 2) < rows / 2)
            & (np.abs(x - (columns - 1) / 2) < columns / 2)
        )
        return Spots(hkl[seen], y[seen], x[seen], counts[seen])

    def _crossings(
        self,
    ) -> tuple[
        Int[np.ndarray, "crossing 3"],
        Float[np.ndarray, " crossing"],
        Float[np.ndarray, "crossing 3"],
        Float[np.ndarray, " crossing"],
    ]:
        """Where reflections cross the Ewald sphere: hkl, ω, diffracted ray, |F|²."""
        hkl, vector, intensity = self.crystal.reflections()
        radius = np.hypot(vector[:, 1], vector[:, 2])  # about the axis, 1/Å
        height = -self.wavelength * np.sum(vector**2, axis=1) / 2
        crosses = np.abs(height) < radius
        hkl, vector, intensity = hkl[crosses], vector[crosses], intensity[crosses]
        height, radius = height[crosses], radius[crosses]
        phase = np.arctan2(vector[:, 1], vector[:, 2])
        offset = np.arccos(height / radius)
        depth = np.sqrt(radius**2 - height**2)
        omega = np.rad2deg(np.concatenate([phase + offset, phase - offset]))
        x, z = np.tile(vector[:, 0], 2), np.tile(height, 2)
        y = np.concatenate([-depth, depth])
        ray = self.wavelength * np.stack([x, y, z], axis=1)
        ray[:, 2] += 1
        return np.tile(hkl, (2, 1)), omega, ray, np.tile(intensity, 2)

    def _polarization_factor(
        self, x: Float[np.ndarray, "*shape"], y: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """Share of intensity scattered into rays of components x, y."""
        return self.polarization * (1 - y**2) + (1 - self.polarization) * (1 - x**2)

    def _background(self) -> Float[np.ndarray, "height width"]:
        """Air scatter and a diffuse ring, smooth but for the beam stop's shadow."""
        x, y, z = self.detector.directions()
        q = np.sqrt(np.maximum(2 - 2 * z, 0)) / self.wavelength  # 1/d = 2 sin θ / λ
        air = 0.3 + 1.6 * np.exp(-q / 0.18)
        ring = 0.7 * np.exp(-(((q - 0.27) / 0.08) ** 2))  # glass or oil, near 3.7 Å
        level = (air + ring) * self._polarization_factor(x, y)
        level *= self.background / level.mean()
        shaded = 2 * np.sin(np.deg2rad(self.beam_stop) / 2) / self.wavelength
        return level * (0.5 + 0.5 * np.tanh((q - shaded) / (0.03 * shaded)))


def diffraction_image(
    shape: tuple[int, int],
    *,
    background: tuple[float, float] = (3.0, 10.0),
    num_spots: int = 300,
    spot_counts: tuple[float, float] = (10.0, 1e4),
    spot_width: float = 0.95,
    seed: int = 0,
) -> tuple[UInt32[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Return counts and their truth for spots strewn over a smooth background.

    No geometry and no defects: an image of known level for tests and benchmarks.

    Args:
        shape: Rows and columns.
        background: Counts per pixel in the corners and in the centre.
        num_spots: Number of spots, uniform in place.
        spot_counts: Least and greatest counts of a spot, uniform in logarithm.
        spot_width: Standard deviation in pixels of a spot.
        seed: Seed of spots and counts.

    Returns:
        Poisson counts, and the mean counts they were drawn from.
    """
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(-1, 1, n) for n in shape)
    radius = np.sqrt((y[:, None] ** 2 + x**2) / 2)  # 1 in the corners
    low, high = background
    truth = low + (high - low) * (0.5 + 0.5 * np.cos(np.pi * radius))
    place = rng.uniform(size=(2, num_spots)) * np.asarray(shape)[:, None] - 0.5
    faintest, brightest = spot_counts
    totals = _log_uniform(rng, faintest, brightest, num_spots)
    truth += _render(shape, place[0], place[1], totals, spot_width)
    return rng.poisson(truth).astype(np.uint32), truth


def _render(
    shape: tuple[int, int],
    y: Float[np.ndarray, " spot"],
    x: Float[np.ndarray, " spot"],
    counts: Float[np.ndarray, " spot"],
    width: float,
) -> Float[np.ndarray, "height width"]:
    """Sum of Gaussian spots, each integrated over the pixels."""
    reach = math.ceil(6 * width)  # beyond it lie less than 1e-8 of the counts
    margin = reach + 1  # so that spots at the border need no case of their own
    image = np.zeros([n + 2 * margin for n in shape])
    rows, share_y = _integrate(y, width, reach)
    columns, share_x = _integrate(x, width, reach)
    np.add.at(
        image,
        (rows[:, :, None] + margin, columns[:, None, :] + margin),
        counts[:, None, None] * share_y[:, :, None] * share_x[:, None, :],
    )
    return image[margin:-margin, margin:-margin]


def _integrate(
    centre: Float[np.ndarray, " spot"], width: float, reach: int
) -> tuple[Int[np.ndarray, "spot pixel"], Float[np.ndarray, "spot pixel"]]:
    """Pixels about each centre along one axis, and the share that each receives."""
    pixels = np.rint(centre).astype(int)[:, None] + np.arange(-reach, reach + 2)
    below = _normal_cdf((pixels - 0.5 - centre[:, None]) / width)
    return pixels[:, :-1], np.diff(below)


def _normal_cdf(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Share of a unit normal distribution below z."""
    return 0.5 + 0.5 * _erf(z / math.sqrt(2))


_erf = np.vectorize(math.erf, otypes=[float])  # NumPy has none


def _log_uniform(
    rng: np.random.Generator, low: float, high: float, size: int
) -> Float[np.ndarray, " draw"]:
    """Draw numbers whose logarithm is uniform between those of `low` and `high`."""
    return np.exp(rng.uniform(math.log(low), math.log(high), size))
