"""What is left of a stack when its noise is gone: a few images and their spectra."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """A denoised stack, Σ_k denoised_k spectrum_k, and how it came about.

    Attributes:
        rank: Components that are used.
        sigma: Standard deviation of the noise at each energy, in the unit of the data.
        risk: Estimated mean squared error over the variance of the noise.
        risks: The same at each rank from 1 to the greatest tried.
        alphas: Strength of TV for each component, in units of the noise.
        weights: Of the raw and of each denoised image in the mixture, a row a
            component; zero beyond the rank.
        singular_values: Of the stack divided by `sigma`, descending.
        spectra: The basis, in the unit of the data.
        images: Coefficient images, of unit noise.
        denoised: What the mixture makes of them; zero beyond the rank.
        mask: True where a pixel is valid.
    """

    rank: int
    sigma: Float[np.ndarray, " energy"]
    risk: float
    risks: Float[np.ndarray, " component"]
    alphas: Float[np.ndarray, " component"]
    weights: Float[np.ndarray, "component member"]
    singular_values: Float[np.ndarray, " value"]
    spectra: Float[np.ndarray, "component energy"]
    images: Float[np.ndarray, "component height width"]
    denoised: Float[np.ndarray, "component height width"]
    mask: Bool[np.ndarray, "height width"] | None

    def frames(self, start: int, stop: int) -> Float[np.ndarray, "frame height width"]:
        """Denoised frames from `start` to `stop` (excluded); zero where invalid."""
        spectra = self.spectra[: self.rank, start:stop].astype(self.denoised.dtype)
        frames = np.tensordot(spectra, self.denoised[: self.rank], (0, 0))
        return frames if self.mask is None else np.where(self.mask, frames, 0)

    def verdict(self) -> list[str]:
        """What became of each component: "kept", "shrunk" or "dropped"."""
        total = self.weights.sum(axis=1)
        words = np.where(np.abs(total - 1) < 0.1, "kept", "shrunk")
        words = np.where(np.abs(self.weights).sum(axis=1) < 0.05, "dropped", words)
        words[self.rank :] = "dropped"
        return words.tolist()
