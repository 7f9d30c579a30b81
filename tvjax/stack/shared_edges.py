"""Coefficient images denoised together by vector TV, as they share their edges.

Where the image of one component has an edge, those of the others may have one. Vector
TV takes the gradients of all images in a pixel as one vector, so that the clear images
tell the faint ones where to be smooth, and where not:

    min_X ½ Σ_k c_k² ‖x_k − w_k‖² + α Σ_i √(Σ_k c_k² |∇x_k|²_i)

The leading image has a gradient nearly everywhere, which would tell the others
nothing: c_1 scales it to the size of the second. All others have c_k = 1.
"""

from functools import partial

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import TV
from tvjax.risk import held_out_error
from tvjax.risk.splitting import couple, FRACTION
from tvjax.stack.coefficients import Probed, relative_variance
from tvjax.stack.noise_draws import NoiseDraws
from tvjax.tuning import secant, tune

# The strength is found in at most this many steps of the optimizer.
MAX_MOVES = 8
# It is found once its logarithm moves by less than this; the risk is flat about it.
TOLERANCE = 0.1
# Its logarithm stays within these bounds: beyond lie no denoising, and no image.
BOUNDS = (-5.0, 3.0)
# The power of a signal is not taken as less than this share of that of the noise, since
# the images are scaled by it.
FAINTEST = 0.05


def share_edges(
    images: Float[np.ndarray, "component height width"],
    *,
    variance: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    draws: NoiseDraws,
) -> list[Probed]:
    """Vector TV of the coefficient images, its strength chosen for all but the first.

    Args:
        images: Two coefficient images or more, of noise of variance one on average;
            zero where invalid.
        variance: Variance of the noise in each pixel, where it is not one throughout.
        mask: True where a pixel is valid.
        draws: Samples of the noise of each.

    Returns:
        One denoised image a component, with its directional derivative.
    """
    powers = np.mean(images**2, axis=(1, 2), where=True if mask is None else mask)
    size = np.sqrt(np.maximum(powers - 1, FAINTEST))
    scale = np.where(np.arange(len(images)) == 0, size[1] / size[0], 1)
    w = jnp.asarray(images)
    v = jnp.ones_like(w) if variance is None else jnp.asarray(variance, w.dtype)
    valid = None if mask is None else jnp.asarray(mask)
    found, derivatives = _denoise(
        w,
        jnp.asarray(scale, w.dtype)[:, None, None],
        v,
        None if variance is None else relative_variance(jnp.mean(v, axis=0), valid),
        valid,
        *(jnp.asarray(part, w.dtype) for part in draws),
    )
    return [Probed(*pair) for pair in zip(found, derivatives, strict=True)]


@eqx.filter_jit
def _denoise(
    w: Float[Array, "component height width"],
    scale: Float[Array, "component 1 1"],
    v: Float[Array, "component height width"],
    profile: Float[Array, "height width"] | None,
    mask: Bool[Array, "height width"] | None,
    splitting: Float[Array, "component height width"],
    probes: Float[Array, "component height width"],
) -> tuple[
    Float[Array, "component height width"], Float[Array, "component height width"]
]:
    """The images denoised, and the derivative along the probes of their noise."""
    seen, held_out = couple(w, splitting, fraction=FRACTION)
    others = jnp.arange(len(w)) > 0
    judged = jnp.broadcast_to(others[:, None, None], w.shape)
    if mask is not None:
        seen, judged = jnp.where(mask, seen, 0), judged & mask

    def denoise(tv: TV, images: Array) -> Array:
        strength = tv.alpha if profile is None else tv.alpha * profile
        vector = TV(strength, mask=mask, tol=tv.tol, channels=True, tangent=tv.tangent)
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
    return jax.jvp(partial(denoise, tv), (w,), (probes,))
