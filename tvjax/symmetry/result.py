"""The result of denoising a pattern by its symmetry, with its certificate."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from tvjax.result import AbstractResult, noise_in_words, plain, short
from tvjax.symmetry.agreement import Agreement
from tvjax.symmetry.centre import Centre
from tvjax.symmetry.fallback import Fallback


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SymmetricResult(AbstractResult):
    """A pattern denoised by its symmetry, and how it came about.

    Where nothing is known of a pixel, the image is as it was given. The risk is that at
    the exposure of the part that was denoised to choose the strength.

    Attributes:
        image: Denoised pattern: NumPy's array where the data were one, else JAX's.
        noise: Noise model that was given or estimated.
        risk: Estimated mean squared error, in the unit of the data squared; it may be
            negative.
        warnings: What deserves a second look, one sentence each.
        diagnosis: What the noise was recognised by; None where its model was given.
        mask: True where the image is an estimate: gaps may be filled.
        group: Name of the group; "none" where no symmetry holds.
        centre: Centre of the symmetry; None where no symmetry holds.
        agreement: Test of the symmetry; None where no symmetry holds.
        fallback: Share of the estimate by symmetry, next to TV of the image alone; None
            where the symmetry is not imperfect.
        orbit: Average of orbit mean and own image, before TV.
        factor: Variance of that average over that of a pixel.
        alpha: Strength where the average has its typical noise, in the unit of the
            data.
        strength: Strength of each pixel, α √(factor over its mean); next to zero in
            spots that are kept as measured.
        judge: What was split in two to choose the strength, "data" or "orbits".
        relative_gap: Duality gap over the objective.
        num_steps: Steps of the solver.
        converged: Whether the tolerance was reached.
        at_bound: Whether the strength wanted to leave its range.

    Example:
        >>> import numpy as np, tvjax
        >>> counts = np.random.default_rng(0).poisson(2.0, (24, 24))
        >>> result = tvjax.denoise_symmetric(
        ...     counts, noise=tvjax.Poisson(), group="friedel", centre=(11.5, 11.5)
        ... )
        >>> result.agreement.holds, result.warnings
        (True, ())
    """

    mask: Bool[np.ndarray, "height width"]
    group: str
    centre: Centre | None
    agreement: Agreement | None
    fallback: Fallback | None
    orbit: Float[np.ndarray, "height width"]
    factor: Float[np.ndarray, "height width"]
    alpha: np.ndarray
    strength: Float[np.ndarray, "height width"]
    judge: Literal["data", "orbits"]
    relative_gap: np.ndarray
    num_steps: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray

    @property
    def imperfect(self) -> bool:
        """Whether the symmetry is imperfect, and the mean was weighed with the own."""
        return self.agreement is not None and self.agreement.shading is not None

    def facts(self) -> dict[str, str]:
        """Symmetry, strength, risk and certificate, a sentence each."""
        facts = {"symmetry": "none that the data do not refuse: the image alone"}
        noise = {} if self.noise is None else {"noise": noise_in_words(self.noise)}
        if self.agreement is not None and self.centre is not None:
            error = " ± ".join(
                f"({a:.3g}, {b:.3g})" for a, b in (self.centre.place, self.centre.error)
            )
            facts = {"symmetry": self.agreement.report(), "centre": f"{error} pixels"}
        left = float(np.mean(self.factor[self.mask]))
        return facts | {
            **noise,
            "noise left": f"{left:.3g} of the variance before TV",
            "alpha": f"{short(self.alpha)} (chosen between halves of the {self.judge})",
            "risk": f"{self.risk:.4g}, the mean squared error as estimated; unbiased, "
            "so it may be negative",
            "exactness": f"relative gap {short(self.relative_gap)}",
            "steps": short(self.num_steps),
        }

    def numbers(self) -> dict[str, Any]:
        """Symmetry, strength and certificate."""
        symmetry = fallback = None
        if self.agreement is not None and self.centre is not None:
            symmetry = {
                "centre": list(self.centre.place),
                "centre_error": list(self.centre.error),
                **self.agreement.asdict(),
            }
        if self.fallback is not None:
            fallback = {
                "share": float(np.mean(self.fallback.share[self.mask])),
                "risk": self.fallback.risk,
                "own_risk": self.fallback.own_risk,
                "certainty": self.fallback.certainty,
            }
        return {
            "group": self.group,
            "symmetry": symmetry,
            "fallback": fallback,
            "noise_left": float(np.mean(self.factor[self.mask])),
            "alpha": plain(self.alpha),
            "judge": self.judge,
            "relative_gap": plain(self.relative_gap),
            "num_steps": plain(self.num_steps),
            "converged": plain(self.converged),
            "at_bound": plain(self.at_bound),
        }
