"""The result of denoising images, with its certificate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from tvjax.noise import Noise


@dataclass(frozen=True, eq=False)
class Curve:
    """The risk at several strengths, in ascending order.

    Those that the descent visited on its last leg, or as many as were asked for. With
    one strength a frame, one row a frame; NaN where a descent was shorter.
    """

    alphas: np.ndarray
    risks: np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """A denoised image or stack, and how it came about.

    For a stack, `gap`, `rmse`, `num_steps` and `converged` have one entry a frame; so
    have `alpha`, `risk` and `at_bound` where each frame has its own strength.
    """

    image: Any  # NumPy for NumPy, JAX for JAX
    alpha: np.ndarray  # unit of the data
    noise: Noise | None  # None where neither it nor the choice of alpha was asked for
    risk: np.ndarray | None  # estimated mean squared error; None for a given alpha
    curve: Curve | None
    gap: np.ndarray  # relative duality gap
    rmse: np.ndarray  # certified distance to the exact solution, unit of the data
    num_steps: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray  # the strength wanted to leave its range

    def asdict(self) -> dict[str, Any]:
        """Everything but the image, in types that JSON knows."""
        noise = None
        if self.noise is not None:
            parameters = {name: _plain(v) for name, v in vars(self.noise).items()}
            noise = {"model": type(self.noise).__name__, **parameters}
        return {
            "alpha": _plain(self.alpha),
            "noise": noise,
            "risk": None if self.risk is None else _plain(self.risk),
            "curve": None
            if self.curve is None
            else {
                "alphas": _plain(self.curve.alphas),
                "risks": _plain(self.curve.risks),
            },
            "relative_gap": _plain(self.gap),
            "certified_rmse": _plain(self.rmse),
            "num_steps": _plain(self.num_steps),
            "converged": _plain(self.converged),
            "alpha_at_bound": _plain(self.at_bound),
        }

    def report(self) -> str:
        """The same in sentences."""
        lines = []
        if self.noise is not None:
            parameters = ", ".join(
                f"{name} {_short(value)}" for name, value in vars(self.noise).items()
            )
            lines.append(f"noise      {type(self.noise).__name__} ({parameters})")
        lines += [
            f"alpha      {_short(self.alpha)}"
            + (" (given)" if self.risk is None else " (chosen by the risk)"),
        ]
        if self.risk is not None:
            lines.append(
                f"risk       {_short(self.risk)}, the mean squared error as estimated "
                "at 0.9 of the exposure; unbiased, so it may be negative"
            )
        lines += [
            f"exactness  relative gap {_short(self.gap)}, within {_short(self.rmse)} "
            "rms of the exact minimizer",
            f"steps      {_short(self.num_steps)}",
        ]
        if not np.all(self.converged):
            lines.append("WARNING    not converged: raise `max_steps`")
        if np.any(self.at_bound):
            lines.append(
                "WARNING    alpha ended at the end of its range: the risk has no "
                "minimum within; check the noise model and the mask"
            )
        return "\n".join(lines)


def _plain(value: ArrayLike) -> Any:
    return np.asarray(value).tolist()


def _short(value: ArrayLike) -> str:
    """A number, or the range of several."""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.4g}"
    return f"{value.min():.4g} to {value.max():.4g}"
