"""Denoise an energy stack with rank and strengths chosen from the data."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree

from tvjax.denoisers import Mixture, SUM, TV
from tvjax.denoisers.mixture import identity
from tvjax.denoisers.subspace import (
    Basis,
    denoise_each,
    expand,
    project,
    temporal_basis,
    triangular_factor,
)
from tvjax.noise import Gaussian, Noise
from tvjax.risk import let_weights
from tvjax.singular import noise_level, truncation_risks
from tvjax.strength import choose_alpha

# Components beyond the rank of least risk for the plain decomposition that are tried:
# denoised, a component may be worth keeping that raw is not.
SURPLUS = 4
# In standard deviations; the basis moves with the whole probe, so it is a short one.
WIDTH = 0.05
# With fewer energies the noise is estimated from the images, as for a photograph.
FEW = 12


@dataclass(frozen=True, eq=False)
class StackResult:
    """A denoised stack, and how it came about."""

    image: Any  # (energy, height, width), NumPy for NumPy, JAX for JAX
    rank: int
    sigma: np.ndarray  # (energy,), standard deviation of the noise
    risk: float  # estimated mean squared error over the variance of the noise
    risks: np.ndarray  # the same at each rank from 1 to the greatest tried
    alphas: np.ndarray  # (component,), strengths in units of the noise
    weights: np.ndarray  # (component, 2), of the raw and of the denoised image
    singular_values: np.ndarray  # of the whitened stack
    spectra: np.ndarray  # (component, energy), the basis in the unit of the data
    images: np.ndarray  # (component, height, width), coefficients before denoising

    def verdict(self) -> list[str]:
        """What became of each component: "kept", "shrunk" or "dropped"."""
        total = self.weights.sum(axis=1)
        words = np.where(np.abs(total - 1) < 0.1, "kept", "shrunk")
        words = np.where(np.abs(self.weights).sum(axis=1) < 0.05, "dropped", words)
        words[self.rank :] = "dropped"
        return words.tolist()


def denoise_stack(
    stack: Float[ArrayLike, "energy height width"],
    *,
    noise: Noise | None = None,
    rank: int | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    key: PRNGKeyArray | None = None,
) -> StackResult:
    """Denoise a stack in its own subspace: SUM with nothing to set.

        X = Σ_k (a_k w_k + b_k TV_{α_k}(w_k)) v_kᵀ,   k ≤ rank

    on the whitened stack, with the temporal basis v of the data themselves and their
    coefficient images w. Each α_k is chosen as `tvjax.denoise` does, the weights a_k,
    b_k by SURE in closed form, the rank where the risk of all of it is least, with the
    basis estimated anew under the probe (`rank_risks`).

    Args:
        stack: Optical density or counts, energies along the first axis.
        noise: By default white, its level estimated for each energy. Of a model whose
            variance follows the signal, the mean over each frame is taken.
        rank: By default chosen.
        mask: True where a pixel is valid, at all energies. The others come back as
            they are.
        key: Of the random probes; the same by default in every call.

    Raises:
        ValueError: For anything but a stack, values that are not finite under the mask,
            or a rank that the stack does not have.
    """
    in_numpy = not isinstance(stack, jax.Array)
    y, mask = _check(stack, mask)
    key = jax.random.key(0) if key is None else key
    if rank is not None and not 1 <= rank <= len(y):
        raise ValueError(f"`rank` must be from 1 to {len(y)}, got {rank}.")
    sigma = _levels(y, noise, mask)
    whitened = y / sigma[:, None, None]
    basis = jax.jit(temporal_basis)(whitened, mask)
    num_pixels = y[0].size if mask is None else int(jnp.sum(mask))
    num = rank or _num_tried(basis, (num_pixels, len(y)))
    valid = whitened if mask is None else jnp.where(mask, whitened, 0)
    images = project(valid, basis.vectors[:, :num])
    denoiser = _choose_denoiser(images, mask, key)
    risks = rank_risks(denoiser, whitened, num, mask=mask, key=key)
    rank = rank or 1 + int(jnp.argmin(risks))
    final = SUM(float(rank), denoiser=denoiser, max_rank=num, mask=mask)
    x = _apply(final, whitened) * sigma[:, None, None]
    x = x if mask is None else jnp.where(mask, x, y)
    return StackResult(
        image=np.asarray(x) if in_numpy else x,
        rank=int(rank),
        sigma=np.asarray(sigma),
        risk=float(risks[rank - 1]),
        risks=np.asarray(risks),
        alphas=np.asarray(jnp.exp(denoiser.members[1].log_alpha)),
        weights=np.asarray(denoiser.weights),
        singular_values=np.asarray(basis.values),
        spectra=np.asarray((basis.vectors[:, :num] * sigma[:, None]).T),
        images=np.asarray(images),
    )


@eqx.filter_jit
def rank_risks(
    denoiser: Mixture,
    y: Float[Array, "energy height width"],
    num: int,
    *,
    mask: Bool[Array, "height width"] | None = None,
    key: PRNGKeyArray,
) -> Float[Array, " rank"]:
    """The risk of the whole of SUM at each rank from 1 to `num`.

    `tvjax.sugar` of each, at the price of one: the basis and the denoised images of the
    data and of the probe serve all ranks. A risk with the basis held fixed would
    promise too little error above the true rank, and choose too many components.

    Args:
        denoiser: One a component, see `SUM`.
        y: A stack of unit noise.
        num: The greatest rank.
        mask: True where a pixel is valid at all energies.
        key: Of the random direction.

    Returns:
        Mean squared errors in units of the noise's variance.
    """
    valid = jnp.ones(y.shape[1:], bool) if mask is None else mask
    signs = jax.random.rademacher(key, y.shape, y.dtype)
    pair = jnp.where(valid, jnp.stack([y, y + WIDTH * signs]), 0)

    def components(z: Array) -> tuple[Array, Array]:
        vectors = temporal_basis(z, mask).vectors[:, :num]
        return denoise_each(denoiser, project(z, vectors)), vectors.T

    images, spectra = jax.lax.map(components, pair)

    def add(x: Array, component: tuple[Array, Array]) -> tuple[Array, Array]:
        image, spectrum = component
        x = x + spectrum[:, :, None, None] * image[:, None]
        change = signs * (x[1] - x[0]) / WIDTH
        error = (x[0] - pair[0]) ** 2 - 1 + 2 * change
        return x, jnp.sum(jnp.where(valid, error, 0)) / (len(y) * jnp.sum(valid))

    by_component = jax.tree.map(lambda z: jnp.moveaxis(z, 1, 0), (images, spectra))
    return jax.lax.scan(add, jnp.zeros_like(pair), by_component)[1]


_apply = eqx.filter_jit(lambda denoiser, y: denoiser(y))


def _check(stack: ArrayLike, mask: ArrayLike | None) -> tuple[Array, Array | None]:
    """Stack and mask to compute with, or a sentence that says what is wrong."""
    y = jnp.asarray(stack)
    if jnp.iscomplexobj(y) or y.ndim != 3 or y.size == 0 or len(y) < 2:
        raise ValueError(
            "expected a stack (energy, y, x) of real numbers, of two energies or more, "
            f"got shape {y.shape} of {y.dtype}."
        )
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    if mask is not None:
        mask = jnp.asarray(mask, bool)
        if mask.shape != y.shape[1:] or not bool(jnp.any(mask)):
            raise ValueError(
                f"`mask` must have the shape {y.shape[1:]} of a frame and a valid "
                f"pixel, got shape {mask.shape} with {int(jnp.sum(mask))}."
            )
    finite = jnp.all(jnp.isfinite(y), axis=0)
    bad = ~finite if mask is None else ~finite & mask
    if bool(jnp.any(bad)):
        raise ValueError(
            f"{int(jnp.sum(bad))} pixels are NaN or infinite at some energy; mark them "
            "invalid with mask=numpy.isfinite(stack).all(0)."
        )
    return y, mask


def _levels(y: Array, noise: Noise | None, mask: Array | None) -> Array:
    """The standard deviation of the noise at each energy."""
    tiny = jnp.finfo(y.dtype).tiny
    if noise is not None:
        variance = jnp.mean(noise.variance(y), axis=(1, 2), where=mask)
        return jnp.sqrt(jnp.maximum(variance, tiny))
    if len(y) < FEW:
        level = Gaussian.estimate(y, mask).sigma.astype(y.dtype)
        return jnp.full(len(y), jnp.maximum(level, tiny))
    num_pixels = y[0].size if mask is None else int(jnp.sum(mask))
    return jnp.maximum(_levels_of_many(y, mask, num_pixels), tiny)


@partial(jax.jit, static_argnames="num_pixels")
def _levels_of_many(y: Array, mask: Array | None, num_pixels: int) -> Array:
    """What each energy has outside the subspace of all.

    Texture, which an estimate from one image takes for noise, is common to the
    energies. First, what no combination of the other energies tells of an energy: as
    the inverse of RᵀR has it, whatever the levels of the others, and a little too much,
    since they are noisy themselves. Then, with the stack whitened by that, the rank of
    least risk is taken out; what remains has the variance, less the subspace's share.
    """
    factor = triangular_factor(y, mask)
    inverse = jax.scipy.linalg.solve_triangular(factor, jnp.eye(len(y), dtype=y.dtype))
    unexplained = jnp.sum(inverse**2, axis=1) * max(num_pixels - len(y) + 1, 1)
    first = 1 / jnp.sqrt(unexplained)
    y = y / first[:, None, None]
    vectors, values = temporal_basis(y, mask)
    shape = (num_pixels, len(y))
    risks = truncation_risks(values, shape, noise_level(values, shape))
    kept = jnp.arange(len(y)) < jnp.minimum(jnp.argmin(risks), len(y) // 2)
    valid = y if mask is None else jnp.where(mask, y, 0)
    rest = valid - expand(project(valid, vectors), vectors * kept)
    share = 1 - jnp.sum(jnp.where(kept, vectors**2, 0), axis=1)
    freedom = jnp.maximum(share, 1 / len(y)) * (num_pixels - jnp.sum(kept))
    return first * jnp.sqrt(jnp.sum(rest**2, axis=(1, 2)) / jnp.maximum(freedom, 1))


def _num_tried(basis: Basis, shape: tuple[int, int]) -> int:
    """A few components more than the plain decomposition would keep."""
    best = int(jnp.argmin(truncation_risks(basis.values, shape, 1.0)))
    return min(max(best, 1) + SURPLUS, len(basis.values))


def _choose_denoiser(images: Array, mask: Array | None, key: PRNGKeyArray) -> Mixture:
    """For each coefficient image, of unit noise, its own mixture."""
    masks = None if mask is None else jnp.broadcast_to(mask, images.shape)
    chosen = choose_alpha(images, Gaussian(1.0), mask=masks, per_frame=True, key=key)
    tv = jax.vmap(TV)(chosen.denoiser.alpha)
    tv = eqx.tree_at(lambda d: d.mask, tv, masks, is_leaf=lambda m: m is None)
    return Mixture((identity, tv), _weigh(tv, images, mask, key))


@eqx.filter_jit
def _weigh(tv: TV, images: Array, mask: Array | None, key: PRNGKeyArray) -> Array:
    """The weights of the raw and of the denoised image, one pair a component."""
    arrays, static = eqx.partition(tv, eqx.is_array)

    def one(item: tuple[PyTree, Array]) -> Array:
        parameters, image = item
        members = identity, eqx.combine(parameters, static)
        return let_weights(members, image, Gaussian(1.0), key=key, mask=mask)

    return jax.lax.map(one, (arrays, images))


@dataclass(frozen=True, eq=False)
class Components:
    """What a stack is made of, before and after denoising."""

    rank: int
    sigma: np.ndarray  # (energy,), standard deviation of the noise
    risk: float  # estimated mean squared error over the variance of the noise
    risks: np.ndarray  # the same at each rank from 1 on
    alphas: np.ndarray  # (component,)
    weights: np.ndarray  # (component, member)
    singular_values: np.ndarray
    spectra: np.ndarray  # (component, energy), in the unit of the data
    images: np.ndarray  # (component, height, width)
    denoised: np.ndarray  # the same after, zero beyond the rank

    def frames(self, start: int, stop: int) -> np.ndarray:
        """The denoised frames from `start` to `stop`, zero where invalid."""
        return np.tensordot(self.spectra[:, start:stop].T, self.denoised, 1)

    def verdict(self) -> list[str]:
        """What became of each component: "kept", "shrunk" or "dropped"."""
        total = self.weights.sum(axis=1)
        words = np.where(np.abs(total - 1) < 0.1, "kept", "shrunk")
        words = np.where(np.abs(self.weights).sum(axis=1) < 0.05, "dropped", words)
        words[self.rank :] = "dropped"
        return words.tolist()


def fit_components(
    stack,
    *,
    noise=None,
    rank=None,
    mask=None,
    key=None,
    memory: int = 2**30,
    progress=lambda done, total: None,
) -> Components:
    """Stand-in: the whole stack at once."""
    num_energies, height, _ = stack.shape
    data = np.asarray(stack[0:num_energies, 0:height], np.float32)
    result = denoise_stack(data, noise=noise, rank=rank, mask=mask, key=key)
    valid = np.ones(data.shape[1:], bool) if mask is None else mask
    image = np.where(valid, result.image, 0)
    vectors = result.spectra / result.sigma
    denoised = np.tensordot(vectors, image / result.sigma[:, None, None], 1)
    denoised[result.rank :] = 0
    progress(num_energies, num_energies)
    return Components(
        rank=result.rank,
        sigma=result.sigma,
        risk=result.risk,
        risks=result.risks,
        alphas=result.alphas,
        weights=result.weights,
        singular_values=result.singular_values,
        spectra=result.spectra,
        images=result.images,
        denoised=denoised.astype(np.float32),
    )
