"""The coefficients of a mixture of several images that have the least risk.

    a = argmin ‖Σ_j a_j F_j − y‖² + 2 Σ_j a_j div_j
    A a = c,   A_jl = ⟨F_j, F_l⟩,   c_j = ⟨F_j, y⟩ − div_j

Stein's risk is quadratic in the coefficients of a linear expansion: its least value
takes one small linear system (Blu, Luisier 2007, 10.1109/TIP.2007.906002). div_j is
Σ_i v_i ∂F_j,i/∂y_i, with the variance v of the noise.
"""

from collections.abc import Sequence
from functools import partial

import jax
from jax import Array, lax, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray

from tvjax.noise import Noise
from tvjax.risk.stein import (
    as_judged,
    Denoiser,
    only_valid,
    probe_of,
)

# This many variances of one pixel are added to each A_jj: what an image of no more
# power than a few pixels of noise has in common with the data is chance.
FLOOR = 10.0


def least_risk_coefficients(
    images: Float[Array, " member *shape"],
    y: Float[Array, "*shape"],
    divergences: Float[Array, " member"],
    variance: Float[Array, ""] | float,
    *,
    similar: bool = False,
) -> Float[Array, " member"]:
    """The coefficients a of least risk for given images.

    Args:
        images: F_j, zero where a pixel is invalid.
        y: Noisy data, likewise.
        divergences: div_j.
        variance: Mean variance of the noise.
        similar: Whether the images are nearly the same, one scene denoised in many
            ways. Their differences from the first are then mixed instead, since in
            single precision the products of images that differ by the noise alone
            would all be equal.
    """
    if similar:
        steps = jnp.concatenate([images[:1], images[1:] - images[0]])
        slopes = jnp.concatenate([divergences[:1], divergences[1:] - divergences[0]])
        shares = least_risk_coefficients(steps, y, slopes, variance)
        return shares.at[0].subtract(jnp.sum(shares[1:]))
    images, y = images.reshape(len(images), -1), y.reshape(-1)
    exact = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    products = exact(images, images.T)
    floor = FLOOR * jnp.maximum(variance, jnp.finfo(y.dtype).tiny)
    scale = lax.rsqrt(jnp.diagonal(products) + floor)
    system = scale[:, None] * products * scale[None]
    # equal images share their coefficient; single precision solves no more exactly
    system = system + jnp.diag(floor * scale**2 + 1e-6)
    return scale * jnp.linalg.solve(system, scale * (exact(images, y) - divergences))


def mixture_coefficients(
    members: Sequence[Denoiser],
    y: Num[ArrayLike, "*shape"],
    noise: Noise,
    *,
    key: PRNGKeyArray,
    mask: Bool[ArrayLike, "*shape"] | None = None,
) -> Float[Array, " member"]:
    """The coefficients a of least risk for the mixture Σ_j a_j F_j(y).

    In closed form (Blu, Luisier 2007, 10.1109/TIP.2007.906002), with one random
    direction for each member's divergence. With the identity among the members, the
    mixture may opt out of denoising; coefficients that sum to less than one shrink the
    image, to nothing where there is nothing in it.

    Args:
        members: Denoisers F_j that give different images.
        y: Noisy data.
        noise: A noise model, or any object with `variance(y)`.
        key: Key of the random direction.
        mask: True where a pixel is valid; the others count nowhere.

    Returns:
        One coefficient a member, of either sign.

    Raises:
        ValueError: The data are complex, or the mask has another shape or no pixel.
    """
    y, mask, _ = as_judged(y, mask, None)
    probe = probe_of(noise, y, key)

    def tried(member: Denoiser) -> tuple[Array, Array]:
        f, derivative = jax.jvp(member, (y,), (only_valid(mask, probe.direction),))
        return only_valid(mask, f).ravel(), jnp.sum(
            only_valid(mask, probe.readout * derivative)
        )

    images, divergences = zip(*(tried(member) for member in members), strict=True)
    return least_risk_coefficients(
        jnp.stack(images),
        only_valid(mask, y).ravel(),
        jnp.stack(divergences),
        jnp.mean(probe.variance, where=mask),
        similar=True,
    )
