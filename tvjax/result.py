"""What all results of a denoising have in common."""

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from tvjax.noise import describe_noise, Noise


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AbstractReadable(ABC):
    """What can be read in the shell and in a notebook.

    Attributes:
        warnings: What deserves a second look, one sentence each.
    """

    warnings: tuple[str, ...] = ()

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What is worth reading, a name and a sentence each."""

    def report(self) -> str:
        """The facts and warnings, a line each."""
        lines = [*self.facts().items(), *(("WARNING", text) for text in self.warnings)]
        width = max(10, *(len(name) for name, _ in lines))
        return "\n".join(f"{name:{width}} {text}" for name, text in lines)

    def _repr_html_(self) -> str:
        """The report as a table, for notebooks."""
        rows = [*self.facts().items(), *(("warning", text) for text in self.warnings)]
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in rows
        )
        return f"<table>{cells}</table>"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AbstractResult(AbstractReadable):
    """A denoised image or stack, and how it came about.

    Attributes:
        image: NumPy's array where the data were one, else JAX's.
        noise: Noise model that was given or estimated; None where none was needed.
        risk: Estimated mean squared error, in the unit of the data squared: unbiased,
            so it may be negative. None where the strength was given.
    """

    image: np.ndarray | Array
    noise: Noise | None
    risk: np.ndarray | None

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What belongs to this kind of result, in types that JSON knows."""

    def asdict(self) -> dict[str, Any]:
        """Everything but images, in types that JSON knows."""
        return {
            "noise": None if self.noise is None else describe_noise(self.noise),
            "risk": None if self.risk is None else plain(self.risk),
            **self.numbers(),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        """The kind of result, its shape and its risk."""
        shape = " x ".join(map(str, np.shape(self.image)))
        risk = "" if self.risk is None else f", risk {short(self.risk)}"
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"<{type(self).__name__} {shape}{risk}{warned}>"


def noise_in_words(noise: Noise) -> str:
    """The model's name and its numbers, as a report says them."""
    model, *parameters = describe_noise(noise).items()
    numbers = (f"{name} {short(np.asarray(value))}" for name, value in parameters)
    return ", ".join([model[1], *numbers])


def plain(value: ArrayLike) -> Any:
    """Numbers as JSON knows them."""
    return np.asarray(value).tolist()


def short(value: ArrayLike) -> str:
    """A number, or the range of several."""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.4g}"
    low, high = f"{value.min():.4g}", f"{value.max():.4g}"
    return low if low == high else f"{low} to {high}"
