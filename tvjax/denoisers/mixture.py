"""Weighted sums of denoisers."""

from collections.abc import Callable, Sequence

from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray

from tvjax.arguments import as_floating
from tvjax.denoisers.protocol import (
    AbstractMaskedDenoiser,
    as_pytree,
    HeldMask,
    hold_mask,
)


class Mixture(AbstractMaskedDenoiser):
    """The sum Σ_j a_j F_j(y) of denoisers F_j with coefficients a_j.

    `tvjax.risk.mixture_coefficients` finds the coefficients of least risk. A linear
    expansion of thresholds: Blu, Luisier 2007 (10.1109/TIP.2007.906002).
    """

    members: tuple[Callable[[Array], Array], ...]
    coefficients: Float[Array, "*batch member"]
    held_mask: HeldMask

    def __init__(
        self,
        members: Sequence[Callable[[Array], Array]],
        coefficients: Num[ArrayLike, "*batch member"] | Sequence[float],
        *,
        mask: Bool[ArrayLike, "..."] | None = None,
    ) -> None:
        """Take one coefficient, of either sign, for each member.

        Args:
            members: Denoisers, or other callables from an image to an image.
            coefficients: Their factors.
            mask: True where a pixel is valid; the others come back as they are. The
                members need masks of their own if invalid pixels are not to count.

        Raises:
            ValueError: There is not one coefficient for each member.
        """
        self.members = tuple(map(as_pytree, members))
        self.coefficients = jnp.asarray(coefficients, dtype=float)
        self.held_mask = hold_mask(mask)
        if self.coefficients.shape[-1:] != (len(self.members),):
            raise ValueError(
                f"`coefficients` must be one for each of the {len(self.members)} "
                f"members, got shape {self.coefficients.shape}."
            )

    def __call__(
        self, y: Num[ArrayLike, "*shape"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "*shape"]:
        """The sum; differentiable in the coefficients and in the members.

        Args:
            y: Noisy data. Integers are converted by value.
            key: Ignored.
        """
        del key
        y = as_floating(y)
        coefficients = self.coefficients.astype(y.dtype)
        x = jnp.zeros_like(y)
        for coefficient, member in zip(coefficients, self.members, strict=True):
            image = member(y)
            if self.mask is not None:
                # what is NaN must not reach the derivative in the coefficient
                image = jnp.where(self.mask, image, 0)
            x = x + coefficient * image
        return x if self.mask is None else jnp.where(self.mask, x, y)


def identity(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The data as they are: with it among its members a mixture may keep the noise."""
    return y
