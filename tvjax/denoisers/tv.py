"""Total-variation denoising as a function with a parameter in it."""

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray

from tvjax.arguments import as_positive
from tvjax.denoisers.protocol import AbstractMaskedDenoiser, HeldMask, hold_mask
from tvjax.operators import Norm
from tvjax.solvers import Accuracy, blank_memory, DEFAULT_ACCURACY, Memory, resume


class TV(AbstractMaskedDenoiser):
    """min_x ½‖x − y‖² + Σ_i α_i |∇x|_i, to a certified tolerance.

    α is held as its logarithm, so that gradient descent keeps it positive. It has the
    unit of the image: a step edge between regions n pixels wide moves by α/n, and the
    total of any region by at most α times its perimeter. α = 0 cannot be held.

    Rudin, Osher, Fatemi 1992 (10.1016/0167-2789(92)90242-F).

    Example:
        >>> import jax, tvjax
        >>> from jax import numpy as jnp
        >>> y = jax.random.normal(jax.random.key(0), (4, 32, 32))
        >>> tv = tvjax.TV(1.0)
        >>> x = jax.vmap(tv)(y)
        >>> x.shape, bool(x.std() < 0.2 * y.std())
        ((4, 32, 32), True)

        The strength is a parameter to differentiate in.

        >>> slope = jax.grad(lambda tv: jnp.var(tv(y[0])))(tv)
        >>> bool(slope.log_alpha < 0)
        True
    """

    log_alpha: Float[Array, "..."]
    held_mask: HeldMask
    tol: float = eqx.field(static=True)
    norm: Norm = eqx.field(static=True)
    channels: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tangent: Accuracy = eqx.field(static=True)

    def __init__(
        self,
        alpha: Num[ArrayLike, "..."],
        *,
        mask: Bool[ArrayLike, "..."] | None = None,
        tol: float = 1e-4,
        norm: Norm = "isotropic",
        channels: bool = False,
        max_steps: int = 10_000,
        tangent: Accuracy = DEFAULT_ACCURACY,
    ) -> None:
        """Start from a strength > 0.

        Args:
            alpha: Strength in the unit of the image, a scalar or one per pixel.
            mask: True where a pixel is valid.
            tol: Stop when the duality gap over the objective is at most this.
            norm: "isotropic" (Euclidean length of a gradient) or "anisotropic" (ℓ₁).
            channels: Whether the leading axis counts images that share their edges:
                |∇x|_i is the length over all of them, and strength and mask are for
                all (Bresson and Chan 2008, 10.3934/ipi.2008.2.455).
            max_steps: Greatest number of steps.
            tangent: Accuracy of the derivatives.

        Raises:
            ValueError: A strength is not positive.
        """
        self.log_alpha = jnp.log(as_positive("alpha", alpha))
        self.held_mask = hold_mask(mask)
        self.tol = tol
        self.norm = norm
        self.channels = channels
        self.max_steps = max_steps
        self.tangent = tangent

    @property
    def alpha(self) -> Float[Array, "..."]:
        """Strength, in the unit of the image."""
        return jnp.exp(self.log_alpha)

    def __call__(
        self, y: Num[ArrayLike, "*shape"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "*shape"]:
        """The image x; differentiable in `y` and in `log_alpha`.

        Args:
            y: Noisy data. Integers are converted by value.
            key: Ignored.
        """
        del key
        return self.resume(y, self.start(y))[0]

    def start(self, y: Num[ArrayLike, "*shape"]) -> Memory:
        """The memory of no solution yet, a dual field of zero."""
        return blank_memory(y, channels=self.channels)

    def resume(
        self, y: Num[ArrayLike, "*shape"], memory: Memory
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
