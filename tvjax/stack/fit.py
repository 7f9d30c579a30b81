"""Denoise an energy stack with rank and strengths chosen from the data."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers.subspace import Basis
from tvjax.noise import Gaussian, Noise
from tvjax.singular import basis_response
from tvjax.stack.blocks import (
    add_up,
    Blocks,
    component_variances,
    follows_the_pixels,
    project,
    Sliceable,
)
from tvjax.stack.coefficients import denoise_coefficients, Denoised, Denoiser, Probed
from tvjax.stack.components import Components
from tvjax.stack.edges import share_edges
from tvjax.stack.levels import (
    noise_levels,
    num_above_noise,
    temporal_basis_of,
    uneven_variance,
)
from tvjax.stack.sketch import NUM_PASSES as SKETCH_PASSES, sketch

# Components that are tried beyond those that stand out of the noise: denoised, they may
# be worth keeping.
SURPLUS = 2
# With more energies the Gram matrix costs more than it tells.
LARGE = 1500
# With fewer energies the noise is estimated from the images, as for a photograph; so it
# is with fewer pixels than energies, which leave nothing that no other energy explains.
FEW = 12


@dataclass(frozen=True, eq=False, kw_only=True)
class StackResult(Components):
    """A denoised stack, whole, and how it came about.

    Attributes:
        image: The stack, NumPy for NumPy, JAX for JAX.
    """

    image: Any


def denoise_stack(
    stack: Float[ArrayLike, "energy height width"],
    *,
    noise: Noise | None = None,
    rank: int | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    shared_edges: bool = False,
    extra: Sequence[Denoiser] = (),
    key: PRNGKeyArray | None = None,
) -> StackResult:
    """Denoise a stack in its own subspace: SUM with nothing to set.

        X = Σ_k Σ_j a_kj F_kj(w_k) v_kᵀ,   k ≤ rank

    on the stack divided by its noise level at each energy, with the temporal basis v of
    the data themselves and their coefficient images w. The F_kj are the identity, TV
    with an α_k chosen as `tvjax.denoise` does it, wavelets and the network; the weights
    a_kj are those of least risk of the whole, with the basis' own dependence on the
    noise in it, and the rank is that of the last component that is more than noise. Li
    et al. 2021 have one denoiser for all, and a basis taken as fixed.

    Args:
        stack: Optical density or counts, energies along the first axis.
        noise: By default white, its level estimated for each energy, and over the frame
            where it differs. A model may follow the signal, as counts do, or have a
            level for each value.
        rank: By default chosen.
        mask: True where a pixel is valid, at all energies. The others come back as
            they are.
        shared_edges: Whether to mix in what vector TV makes of all clear components
            together: worth it where faint components have the edges of stronger ones.
        extra: Denoisers to be mixed in for what they are worth, callables from an image
            with noise of variance one to an image.
        key: Of the random probes; the same by default in every call.

    Raises:
        ValueError: For anything but a stack, values that are not finite under the mask,
            a frame of zeros, or a rank that the stack does not have.
    """
    in_numpy = not isinstance(stack, jax.Array)
    y = np.asarray(stack)
    found = fit_components(
        y,
        noise=noise,
        rank=rank,
        mask=mask,
        shared_edges=shared_edges,
        extra=extra,
        key=key,
        memory=2**28,
    )
    x = found.frames(0, len(y))
    if found.mask is not None:
        x = np.where(found.mask, x, y)
    return StackResult(**vars(found), image=x if in_numpy else jnp.asarray(x))


def fit_components(
    stack: Sliceable,
    *,
    noise: Noise | None = None,
    rank: int | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    shared_edges: bool = False,
    extra: Sequence[Denoiser] = (),
    key: PRNGKeyArray | None = None,
    memory: int = 2**30,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Components:
    """What `denoise_stack` does, for a stack that need not fit in memory.

    The stack is read twice, in blocks of rows, or a few times where there are more than
    1500 energies; what is kept are a few images.

    Args:
        stack: Anything with a shape (energy, y, x), a type and NumPy's slices.
        noise: As for `denoise_stack`, like the other arguments.
        rank: See there.
        mask: See there.
        shared_edges: See there.
        extra: See there.
        key: See there.
        memory: Bytes that a block may take.
        progress: Called with what is done and how much there is.

    Raises:
        ValueError: As `denoise_stack`.
    """
    mask = _check(stack, mask, rank)
    key = jax.random.key(0) if key is None else key
    many = stack.shape[0] > LARGE
    blocks = Blocks(stack, mask, memory, progress, SKETCH_PASSES + 1 if many else 2)
    shape = (blocks.num_valid, blocks.num_energies)
    if many:
        sigma, basis = sketch(blocks, noise, key)
    else:
        sums = add_up(blocks, noise)
        sigma = _levels(stack, sums.gram, sums.variance, noise, blocks)
        basis = temporal_basis_of(sums.gram / np.outer(sigma, sigma))
    known = basis.vectors.shape[1]
    if rank is not None and rank > known:
        raise ValueError(
            f"`rank` must be from 1 to {known} for a stack of more than {LARGE} "
            f"energies, got {rank}."
        )
    clear = max(num_above_noise(basis.values, shape), 1)
    num = rank or min(clear + SURPLUS, known)
    # all that is clear tells of the noise, also where a lower rank is asked for
    vectors = basis.vectors[:, : max(num, clear)]
    images, power = project(blocks, vectors, sigma)
    variances = None
    if noise is None:
        uneven = uneven_variance(images[:clear], power, len(sigma), mask)
        if uneven is not None:
            variances = np.broadcast_to(uneven, images.shape)
    elif follows_the_pixels(noise):
        variances = component_variances(blocks, noise, images, vectors, sigma, clear)
    responses = basis_response(basis.values, blocks.num_valid)
    together: list[Probed] = []
    if shared_edges and clear > 1:
        together = share_edges(
            images[:clear],
            basis.values[:clear] ** 2 / blocks.num_valid,
            variance=None if variances is None else variances[:clear],
            mask=mask,
            key=jax.random.fold_in(key, num),
        )
    denoised = [
        denoise_coefficients(
            image,
            jax.tree.map(operator.itemgetter(k), responses),
            clear=k < clear,
            variance=None if variances is None else variances[k],
            mask=mask,
            shared=together[k : k + 1],
            extra=extra,
            key=jax.random.fold_in(key, k),
        )
        for k, image in enumerate(images[:num])
    ]
    images, vectors = images[:num], vectors[:, :num]
    return _gather(denoised, images, vectors, basis, sigma, shape, rank, mask)


def _gather(
    denoised: list[Denoised],
    images: np.ndarray,
    vectors: np.ndarray,
    basis: Basis,
    sigma: np.ndarray,
    shape: tuple[int, int],
    rank: int | None,
    mask: np.ndarray | None,
) -> Components:
    """Choose the rank, and drop what is beyond it."""
    costs = np.cumsum([d.cost for d in denoised])
    squares = basis.values**2
    left = np.sum(squares) - np.cumsum(squares)[: len(costs)]
    risks = (costs + left) / (shape[0] * shape[1]) - 1
    weights = np.zeros((len(denoised), max(len(d.weights) for d in denoised)))
    for row, d in zip(weights, denoised, strict=True):
        row[: len(d.weights)] = d.weights
    rank = rank or 1 + int(np.max(np.flatnonzero(weights.any(axis=1)), initial=0))
    used = np.arange(len(denoised)) < rank
    return Components(
        rank=rank,
        sigma=sigma,
        risk=float(risks[rank - 1]),
        risks=risks,
        alphas=np.array([d.alpha for d in denoised]),
        weights=np.where(used[:, None], weights, 0),
        singular_values=basis.values,
        spectra=(vectors * sigma[:, None]).T,
        images=images,
        denoised=np.where(used[:, None, None], [d.image for d in denoised], 0),
        mask=mask,
    )


def _check(
    stack: Sliceable, mask: ArrayLike | None, rank: int | None
) -> Bool[np.ndarray, "y x"] | None:
    """The mask, or a sentence that says what is wrong."""
    real = np.issubdtype(stack.dtype, np.number) and not np.issubdtype(
        stack.dtype, np.complexfloating
    )
    if not real or len(stack.shape) != 3 or 0 in stack.shape or stack.shape[0] < 2:
        raise ValueError(
            "expected a stack (energy, y, x) of real numbers, of two energies or more, "
            f"got shape {tuple(stack.shape)} of {stack.dtype}."
        )
    num_energies, *frame = stack.shape
    if rank is not None and not 1 <= rank <= num_energies:
        raise ValueError(f"`rank` must be from 1 to {num_energies}, got {rank}.")
    if mask is None:
        return None
    mask = np.asarray(mask, bool)
    if mask.shape != tuple(frame) or not mask.any():
        raise ValueError(
            f"`mask` must have the shape {tuple(frame)} of a frame and a valid pixel, "
            f"got shape {mask.shape} with {int(mask.sum())}."
        )
    return mask


def _levels(
    stack: Sliceable,
    gram: np.ndarray,
    variance: np.ndarray,
    noise: Noise | None,
    blocks: Blocks,
) -> Float[np.ndarray, " energy"]:
    """The standard deviation of the noise at each energy."""
    if noise is not None:
        sigma = np.sqrt(variance)
    elif FEW <= blocks.num_energies < blocks.num_valid:
        sigma = noise_levels(gram, blocks.num_valid)
    else:
        frames = (stack[t : t + 1, :][0] for t in range(blocks.num_energies))
        sigma = np.array([_of_image(frame, blocks) for frame in frames])
    # what has no noise at all still has the rounding of its type
    rounding = np.finfo(blocks.dtype).eps * np.sqrt(np.diagonal(gram))
    return np.maximum(sigma, rounding / blocks.num_valid**0.5)


def _of_image(frame: np.ndarray, blocks: Blocks) -> float:
    y: Array = jnp.asarray(frame, blocks.dtype)
    mask = None if blocks.mask is None else jnp.asarray(blocks.mask)
    return float(Gaussian.estimate(y, mask).sigma)
