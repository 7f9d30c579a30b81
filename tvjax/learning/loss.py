"""The loss of a training: the error of a rate, judged by counts it has not seen."""

import jax
from jax import Array, numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Float

from tvjax.learning.count_network import CountNetwork, local_rate
from tvjax.learning.pairs import TrainingPair

# Share of the squared error that is added to the likelihood.
SHARE_OF_SQUARES = 0.25


def poisson_deviance(
    rate: Float[Array, "height width"], pair: TrainingPair
) -> Float[Array, "height width"]:
    """Minus the log-likelihood ratio of Poisson counts to the rate x = c/n.

        n x − c + c log(c / (n x))

    Its mean over c is least where n x is the mean of c, zero counts included.
    """
    counts, exposure = pair.target
    known = exposure > 0
    expected = jnp.where(known, exposure * rate, 1)
    gain = xlogy(counts, counts) - counts * jnp.log(expected)
    return jnp.where(known, expected - counts + gain, 0)


def squared_error(
    rate: Float[Array, "height width"], pair: TrainingPair
) -> Float[Array, "height width"]:
    """The squared error in units of the noise that the input tells around the pixel.

        n (x − c/n)² / (2 m),   m the local mean rate of the input

    The noise of m has nothing to do with that of the target; weights by the target's
    own counts would pull the rate to the low ones.
    """
    counts, exposure = pair.target
    known = exposure > 0
    measured = jnp.where(known, counts / jnp.where(known, exposure, 1), 0)
    return exposure * (rate - measured) ** 2 / (2 * local_rate(*pair.input))


def loss(network: CountNetwork, pairs: TrainingPair) -> Float[Array, ""]:
    """Mean over images of log(1 + e), e the mean error of the pixels with a target.

    The error is the deviance and a share of the squared error: of order one for noise
    alone, whatever the counts. The logarithm keeps an image of very many counts, for
    which the network is still far off in units of the noise, from outweighing all
    others.

    Args:
        network: The network to judge.
        pairs: Pairs of images, as arrays (image, height, width).
    """
    rate = jax.vmap(network)(*pairs.input)
    errors = jax.vmap(poisson_deviance)(rate, pairs)
    errors += SHARE_OF_SQUARES * jax.vmap(squared_error)(rate, pairs)
    known = jnp.sum(pairs.target.exposure > 0, axis=(1, 2))
    return jnp.mean(jnp.log1p(jnp.sum(errors, axis=(1, 2)) / jnp.maximum(known, 1)))
