"""Denoise an energy stack with rank and strengths chosen from the data."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.noise import Noise
from tvjax.stack.blocks import Blocks, project, Sliceable
from tvjax.stack.coefficients import denoise_coefficients, Denoised, Denoiser, Probed
from tvjax.stack.components import Components
from tvjax.stack.noise_draws import Draws, empty_directions, white_draws, without
from tvjax.stack.noise_levels import with_signs
from tvjax.stack.pixel_noise import PixelNoise
from tvjax.stack.refine import refine, Refined
from tvjax.stack.shared_edges import share_edges
from tvjax.stack.survey import FEW, num_passes, Survey, survey

# Components that are tried beyond those that stand out of the noise: denoised, they may
# be worth keeping.
SURPLUS = 2
# Draws of the noise that are taken from the stack.
NUM_DRAWS = 24


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
        memory=2**27,
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
    blocks = Blocks(stack, mask, memory, progress, num_passes=num_passes(stack))
    found = survey(stack, blocks, noise, key)
    known = found.basis.vectors.shape[1]
    if rank is not None and rank > known:
        raise ValueError(
            f"`rank` must be from 1 to {known} for a stack of so many energies, "
            f"got {rank}."
        )
    parts = _find_components(blocks, found, noise, rank, key)
    denoised = _denoise_each(
        parts, rank, shared_edges=shared_edges, extra=extra, mask=mask
    )
    return _gather(denoised, parts, found, blocks.num_valid, rank, mask)


class _Parts(NamedTuple):
    """The components of a stack, still noisy, and all that is known of their noise."""

    images: Float[np.ndarray, "component height width"]
    vectors: Float[np.ndarray, "energy component"]
    origins: list[Refined]
    variances: Float[np.ndarray, "component height width"] | None
    draws: Draws
    independent: float  # share of the pixels


def _find_components(
    blocks: Blocks,
    found: Survey,
    noise: Noise | None,
    rank: int | None,
    key: PRNGKeyArray,
) -> _Parts:
    """The pass for the images, and the components that they are best made of."""
    sigma, mask = found.sigma, blocks.mask
    clear = found.num_clear(blocks.num_valid)
    least = max(rank or 0, min(clear + SURPLUS, found.basis.vectors.shape[1]))
    candidates = found.directions(clear, least)
    of_empty, of_scales, of_draws = jax.random.split(key, 3)
    empty = np.empty((len(sigma), 0))
    if noise is None and FEW <= len(sigma) - clear < blocks.num_valid:
        num_draws = min(len(sigma) - clear, NUM_DRAWS)
        empty = empty_directions(found.basis.vectors[:, :clear], num_draws, of_empty)
    projected = project(blocks, np.concatenate([candidates, empty], axis=1), sigma)
    images, drawn = np.split(projected.images, [candidates.shape[1]])

    independent = found.num_independent / blocks.num_valid
    pixels = PixelNoise(noise, blocks, sigma, projected.power, independent)
    variances = pixels.variances(images[:clear], candidates[:, :clear], clear)
    if not empty.size:
        shape = (NUM_DRAWS, *images.shape[1:])
        one = None if variances is None else np.broadcast_to(variances[0], shape)
        drawn = white_draws(shape, one, mask, of_scales).others
    origins = refine(
        images,
        drawn,
        found.leading_response(blocks.num_valid),
        variance=None if variances is None else variances[0],
        num_energies=len(sigma),
        least=rank or 0,
        surplus=SURPLUS,
        mask=mask,
    )
    rotation = np.stack([origin.rotation for origin in origins], axis=1)
    vectors = with_signs(candidates @ rotation)
    rotation = (candidates.T @ vectors).astype(images.dtype)
    images = np.tensordot(rotation.T, images, 1)
    clear = sum(origin.clear for origin in origins)
    variances = pixels.variances(images, vectors, clear)
    if empty.size:
        draws = Draws.of(without(drawn, empty, images, vectors), len(images))
    else:
        draws = white_draws(images.shape, variances, mask, of_draws)
    return _Parts(images, vectors, origins, variances, draws, independent)


def _denoise_each(
    parts: _Parts,
    rank: int | None,
    *,
    shared_edges: bool,
    extra: Sequence[Denoiser],
    mask: Bool[np.ndarray, "height width"] | None,
) -> list[Denoised]:
    """The coefficient images denoised, the leading one first: it is a guide to all."""
    images, variances = parts.images, parts.variances
    clear = sum(origin.clear for origin in parts.origins)
    together: list[Probed] = []
    if shared_edges and clear > 1:
        together = share_edges(
            images[:clear],
            variance=None if variances is None else variances[:clear],
            mask=mask,
            draws=jax.tree.map(lambda z: z[:clear], parts.draws),
        )
    denoised: list[Denoised] = []
    for k, origin in enumerate(parts.origins[:rank]):
        one = denoise_coefficients(
            images[k],
            origin,
            leading=denoised[0].image if denoised else None,
            variance=None if variances is None else variances[k],
            draws=jax.tree.map(operator.itemgetter(k), parts.draws),
            correlation=1 / parts.independent,
            mask=mask,
            shared=together[k : k + 1],
            extra=extra,
        )
        denoised.append(one)
        if rank is None and not origin.clear and not one.weights.any():
            break  # what is fainter than noise is not worth its time
    return denoised


def _gather(
    denoised: list[Denoised],
    parts: _Parts,
    found: Survey,
    num_pixels: int,
    rank: int | None,
    mask: np.ndarray | None,
) -> Components:
    """Choose the rank, and drop what is beyond it."""
    num = len(denoised)
    images, vectors = parts.images[:num], parts.vectors[:, :num]
    costs = np.cumsum([d.cost for d in denoised])
    total, kept = np.sum(found.basis.values**2), np.sum(images**2, axis=(1, 2))
    left = total - np.cumsum(kept, dtype=float)
    risks = (costs + left) / (num_pixels * len(found.sigma)) - 1
    weights = np.zeros((num, max(len(d.weights) for d in denoised)))
    for row, d in zip(weights, denoised, strict=True):
        row[: len(d.weights)] = d.weights
    rank = rank or 1 + int(np.max(np.flatnonzero(weights.any(axis=1)), initial=0))
    used = np.arange(num) < rank
    return Components(
        rank=rank,
        sigma=found.sigma,
        risk=float(risks[rank - 1]),
        risks=risks,
        alphas=np.array([d.alpha for d in denoised]),
        weights=np.where(used[:, None], weights, 0),
        singular_values=found.basis.values,
        spectra=(vectors * found.sigma[:, None]).T,
        images=images,
        denoised=np.where(used[:, None, None], [d.image for d in denoised], 0),
        mask=mask,
    )


def _check(
    stack: Sliceable, mask: ArrayLike | None, rank: int | None
) -> Bool[np.ndarray, "height width"] | None:
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
