"""A denoised stack as a few images and their spectra."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from tvjax.noise import Noise, NoiseReport


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Components:
    """A denoised stack, Σ_k denoised_k spectrum_k, and how it came about.

    Attributes:
        noise: Noise model that was given; by default white noise of the estimated level
            at each energy.
        rank: Number of components that are used.
        sigma: Standard deviation of the noise at each energy, in the unit of the data.
        risk: Estimated mean squared error, in the unit of the data squared; it may be
            negative. Where the noise differs between energies, the error that no
            component holds is taken as spread evenly over them, which is some percent
            off where the levels differ severalfold; the relative risk is not.
        relative_risk: Estimated mean squared error of the stack divided by `sigma`,
            hence 1 for the noisy stack itself.
        relative_risks: The relative risk at each rank from 1 to the greatest tried.
            The rank is chosen by the same whitened stack.
        alphas: Strength of TV for each component, over the deviation of the noise.
        coefficients: Coefficients of the mixture, a row a component: of its noisy image
            and of what each denoiser makes of it; zero beyond the rank.
        singular_values: Singular values of the stack divided by `sigma`, descending.
        spectra: Spectrum of each component, in the unit of the data.
        images: Coefficient images, with noise of variance one.
        denoised: The coefficient images denoised; zero beyond the rank.
        mask: True where a pixel is valid.
        diagnosis: What the noise of the middle frame is by itself; None where a model
            was given.
        warnings: What deserves a second look, one sentence each.
    """

    noise: Noise
    rank: int
    sigma: Float[np.ndarray, " energy"]
    risk: Float[np.ndarray, ""]
    relative_risk: float
    relative_risks: Float[np.ndarray, " component"]
    alphas: Float[np.ndarray, " component"]
    coefficients: Float[np.ndarray, "component member"]
    singular_values: Float[np.ndarray, " value"]
    spectra: Float[np.ndarray, "component energy"]
    images: Float[np.ndarray, "component height width"]
    denoised: Float[np.ndarray, "component height width"]
    mask: Bool[np.ndarray, "height width"] | None
    diagnosis: NoiseReport | None = None
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The number of components, and the shape of the stack."""
        shape = " x ".join(map(str, (len(self.sigma), *self.images.shape[1:])))
        return f"<{type(self).__name__} rank {self.rank} of {shape}>"

    def frames(self, start: int, stop: int) -> Float[np.ndarray, "frame height width"]:
        """Denoised frames from `start` to `stop` (excluded); zero where invalid."""
        spectra = self.spectra[: self.rank, start:stop].astype(self.denoised.dtype)
        frames = np.tensordot(spectra, self.denoised[: self.rank], (0, 0))
        return frames if self.mask is None else np.where(self.mask, frames, 0)

    def verdict(self) -> list[str]:
        """What became of each component: "kept", "shrunk" or "dropped"."""
        total = self.coefficients.sum(axis=1)
        words = np.where(np.abs(total - 1) < 0.1, "kept", "shrunk")
        none = np.abs(self.coefficients).sum(axis=1) < 0.05
        words = np.where(none, "dropped", words)
        words[self.rank :] = "dropped"
        return words.tolist()
