"""The result of denoising an energy stack, whole."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from tvjax.noise import describe_noise, Noise
from tvjax.result import AbstractResult, plain, short
from tvjax.stack.components import Components


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StackResult(AbstractResult, Components):
    """A denoised stack and how it came about; its components are those of `Components`.

    Attributes:
        image: The stack (energy, height, width), in NumPy where the data were, else in
            JAX.
        noise: Noise model that was given; by default white noise of the estimated level
            at each energy.
        risk: Estimated mean squared error, in the unit of the data squared; see
            `Components`.

    Example:
        >>> import numpy as np, tvjax
        >>> rng = np.random.default_rng(0)
        >>> spectra, amounts = rng.random((6, 2)), rng.random((2, 20, 20))
        >>> y = np.tensordot(spectra, amounts, 1) + 0.1 * rng.normal(size=(6, 20, 20))
        >>> result = tvjax.denoise_stack(y, rank=1)
        >>> result.spectra.shape, result.verdict()
        ((1, 6), ['kept'])
    """

    image: Any
    noise: Noise
    risk: Float[np.ndarray, ""]

    def facts(self) -> dict[str, str]:
        """Noise, rank, components and risk, a sentence each."""
        counts = Counter(self.verdict())
        parts = (f"{counts[word]} {word}" for word in ("kept", "shrunk", "dropped"))
        return {
            "noise": f"{describe_noise(self.noise)['model']}, deviation "
            f"{short(self.sigma)} over the energies",
            "rank": f"{self.rank} of {len(self.sigma)}",
            "components": ", ".join(parts),
            "risk": f"{short(self.risk)}, the mean squared error as estimated; "
            f"{self.relative_risk:.3g} of the variance of the noise",
        }

    def numbers(self) -> dict[str, Any]:
        """Rank, noise, relative risk and what became of each component."""
        return {
            "rank": self.rank,
            "sigma": plain(self.sigma),
            "relative_risk": self.relative_risk,
            "relative_risks": plain(self.relative_risks),
            "alphas": plain(self.alphas),
            "coefficients": plain(self.coefficients),
            "singular_values": plain(self.singular_values),
            "verdict": self.verdict(),
        }
