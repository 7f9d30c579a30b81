"""How wrong is a rate, judged by counts that the network has not seen?"""

import jax
from jax import Array, numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Float

from tvjax.learning.network import CountNetwork
from tvjax.learning.series import Pair, Summed

# Of the squared error, beside the likelihood.
SHARE_OF_SQUARES = 0.25


def poisson_deviance(
    rate: Float[Array, "*shape"], target: Summed
) -> Float[Array, "*shape"]:
    """n x − c + c log(c / (n x)): minus the log-likelihood ratio to x = c/n.

    Its mean over c is least where n x is the mean of c, zero counts included.
    """
    counts, known = target.counts, target.exposure > 0
    expected = jnp.where(known, target.exposure * rate, 1)
    gain = xlogy(counts, counts) - counts * jnp.log(expected)
    return jnp.where(known, expected - counts + gain, 0)


def squared_error(
    rate: Float[Array, "*shape"], target: Summed
) -> Float[Array, "*shape"]:
    """n (x − c/n)² / (2 μ), μ the mean rate of the target.

    In units of the noise that is usual in the image. Weights from the pixel's own
    counts would pull the rate to the low ones.
    """
    counts, exposure = target
    total = jnp.sum(exposure)
    mean = (jnp.sum(counts) + 0.5) / jnp.where(total > 0, total, 1)
    known = exposure > 0
    measured = jnp.where(known, counts / jnp.where(known, exposure, 1), 0)
    return exposure * (rate - measured) ** 2 / (2 * mean)


def loss(network: CountNetwork, pairs: Pair) -> Float[Array, ""]:
    """Mean over pixels with a target: deviance, and a share of the squared error.

    Both are of order one for noise alone, whatever the counts.

    Args:
        network: To be judged.
        pairs: Arrays (image, height, width).
    """
    rate = jax.vmap(network)(*pairs.input)
    squares = jax.vmap(squared_error)(rate, pairs.target)
    error = poisson_deviance(rate, pairs.target) + SHARE_OF_SQUARES * squares
    return jnp.sum(error) / jnp.maximum(jnp.sum(pairs.target.exposure > 0), 1)
