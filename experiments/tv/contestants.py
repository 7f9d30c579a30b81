"""Who solves the ROF problem, and how is each asked to take so many steps?

A contestant is `prepare(x, alpha) -> run`, and `run(num_steps) -> image` returns when
the image is there. Each is set up to solve min_y ½‖y − x‖² + α TV(y), isotropic, and
never to stop early.
"""

import importlib.util
import math
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float
from numba import njit, prange
from skimage.restoration import denoise_tv_chambolle

import tvjax

Image = Float[np.ndarray, "height width"]
Run = Callable[[int], Image]
Prepare = Callable[[Image, float], Run]


def contestants() -> dict[str, Prepare]:
    """All that can be imported here, and tvjax first."""
    found = {
        "tvjax pdhg": partial(prepare_tvjax, solver="pdhg"),
        "tvjax fgp": partial(prepare_tvjax, solver="fgp"),
        "numba fgp": prepare_numba,
        "scikit-image": prepare_scikit_image,
    }
    optional = {"pyproximal": prepare_pyproximal}
    for name, prepare in optional.items():
        if importlib.util.find_spec(name) is not None:
            found[name] = prepare
    return found


def missing_peers() -> list[str]:
    """The optional contestants that are not installed."""
    return [name for name in ["pyproximal"] if name not in contestants()]


def prepare_tvjax(x: Image, alpha: float, *, solver: str) -> Run:
    """`tvjax.solve` with one look at the gap, after the last step."""
    data = jax.device_put(x)

    def run(num_steps: int) -> Array:
        return _fixed_solve(data, alpha, num_steps, solver).block_until_ready()

    return run


@partial(jax.jit, static_argnames="solver")
def _fixed_solve(x: Array, alpha: Array, num_steps: Array, solver: str) -> Array:
    return tvjax.solve(
        x,
        alpha,
        tol=0.0,
        solver=solver,
        max_steps=num_steps,
        steps_per_check=num_steps,
    ).image


def prepare_scikit_image(x: Image, alpha: float) -> Run:
    """Chambolle's iteration in NumPy; `eps=0` switches its own stop off."""

    def run(num_steps: int) -> Image:
        return denoise_tv_chambolle(x, alpha, eps=0, max_num_iter=num_steps)

    return run


def prepare_pyproximal(x: Image, alpha: float) -> Run:
    """Fast gradient projection on PyLops operators; `rtol=0` switches its stop off."""
    from pyproximal import TV

    def run(num_steps: int) -> Image:
        prox = TV(x.shape, sigma=1.0, niter=num_steps, rtol=0)
        return prox.prox(x.ravel(), alpha).reshape(x.shape)

    return run


def prepare_numba(x: Image, alpha: float) -> Run:
    """Fast gradient projection as a competent user writes it in an afternoon."""
    x = np.ascontiguousarray(x, np.float32)
    return lambda num_steps: numba_fgp(x, alpha, num_steps)


def numba_fgp(x: Image, alpha: float, num_steps: int) -> Image:
    """Beck and Teboulle 2009 (10.1109/TIP.2009.2028250), two fused loops a step."""
    scaled = x / np.float32(alpha)
    # a row and a column of zeros in front: the divergence has no case at the border
    p = np.zeros((2, x.shape[0] + 1, x.shape[1] + 1), np.float32)
    r = p.copy()
    d = np.empty_like(x)
    t = 1.0
    for _ in range(num_steps):
        t_next = (1 + math.sqrt(1 + 4 * t * t)) / 2
        _residual(r, scaled, d)
        _project(r, p, d, np.float32((t - 1) / t_next))
        t = t_next
    _residual(p, scaled, d)
    return np.float32(-alpha) * d


@njit(parallel=True, fastmath=True, cache=True)
def _residual(p, scaled, d):
    """D = div p − x/α."""
    for i in prange(d.shape[0]):
        above, here, across = p[0, i], p[0, i + 1], p[1, i + 1]
        for j in range(d.shape[1]):
            gain = here[j + 1] - above[j + 1] + across[j + 1] - across[j]
            d[i, j] = gain - scaled[i, j]


@njit(parallel=True, fastmath=True, cache=True)
def _project(r, p, d, momentum):
    """p⁺ = P(r + ∇d/8), then r = p⁺ + momentum (p⁺ − p)."""
    height, width = d.shape
    size = np.float32(0.125)
    one = np.float32(1)
    for i in prange(height):
        # unpacked as tuples of rows, numba 0.68 loses the stores after the inner loop
        here = d[i]
        below = d[min(i + 1, height - 1)]
        p0 = p[0, i + 1]
        p1 = p[1, i + 1]
        r0 = r[0, i + 1]
        r1 = r[1, i + 1]
        for j in range(width - 1):
            a = r0[j + 1] + size * (below[j] - here[j])
            b = r1[j + 1] + size * (here[j + 1] - here[j])
            shrink = one / max(one, math.sqrt(a * a + b * b))
            a, b = a * shrink, b * shrink
            r0[j + 1] = a + momentum * (a - p0[j + 1])
            r1[j + 1] = b + momentum * (b - p1[j + 1])
            p0[j + 1] = a
            p1[j + 1] = b
        # no difference goes beyond the last column
        j = width - 1
        a = r0[j + 1] + size * (below[j] - here[j])
        a = min(one, max(-one, a))
        r0[j + 1] = a + momentum * (a - p0[j + 1])
        p0[j + 1] = a
