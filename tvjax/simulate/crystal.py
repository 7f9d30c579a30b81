"""Reflections of a crystal, with their intensities."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Reflections(NamedTuple):
    """The reciprocal lattice of a crystal that is not yet rotated."""

    hkl: Int[np.ndarray, "reflection 3"]
    vector: Float[np.ndarray, "reflection 3"]  # 1/Å, in the laboratory
    intensity: Float[np.ndarray, " reflection"]  # |F|² over its mean at d = ∞


@dataclass(frozen=True)
class Crystal:
    """An orthorhombic crystal of space group P2₁2₁2₁, by default cytidine's cell.

    |F|² follows Wilson's statistics: exponential for a general reflection, χ² of one
    degree of freedom where an index is zero. The eight mates of a reflection in the
    Laue group mmm are equal, odd reflections on the axes are absent.

    Attributes:
        cell: Lengths of the axes a, b, c in Å.
        rotation: Angles in degrees by which the crystal, its axes along x, y, z, is
            turned about x, then y, then z.
        d_min: Spacing in Å below which nothing is diffracted.
        b_factor: B in Å², with mean |F|² ∝ exp(−B / 2d²). It stands for the fall of
            the atomic form factors as well as for thermal motion.
        seed: Seed of the |F|².
    """

    cell: tuple[float, float, float] = (5.1268, 14.0105, 14.7807)
    rotation: tuple[float, float, float] = (12.0, 27.0, 48.0)
    d_min: float = 0.7
    b_factor: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not min(*self.cell, self.d_min) > 0:
            raise ValueError(
                "`cell` and `d_min` must be positive, "
                f"got {self.cell} and {self.d_min}."
            )

    def reflections(self) -> Reflections:
        """Return every reflection that is present and not finer than `d_min`."""
        cell = np.asarray(self.cell)
        limits = (cell / self.d_min).astype(int)
        unique = self._unique_intensities(limits)
        hkl = np.stack(
            np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), -1
        ).reshape(-1, 3)
        inverse_square = np.sum((hkl / cell) ** 2, axis=1)  # 1/d²
        intensity = unique[tuple(np.abs(hkl.T))]
        intensity = intensity * np.exp(-self.b_factor * inverse_square / 2)
        present = (intensity > 0) & (inverse_square <= self.d_min**-2)
        hkl = hkl[present]
        return Reflections(hkl, hkl / cell @ self._rotation().T, intensity[present])

    def _unique_intensities(
        self, limits: Int[np.ndarray, "3"]
    ) -> Float[np.ndarray, "h k l"]:
        """Draw |F|² for h, k, l ≥ 0, of mean 1 for a general reflection."""
        h, k, l = np.ogrid[tuple(slice(0, n + 1) for n in limits)]  # noqa: E741
        real, imaginary = np.random.default_rng(self.seed).standard_normal(
            (2, *(limits + 1))
        )
        num_zeros = (h == 0) + 1 * (k == 0) + (l == 0)
        intensity = np.where(num_zeros > 0, real**2, (real**2 + imaginary**2) / 2)
        # on an axis two symmetry mates scatter in phase, or cancel if odd
        odd = (h + k + l) % 2 == 1
        return np.select(
            [num_zeros == 3, (num_zeros == 2) & odd, num_zeros == 2],
            [0, 0, 2 * intensity],
            intensity,
        )

    def _rotation(self) -> Float[np.ndarray, "3 3"]:
        """Matrix of the turns about x, then y, then z."""
        turn = np.eye(3)
        for axis, angle in enumerate(np.deg2rad(self.rotation)):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            step = np.eye(3)
            step[[first, second], [first, second]] = np.cos(angle)
            step[second, first], step[first, second] = np.sin(angle), -np.sin(angle)
            turn = step @ turn
        return turn
