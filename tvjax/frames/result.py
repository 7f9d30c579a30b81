"""The result of denoising images, with its certificate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tvjax.result import AbstractResult, noise_in_words, plain, short


@dataclass(frozen=True, eq=False)
class Curve:
    """The risk at several strengths, in ascending order.

    These are the strengths that the descent visited on its last leg, or as many as were
    asked for. With one strength a frame there is one row a frame, NaN at the end where
    a descent was shorter.

    Attributes:
        alphas: Strengths, in the unit of the data.
        risks: The risk at each, in the unit of the data squared.
        splits: The risk by each of several splits of the data, whose mean `risks` is;
            None where only the descent visited the strengths.
    """

    alphas: Float[np.ndarray, "*frame point"]
    risks: Float[np.ndarray, "*frame point"]
    splits: Float[np.ndarray, "split point"] | None = None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(AbstractResult):
    """A denoised image or stack of frames, and how it came about.

    For a stack, `relative_gap`, `rmse`, `num_steps` and `converged` have one entry a
    frame; so have `alpha`, `risk` and `at_bound` where each frame has its own strength.

    Attributes:
        image: Denoised image or frames, of the data's shape: NumPy's array where the
            data were one, else JAX's.
        noise: Noise model that was given or estimated; None where none was needed.
        risk: Estimated mean squared error, in the unit of the data squared: unbiased,
            so it may be negative. None where the strength was given.
        warnings: What deserves a second look, one sentence each.
        diagnosis: What the noise was recognised by; None where its model was given.
        alpha: Strength, in the unit of the data.
        alpha_error: Relative standard error of the chosen strength, by the chance of
            the splits and the noise of the data; infinite where the risk has no
            minimum, None for a given alpha.
        kept: True where the strength is lower, on spots that stand clear; None where
            none was looked for.
        protection: Multiple of the strength on spots that stand clear: one where no
            smaller one brings less error, None where no spot was found.
        curve: The risk at several strengths; None for a given alpha.
        relative_gap: Duality gap over the objective.
        rmse: Certified distance to the exact minimizer, in the unit of the data.
        num_steps: Number of solver steps.
        converged: Whether the tolerance was reached.
        at_bound: Whether the strength ended at the end of its range.

    Example:
        >>> import numpy as np, tvjax
        >>> result = tvjax.denoise(np.eye(8), alpha=0.1)
        >>> result
        <Result 8 x 8>
        >>> sorted(result.asdict())[:3]
        ['alpha', 'alpha_error', 'at_bound']
    """

    alpha: np.ndarray
    curve: Curve | None
    alpha_error: np.ndarray | None = None
    kept: Bool[np.ndarray, "*frame height width"] | None = None
    protection: float | None = None
    relative_gap: np.ndarray
    rmse: np.ndarray
    num_steps: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray

    def facts(self) -> dict[str, str]:
        """Noise, strength, risk and certificate, a sentence each."""
        facts = {}
        if self.noise is not None:
            facts["noise"] = noise_in_words(self.noise)
        chosen = "given" if self.risk is None else "chosen by the risk"
        bar = (
            ""
            if self.alpha_error is None
            else f" ± {short(100 * self.alpha_error, 2)} %"
        )
        facts["alpha"] = f"{short(self.alpha)}{bar} ({chosen})"
        if self.kept is not None and self.protection is not None and self.kept.any():
            facts["kept"] = (
                f"{int(self.kept.sum())} pixels of clear spots, "
                f"at {short(self.protection)} of the strength"
            )
        if self.risk is not None:
            facts["risk"] = (
                f"{short(self.risk)}, the mean squared error as estimated by data "
                "that were held out; unbiased, so it may be negative"
            )
        facts["exactness"] = (
            f"relative gap {short(self.relative_gap)}, within {short(self.rmse)} rms "
            "of the exact minimizer"
        )
        facts["steps"] = short(self.num_steps)
        return facts

    def numbers(self) -> dict[str, Any]:
        """Strength, its curve and the certificate."""
        curve = None
        if self.curve is not None:
            curve = {
                name: None if values is None else plain(values)
                for name, values in vars(self.curve).items()
            }
        return {
            "alpha": plain(self.alpha),
            "alpha_error": (
                None if self.alpha_error is None else plain(self.alpha_error)
            ),
            "kept": None if self.kept is None else int(self.kept.sum()),
            "protection": self.protection,
            "curve": curve,
            "relative_gap": plain(self.relative_gap),
            "rmse": plain(self.rmse),
            "num_steps": plain(self.num_steps),
            "converged": plain(self.converged),
            "at_bound": plain(self.at_bound),
        }
