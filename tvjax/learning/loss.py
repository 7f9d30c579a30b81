"""How wrong is a rate, judged by counts that the network has not seen?"""

import jax
from jax import Array, numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Float

from tvjax.learning.count_network import CountNetwork, local_rate
from tvjax.learning.pairs import Pair

# Of the squared error, beside the likelihood.
SHARE_OF_SQUARES = 0.25


def poisson_deviance(
    rate: Float[Array, "height width"], pair: Pair
) -> Float[Array, "height width"]:
    """n x − c + c log(c / (n x)): minus the log-likelihood ratio to x = c/n.

    Its mean over c is least where n x is the mean of c, zero counts included.
    """
    counts, exposure = pair.target
    known = exposure > 0
    expected = jnp.where(known, exposure * rate, 1)
    gain = xlogy(counts, counts) - counts * jnp.log(expected)
    return jnp.where(known, expected - counts + gain, 0)


def squared_error(
    rate: Float[Array, "height width"], pair: Pair
) -> Float[Array, "height width"]:
    """n (x − c/n)² / (2 m), m the local mean rate of the input.

    In units of the noise that is usual around the pixel. The input's noise has nothing
    to do with the target's, whose own counts as weights would pull the rate to the low
    ones.
    """
    counts, exposure = pair.target
    known = exposure > 0
    measured = jnp.where(known, counts / jnp.where(known, exposure, 1), 0)
    return exposure * (rate - measured) ** 2 / (2 * local_rate(*pair.input))


def loss(network: CountNetwork, pairs: Pair) -> Float[Array, ""]:
    """Mean over images of log(1 + e), e the mean error of the pixels with a target.

    The error is the deviance and a share of the squared error: of order one for noise
    alone, whatever the counts. The logarithm keeps an image of very many counts, of
    which the network is still far in units of their noise, from outweighing all others.

    Args:
        network: To be judged.
        pairs: Arrays (image, height, width).
    """
    rate = jax.vmap(network)(*pairs.input)
    errors = jax.vmap(poisson_deviance)(rate, pairs)
    errors += SHARE_OF_SQUARES * jax.vmap(squared_error)(rate, pairs)
    known = jnp.sum(pairs.target.exposure > 0, axis=(1, 2))
    return jnp.mean(jnp.log1p(jnp.sum(errors, axis=(1, 2)) / jnp.maximum(known, 1)))
