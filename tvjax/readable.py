"""What can be read in the shell and in a notebook, and numbers in words."""

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.typing import ArrayLike


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


def plain(value: ArrayLike) -> Any:
    """Numbers as JSON knows them."""
    return np.asarray(value).tolist()


def short(value: ArrayLike, digits: int = 4) -> str:
    """A number, or the range of several, to so many digits that count."""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.{digits}g}"
    low, high = f"{value.min():.{digits}g}", f"{value.max():.{digits}g}"
    return low if low == high else f"{low} to {high}"
