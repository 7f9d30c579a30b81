"""Coefficient images denoised together, by the edges that they share.

Where the sample has an edge, all components may have one. Vector TV has their
gradients in one length, so that the clear images tell the faint ones where to be
smooth, and where not to:

    min_X ½ Σ_k c_k² ‖x_k − w_k‖² + α Σ_i √(Σ_k c_k² |∇x_k|²_i)

The leading image has a gradient nearly everywhere, and would tell the others nothing:
its c_1 brings it to the size of the second. All others have c_k = 1.
"""

from functools import partial

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import TV, VectorTV
from tvjax.risk import held_out_error
from tvjax.risk.splitting import couple
from tvjax.stack.coefficients import Probed, profile_of
from tvjax.stack.noise_draws import Draws
from tvjax.tuning import secant, tune
from tvjax.tuning.strength import FRACTION

MAX_MOVES = 8
# Of the strength's logarithm.
TOLERANCE = 0.1
BOUNDS = (-5.0, 3.0)
# Of the variance of the noise: no signal is called smaller.
FAINTEST = 0.05


def share_edges(
    images: Float[np.ndarray, "component height width"],
    *,
    variance: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    draws: Draws,
) -> list[Probed]:
    """Vector TV of the coefficient images, its strength chosen for all but the first.

    Args:
        images: Two or more, of noise of variance one; zero where invalid.
        variance: Of each pixel, where it is not one throughout.
        mask: True where a pixel is valid.
        draws: Of the noise of each.

    Returns:
        One a component.
    """
    powers = np.mean(images**2, axis=(1, 2), where=True if mask is None else mask)
    size = np.sqrt(np.maximum(powers - 1, FAINTEST))
    scale = np.where(np.arange(len(images)) == 0, size[1] / size[0], 1)
    w = jnp.asarray(images)
    v = jnp.ones_like(w) if variance is None else jnp.asarray(variance, w.dtype)
    found, divergences = _denoise(
        w,
        jnp.asarray(scale, w.dtype)[:, None, None],
        v,
        None if variance is None else profile_of(jnp.mean(v, axis=0), mask),
        None if mask is None else jnp.asarray(mask),
        jax.tree.map(lambda z: jnp.asarray(z, w.dtype), draws),
    )
    return [Probed(*pair) for pair in zip(found, divergences, strict=True)]


@eqx.filter_jit
def _denoise(
    w: Array,
    scale: Array,
    v: Array,
    profile: Array | None,
    mask: Array | None,
    draws: Draws,
) -> tuple[Array, Array]:
    seen, held_out = couple(w, draws.others, fraction=FRACTION)
    others = jnp.arange(len(w)) > 0
    judged = jnp.broadcast_to(others[:, None, None], w.shape)
    if mask is not None:
        seen, judged = jnp.where(mask, seen, 0), judged & mask

    def denoise(tv: TV, images: Array) -> Array:
        strength = tv.alpha if profile is None else tv.alpha * profile
        vector = VectorTV(strength, mask=mask, tol=tv.tol, tangent=tv.tangent)
        return vector(scale * images) / scale

    def loss(tv: TV, key: PRNGKeyArray) -> Array:
        del key
        f = denoise(tv, seen)
        return held_out_error(f, held_out, v / (1 - FRACTION), judged)

    tuned = tune(
        TV(0.5, tol=1e-3),
        loss,
        optimizer=secant(first_step=0.3, max_step=1.0),
        num_steps=MAX_MOVES,
        key=jax.random.key(0),  # the loss draws nothing
        tol=TOLERANCE,
        bounds=BOUNDS,
    )
    # the noise falls as the root of the exposure, and the strength with it
    tv = TV(FRACTION**0.5 * tuned.denoiser.alpha)
    return jax.jvp(partial(denoise, tv), (w,), (draws.probes,))
