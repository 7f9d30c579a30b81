"""Total-variation denoising as a function with a parameter in it."""

from functools import partial

import equinox as eqx
import jax
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from tvjax.denoisers.protocol import AbstractDenoiser
from tvjax.operators import Norm
from tvjax.solvers import Accuracy, blank_memory, DEFAULT_ACCURACY, Memory, resume


class TV(AbstractDenoiser):
    """min_x ½‖x − y‖² + Σ_i α_i |∇x|_i, to a certified tolerance.

    α is held as its logarithm, so that gradient descent keeps it positive. It has the
    unit of the image: a step edge between regions n pixels wide moves by α/n, and the
    total of any region by at most α times its perimeter. α = 0 cannot be held.

    Rudin, Osher, Fatemi 1992 (10.1016/0167-2789(92)90242-F). `VectorTV` takes images
    along a leading axis that share their edges: |∇x|_i is the length over all of them,
    and strength and mask are for all. Bresson, Chan 2008 (10.3934/ipi.2008.2.455).
    """

    log_alpha: Float[Array, ""] | Float[Array, "*shape"]
    mask: Bool[Array, "*shape"] | None
    tol: float = eqx.field(static=True)
    norm: Norm = eqx.field(static=True)
    channels: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tangent: Accuracy = eqx.field(static=True)

    def __init__(
        self,
        alpha: ArrayLike,
        *,
        mask: Bool[ArrayLike, "*shape"] | None = None,
        tol: float = 1e-4,
        norm: Norm = "isotropic",
        channels: bool = False,
        max_steps: int = 10_000,
        tangent: Accuracy = DEFAULT_ACCURACY,
    ):
        """Start from a strength > 0, a scalar or one per pixel; see `tvjax.solve`."""
        alpha = jnp.asarray(alpha, dtype=float)
        if not isinstance(alpha, jax.core.Tracer) and not bool(jnp.all(alpha > 0)):
            raise ValueError(f"`alpha` must be positive, got {jnp.min(alpha)}.")
        self.log_alpha = jnp.log(alpha)
        self.mask = None if mask is None else jnp.asarray(mask, dtype=bool)
        self.tol = tol
        self.norm = norm
        self.channels = channels
        self.max_steps = max_steps
        self.tangent = tangent

    @property
    def alpha(self) -> Float[Array, ""] | Float[Array, "*shape"]:
        """Strength, in the unit of the image."""
        return jnp.exp(self.log_alpha)

    def __call__(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The image; differentiable in `y` and in `log_alpha`."""
        return self.resume(y, self.start(y))[0]

    def start(self, y: Float[Array, "*shape"]) -> Memory:
        """No dual field yet."""
        return blank_memory(y, channels=self.channels)

    def resume(
        self, y: Float[Array, "*shape"], memory: Memory
    ) -> tuple[Float[Array, "*shape"], Memory]:
        """Denoise from the dual fields of a similar image or of another strength."""
        solution, memory = resume(
            y,
            self.alpha,
            memory,
            mask=self.mask,
            tol=self.tol,
            norm=self.norm,
            channels=self.channels,
            max_steps=self.max_steps,
            tangent=self.tangent,
        )
        return solution.image, memory


VectorTV = partial(TV, channels=True)
