"""What all noise models can do."""

from abc import abstractmethod

import equinox as eqx
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Num, PRNGKeyArray

from tvjax.arguments import as_floating, is_traced
from tvjax.noise.drawing import white_noise


class AbstractNoise(eqx.Module):
    """A noise model; its text shows its numbers."""

    @abstractmethod
    def variance(self, y: Num[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
        """The variance of each pixel, from its expected or its noisy value."""

    def draw(
        self, mean: Num[ArrayLike, "*shape"], key: PRNGKeyArray
    ) -> Float[Array, "*shape"]:
        """Another draw of the noise alone, Gaussian, of the model's covariance.

        Args:
            mean: The expected image.
            key: Key of the draw.
        """
        mean = as_floating(mean)
        deviation = jnp.sqrt(jnp.maximum(self.variance(mean), 0))
        return deviation * white_noise(mean.shape, key, mean.dtype)

    def __repr__(self) -> str:
        """The name and the parameters; the range of one that differs by pixel."""
        numbers = ", ".join(f"{name}={_text(v)}" for name, v in vars(self).items())
        return f"{type(self).__name__}({numbers})"


def _text(value: Array) -> str:
    """A number, or the range of several."""
    if is_traced(value):
        return str(value)
    if not jnp.ndim(value):
        return f"{value:.6g}"
    least, most = jnp.min(value), jnp.max(value)
    return f"[{least:.4g} to {most:.4g}, shape {jnp.shape(value)}]"
