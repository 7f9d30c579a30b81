"""Geometry of a detector, and the pixels of it that see nothing or too much."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt32

# Bits of the pixel mask as DECTRIS and NXmx define them.
GAP = 1 << 0
DEAD = 1 << 1
NOISY = 1 << 4


@dataclass(frozen=True)
class Detector:
    """A flat detector of modules stacked in y, by default an EIGER 1M.

    The laboratory's x runs along a row of pixels, z along the beam, y completes them
    and runs down a column where `swing` is zero.

    Attributes:
        num_columns: Number of pixels in x.
        num_modules: Number of modules in y.
        module_rows: Number of rows of pixels of one module.
        gap_rows: Number of rows between two modules, which see nothing.
        pixel_size: Length of a side of a pixel in mm.
        distance: Distance from the crystal to the detector's centre, in mm.
        swing: Angle in degrees by which the detector is turned about x, toward −y.
        num_dead: Number of pixels that see nothing, flagged in the mask.
        num_noisy: Number of pixels that see too much, flagged in the mask.
        saturation: Count at which a pixel stops.
        seed: Seed of the flagged pixels' places.
    """

    num_columns: int = 1030
    num_modules: int = 2
    module_rows: int = 514
    gap_rows: int = 37
    pixel_size: float = 0.075
    distance: float = 52.11
    swing: float = 25.0
    num_dead: int = 60
    num_noisy: int = 20
    saturation: int = 500_000
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, gaps included."""
        pitch = self.module_rows + self.gap_rows
        return self.num_modules * pitch - self.gap_rows, self.num_columns

    @property
    def beam_centre(self) -> tuple[float, float]:
        """Row and column, in pixels, where the unscattered beam would arrive."""
        y, x = self.project(np.asarray([[0.0, 0.0, 1.0]]))
        return y.item(), x.item()

    def pixel_mask(self) -> UInt32[np.ndarray, "height width"]:
        """Return each pixel's defects as bits, zero where it is sound."""
        rows, columns = self.shape
        pitch = self.module_rows + self.gap_rows
        mask = np.zeros(self.shape, np.uint32)
        mask[np.arange(rows) % pitch >= self.module_rows] = GAP
        defects = np.repeat([DEAD, NOISY], [self.num_dead, self.num_noisy])
        sound = np.flatnonzero(mask == 0)
        places = np.random.default_rng(self.seed).choice(
            sound, defects.size, replace=False
        )
        mask.flat[places] = defects
        return mask

    def directions(
        self,
    ) -> tuple[
        Float[np.ndarray, "height width"],
        Float[np.ndarray, "height width"],
        Float[np.ndarray, "height width"],
    ]:
        """Return the unit vectors from crystal to pixels, as components x, y, z."""
        y, x = (self.pixel_size * (np.arange(n) - (n - 1) / 2) for n in self.shape)
        y = y[:, None]
        normal, slow = self._axes()
        length = np.sqrt(self.distance**2 + y**2 + x**2)
        across = self.distance * normal[1] + y * slow[1]
        along = self.distance * normal[2] + y * slow[2]
        return x / length, across / length, along / length

    def project(
        self, direction: Float[np.ndarray, "ray 3"]
    ) -> tuple[Float[np.ndarray, " ray"], Float[np.ndarray, " ray"]]:
        """Return row and column, in pixels, where rays meet the detector's plane.

        Rays that move away from the plane get NaN.
        """
        normal, slow = self._axes()
        toward = direction @ normal
        scale = np.full_like(toward, np.nan)
        np.divide(self.distance / self.pixel_size, toward, where=toward > 0, out=scale)
        rows, columns = self.shape
        y = scale * (direction @ slow) + (rows - 1) / 2
        x = scale * direction[:, 0] + (columns - 1) / 2
        return y, x

    def _axes(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """The plane's normal and the direction of its columns."""
        angle = np.deg2rad(self.swing)
        normal = np.asarray([0.0, -np.sin(angle), np.cos(angle)])
        slow = np.asarray([0.0, np.cos(angle), np.sin(angle)])
        return normal, slow
