"""What all results of a denoising have in common."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from tvjax.noise import (
    describe_noise,
    Noise,
    noise_in_words as noise_in_words,
    NoiseReport,
)
from tvjax.readable import AbstractReadable, plain, short as short


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AbstractResult(AbstractReadable):
    """A denoised image or stack, and how it came about.

    Attributes:
        image: NumPy's array where the data were one, else JAX's.
        noise: Noise model that was given or estimated; None where none was needed.
        risk: Estimated mean squared error, in the unit of the data squared: unbiased,
            so it may be negative. None where the strength was given.
        diagnosis: What the noise was recognised by; None where its model was given.
    """

    image: np.ndarray | Array
    noise: Noise | None
    risk: np.ndarray | None
    diagnosis: NoiseReport | None = None

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What belongs to this kind of result, in types that JSON knows."""

    def asdict(self) -> dict[str, Any]:
        """Everything but images, in types that JSON knows."""
        return {
            "noise": None if self.noise is None else describe_noise(self.noise),
            "risk": None if self.risk is None else plain(self.risk),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.asdict(),
            **self.numbers(),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """The kind of result, its shape and its risk."""
        shape = " x ".join(map(str, np.shape(self.image)))
        risk = "" if self.risk is None else f", risk {short(self.risk)}"
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<{type(self).__name__} {shape}{risk}{warned}>"
