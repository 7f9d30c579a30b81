"""What is a denoiser?

Any callable from an image to an image of the same shape. Ours are frozen modules whose
floating-point arrays are the parameters to tune; everything else is fixed. They take
one item; `jax.vmap` makes a batch. The noise level is no argument: it belongs to the
risk that the parameters are tuned by.
"""

from abc import abstractmethod
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jax import Array
from jaxtyping import Float


class AbstractDenoiser(eqx.Module):
    """An image to an image of the same shape, pure and differentiable."""

    @abstractmethod
    def __call__(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Denoise one item."""


@runtime_checkable
class Resumable(Protocol):
    """A denoiser that can go on from what it found for nearly the same input."""

    def start(self, y: Float[Array, "*shape"]) -> Any:
        """The memory of a denoiser that has not seen anything yet."""

    def resume(self, y: Float[Array, "*shape"], memory: Any) -> tuple[Array, Any]:
        """Denoise from a memory, and give back a better one."""
