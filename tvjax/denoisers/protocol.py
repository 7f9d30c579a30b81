"""The contract of denoisers.

A denoiser is any callable from an image to an image of the same shape. Ours are frozen
modules whose floating-point arrays are the parameters to tune; everything else is
fixed. They take one item; `jax.vmap` makes a batch. The noise level is no argument: it
belongs to the risk that the parameters are tuned by.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol, runtime_checkable, TypeAlias, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.arguments import is_traced


class AbstractDenoiser(eqx.Module):
    """An image to an image of the same shape, pure and differentiable.

    A denoiser equals no other, so that `jax.jit(denoiser)` compiles it as it is. To
    compare the parameters of two, take `equinox.tree_equal`.
    """

    @abstractmethod
    def __call__(
        self, y: Float[Array, "*shape"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "*shape"]:
        """Denoise one item.

        Args:
            y: Noisy data.
            key: Ignored; `equinox.nn.Sequential` gives one to each of its layers.
        """

    def __eq__(self, other: Any) -> bool:
        return self is other

    __hash__ = object.__hash__


@jax.tree_util.register_static
class FixedMask:
    """A mask in the structure of a denoiser: no leaf, and compared by its pixels.

    Derivatives and optimizers see the leaves only, and a program that was compiled for
    one denoiser serves every other with an equal mask.
    """

    def __init__(self, array: Bool[Array, "..."]) -> None:
        """Hold a mask that has values, which no transformation of JAX traces."""
        self.array = array

    @cached_property
    def _packed(self) -> tuple[tuple[int, ...], bytes]:
        return self.array.shape, np.packbits(np.asarray(self.array)).tobytes()

    @cached_property
    def _hash(self) -> int:
        return hash(self._packed)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, FixedMask):
            return False
        if self.array is other.array:
            return True
        return hash(self) == hash(other) and self._packed == other._packed

    def __repr__(self) -> str:
        return f"FixedMask{self.array.shape}"


# A traced mask is a leaf: it has no pixels to compare yet.
HeldMask: TypeAlias = FixedMask | Bool[Array, "..."] | None

Masked = TypeVar("Masked", bound="AbstractMaskedDenoiser")


class AbstractMaskedDenoiser(AbstractDenoiser):
    """A denoiser that leaves invalid pixels alone."""

    held_mask: eqx.AbstractVar[HeldMask]

    @property
    def mask(self) -> Bool[Array, "..."] | None:
        """True where a pixel is valid; None where all are."""
        if not isinstance(self.held_mask, FixedMask):
            return self.held_mask
        if not is_traced(jnp.zeros(())):
            return self.held_mask.array
        # Within a program the mask is a constant, and XLA would compute all that
        # depends on it while it compiles: for millions of pixels this takes a minute.
        return lax.optimization_barrier(self.held_mask.array)

    def with_mask(self: Masked, mask: Bool[ArrayLike, "..."] | None) -> Masked:
        """The same denoiser with another mask, or with none."""
        return eqx.tree_at(
            lambda denoiser: denoiser.held_mask,
            self,
            hold_mask(mask),
            is_leaf=lambda node: node is None or isinstance(node, FixedMask),
        )


def hold_mask(mask: Bool[ArrayLike, "..."] | None) -> HeldMask:
    """A mask as a denoiser holds it: in its structure, or as a leaf where it is traced.

    Args:
        mask: True where a pixel is valid; None where all are.
    """
    if mask is None:
        return None
    if is_traced(mask):
        return jnp.asarray(mask, dtype=bool)
    with jax.ensure_compile_time_eval():  # a known mask is known within `jax.jit`, too
        return FixedMask(jnp.asarray(mask, dtype=bool))


def as_pytree(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The same callable as a pytree; a plain function becomes one without leaves.

    A denoiser that holds another can then be differentiated by `jax.grad`.
    """
    if jax.tree_util.all_leaves([function]):
        return jax.tree_util.Partial(function)
    return function


@runtime_checkable
class Resumable(Protocol):
    """A denoiser that can go on from what it found for nearly the same input."""

    def start(self, y: Float[Array, "*shape"]) -> Any:
        """The memory of a denoiser that has not seen anything yet."""
        ...

    def resume(self, y: Float[Array, "*shape"], memory: Any) -> tuple[Array, Any]:
        """Denoise from a memory, and give back a better one."""
        ...
