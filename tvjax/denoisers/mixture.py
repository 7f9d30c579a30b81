"""Several denoisers at once."""

from collections.abc import Callable, Sequence

import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from tvjax.denoisers.protocol import AbstractDenoiser


class Mixture(AbstractDenoiser):
    """Σ_j a_j F_j(y) of denoisers F_j, to be weighted by `tvjax.risk.let_weights`.

    A linear expansion of thresholds: Blu, Luisier 2007 (10.1109/TIP.2007.906002).
    """

    members: tuple[Callable[[Array], Array], ...]
    weights: Float[Array, " member"]

    def __init__(self, members: Sequence[Callable[[Array], Array]], weights: ArrayLike):
        """Take one weight a member, of either sign."""
        self.members = tuple(members)
        self.weights = jnp.asarray(weights, dtype=float)
        if self.weights.shape[-1:] != (len(self.members),):
            raise ValueError(
                f"`weights` must be one a member, {len(self.members)}, got shape "
                f"{self.weights.shape}."
            )

    def __call__(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The weighted sum; differentiable in the weights and in the members."""
        weights = self.weights.astype(y.dtype)
        images = [member(y) for member in self.members]
        return sum(jax.tree.map(jnp.multiply, list(weights), images))


def identity(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The data as they are: what lets a mixture opt out."""
    return y
