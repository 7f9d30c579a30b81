"""The search for the centre of rings whose beam may pass beside the detector.

Where it does, no pixel has an opposite one, and the pattern turned by half does not
tell the centre. The curvature of the rings does: about the right centre they are even.
"""

import math

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp, ops
from jaxtyping import Bool, Float

from tvjax.filters import bin_pixels

# The frame is binned to about so many pixels along its longer side, ever finer.
LENGTHS = (48, 160, 480)
# Candidates lie within so many pixels of the coarser frame around its best one.
REACH = 1.5
# The distance of a pixel from its ring's mean is cut off at so many times the least
# mean distance, which is found in so many passes.
FAR = 3.0
PASSES = 3


def search_rings(
    y: Float[Array, "height width"], mask: Bool[Array, "height width"]
) -> tuple[float, float]:
    """The centre (y, x) about which rings are most even, to about a pixel.

        min_c Σ min(|√y − mean over the ring of √y|, t) / (pixels − rings)

    over centres in the frame or outside it by its size at most. The root evens out the
    noise of counts. The bound t, three times the least mean distance, keeps spots and
    shadows from deciding.
    """
    size = np.asarray(y.shape)
    steps = sorted({math.ceil(max(y.shape) / length) for length in LENGTHS})[::-1]
    axes = [np.arange(-n, 2 * n, steps[0], dtype=float) for n in size]
    best = size / 2
    for step, finer in zip(steps, [*steps[1:], None], strict=True):
        candidates = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        image, valid = (bin_pixels(z, step) for z in (y, mask.astype(y.dtype)))
        # the first binned pixel's centre is at (step − 1)/2
        binned = jnp.asarray((candidates - (step - 1) / 2) / step, y.dtype)
        uneven = _unevenness(image, valid, binned, jnp.asarray(jnp.inf, y.dtype))
        for _ in range(PASSES - 1):
            uneven = _unevenness(image, valid, binned, FAR * jnp.min(uneven))
        best = candidates[int(jnp.argmin(uneven))]
        if finer is not None:
            near = np.arange(-REACH * step, REACH * step + finer, finer)
            axes = [c + near for c in best]
    row, column = np.clip(best, -size, 2 * size - 1)
    return float(row), float(column)


@eqx.filter_jit
def _unevenness(
    image: Float[Array, "height width"],
    weight: Float[Array, "height width"],
    centres: Float[Array, "centre 2"],
    most: Float[Array, ""],
) -> Float[Array, " centre"]:
    """The mean distance from the ring's mean, about each of some centres."""
    level = jnp.maximum(image / jnp.where(weight > 0, weight, 1), 0)
    root = jnp.sqrt(level).ravel()
    valid = (weight > 0.5 * jnp.max(weight)).astype(image.dtype).ravel()
    rows, columns = jnp.indices(image.shape)
    num_rings = math.ceil(3 * math.hypot(*image.shape))

    def about(centre: Array) -> Array:
        radius = jnp.hypot(rows - centre[0], columns - centre[1])
        ring = jnp.rint(radius).astype(jnp.int32).ravel()
        count = ops.segment_sum(valid, ring, num_rings)
        total = ops.segment_sum(valid * root, ring, num_rings)
        mean = (total / jnp.maximum(count, 1))[ring]
        free = jnp.sum(valid) - jnp.sum(count > 0)
        distance = jnp.minimum(jnp.abs(root - mean), most)
        return jnp.sum(valid * distance) / jnp.maximum(free, 1)

    return jax.lax.map(about, centres)
